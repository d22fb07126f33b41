"""Recipes for vectors: rows of a table, parameters of a simulator, points in a plane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from unwarp._space import POSITIVE, REAL, Interval, Space, Support
from unwarp.distributions import Distribution, Flow, GaussianMixture, Normal, StudentT
from unwarp.errors import RecipeError
from unwarp.flows._recipe import (
    Bins,
    Bound,
    Components,
    Context,
    Features,
    Floor,
    Hidden,
    Layers,
    Marginals,
    OneSupport,
    Supports,
    recipe,
)
from unwarp.networks import MLP, MaskedMLP
from unwarp.transforms import (
    ActNorm,
    Autoregressive,
    Compose,
    Coupling,
    Elementwise,
    Inverse,
    Standardize,
    Transform,
    Unconstrain,
    Whiten,
)
from unwarp.univariates import Affine, HeavyTail, RationalQuadratic, Shift, Univariate

__all__ = ["iaf", "maf", "nice", "nsf", "realnvp"]

Base = Literal["normal", "student", "mixture"]
Tails = Literal["light", "heavy"]
Mixing = Literal["none", "whiten"]


@recipe
def nice(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 6,
    hidden: Hidden = (128, 128),
    support: Supports = "real",
    tails: Tails = "light",
    marginals: Marginals = 0,
    mixing: Mixing = "none",
    base: Base = "normal",
    components: Components = 8,
) -> Flow:
    """NICE: couplings that shift, and one learned scale for each feature.

    Use it where a constant log-det is wanted (anomaly scores, volume-preserving maps).

    Args:
        features: number of features.
        context: length of the context; 0 for none.
        layers: number of couplings.
        hidden: sizes of the conditioners' hidden layers.
        support: where features live: "real", "positive" or ("interval", low, high), one for all or one each.
        tails: "heavy" adds a learned heavy-tail map next to the data, which `adapt` sets.
        marginals: bins of a learned spline for each feature next to the data, which `adapt` starts; 0 for none.
        mixing: "whiten" adds a fixed triangular map after the first layer, which `adapt` sets so that its output is
            uncorrelated: edges and gaps along the axes are the first layer's, narrow ridges across them the others'.
        base: "normal", "student" or "mixture", the latent's distribution.
        components: largest number of the mixture's components.

    Source: Dinh, Krueger and Bengio, 2015, arXiv:1410.8516.
    """
    parts = [*_couplings(features, Shift(), layers, hidden, context), ActNorm(features)]
    return _vectors(features, parts, support, tails, marginals, mixing, base, components)


@recipe
def realnvp(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 6,
    hidden: Hidden = (128, 128),
    support: Supports = "real",
    tails: Tails = "light",
    marginals: Marginals = 0,
    mixing: Mixing = "none",
    base: Base = "normal",
    components: Components = 8,
) -> Flow:
    """RealNVP: couplings that scale and shift.

    Use it where speed in both directions matters most: variational inference, samplers, large batches.

    Args: as for `nice`.

    Source: Dinh, Sohl-Dickstein and Bengio, 2017, arXiv:1605.08803.
    """
    parts = _couplings(features, Affine(), layers, hidden, context)
    return _vectors(features, parts, support, tails, marginals, mixing, base, components)


@recipe
def maf(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 5,
    hidden: Hidden = (128, 128),
    support: Supports = "real",
    tails: Tails = "light",
    marginals: Marginals = 0,
    mixing: Mixing = "none",
    base: Base = "normal",
    components: Components = 8,
) -> Flow:
    """Masked autoregressive flow: each feature scaled and shifted as all before it say; orders alternate.

    Use it for densities of smooth, unimodal tables with many features.

    Args: as for `nice`.

    Source: Papamakarios, Pavlakou and Murray, 2017, arXiv:1705.07057.
    """
    parts = _autoregressive(features, Affine(), layers, hidden, context)
    return _vectors(features, parts, support, tails, marginals, mixing, base, components)


@recipe
def iaf(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 5,
    hidden: Hidden = (128, 128),
    support: Supports = "real",
    tails: Tails = "light",
    marginals: Marginals = 0,
    mixing: Mixing = "none",
    base: Base = "normal",
    components: Components = 8,
) -> Flow:
    """Inverse autoregressive flow: `maf` with its directions exchanged.

    Use it for variational posteriors: draws and their density cost one pass; densities of given points
    cost D small steps.

    Args: as for `nice`.

    Source: Kingma et al., 2016, arXiv:1606.04934.
    """
    parts = [Inverse(part) for part in _autoregressive(features, Affine(), layers, hidden, context)]
    return _vectors(features, parts, support, tails, marginals, mixing, base, components)


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
    support: Supports = "real",
    tails: Tails = "light",
    marginals: Marginals = 0,
    mixing: Mixing = "none",
    base: Base = "normal",
    components: Components = 8,
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
        support: as for `nice`, like the rest.
        tails: as for `nice`.
        marginals: as for `nice`.
        mixing: as for `nice`.
        base: as for `nice`.
        components: as for `nice`.

    Source: Durkan, Bekasov, Murray and Papamakarios, 2019, arXiv:1906.04032.
    """
    make = _couplings if structure == "coupling" else _autoregressive
    parts = make(features, RationalQuadratic(bins, bound, min(floor, 0.5 / bins), floor), layers, hidden, context)
    return _vectors(features, parts, support, tails, marginals, mixing, base, components)


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


def _vectors(
    features: int,
    parts: Sequence[Transform],
    support: OneSupport | list[OneSupport],
    tails: Tails,
    marginals: int,
    mixing: Mixing,
    base: Base,
    components: int,
) -> Flow:
    """What all recipes for vectors share: supports, scales and tails before the layers, the base after them."""
    space = Space((features,), _supports(features, support))
    front: list[Transform] = [] if space.support == REAL else [Unconstrain(space)]
    front.append(Standardize(features))
    if tails == "heavy":
        front.append(Elementwise(features, HeavyTail()))
    if marginals:
        front.append(Elementwise(features, RationalQuadratic(max(2, marginals))))
    bases: dict[Base, Callable[[], Distribution]] = {
        "normal": lambda: Normal(features),
        "student": lambda: StudentT(features),
        "mixture": lambda: GaussianMixture(features, components),
    }
    middle = [Whiten(features)] if mixing == "whiten" else []
    return Flow(Compose([*front, *parts[:1], *middle, *parts[1:]]), bases[base]())


def _supports(features: int, support: OneSupport | list[OneSupport]) -> Support | tuple[Support, ...]:
    if not isinstance(support, list):
        return _one(support)
    if len(support) != features:
        raise RecipeError(
            f"support: expected one for each of {features} features; got {len(support)}. Give one, or {features}."
        )
    return tuple(_one(entry) for entry in support)


def _one(support: OneSupport) -> Support:
    if isinstance(support, tuple):
        return Interval(support[1], support[2])
    return POSITIVE if support == "positive" else REAL
