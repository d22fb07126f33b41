"""Recipes for flows, and their model files."""

from unwarp.flows._recipe import build, flow, names
from unwarp.flows._tabular import iaf, maf, nice, nsf, realnvp

__all__ = ["build", "flow", "iaf", "maf", "names", "nice", "nsf", "realnvp"]
