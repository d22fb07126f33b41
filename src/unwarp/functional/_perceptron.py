"""Fully connected layers with rectifiers between them, as one step of automatic differentiation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from unwarp.kernels import gradients_of, in_columns, is_ordinary

__all__ = ["Affinity", "Pass", "back", "exchanged", "forth", "perceptron", "plainly", "squash"]

_REACH = 3.0
_NARROW, _TALL = 16, 2**15  # a matrix of fewer columns, times one of more entries, is multiplied faster transposed
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
        return plainly(x, layers, offset, squashed=squashed)
    if offset is not None:
        batch = torch.broadcast_shapes(x.shape[:-1], offset.shape[:-1])
        x, offset = x.expand(*batch, -1), offset.expand(*batch, -1)
    if torch.is_grad_enabled():
        return _Perceptron.apply((layers, squashed), x, offset, *tensors)
    h = _squash(_rows(x))[0] if squashed else _rows(x)
    y = forth(layers, h, None if offset is None else _rows(offset)).y
    return y.view(*x.shape[:-1], y.shape[-1])


def plainly(x: Tensor, layers: Sequence[Affinity], offset: Tensor | None, *, squashed: bool) -> Tensor:
    """The same by single operations."""
    h = squash(x) if squashed else x
    for i, layer in enumerate(layers):
        h = F.linear(h if i == 0 else h.relu(), layer.weight * layer.scale, layer.bias)
        h = h if i or offset is None else h + offset
    return h


class Pass(NamedTuple):
    """What the layers give, and what their gradients need: each layer's input and scaled weight."""

    y: Tensor
    seen: list[Tensor]
    scaled: list[Tensor]


def forth(layers: Sequence[Affinity], h: Tensor, offset: Tensor | None = None) -> Pass:
    """The layers on rows h, which the first of them sees."""
    seen: list[Tensor] = []
    scaled: list[Tensor] = []
    for i, layer in enumerate(layers):
        seen.append(h.relu_() if i else h)
        scaled.append(layer.weight * layer.scale if isinstance(layer.scale, Tensor) else layer.weight)
        h = _forth(h, scaled[-1], layer)
        if i == 0 and offset is not None:
            h += offset
    return Pass(h, seen, scaled)


def back(
    layers: Sequence[Affinity],
    seen: Sequence[Tensor],
    scaled: Sequence[Tensor],
    g: Tensor,
    needed: Sequence[bool],
    *,
    before: bool,
) -> tuple[list[Tensor | None], Tensor, Tensor | None]:
    """From gradients g of rows of the last layer's output to those of others.

    Args:
        layers: as of `forth`.
        seen: what `forth` tells.
        scaled: what `forth` tells.
        g: `(rows, outputs)`.
        needed: of each layer's weight and bias in turn, whether theirs are wanted.
        before: whether those of the first layer's input are.

    Returns:
        Those of weights and biases, those of what the first layer gives, and those of its input.
    """
    found: list[Tensor | None] = [None] * len(needed)
    for i in reversed(range(len(layers))):
        last = i == len(layers) - 1
        units = None if last else seen[i + 1]
        if in_columns is not None and (not last or (needed[2 * i + 1] and g.is_contiguous())):
            sums = in_columns.rectify(g, units)
        else:
            if units is not None:
                torch.ops.aten.threshold_backward.grad_input(g, units, 0, grad_input=g)
            sums = g.sum(0) if needed[2 * i + 1] else None
        if needed[2 * i]:
            found[2 * i] = _to_weight(g, seen[i], layers[i])
        found[2 * i + 1] = sums if needed[2 * i + 1] else None
        if i > 0:
            g = _back(g, scaled[i], layers[i])
    return found, g, _back(g, scaled[0], layers[0]) if before else None


class _Perceptron(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, what: tuple[Sequence[Affinity], bool], x: Tensor, offset: Tensor | None, *tensors: Tensor
    ) -> Tensor:
        layers, squashed = ctx.what = what
        h, rate = _squash(_rows(x)) if squashed else (_rows(x), None)
        y, seen, scaled = forth(layers, h, None if offset is None else _rows(offset))
        ctx.save_for_backward(x, offset, *tensors, rate, *seen, *scaled)
        return y.view(*x.shape[:-1], y.shape[-1])

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
                return plainly(x, exchanged(layers, tensors), offset, squashed=what[1])

            return None, *gradients_of(reference, given, needed, grad_outputs)
        seen, scaled = within[: len(layers)], within[len(layers) :]
        found, to_offset, to_x = back(layers, seen, scaled, _rows(grad), needed[2:], before=needed[0])
        if to_x is not None:
            to_x = (to_x if rate is None else to_x * (rate * rate).mul_(rate)).view(given[0].shape)
        return None, to_x, None if given[1] is None else to_offset.view(given[1].shape), *found


def exchanged(layers: Sequence[Affinity], tensors: Sequence[Tensor]) -> list[Affinity]:
    """The layers with other weights and biases, in turn."""
    pairs = zip(layers, tensors[::2], tensors[1::2], strict=True)
    return [layer._replace(weight=w, bias=b) for layer, w, b in pairs]


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
    if isinstance(layer.scale, Tensor) and len(layer.stairs) > 1:
        y = g.new_zeros(len(g), weight.shape[1])
        for p, q, k in layer.stairs:
            y[:, :k].addmm_(g[:, p:q], weight[p:q, :k])
        return y
    return _product(g, weight, 1.0 if isinstance(layer.scale, Tensor) else layer.scale)


def _to_weight(g: Tensor, h: Tensor, layer: Affinity) -> Tensor:
    if not isinstance(layer.scale, Tensor):
        return _product(g.t(), h, layer.scale)
    if len(layer.stairs) == 1:
        return _product(g.t(), h, 1.0).mul_(layer.scale)
    y = torch.zeros_like(layer.weight)
    for p, q, k in layer.stairs:
        torch.mm(g[:, p:q].t(), h[:, :k], out=y[p:q, :k])
    return y.mul_(layer.scale)


def _product(a: Tensor, b: Tensor, scale: float) -> Tensor:
    if 1 < b.shape[1] < _NARROW <= a.shape[0] and a.numel() > _TALL:
        return _product(b.t(), a.t(), scale).t().contiguous()
    return torch.addmm(a.new_empty(()), a, b, beta=0, alpha=scale)
