"""Coupling and autoregressive layers with their networks in one operation, where there is compiled code for it."""

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
    """What a coupling or autoregressive layer does.

    Attributes:
        scalar: the scalar map, as compiled code knows it.
        move: the same in torch, of points and parameters.
        kept: the features that the network sees.
        moved: those that it tells how to move; the same tensor where a masked network sees all of them.
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
    """The point after such layers, one after another, and their ladj; None where that cannot be one operation.

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
    if not is_ordinary(x, *extra, *tensors):
        return None
    if context is not None:
        batch = torch.broadcast_shapes(x.shape[:-1], context.shape[:-1])
        x, context = x.expand(*batch, -1), context.expand(*batch, -1)
    run = passes.run(steps, x, context)
    if run is None:
        return None
    score = None if score is None else score.detach().expand(x.shape)
    if torch.is_grad_enabled():
        return _Coupled.apply((passes, run, steps, score), x, context, *tensors)
    return _values(passes, run, x, context, score, keep=False)[0]


def _values(
    kernel: Any, run: Any, x: Tensor, context: Tensor | None, score: Tensor | None, *, keep: bool
) -> tuple[tuple[Tensor, ...], Tensor]:
    """z, the ladj and the score after, if any; and the memory that gradients need where it is to be kept."""
    score = None if score is None else _rows(score).clone()
    z, ladj, memory = kernel.couplings(run, _rows(x), None if context is None else _rows(context), score, keep=keep)
    found = z.view(x.shape), ladj.view(x.shape[:-1])
    return (found if score is None else (*found, score.view(x.shape))), memory


class _Coupled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        what: tuple[Any, Any, Sequence[CouplingStep], Tensor | None],
        x: Tensor,
        context: Tensor | None,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        kernel, run, steps, score = what
        ctx.what = kernel, run, steps
        ctx.where = [t.data_ptr() for t in tensors]
        found, memory = _values(kernel, run, x, context, score, keep=True)
        ctx.save_for_backward(x, context, *tensors, memory)
        ctx.mark_non_differentiable(*found[2:])
        return found

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        kernel, run, steps = ctx.what
        *given, memory = ctx.saved_tensors
        x, context, *tensors = given
        needed, moved = ctx.needs_input_grad[1:], ctx.where != [t.data_ptr() for t in tensors]
        if moved or torch.is_grad_enabled() or not is_ordinary(*grad_outputs[:2]):

            def reference(x: Tensor, context: Tensor | None, *tensors: Tensor) -> Pair:
                return _plainly(steps, x, context, tensors)

            return None, *gradients_of(reference, given, needed, grad_outputs[:2])
        to_context = torch.zeros_like(_rows(context)) if context is not None and needed[1] else None
        grads = _rows(grad_outputs[0]), grad_outputs[1].reshape(-1).contiguous()
        wanted = (needed[0], *needed[2:])
        to_x, *found = kernel.couplings_gradients(run, tensors, _rows(x), memory, grads, to_context, wanted)
        to_x = None if to_x is None else to_x.view(x.shape)
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
