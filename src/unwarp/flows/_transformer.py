"""Recipes whose conditioners are transformers: for images, sequences and vectors, all seen as tokens."""

# pyright: reportTypedDictNotRequiredAccess=false
# A caller may leave options out; `recipe` fills them in before a recipe sees them.

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import Annotated, Literal, Unpack

from pydantic import Field

from unwarp._space import Support
from unwarp.distributions import Flow
from unwarp.errors import RecipeError
from unwarp.flows._ends import Ends, vectors
from unwarp.flows._pixels import spread
from unwarp.flows._recipe import Context, Layers, Marginals, Shape, recipe
from unwarp.networks import CausalTransformer, Transformer
from unwarp.transforms import Autoregressive, Compose, Coupling, Patches, Reshape, Transform
from unwarp.univariates import Affine, RationalQuadratic, Univariate

__all__ = ["jet", "tarflow"]

Depth = Annotated[int, Field(strict=True, ge=0, le=256)]
Width = Annotated[int, Field(strict=True, ge=1, le=16_384)]
Heads = Annotated[int, Field(strict=True, ge=1, le=1024)]
Patch = Annotated[int, Field(strict=True, ge=1, le=1024)] | None
Whole = Annotated[int, Field(strict=True, ge=0, le=65536)]

_TOKENS = 64  # as many or fewer of them are what images are cut into by default


@recipe
def tarflow(
    features: Shape,
    *,
    context: Context = 0,
    layers: Layers = 4,
    depth: Depth = 2,
    width: Width = 64,
    heads: Heads = 4,
    patch: Patch = None,
    bins: Marginals = 0,
    values: Whole = 0,
    inverse: Literal["cached", "jacobi"] = "cached",
    **ends: Unpack[Ends],
) -> Flow:
    """Transformer autoregressive flow: each token scaled and shifted as all before it say; orders alternate.

    Use it for images, and for sequences and tables of many features that depend on each other in many ways.

    Args:
        features: number of features, (length, channels) of a sequence, or (channels, height, width) of an image.
        context: length of the context, such as a class in one-hot form; 0 for none.
        layers: number of autoregressive layers.
        depth: blocks of attention in each of them.
        width: length of a token inside them; `heads` divides it.
        heads: attention heads.
        patch: side of the square that is one token of an image, or how many neighbouring features or steps are one
            token; null for the smallest that cuts an image into at most 64 tokens, and for 1 elsewhere.
        bins: bins of splines; 0 for scale and shift.
        values: of an image whose pixels are the whole numbers from 0 to values - 1, spread uniformly over their bins;
            `log_prob` is then a lower bound of a log probability. 0 for real numbers.
        inverse: how samples are drawn: "cached" goes token by token, "jacobi" sweeps over all until they are solved.
        ends: what is before and after the layers, see `Ends`; features are the tokens' channels, token by token.

    Source: Zhai et al., 2024, arXiv:2412.06329. Differs: data are standardised inside the flow, and noise and guidance
    are left to training and sampling.
    """
    shape, near, tokens = _tokens("tarflow", features, patch)
    univariate = _univariate(bins)
    maps: list[Transform] = []
    for layer in range(layers):
        net = CausalTransformer(tokens, univariate.n_params, width=width, depth=depth, heads=heads, context=context)
        order = range(tokens[0]) if layer % 2 == 0 else range(tokens[0] - 1, -1, -1)
        maps.append(Autoregressive(tokens, univariate, net, order=order, context=context, inverse=inverse))
    flat = (math.prod(tokens),)
    chains = [maps] if ends["mixing"] == "none" else [[part] for part in maps]
    parts = [Compose([Reshape(flat, tokens), *chain, Reshape(tokens, flat)]) for chain in chains]
    return _flow(shape, near, parts, values, ends)


@recipe
def jet(
    features: Shape,
    *,
    context: Context = 0,
    layers: Layers = 8,
    depth: Depth = 2,
    width: Width = 64,
    heads: Heads = 4,
    patch: Patch = None,
    bins: Marginals = 0,
    values: Whole = 0,
    **ends: Unpack[Ends],
) -> Flow:
    """Jet: couplings over tokens, or over their channels, told how by vision transformers.

    Use it for images where density and sampling should both cost one pass.

    Args:
        features: number of features, (length, channels) of a sequence, or (channels, height, width) of an image.
        context: length of the context; 0 for none.
        layers: number of couplings; pairs of them split tokens and channels by turns.
        depth: blocks of attention in each of them.
        width: length of a token inside them; `heads` divides it.
        heads: attention heads.
        patch: as for `tarflow`.
        bins: bins of splines; 0 for scale and shift.
        values: as for `tarflow`.
        ends: as for `tarflow`.

    Source: Kolesnikov, Pinto and Tschannen, 2024, arXiv:2412.15129. Differs: halves are told apart by the bits of
    tokens' and channels' indices, so that any two entries meet, and log scales are bounded by tanh.
    """
    shape, near, tokens = _tokens("jet", features, patch)
    univariate = _univariate(bins)
    parts: list[Transform] = []
    for layer in range(layers):
        mask, kept, moved = _split(tokens, layer)
        inside = {"width": width, "depth": depth, "heads": heads, "context": context}
        net = Transformer(kept, (moved[0], moved[1] * univariate.n_params), **inside)
        parts.append(Coupling(math.prod(tokens), univariate, net, mask=mask, context=context))
    return _flow(shape, near, parts, values, ends)


def _univariate(bins: int) -> Univariate:
    return RationalQuadratic(max(2, bins), min_bin=min(3e-2, 0.5 / bins), min_slope=3e-2) if bins else Affine()


def _tokens(
    name: str, features: int | Sequence[int], patch: int | None
) -> tuple[tuple[int, ...], int, tuple[int, int]]:
    """The event's shape, the size of a patch, and the number and length of the tokens that it is cut into."""
    shape = (features,) if isinstance(features, int) else tuple(features)
    if len(shape) == 3:
        patch = patch or _patch(shape[1], shape[2])
        length, channels = Patches(shape, patch).codomain.shape
        return shape, patch, (length, channels)
    patch, first = patch or 1, math.prod(shape[:1])
    if len(shape) > 3 or first % patch:
        raise RecipeError(
            f"{name}: expected a number of features, (length, channels) or (channels, height, width), in wholes of "
            f"patch = {patch}; got {shape}. Change features or patch."
        )
    return shape, patch, (first // patch, patch * math.prod(shape[1:]))


def _patch(height: int, width: int) -> int:
    """The smallest side of squares that cut an image into few tokens; 1 where none does."""
    sides = (side for side in range(1, 33) if height % side == width % side == 0)
    return next((side for side in sides if height * width <= _TOKENS * side**2), 1)


def _split(tokens: tuple[int, int], layer: int) -> tuple[list[bool], tuple[int, int], tuple[int, int]]:
    """Which entries a coupling keeps, token by token; how many tokens of how many channels stay, and how many move.

    Splits go through the bits of the indices of tokens and channels by turns, each bit with both its values.
    """
    length, channels = tokens
    bits = [[(axis, bit) for bit in range((size - 1).bit_length())] for axis, size in enumerate(tokens)]
    splits = [split for pair in zip_longest(*bits) for split in pair if split is not None]
    if not splits:
        return [False], (0, 1), (1, 1)
    axis, bit = splits[layer // 2 % len(splits)]
    stays = [(i >> bit) % 2 == layer % 2 for i in range(tokens[axis])]
    mask = [stays[(i, k)[axis]] for i in range(length) for k in range(channels)]
    few, many = sum(stays), len(stays) - sum(stays)
    return (mask, (few, channels), (many, channels)) if axis == 0 else (mask, (length, few), (length, many))


def _flow(shape: tuple[int, ...], patch: int, parts: Sequence[Transform], values: int, ends: Ends) -> Flow:
    """The flow of the layers `parts`, which see tokens laid out as a vector, on events of `shape`."""
    if values and (values == 1 or len(shape) != 3 or ends["support"] != "real"):
        raise RecipeError(
            f"values: expected 0, or at least 2 for an image without a support of its own; got {values} for {shape} "
            f"with support={ends['support']!r}. Set values=0."
        )
    flow = vectors(math.prod(shape), parts, ends)
    if len(shape) == 1:
        return flow
    front = spread((shape[0], shape[1], shape[2]), values, equalize="histogram") if values else []
    support = flow.space.support
    if not isinstance(support, Support):
        raise RecipeError(f"support: expected one for all entries of {shape}; got {support}. Give one.")
    parts = [Patches(shape, patch, support=support)] if len(shape) == 3 else []
    tokens = parts[0].codomain.shape if parts else shape
    return Flow(
        Compose([*front, *parts, Reshape(tokens, flow.space.shape, support=support), flow.transform]), flow.base
    )
