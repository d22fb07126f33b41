"""Flows made by recipes."""

import inspect
from collections.abc import Callable
from typing import Any

from unwarp import flows
from unwarp.distributions import Flow

__all__ = ["ROWS", "known"]

TRANSFORMER: dict[str, Any] = {"width": 4, "depth": 1, "heads": 2}


def known(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Those of `options` that the recipe has, and small sizes for what is not among them."""
    return {
        option: value
        for option, value in (TRANSFORMER | options).items()
        if option in inspect.signature(getattr(flows, name)).parameters
    }


ROWS: dict[str, Callable[[], Flow]] = {
    "nice": lambda: flows.nice(2, layers=2, hidden=(8,)),
    "nice(1 feature)": lambda: flows.nice(1, layers=2, hidden=(8,)),
    "realnvp": lambda: flows.realnvp(2, layers=2, hidden=(8,)),
    "realnvp(context)": lambda: flows.realnvp(2, layers=2, hidden=(8,), context=2),
    "realnvp(lu)": lambda: flows.realnvp(2, layers=2, hidden=(8,), mixing="lu"),
    "maf": lambda: flows.maf(2, layers=2, hidden=(8,)),
    "maf(passes)": lambda: flows.maf(4, layers=2, hidden=(8,), passes=2),
    "maf(graph, context)": lambda: flows.maf(3, layers=1, hidden=(8,), adjacency=[(0, 2), (1, 2)], context=1),
    "maf(student)": lambda: flows.maf(2, layers=2, hidden=(8,), base="student"),
    "iaf(context)": lambda: flows.iaf(2, layers=2, hidden=(8,), context=2),
    "bnaf": lambda: flows.bnaf(2, layers=1, hidden=(6,)),
    "bnaf(1 feature, context)": lambda: flows.bnaf(1, layers=1, hidden=(3,), context=1),
    "gin": lambda: flows.gin(3, layers=2, hidden=(8,)),
    "gin(context)": lambda: flows.gin(2, layers=2, hidden=(8,), context=2),
    "triangular": lambda: flows.triangular(2, layers=2, bins=4),
    "triangular(context)": lambda: flows.triangular(2, layers=2, bins=4, hidden=(8,), context=2),
    "naf": lambda: flows.naf(2, layers=1, units=2, hidden=(8,)),
    "naf(1 feature, depth, context)": lambda: flows.naf(1, layers=1, units=2, depth=2, hidden=(4,), context=1),
    "unaf": lambda: flows.unaf(2, layers=1, units=2, nodes=20, hidden=(8,)),
    "unaf(1 feature, context)": lambda: flows.unaf(1, layers=1, units=2, nodes=20, hidden=(4,), context=1),
    "sospf": lambda: flows.sospf(2, layers=1, degree=2, hidden=(8,)),
    "sospf(1 feature, context)": lambda: flows.sospf(1, layers=1, degree=1, hidden=(4,), context=1),
    "bpf": lambda: flows.bpf(2, layers=1, degree=3, hidden=(8,)),
    "bpf(1 feature, context)": lambda: flows.bpf(1, layers=1, degree=3, hidden=(4,), context=1),
    "gf": lambda: flows.gf(2, layers=1, units=2),
    "gf(context)": lambda: flows.gf(2, layers=1, units=2, hidden=(4,), context=1),
    "gf(1 feature)": lambda: flows.gf(1, layers=1, units=2),
    "nsf": lambda: flows.nsf(2, layers=2, bins=4, hidden=(8,)),
    "nsf(1 feature)": lambda: flows.nsf(1, layers=1, bins=4, hidden=(8,)),
    "nsf(1 feature, context)": lambda: flows.nsf(1, layers=1, bins=4, hidden=(8,), context=1),
    "nsf(1 feature, householder)": lambda: flows.nsf(1, layers=1, bins=4, hidden=(8,), mixing="householder"),
    "nsf(autoregressive)": lambda: flows.nsf(2, layers=2, bins=4, hidden=(8,), structure="autoregressive"),
    "tarflow": lambda: flows.tarflow(2, layers=2, **TRANSFORMER),
    "tarflow(1 feature, context)": lambda: flows.tarflow(1, layers=1, context=2, bins=2, **TRANSFORMER),
    "tarflow(sequence, jacobi)": lambda: flows.tarflow((4, 1), layers=1, patch=2, inverse="jacobi", **TRANSFORMER),
    "tarflow(image, context)": lambda: flows.tarflow(
        (1, 2, 2), layers=1, context=2, patch=1, support=("interval", 0.0, 1.0), **TRANSFORMER
    ),
    "jet": lambda: flows.jet(2, layers=2, **TRANSFORMER),
    "jet(sequence, mixture)": lambda: flows.jet((1, 3), layers=1, base="mixture", components=2, **TRANSFORMER),
    "jet(image, context)": lambda: flows.jet((1, 2, 2), layers=1, context=1, patch=1, **TRANSFORMER),
    "jet(whole numbers)": lambda: flows.jet((1, 2, 2), layers=1, patch=1, values=4, **TRANSFORMER),
    "nsf(everything)": lambda: flows.nsf(
        2,
        layers=2,
        bins=4,
        hidden=(8,),
        support=["positive", ("interval", -1.0, 2.0)],
        tails="heavy",
        marginals=4,
        mixing="whiten",
        base="mixture",
        components=2,
    ),
    "cpflow": lambda: flows.cpflow(2, layers=1, hidden=(8,)),
    "cpflow(1 feature, context)": lambda: flows.cpflow(1, layers=1, hidden=(4,), context=2),
    "freeform": lambda: flows.freeform(2, layers=1, hidden=(8,)),
    "freeform(1 feature, context)": lambda: flows.freeform(1, layers=1, hidden=(4,), context=1),
    "planar": lambda: flows.planar(2, layers=1),
    "planar(1 feature, context, sampling)": lambda: flows.planar(
        1, layers=1, hidden=(8,), context=2, explicit="sampling"
    ),
    "radial": lambda: flows.radial(2, layers=2),
    "radial(1 feature, context)": lambda: flows.radial(1, layers=2, hidden=(8,), context=2),
    "resflow": lambda: flows.resflow(2, layers=1, hidden=(8,)),
    "resflow(1 feature, context)": lambda: flows.resflow(1, layers=1, hidden=(8,), context=2),
    "resflow(roulette)": lambda: flows.resflow(2, layers=1, hidden=(4,), lipschitz=0.2, ladj="roulette"),
    "sylvester": lambda: flows.sylvester(2, layers=1),
    "sylvester(context)": lambda: flows.sylvester(2, layers=1, hidden=(8,), context=2, basis="householder"),
    "sylvester(1 feature, triangular)": lambda: flows.sylvester(1, layers=1, basis="triangular", explicit="sampling"),
    "cnf": lambda: flows.cnf(2, hidden=(4,), time=1, solver="midpoint", steps=1),
    "cnf(1 feature, context)": lambda: flows.cnf(1, hidden=(4,), time=1, solver="euler", steps=1, layers=2, context=1),
    "ffjord": lambda: flows.ffjord(2, hidden=(4,), time=1, solver="midpoint", steps=1),
    "realnvp_image": lambda: flows.realnvp_image((1, 2, 2), levels=1, layers=1, hidden=(4,), values=4),
    "glow": lambda: flows.glow((1, 4, 4), levels=2, layers=1, hidden=(2,), dequantization="none"),
    "glow(emerging)": lambda: flows.glow(
        (1, 2, 4), levels=1, layers=1, hidden=(2,), dequantization="none", convolution="emerging"
    ),
    "glow(context)": lambda: flows.glow((1, 2, 2), levels=1, layers=1, hidden=(4,), values=2, context=2),
    "flowpp": lambda: flows.flowpp((1, 2, 2), levels=1, layers=1, hidden=(4,), components=2, values=4, equalize="none"),
    "nsf_image": lambda: flows.nsf_image(
        (1, 2, 2), levels=1, layers=1, hidden=(4,), bins=2, values=3, dequantization="variational"
    ),
    "residual_image": lambda: flows.residual_image(
        (1, 2, 2), levels=1, layers=1, hidden=(2,), ladj="exact", dequantization="none"
    ),
    "residual_image(roulette, context)": lambda: flows.residual_image(
        (1, 2, 2), levels=1, layers=1, hidden=(2,), lipschitz=0.2, values=4, context=1
    ),
    "otflow": lambda: flows.otflow(3, width=4, solver="midpoint", steps=1),
    "otflow(1 feature, context)": lambda: flows.otflow(1, width=4, solver="midpoint", steps=1, context=1),
    "circular": lambda: flows.circular(2, layers=2, bins=4, hidden=(8,)),
    "circular(mixed, context)": lambda: flows.circular(
        3, layers=2, bins=4, hidden=(8,), support=["circle", "positive", "circle"], context=1
    ),
    "circular(moebius, 1 feature)": lambda: flows.circular(1, layers=1, bins=2, hidden=(8,), univariate="moebius"),
    "sphere": lambda: flows.sphere(3, layers=1, bins=4, hidden=(8,)),
    "sphere(2 entries)": lambda: flows.sphere(2, layers=2, bins=4, hidden=(8,)),
    "sphere(4 entries, context)": lambda: flows.sphere(4, layers=1, bins=4, hidden=(8,), context=1),
    "gmm": lambda: flows.gmm(2, components=2),
    "copula": lambda: flows.copula(2, layers=1, bins=2, hidden=(8,)),
}
