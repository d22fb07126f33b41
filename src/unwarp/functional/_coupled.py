"""A coupling layer and its network in one operation, where compiled code computes what is around the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unwarp.functional._perceptron import Affinity, back, exchanged, forth, plainly
from unwarp.functional._sequence import ScalarMap
from unwarp.kernels import gradients_of, in_columns, is_ordinary

__all__ = ["Columns", "couple"]

Pair = tuple[Tensor, Tensor]


class Columns(NamedTuple):
    """What a layer does.

    Attributes:
        scalar: the scalar map, as compiled code knows it.
        move: the same in torch, of points and parameters.
        kept: the features that the network sees.
        moved: those that it tells how to move.
        inverse: whether `scalar` is undone.
    """

    scalar: ScalarMap
    move: Callable[[Tensor, Tensor], Pair]
    kept: Tensor
    moved: Tensor
    inverse: bool


def couple(columns: Columns, layers: Sequence[Affinity], x: Tensor, context: Tensor | None) -> Pair | None:
    """The point and the ladj of a coupling layer whose network sees all inputs squashed; None where that cannot be.

    Args:
        columns: what the layer does.
        layers: of its network.
        x: `(*batch, features)`.
        context: `(*batch, context)`, which the network sees after the kept features.
    """
    if torch.compiler.is_compiling() or in_columns is None or not in_columns.takes(columns.scalar.bins):
        return None
    tensors = [t for layer in layers for t in layer[:2]]
    extra = [] if context is None else [context]
    if torch.is_autocast_enabled("cpu") or not is_ordinary(x, *extra, *tensors):
        return None
    if context is not None:
        batch = torch.broadcast_shapes(x.shape[:-1], context.shape[:-1])
        x, context = x.expand(*batch, -1), context.expand(*batch, -1)
    if torch.is_grad_enabled():
        return _Coupled.apply((in_columns, columns, layers), x, context, *tensors)
    return _values(in_columns, columns, layers, x, context)[:2]


class _Values(NamedTuple):
    """z and ladj, and what their gradients need."""

    z: Tensor
    ladj: Tensor
    params: Tensor
    rate: Tensor
    seen: list[Tensor]


def _values(kernel: Any, columns: Columns, layers: Sequence[Affinity], x: Tensor, context: Tensor | None) -> _Values:
    rows, kept = _rows(x), len(columns.kept)
    seen = x.new_empty(len(rows), kept + (0 if context is None else context.shape[-1]))
    rate = torch.empty_like(seen)
    kernel.look(rows, columns.kept, seen, rate)
    if context is not None:
        kernel.look(_rows(context), None, seen[:, kept:], rate[:, kept:])
    done = forth(layers, seen)
    z, ladj = kernel.values(rows, done.y, columns.moved, columns.scalar, inverse=columns.inverse)
    return _Values(z.view(x.shape), ladj.view(x.shape[:-1]), done.y, rate, done.seen)


class _Coupled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, what: tuple[Any, Columns, Sequence[Affinity]], x: Tensor, context: Tensor | None, *tensors: Tensor
    ) -> Pair:
        ctx.what = what
        z, ladj, params, rate, seen = _values(*what, x, context)
        ctx.save_for_backward(x, context, *tensors, params, rate, *seen)
        return z, ladj

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        kernel, columns, layers = ctx.what
        count = 2 + 2 * len(layers)
        saved = ctx.saved_tensors
        given, (params, rate, *seen) = saved[:count], saved[count:]
        needed = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled() or not is_ordinary(*grad_outputs):

            def reference(x: Tensor, context: Tensor | None, *tensors: Tensor) -> Pair:
                return _plainly(columns, exchanged(layers, tensors), x, context)

            return None, *gradients_of(reference, given, needed, grad_outputs)
        x, context = _rows(given[0]), given[1]
        to_z, to_ladj = _rows(grad_outputs[0]), grad_outputs[1].reshape(-1).contiguous()
        to_x, g = kernel.gradients(x, params, columns.moved, columns.scalar, to_z, to_ladj, inverse=columns.inverse)
        before = needed[0] or needed[1]
        found, _, g = back(layers, seen, given[2::2], g, needed[2:], before=before)
        to_context = None
        if g is not None:
            kernel.look_back(g, rate, columns.kept, to_x)
            if needed[1]:
                own = slice(len(columns.kept), None)
                to_context = (g[:, own] * rate[:, own].pow(3)).view(context.shape)
        return None, to_x.view(given[0].shape) if needed[0] else None, to_context, *found


def _plainly(columns: Columns, layers: Sequence[Affinity], x: Tensor, context: Tensor | None) -> Pair:
    """The same by single operations."""
    seen = x.index_select(-1, columns.kept)
    seen = seen if context is None else torch.cat([seen, context], -1)
    params = plainly(seen, layers, None, squashed=True).unflatten(-1, (len(columns.moved), -1))
    moved, ladj = columns.move(x.index_select(-1, columns.moved), params)
    return x.index_copy(-1, columns.moved, moved), ladj.sum(-1)


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1]).contiguous()
