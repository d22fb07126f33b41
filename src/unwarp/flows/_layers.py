"""Stacks of couplings and of autoregressive layers, which many recipes share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from unwarp.errors import ConfigError, RecipeError
from unwarp.networks import MLP, MaskedMLP
from unwarp.transforms import Autoregressive, Coupling, Transform
from unwarp.univariates import Univariate

__all__ = ["autoregressive", "couplings"]


def couplings(
    features: int,
    univariate: Univariate,
    layers: int,
    hidden: Sequence[int],
    context: int,
    *,
    wrap: Callable[[nn.Module], nn.Module] = lambda net: net,
) -> list[Transform]:
    """Couplings whose masks go through the bits of the features' indices, so that any two features meet."""
    bits = max(1, (features - 1).bit_length())
    parts: list[Transform] = []
    for layer in range(layers):
        mask = [features > 1 and (i >> (layer // 2 % bits)) % 2 == layer % 2 for i in range(features)]
        kept = sum(mask)
        net = MLP(kept, (features - kept) * univariate.n_params, hidden=hidden, context=context)
        parts.append(Coupling(features, univariate, wrap(net), mask=mask, context=context))
    return parts


def autoregressive(
    features: int,
    univariate: Univariate,
    layers: int,
    hidden: Sequence[int],
    context: int,
    *,
    passes: int | None = None,
    adjacency: Sequence[tuple[int, int]] | None = None,
) -> list[Transform]:
    """Autoregressive layers in natural and reversed order by turns, or all along one graph."""
    parts: list[Transform] = []
    for layer in range(layers):
        try:
            net = MaskedMLP(
                features, univariate.n_params, hidden=hidden, context=context, passes=passes, adjacency=adjacency
            )
        except ConfigError as error:
            raise RecipeError(str(error)) from None
        order = range(features) if layer % 2 == 0 or adjacency is not None else range(features - 1, -1, -1)
        parts.append(Autoregressive(features, univariate, net, order=order, context=context))
    return parts
