"""Recipes for vectors: rows of a table, parameters of a simulator, points in a plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Unpack

from unwarp.distributions import Flow
from unwarp.flows._ends import Ends, vectors
from unwarp.flows._recipe import Bins, Bound, Context, Features, Floor, Hidden, Layers, recipe
from unwarp.networks import MLP, MaskedMLP
from unwarp.transforms import ActNorm, Autoregressive, Coupling, Inverse, Transform
from unwarp.univariates import Affine, RationalQuadratic, Shift, Univariate

__all__ = ["iaf", "maf", "nice", "nsf", "realnvp"]


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
    parts = [*_couplings(features, Shift(), layers, hidden, context), ActNorm(features)]
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
    parts = _couplings(features, Affine(), layers, hidden, context)
    return vectors(features, parts, ends)


@recipe
def maf(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 5,
    hidden: Hidden = (128, 128),
    **ends: Unpack[Ends],
) -> Flow:
    """Masked autoregressive flow: each feature scaled and shifted as all before it say; orders alternate.

    Use it for densities of smooth, unimodal tables with many features.

    Args: as for `nice`.

    Source: Papamakarios, Pavlakou and Murray, 2017, arXiv:1705.07057.
    """
    parts = _autoregressive(features, Affine(), layers, hidden, context)
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
    parts = [Inverse(part) for part in _autoregressive(features, Affine(), layers, hidden, context)]
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
    **ends: Unpack[Ends],
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
        ends: as for `nice`.

    Source: Durkan, Bekasov, Murray and Papamakarios, 2019, arXiv:1906.04032.
    """
    make = _couplings if structure == "coupling" else _autoregressive
    parts = make(features, RationalQuadratic(bins, bound, min(floor, 0.5 / bins), floor), layers, hidden, context)
    return vectors(features, parts, ends)


def _couplings(
    features: int, univariate: Univariate, layers: int, hidden: Sequence[int], context: int
) -> list[Transform]:
    """Couplings whose masks go through the bits of the features' indices, so that any two features meet."""
    bits = max(1, (features - 1).bit_length())
    parts: list[Transform] = []
    for layer in range(layers):
        mask = [features > 1 and (i >> (layer // 2 % bits)) % 2 == layer % 2 for i in range(features)]
        kept = sum(mask)
        net = MLP(kept, (features - kept) * univariate.n_params, hidden=hidden, context=context)
        parts.append(Coupling(features, univariate, net, mask=mask, context=context))
    return parts


def _autoregressive(
    features: int, univariate: Univariate, layers: int, hidden: Sequence[int], context: int
) -> list[Transform]:
    """Autoregressive layers in natural and reversed order by turns."""
    parts: list[Transform] = []
    for layer in range(layers):
        net = MaskedMLP(features, univariate.n_params, hidden=hidden, context=context)
        order = range(features) if layer % 2 == 0 else range(features - 1, -1, -1)
        parts.append(Autoregressive(features, univariate, net, order=order, context=context))
    return parts
