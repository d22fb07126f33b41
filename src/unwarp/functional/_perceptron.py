"""Fully connected layers with rectifiers between them, as one step of automatic differentiation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from unwarp.kernels import gradients_of, is_ordinary, passes

__all__ = ["Affinity", "exchanged", "perceptron", "plainly", "squash"]

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
    if torch.compiler.is_compiling() or passes is None or torch.is_autocast_enabled("cpu"):
        return plainly(x, layers, offset, squashed=squashed)
    net = passes.sketch(layers, x.shape[-1]) if is_ordinary(x, *tensors, *extra) else None
    if net is None:
        return plainly(x, layers, offset, squashed=squashed)
    if offset is not None:
        batch = torch.broadcast_shapes(x.shape[:-1], offset.shape[:-1])
        x, offset = x.expand(*batch, -1), offset.expand(*batch, -1)
    if torch.is_grad_enabled():
        return _Perceptron.apply((passes, net, layers, squashed), x, offset, *tensors)
    y = passes.network(net, _rows(x), None if offset is None else _rows(offset), squashed=squashed)[0]
    return y.view(*x.shape[:-1], y.shape[-1])


def plainly(x: Tensor, layers: Sequence[Affinity], offset: Tensor | None, *, squashed: bool) -> Tensor:
    """The same by single operations."""
    h = squash(x) if squashed else x
    for i, layer in enumerate(layers):
        h = F.linear(h if i == 0 else h.relu(), layer.weight * layer.scale, layer.bias)
        h = h if i or offset is None else h + offset
    return h


class _Perceptron(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        what: tuple[Any, Any, Sequence[Affinity], bool],
        x: Tensor,
        offset: Tensor | None,
        *tensors: Tensor,
    ) -> Tensor:
        ctx.what = what
        ctx.where = [t.data_ptr() for t in tensors]
        kernel, net, _, squashed = what
        y, memory = kernel.network(net, _rows(x), None if offset is None else _rows(offset), squashed=squashed)
        ctx.save_for_backward(x, offset, *tensors, memory)
        return y.view(*x.shape[:-1], y.shape[-1])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grad_outputs
        kernel, net, layers, squashed = ctx.what
        *given, memory = ctx.saved_tensors
        x, offset, *tensors = given
        needed, moved = ctx.needs_input_grad[1:], ctx.where != [t.data_ptr() for t in tensors]
        if moved or torch.is_grad_enabled() or not is_ordinary(grad):

            def reference(x: Tensor, offset: Tensor | None, *tensors: Tensor) -> Tensor:
                return plainly(x, exchanged(layers, tensors), offset, squashed=squashed)

            return None, *gradients_of(reference, given, needed, grad_outputs)
        g = _rows(grad).clone()
        to_x, to_offset, *found = kernel.network_gradients(net, tensors, _rows(x), memory, g, needed, squashed=squashed)
        to_x = None if to_x is None else to_x.view(x.shape)
        return None, to_x, None if to_offset is None else to_offset.view(offset.shape), *found


def exchanged(layers: Sequence[Affinity], tensors: Sequence[Tensor]) -> list[Affinity]:
    """The layers with other weights and biases, in turn."""
    pairs = zip(layers, tensors[::2], tensors[1::2], strict=True)
    return [layer._replace(weight=w, bias=b) for layer, w, b in pairs]


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1]).contiguous()
