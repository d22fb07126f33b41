"""A coupling layer and its network in one operation, where compiled code computes what is around the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unwarp.functional._perceptron import Affinity, exchanged, plainly
from unwarp.functional._sequence import ScalarMap
from unwarp.kernels import Room, gradients_of, is_ordinary, passes

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
    if torch.compiler.is_compiling() or passes is None or torch.is_autocast_enabled("cpu"):
        return None
    tensors = [t for layer in layers for t in layer[:2]]
    extra = [] if context is None else [context]
    if not is_ordinary(x, *extra, *tensors) or not passes.takes(layers, columns.scalar.bins):
        return None
    if context is not None:
        batch = torch.broadcast_shapes(x.shape[:-1], context.shape[:-1])
        x, context = x.expand(*batch, -1), context.expand(*batch, -1)
    if torch.is_grad_enabled():
        return _Coupled.apply((passes, columns, layers), x, context, *tensors)
    z, ladj, _ = _values(passes, columns, layers, x, context)
    return z, ladj


def _values(
    kernel: Any, columns: Columns, layers: Sequence[Affinity], x: Tensor, context: Tensor | None
) -> tuple[Tensor, Tensor, Room]:
    z, ladj, room = kernel.coupling(columns, layers, _rows(x), None if context is None else _rows(context))
    return z.view(x.shape), ladj.view(x.shape[:-1]), room


class _Coupled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, what: tuple[Any, Columns, Sequence[Affinity]], x: Tensor, context: Tensor | None, *tensors: Tensor
    ) -> Pair:
        ctx.what = what
        z, ladj, room = _values(*what, x, context)
        ctx.save_for_backward(x, context, *tensors, room.memory)
        ctx.room = room._replace(memory=x.new_empty(0))
        return z, ladj

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        kernel, columns, layers = ctx.what
        *given, memory = ctx.saved_tensors
        needed = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled() or not is_ordinary(*grad_outputs):

            def reference(x: Tensor, context: Tensor | None, *tensors: Tensor) -> Pair:
                return _plainly(columns, exchanged(layers, tensors), x, context)

            return None, *gradients_of(reference, given, needed, grad_outputs)
        x, context = given[0], given[1]
        to_z, to_ladj = _rows(grad_outputs[0]), grad_outputs[1].reshape(-1).contiguous()
        rows, others = _rows(x), None if context is None else _rows(context)
        room = ctx.room._replace(memory=memory)
        to_x, to_context, *found = kernel.coupling_gradients(
            columns, layers, rows, others, room, to_z, to_ladj, needed
        )
        to_x = None if to_x is None else to_x.view(x.shape)
        return None, to_x, None if to_context is None else to_context.view(context.shape), *found


def _plainly(columns: Columns, layers: Sequence[Affinity], x: Tensor, context: Tensor | None) -> Pair:
    """The same by single operations."""
    seen = x.index_select(-1, columns.kept)
    seen = seen if context is None else torch.cat([seen, context], -1)
    params = plainly(seen, layers, None, squashed=True).unflatten(-1, (len(columns.moved), -1))
    moved, ladj = columns.move(x.index_select(-1, columns.moved), params)
    return x.index_copy(-1, columns.moved, moved), ladj.sum(-1)


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1]).contiguous()
