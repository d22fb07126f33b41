"""Recipes for vectors whose layers have a structure of their own: monotone networks and triangles."""

from __future__ import annotations

from typing import Unpack

from unwarp.distributions import Flow
from unwarp.flows._ends import Ends, vectors
from unwarp.flows._recipe import Bins, Bound, Context, Features, Floor, Hidden, Layers, recipe
from unwarp.networks import MLP
from unwarp.transforms import BlockNeural, Coupling, Elementwise, Permute, Transform, Triangular
from unwarp.univariates import RationalQuadratic

__all__ = ["bnaf", "triangular"]


@recipe
def bnaf(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 2,
    hidden: Hidden = (128, 128),
    **ends: Unpack[Ends],
) -> Flow:
    """Block neural autoregressive flow: networks in which each output rises with its own input; orders alternate.

    Use it for smooth densities of few features, where samples are wanted seldom: each costs D searches for a root
    in every layer.

    Args:
        features: number of features.
        context: length of the context; 0 for none.
        layers: number of networks.
        hidden: sizes of their hidden layers, each rounded up to a multiple of `features`.
        ends: as for `nice`.

    Source: De Cao, Aziz and Titov, 2019, arXiv:1904.04676.
    """
    units = [-(-size // features) for size in hidden]
    parts: list[Transform] = [BlockNeural(features, hidden=units, context=context)]
    for _ in range(layers - 1):
        parts += [Permute(range(features)[::-1]), BlockNeural(features, hidden=units, context=context)]
    return vectors(features, parts, ends)


@recipe
def triangular(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 4,
    bins: Bins = 8,
    bound: Bound = 5.0,
    floor: Floor = 3e-2,
    hidden: Hidden = (64,),
    **ends: Unpack[Ends],
) -> Flow:
    """Triangular spline flow: a spline for each feature and a triangular linear map, by turns.

    Use it for small tables and nearly Gaussian ones: it has few parameters, no networks (but for a context), both
    directions cost the same, and the whole map is triangular, so that z of the first k features is theirs alone.

    Args:
        features: number of features.
        context: length of the context, which sets the splines by networks; 0 for none.
        layers: number of splines; one linear map less.
        bins: bins of each spline.
        bound: half-width of the splines' box.
        floor: least slope, and least share of a bin.
        hidden: sizes of the hidden layers of the context's networks.
        ends: as for `nice`.

    Source: Baptista, Marzouk and Zahm, 2023, arXiv:2009.10303, on triangular maps; as a stack of splines and linear
    maps in the library FlowJAX.
    """
    spline = RationalQuadratic(bins, bound, min(floor, 0.5 / bins), floor)
    parts: list[Transform] = []
    for layer in range(layers):
        parts += [Triangular(features)] if layer else []
        if context:
            net = MLP(0, features * spline.n_params, hidden=hidden, context=context)
            parts.append(Coupling(features, spline, net, mask=[False] * features, context=context))
        else:
            parts.append(Elementwise(features, spline))
    return vectors(features, parts, ends)
