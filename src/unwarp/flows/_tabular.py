"""Recipes for vectors: rows of a table, parameters of a simulator, points in a plane."""

from __future__ import annotations

from typing import Literal, Unpack

from unwarp.distributions import Flow
from unwarp.errors import RecipeError
from unwarp.flows._ends import Ends, HeavyEnds, vectors
from unwarp.flows._layers import autoregressive, couplings
from unwarp.flows._recipe import Adjacency, Bins, Bound, Context, Features, Floor, Hidden, Layers, Passes, recipe
from unwarp.networks import Centered
from unwarp.transforms import ActNorm, Inverse
from unwarp.univariates import Affine, RationalQuadratic, Shift

__all__ = ["gin", "iaf", "maf", "nice", "nsf", "realnvp"]


@recipe
def nice(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 6,
    hidden: Hidden = (128, 128),
    **ends: Unpack[Ends],
) -> Flow:
    """NICE: couplings that shift, and one learned scale for each feature.

    Use it where a constant log-det is wanted (anomaly scores, volume-preserving maps).

    Args:
        features: number of features.
        context: length of the context; 0 for none.
        layers: number of couplings.
        hidden: sizes of the conditioners' hidden layers.
        ends: what is before and after the layers, see `Ends`.

    Source: Dinh, Krueger and Bengio, 2015, arXiv:1410.8516.
    """
    parts = [*couplings(features, Shift(), layers, hidden, context), ActNorm(features)]
    return vectors(features, parts, ends)


@recipe
def gin(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 6,
    hidden: Hidden = (128, 128),
    **ends: Unpack[Ends],
) -> Flow:
    """General incompressible-flow network: couplings that scale and shift but keep volume; then one scale a feature.

    Use it where the log-det should be the same everywhere, as in `nice`, but the map may stretch one feature at
    another's cost: to find independent sources, or to rank features by their scale.

    Args: as for `nice`.

    Source: Sorrenson, Rother and Köthe, 2020, arXiv:2001.04872.
    """
    parts = [*couplings(features, Affine(), layers, hidden, context, wrap=Centered), ActNorm(features)]
    return vectors(features, parts, ends)


@recipe
def realnvp(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 6,
    hidden: Hidden = (128, 128),
    **ends: Unpack[Ends],
) -> Flow:
    """RealNVP: couplings that scale and shift.

    Use it where speed in both directions matters most: variational inference, samplers, large batches.

    Args: as for `nice`.

    Source: Dinh, Sohl-Dickstein and Bengio, 2017, arXiv:1605.08803.
    """
    parts = couplings(features, Affine(), layers, hidden, context)
    return vectors(features, parts, ends)


@recipe
def maf(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 5,
    hidden: Hidden = (128, 128),
    passes: Passes | None = None,
    adjacency: Adjacency | None = None,
    **ends: Unpack[Ends],
) -> Flow:
    """Masked autoregressive flow: each feature scaled and shifted as all before it say; orders alternate.

    Use it for densities of smooth, unimodal tables with many features; with a graph, where it is known what depends on
    what.

    Args:
        features: number of features.
        context: length of the context; 0 for none.
        layers: number of layers.
        hidden: sizes of the networks' hidden layers.
        passes: groups of features, each told by the groups before it, so that a draw takes as many steps; by default
            as many as features. Two are like couplings.
        adjacency: pairs (child, parent) without a cycle, in place of an order: each feature is told by its parents.
            With one layer, and neither `mixing` nor a mixture as `base`, the density is the product of each feature's
            given its parents; with k layers, ancestors of k generations tell.
        ends: as for `nice`.

    Raises:
        RecipeError: when `adjacency` names features that are not there or has a cycle, or `passes` comes with it.

    Source: Papamakarios, Pavlakou and Murray, 2017, arXiv:1705.07057.
    """
    parts = autoregressive(features, Affine(), layers, hidden, context, passes=passes, adjacency=adjacency)
    return vectors(features, parts, ends)


@recipe
def iaf(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 5,
    hidden: Hidden = (128, 128),
    **ends: Unpack[Ends],
) -> Flow:
    """Inverse autoregressive flow: `maf` with its directions exchanged.

    Use it for variational posteriors: draws and their density cost one pass; densities of given points
    cost D small steps.

    Args: as for `nice`.

    Source: Kingma et al., 2016, arXiv:1606.04934.
    """
    parts = [Inverse(part) for part in autoregressive(features, Affine(), layers, hidden, context)]
    return vectors(features, parts, ends)


@recipe
def nsf(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 5,
    bins: Bins = 8,
    bound: Bound = 5.0,
    floor: Floor = 3e-2,
    hidden: Hidden = (128, 128),
    structure: Literal["coupling", "autoregressive"] = "coupling",
    passes: Passes | None = None,
    adjacency: Adjacency | None = None,
    **ends: Unpack[HeavyEnds],
) -> Flow:
    """Neural spline flow: couplings or autoregressive layers of rational-quadratic splines.

    Use it where densities are multi-modal or have edges: the best general choice for tables.

    Args:
        features: number of features.
        context: length of the context; 0 for none.
        layers: number of layers.
        bins: bins of each spline.
        bound: half-width of the splines' box, in standard deviations of the data.
        floor: least slope, and least share of a bin. 0.03 keeps round trips exact in float32; a smaller one resolves
            sharper edges, and asks for float64 where points must come back.
        hidden: sizes of the conditioners' hidden layers.
        structure: "coupling" samples in one pass; "autoregressive" usually fits better.
        passes: as for `maf`; of the autoregressive structure only.
        adjacency: as for `maf`; of the autoregressive structure only.
        ends: as for `nice`, but tails are "heavy": with "light" ones, rows far outside the splines' box have the base's
            density.

    Raises:
        RecipeError: as for `maf`, or when `passes` or `adjacency` is given for couplings.

    Source: Durkan, Bekasov, Murray and Papamakarios, 2019, arXiv:1906.04032.
    """
    spline = RationalQuadratic(bins, bound, min(floor, 0.5 / bins), floor)
    if structure == "autoregressive":
        parts = autoregressive(features, spline, layers, hidden, context, passes=passes, adjacency=adjacency)
    elif passes is None and adjacency is None:
        parts = couplings(features, spline, layers, hidden, context)
    else:
        raise RecipeError(
            "nsf: expected neither passes nor adjacency for couplings; got one. "
            'Set structure="autoregressive", or leave them out.'
        )
    return vectors(features, parts, ends)
