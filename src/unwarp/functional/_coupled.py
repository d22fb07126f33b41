"""Coupling layers and their networks in one operation, where there is compiled code for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unwarp.functional._perceptron import Affinity, exchanged, plainly
from unwarp.functional._sequence import ScalarMap
from unwarp.kernels import gradients_of, is_ordinary, passes

__all__ = ["CouplingStep", "couple"]

Pair = tuple[Tensor, Tensor]


class CouplingStep(NamedTuple):
    """What a coupling layer does.

    Attributes:
        scalar: the scalar map, as compiled code knows it.
        move: the same in torch, of points and parameters.
        kept: the features that the network sees.
        moved: those that it tells how to move.
        inverse: whether `scalar` is undone.
        layers: of the network, which sees all its inputs squashed.
    """

    scalar: ScalarMap
    move: Callable[[Tensor, Tensor], Pair]
    kept: Tensor
    moved: Tensor
    inverse: bool
    layers: Sequence[Affinity]


def couple(
    steps: Sequence[CouplingStep], x: Tensor, context: Tensor | None, score: Tensor | None = None
) -> tuple[Tensor, ...] | None:
    """The point after coupling layers, one after another, and their ladj; None where that cannot be one operation.

    With the gradient of a log density at x comes the one at the point after, which has no derivatives: what the
    networks said on the way there serves the way back too.

    Args:
        steps: what the layers do.
        x: `(*batch, features)`.
        context: `(*batch, context)`, seen after the kept features by networks that have room for it.
        score: as x.
    """
    if torch.compiler.is_compiling() or passes is None or torch.is_autocast_enabled("cpu"):
        return None
    tensors = [t for step in steps for layer in step.layers for t in layer[:2]]
    extra = [t for t in (context, score) if t is not None]
    if not is_ordinary(x, *extra, *tensors) or not passes.takes_couplings(steps, x, context):
        return None
    if context is not None:
        batch = torch.broadcast_shapes(x.shape[:-1], context.shape[:-1])
        x, context = x.expand(*batch, -1), context.expand(*batch, -1)
    score = None if score is None else score.detach().expand(x.shape)
    if torch.is_grad_enabled():
        return _Coupled.apply((passes, steps, score), x, context, *tensors)
    return _values(passes, steps, x, context, score, keep=False)[0]


def _values(
    kernel: Any, steps: Sequence[CouplingStep], x: Tensor, context: Tensor | None, score: Tensor | None, *, keep: bool
) -> tuple[tuple[Tensor, ...], list[Tensor], list[Tensor]]:
    """z, the ladj and the score after, if any; and what gradients need where it is to be kept: the points between
    steps, and the memory of each.
    """
    rows, others, memory = _rows(x), None if context is None else _rows(context), None
    ladj, after, memories = x.new_zeros(rows.shape[0]), [], []
    carried, ones, spare = None if score is None else _rows(score), torch.ones_like(ladj), None
    for step in steps:
        rows, memory = kernel.coupling(step, rows, others, ladj, None if keep else memory)
        if carried is not None:  # through the way back, whose network is asked the same
            undone, wanted = step._replace(inverse=not step.inverse), (True, *(False, False) * len(step.layers))
            spare, (carried, *_) = kernel.coupling_gradients(
                undone, rows, others, memory, (carried, ones), None, spare, wanted
            )
        if keep:
            after.append(rows)
            memories.append(memory)
    found = rows.view(x.shape), ladj.view(x.shape[:-1])
    return (found if carried is None else (*found, carried.view(x.shape))), after[:-1], memories


class _Coupled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        what: tuple[Any, Sequence[CouplingStep], Tensor | None],
        x: Tensor,
        context: Tensor | None,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        kernel, steps, score = what
        ctx.what = kernel, steps
        found, between, memories = _values(kernel, steps, x, context, score, keep=True)
        ctx.save_for_backward(x, context, *tensors, *between, *memories)
        ctx.mark_non_differentiable(*found[2:])
        return found

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        kernel, steps = ctx.what
        saved, count, needed = ctx.saved_tensors, len(steps), ctx.needs_input_grad[1:]
        given, between, memories = saved[: len(needed)], saved[len(needed) : -count], saved[-count:]
        if torch.is_grad_enabled() or not is_ordinary(*grad_outputs[:2]):

            def reference(x: Tensor, context: Tensor | None, *tensors: Tensor) -> Pair:
                return _plainly(steps, x, context, tensors)

            return None, *gradients_of(reference, given, needed, grad_outputs[:2])
        x, others = given[0], None if given[1] is None else _rows(given[1])
        to_context = torch.zeros_like(others) if others is not None and needed[1] else None
        to_ladj = grad_outputs[1].reshape(-1).contiguous()
        g: Tensor | None = _rows(grad_outputs[0])
        found: list[Tensor | None] = []
        end, spare = len(needed), None
        for i in reversed(range(count)):
            begin = end - 2 * len(steps[i].layers)
            rows, wanted = between[i - 1] if i else _rows(x), (i > 0 or needed[0], *needed[begin:end])
            spare, (g, *own) = kernel.coupling_gradients(
                steps[i], rows, others, memories[i], (g, to_ladj), to_context, spare, wanted
            )
            found, end = own + found, begin
        to_x = None if g is None else g.view(x.shape)
        return None, to_x, None if to_context is None else to_context.view(given[1].shape), *found


def _plainly(steps: Sequence[CouplingStep], x: Tensor, context: Tensor | None, tensors: Sequence[Tensor]) -> Pair:
    """The same by single operations, with these weights and biases in turn."""
    total = x.new_zeros(x.shape[:-1])
    for step in steps:
        count = 2 * len(step.layers)
        layers, tensors = exchanged(step.layers, tensors[:count]), tensors[count:]
        seen = x.index_select(-1, step.kept)
        if context is not None and layers[0].weight.shape[1] > len(step.kept):
            seen = torch.cat([seen, context], -1)
        params = plainly(seen, layers, None, squashed=True).unflatten(-1, (len(step.moved), -1))
        moved, ladj = step.move(x.index_select(-1, step.moved), params)
        x, total = x.index_copy(-1, step.moved, moved), total + ladj.sum(-1)
    return x, total


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1]).contiguous()
