"""Convex functions of many variables, with their gradients written out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unwarp import _check
from unwarp.functional import squash
from unwarp.networks._layers import Dense
from unwarp.networks._lipschitz import Linearized, shortened

__all__ = ["ConvexNet"]

_LONGEST = 4.0  # largest spectral norm of a W
_LOUDEST = 8.0  # largest entry of u, but for the root of their number
_DENT = 0.15  # how far the Hessian may be below 0


class ConvexNet(nn.Module):
    r"""A scalar $G(x)$ whose Hessian is above -0.15 for any weights: convex, but for a little. Zero at the start.

    $h_1 = s(W_1 x + b_1)$, $h_k = s(U_k h_{k-1} + W_k x + b_k)$ and $G = u^\top h_L$ with s the softplus; U's rows are
    positive and add up to 1. W and u are bounded, and so is the Hessian. The entries of u may be negative by so little
    that all of them together bend G by no more than 0.15: so they can start at 0 and grow from there, where entries
    that may not be negative would have no slope at 0. The gradient and the Hessian are written out, so that no
    automatic differentiation is nested.

    Use it in `ConvexPotential`. `prepared` gives the gradient together with the Hessian's product with directions.

    Args:
        features: length of x.
        hidden: sizes of the hidden layers.
        context: length of the context, which moves all biases; 0 for none.

    Shapes: x `(*batch, features)`, context `(*batch, context)` -> `(*batch)`; the batches broadcast.

    Raises:
        ConfigError: if a size is out of range.

    Source: Amos, Xu and Kolter, *Input Convex Neural Networks*, 2017, arXiv:1609.07152, eq. 2. Differs: smooth
    activations; bounds; u is
    not quite positive.

    Example:
        >>> net = ConvexNet(2, hidden=(16,))
        >>> g = net(torch.tensor([[1.0, 2.0], [3.0, -4.0]]))
        >>> g.shape, bool(g[0] == g[1])
        (torch.Size([2]), True)
    """

    def __init__(self, features: int, *, hidden: Sequence[int] = (64, 64), context: int = 0) -> None:
        super().__init__()
        _check.at_least("ConvexNet", "features", features, 1)
        _check.at_least("ConvexNet", "context", context, 0)
        widths = _check.sizes("ConvexNet", "hidden", hidden)
        self.context = context
        self.of_x = nn.ModuleList(Dense(features, width, bias=False) for width in widths)
        self.of_context = nn.ModuleList(Dense(context, width, zero=True, bias=False) for width in widths if context)
        self.bias = nn.ParameterList(4 * torch.rand(width) - 2 for width in widths)
        self.below = nn.ParameterList(torch.zeros(b, a) for a, b in pairwise(widths))
        self.top = nn.Parameter(torch.zeros(widths[-1]))
        bend = sum((_LONGEST * k) ** 2 / 4 for k in range(1, len(widths) + 1))  # a unit of layer k is no steeper
        self._least = _DENT / (bend * widths[-1] ** 0.5)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        direct, below, top, offsets = self._weights(context)
        h = x[..., :0]
        for i, (weight, offset) in enumerate(zip(direct, offsets, strict=True)):
            h = F.softplus(F.linear(x, weight) + offset + (F.linear(h, below[i - 1]) if i else 0.0))
        return (top * h).sum(-1)

    def prepared(self, context: Tensor | None = None) -> Linearized:
        r"""The gradient for this context, the weights made once.

        Returns:
            A function from x to $\nabla G(x)$ and to the function that multiplies directions by the Hessian at x.

        Shapes: directions `(*batch, K, features)` -> `(*batch, K, features)`.
        """
        direct, below, top, offsets = self._weights(context)
        layers = range(len(direct))

        def linearized(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
            h, slopes, signals = x, [x] * len(direct), [x] * len(direct)
            for i in layers:
                a = F.linear(x, direct[i]) + offsets[i] + (F.linear(h, below[i - 1]) if i else 0.0)
                h, slopes[i] = F.softplus(a), a.sigmoid()
            signal, gradient = top, torch.zeros_like(x)
            for i in reversed(layers):
                signals[i], delta = signal, signal * slopes[i]
                gradient = gradient + delta @ direct[i]
                signal = delta @ below[i - 1] if i else signal

            def push(v: Tensor) -> Tensor:
                ways, way = [v] * len(direct), v
                for i in layers:
                    way = F.linear(v, direct[i]) + (F.linear(way, below[i - 1]) if i else 0.0)
                    ways[i], way = way, way * slopes[i].unsqueeze(-2)
                change, total = torch.zeros_like(way), torch.zeros_like(v)
                for i in reversed(layers):
                    bend = signals[i] * slopes[i] * (1 - slopes[i])
                    change = change * slopes[i].unsqueeze(-2) + bend.unsqueeze(-2) * ways[i]
                    total = total + change @ direct[i]
                    change = change @ below[i - 1] if i else change
                return total

            return gradient, push

        return linearized

    def _weights(self, context: Tensor | None) -> tuple[list[Tensor], list[Tensor], Tensor, list[Tensor]]:
        """W, U, u, and the biases for this context."""
        layers: list[Dense] = list(self.of_x)  # pyright: ignore[reportAssignmentType]
        direct = [shortened(layer.weight * layer.scale, _LONGEST) for layer in layers]
        below = [weight.softmax(-1) for weight in self.below]
        offsets = list(self.bias)
        if context is not None and self.context:
            offsets = [b + layer(squash(context)) for b, layer in zip(offsets, self.of_context, strict=True)]
        steep = torch.where(self.top > 0, 1 / _LOUDEST, 1 / self._least)
        top = self.top / (1 + self.top.abs() * steep)
        return direct, below, top / self.top.shape[0] ** 0.5, offsets
