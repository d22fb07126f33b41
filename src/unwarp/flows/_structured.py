"""Recipes for vectors whose layers have a structure of their own: monotone networks, triangles, kept volumes."""

from __future__ import annotations

from typing import Unpack

from unwarp.distributions import Flow
from unwarp.flows._ends import Ends, vectors
from unwarp.flows._recipe import Context, Features, Hidden, Layers, recipe
from unwarp.transforms import BlockNeural, Permute, Transform

__all__ = ["bnaf"]


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
