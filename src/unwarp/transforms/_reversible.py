"""Gradients of a chain of bijections from its end alone: activations are found again by going back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unwarp.errors import UnwarpError
from unwarp.transforms._base import Transform

__all__ = ["Step", "reversible_steps"]

Step = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]
_DRIFT = 4.0  # allowed drift, in roots of the precision: 1e-3 in float32, 6e-8 in float64


def reversible_steps(parts: Sequence[Transform], *, backwards: bool, nests: type[Transform]) -> list[Step]:
    """The maps of a chain in the order of the calls, with neighbours that can be undone joined to one.

    Args:
        parts: maps in the order in which they are called.
        backwards: whether their inverses are called.
        nests: chains, which see to their own parts wherever they are inside a part.
    """
    steps: list[Step] = []
    for undone, group in groupby(parts, lambda part: _can_be_undone(part, nests)):
        run = list(group)
        if undone and len(run) > 1:
            steps.append(_Run(run, backwards=backwards))
        else:
            steps.extend(_ways(part, backwards=backwards)[0] for part in run)
    return steps


def _can_be_undone(part: Transform, nests: type[Transform]) -> bool:
    return part.kind == "exact" and part.loses == "nothing" and not any(isinstance(m, nests) for m in part.modules())


def _ways(part: Transform, *, backwards: bool) -> tuple[Step, Step]:
    """There and back."""
    return (part.inverse, part.forward) if backwards else (part.forward, part.inverse)


class _Run:
    """Maps one after another, as one differentiable operation."""

    def __init__(self, parts: Sequence[Transform], *, backwards: bool) -> None:
        self.legs = [
            (*_ways(part, backwards=backwards), [p for p in part.parameters() if p.requires_grad]) for part in parts
        ]
        self.weights = list({id(p): p for _, _, own in self.legs for p in own}.values())

    def __call__(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return _Undone.apply(self, x, context, *self.weights)  # pyright: ignore[reportReturnType]


class _Undone(torch.autograd.Function):
    """Forward without a graph; backward finds each map's input from its output, and differentiates that map alone."""

    @staticmethod
    def forward(ctx: Any, run: _Run, x: Tensor, context: Tensor | None, *weights: Tensor) -> tuple[Tensor, Tensor]:
        z, total = x, None
        for there, _, _ in run.legs:
            z, ladj = there(z, context)
            total = ladj if total is None else total + ladj
        ctx.run = run
        ctx.save_for_backward(x, z, total, context, *weights)  # weights that have changed since are refused
        return z, torch.as_tensor(total)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_z: Tensor, grad_ladj: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        first, z, total, context, *_ = ctx.saved_tensors
        wanted = ctx.needs_input_grad[2]
        given = context.detach().requires_grad_() if wanted else context
        sums: dict[int, Tensor] = {}
        last = z.reshape(*total.shape, -1).sum(-1)
        again = torch.zeros_like(total)
        for there, back, own in reversed(ctx.run.legs):
            x = back(z, context)[0].detach().requires_grad_()
            with torch.enable_grad():
                outputs = there(x, given)
            again = again + outputs[1].detach()
            pairs = [(y, g) for y, g in zip(outputs, (grad_z, grad_ladj), strict=True) if y.requires_grad]
            inputs = [x, *([given] if wanted else []), *own]
            found = torch.autograd.grad([y for y, _ in pairs], inputs, [g for _, g in pairs], allow_unused=True)
            grad_z, z = _or_zero(found[0], x), x.detach()
            for tensor, grad in zip(inputs[1:], found[1:], strict=True):
                if grad is not None:  # pyright: ignore[reportUnnecessaryComparison]
                    sums[id(tensor)] = sums[id(tensor)] + grad if id(tensor) in sums else grad
        drift = torch.maximum(_drift(first, z, total.shape), _drift(total, again, total.shape))
        _hold(drift, last.isfinite() & total.isfinite(), _DRIFT * torch.finfo(first.dtype).eps ** 0.5)
        return None, grad_z, sums.get(id(given)), *(sums.get(id(p)) for p in ctx.run.weights)


def _or_zero(grad: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if grad is None else grad


def _hold(drift: Tensor, finite: Tensor, allowed: float) -> None:
    """Refuse gradients at points that are not those that went forward; rows that were never finite pass."""
    if not bool(((drift <= allowed) | ~finite).all()):
        raise UnwarpError(
            f"reversible: expected layers undone within {allowed:.0e}; got a drift of {float(drift.max()):.1e}. "
            'Train with memory="stored", in float64, or without layers that draw or that see other rows.'
        )


def _drift(true: Tensor, found: Tensor, batch: torch.Size) -> Tensor:
    """How far each row has drifted, `(*batch)`."""
    return ((found - true).abs() / (1 + true.abs())).reshape(*batch, -1).amax(-1)
