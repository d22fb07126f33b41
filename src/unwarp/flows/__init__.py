"""Recipes for flows, and their model files."""

from unwarp.flows._amortized import amortized
from unwarp.flows._bundle import from_bytes, load, load_with_config, read_config, save, to_bytes
from unwarp.flows._citation import citation
from unwarp.flows._continuous import cnf, ffjord, otflow
from unwarp.flows._image import flowpp, glow, nsf_image, realnvp_image, residual_image
from unwarp.flows._manifold import circular, sphere
from unwarp.flows._mixed import mixed
from unwarp.flows._mixture import copula, copula_parts, gmm
from unwarp.flows._monotone import bpf, gf, naf, sospf, unaf
from unwarp.flows._recipe import build, flow, names
from unwarp.flows._residual import cpflow, freeform, planar, radial, resflow, sylvester
from unwarp.flows._structured import bnaf, triangular
from unwarp.flows._suited import Candidate, suited
from unwarp.flows._tabular import gin, iaf, maf, nice, nsf, realnvp
from unwarp.flows._transformer import jet, tarflow

__all__ = [
    "Candidate",
    "amortized",
    "bnaf",
    "bpf",
    "build",
    "circular",
    "citation",
    "cnf",
    "copula",
    "copula_parts",
    "cpflow",
    "ffjord",
    "flow",
    "flowpp",
    "freeform",
    "from_bytes",
    "gf",
    "gin",
    "glow",
    "gmm",
    "iaf",
    "jet",
    "load",
    "load_with_config",
    "maf",
    "mixed",
    "naf",
    "names",
    "nice",
    "nsf",
    "nsf_image",
    "otflow",
    "planar",
    "radial",
    "read_config",
    "realnvp",
    "realnvp_image",
    "resflow",
    "residual_image",
    "save",
    "sospf",
    "sphere",
    "suited",
    "sylvester",
    "tarflow",
    "to_bytes",
    "triangular",
    "unaf",
]
