"""Fully connected layers with rectifiers between them, as one step of automatic differentiation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from unwarp.kernels import gradients_of, is_ordinary

__all__ = ["Affinity", "perceptron", "squash"]

_REACH = 3.0
_FAR = 1e9  # beyond, the square overflows in float32; there all is 3


class Affinity(NamedTuple):
    r"""One layer, $y = (W \odot S)\,h + b$.

    Attributes:
        weight: $W$, `(outputs, inputs)`.
        bias: $b$, `(outputs,)`.
        scale: $S$, one number, or a tensor as `weight` with zeros where there is no weight.
        stairs: triples (p, q, k): outputs p to q see no input from the k-th on. Together they are all outputs.
    """

    weight: Tensor
    bias: Tensor
    scale: Tensor | float
    stairs: Sequence[tuple[int, int, int]]


def squash(x: Tensor) -> Tensor:
    r"""$x / \sqrt{1 + (x/3)^2}$: nearly the identity near 0, one to one, never beyond 3.

    A conditioner that sees a raw 1e3 pushes the other coordinates into degenerate bins; one that sees
    at most 3 does not.
    """
    x = x.clamp(-_FAR, _FAR)
    return x * (1 + (x / _REACH).square()).rsqrt()


def perceptron(x: Tensor, layers: Sequence[Affinity], *, offset: Tensor | None = None, squashed: bool) -> Tensor:
    """The last layer of the rectified one before it, and so on down to x, which may be squashed first.

    Where a call is ordinary (numbers of one kind on the CPU, computed now), it is a single operation with gradients of
    its own: a few matrix products, in which blocks of weights that are all zero have no part.

    Args:
        x: `(*batch, inputs)`.
        layers: from the first on.
        offset: added to what the first layer gives, `(*batch, outputs)`; the batches broadcast.
        squashed: whether the first layer sees `squash(x)`.
    """
    tensors = [t for layer in layers for t in layer[:2]]
    extra = [] if offset is None else [offset]
    if torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu") or not is_ordinary(x, *tensors, *extra):
        return _plainly(x, layers, offset, squashed=squashed)
    if offset is not None:
        batch = torch.broadcast_shapes(x.shape[:-1], offset.shape[:-1])
        x, offset = x.expand(*batch, -1), offset.expand(*batch, -1)
    if torch.is_grad_enabled():
        return _Perceptron.apply((layers, squashed), x, offset, *tensors)
    return _compute(layers, x, offset, squashed=squashed).y


def _plainly(x: Tensor, layers: Sequence[Affinity], offset: Tensor | None, *, squashed: bool) -> Tensor:
    """The same by single operations."""
    h = squash(x) if squashed else x
    for i, layer in enumerate(layers):
        h = F.linear(h if i == 0 else h.relu(), layer.weight * layer.scale, layer.bias)
        h = h if i or offset is None else h + offset
    return h


class _Computed(NamedTuple):
    """What the layers give, and what their gradients need: the squash's rate, each layer's input and scaled weight."""

    y: Tensor
    rate: Tensor | None
    seen: list[Tensor]
    scaled: list[Tensor]


def _compute(layers: Sequence[Affinity], x: Tensor, offset: Tensor | None, *, squashed: bool) -> _Computed:
    h, rate = _squash(_rows(x)) if squashed else (_rows(x), None)
    seen: list[Tensor] = []
    scaled: list[Tensor] = []
    for i, layer in enumerate(layers):
        seen.append(h.relu_() if i else h)
        scaled.append(layer.weight * layer.scale if isinstance(layer.scale, Tensor) else layer.weight)
        h = _forth(h, scaled[-1], layer)
        if i == 0 and offset is not None:
            h += offset.reshape(h.shape)
    return _Computed(h.view(*x.shape[:-1], h.shape[-1]), rate, seen, scaled)


class _Perceptron(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, what: tuple[Sequence[Affinity], bool], x: Tensor, offset: Tensor | None, *tensors: Tensor
    ) -> Tensor:
        layers, squashed = ctx.what = what
        y, rate, seen, scaled = _compute(layers, x, offset, squashed=squashed)
        ctx.save_for_backward(x, offset, *tensors, rate, *seen, *scaled)
        return y

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grad_outputs
        what: tuple[Sequence[Affinity], bool] = ctx.what
        layers = what[0]
        count = 2 + 2 * len(layers)
        saved = ctx.saved_tensors
        given, rate, within = saved[:count], saved[count], saved[count + 1 :]
        needed = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled() or not is_ordinary(grad):

            def reference(x: Tensor, offset: Tensor | None, *tensors: Tensor) -> Tensor:
                pairs = zip(layers, tensors[::2], tensors[1::2], strict=True)
                return _plainly(x, [a._replace(weight=w, bias=b) for a, w, b in pairs], offset, squashed=what[1])

            return None, *gradients_of(reference, given, needed, grad_outputs)
        seen, scaled = within[: len(layers)], within[len(layers) :]
        found: list[Tensor | None] = [None] * count
        g = _rows(grad)
        for i in reversed(range(len(layers))):
            if i < len(layers) - 1:
                torch.ops.aten.threshold_backward.grad_input(g, seen[i + 1], 0, grad_input=g)
            if needed[2 + 2 * i]:
                found[2 + 2 * i] = _to_weight(g, seen[i], layers[i])
            if needed[3 + 2 * i]:
                found[3 + 2 * i] = g.sum(0)
            if i == 0 and given[1] is not None:
                found[1] = g.view(given[1].shape)
            if i > 0 or needed[0]:
                g = _back(g, scaled[i], layers[i])
        if needed[0]:
            found[0] = (g if rate is None else g * (rate * rate).mul_(rate)).view(given[0].shape)
        return None, *found


def _rows(x: Tensor) -> Tensor:
    return x if x.dim() == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _squash(x: Tensor) -> tuple[Tensor, Tensor]:
    """`squash(x)` and the root r of 1 / (1 + (x/3)^2); the slope is its cube."""
    x = x.clamp(-_FAR, _FAR)
    rate = torch.addcmul(x.new_ones(()), x, x, value=_REACH**-2).rsqrt_()
    return x * rate, rate


def _forth(h: Tensor, weight: Tensor, layer: Affinity) -> Tensor:
    alpha = 1.0 if isinstance(layer.scale, Tensor) else layer.scale
    if len(layer.stairs) == 1:
        return torch.addmm(layer.bias, h, weight.t(), alpha=alpha)
    y = h.new_empty(len(h), len(weight))
    for p, q, k in layer.stairs:
        torch.addmm(layer.bias[p:q], h[:, :k], weight[p:q, :k].t(), alpha=alpha, out=y[:, p:q])
    return y


def _back(g: Tensor, weight: Tensor, layer: Affinity) -> Tensor:
    if len(layer.stairs) == 1:
        return g @ weight if isinstance(layer.scale, Tensor) else _product(g, weight, layer.scale)
    y = g.new_zeros(len(g), weight.shape[1])
    for p, q, k in layer.stairs:
        y[:, :k].addmm_(g[:, p:q], weight[p:q, :k])
    return y


def _to_weight(g: Tensor, h: Tensor, layer: Affinity) -> Tensor:
    if not isinstance(layer.scale, Tensor):
        return _product(g.t(), h, layer.scale)
    if len(layer.stairs) == 1:
        return (g.t() @ h).mul_(layer.scale)
    y = torch.zeros_like(layer.weight)
    for p, q, k in layer.stairs:
        torch.mm(g[:, p:q].t(), h[:, :k], out=y[p:q, :k])
    return y.mul_(layer.scale)


def _product(a: Tensor, b: Tensor, scale: float) -> Tensor:
    return torch.addmm(a.new_empty(()), a, b, beta=0, alpha=scale)
