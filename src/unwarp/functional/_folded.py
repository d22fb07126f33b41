"""Linear maps of all pixels' channels, one after another, as one product of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from unwarp.errors import ConfigError
from unwarp.functional._affine import soft_clip
from unwarp.functional._linalg import upper_triangular
from unwarp.kernels import folded as kernel
from unwarp.kernels import gradients_of, is_ordinary

__all__ = ["LinearStep", "fold"]

Pair = tuple[Tensor, Tensor]


class LinearStep(NamedTuple):
    r"""A map of vectors that is linear up to a shift.

    It is $z_i = x_{\pi(i)}$ where there is an order; where there is a matrix, $z = L U x + t$ with a unit diagonal of L
    and $e^{s'}$ as that of U, $s' = c \tanh(s / c)$; else $z = x e^s + t$.

    Attributes:
        log_scale: s, `(D,)`.
        shift: t, `(D,)`.
        lower: L below its diagonal, `(D, D)`.
        upper: U above its diagonal, `(D, D)`.
        order: $\pi$, `(D,)`.
        limit: c.
    """

    log_scale: Tensor | None = None
    shift: Tensor | None = None
    lower: Tensor | None = None
    upper: Tensor | None = None
    order: Tensor | None = None
    limit: float = 1.0


def fold(steps: Sequence[LinearStep], x: Tensor, *, inverse: bool) -> Pair:
    """The points after the maps, or their inverses, in this order, and the sum of their ladjs over an image's pixels.

    Args:
        steps: the maps.
        x: `(*batch, D, H, W)`.
        inverse: whether each is undone.
    """
    tensors = [t for step in steps for t in step[:4]]
    given = [t for t in tensors if t is not None]
    pixels = x.shape[-2:].numel()
    graph = torch.is_grad_enabled()
    refused = (inverse and graph) or torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu")
    compiled = None if refused else kernel
    if compiled is None or not is_ordinary(x, *given) or not all(t.is_contiguous() for t in given):
        z, ladj = _plainly(steps, _rows(x), tensors, inverse=inverse)
        ladj = ladj * pixels
    elif graph:
        z, ladj = _Folded.apply((compiled, steps, pixels), _rows(x), *tensors)
    else:
        z, ladj = compiled.values(steps, _rows(x), pixels, inverse=inverse)
    z = z.reshape(*x.shape[:-3], *x.shape[-2:], x.shape[-3]).movedim(-1, -3)
    return z, ladj.expand(x.shape[:-3])


class _Folded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, what: tuple[Any, Sequence[LinearStep], int], x: Tensor, *tensors: Tensor | None) -> Pair:
        ctx.what = what
        compiled, steps, pixels = what
        ctx.save_for_backward(x, *tensors)
        return compiled.values(steps, x, pixels)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        compiled, steps, pixels = ctx.what
        given, needed = ctx.saved_tensors, ctx.needs_input_grad[1:]
        if torch.is_grad_enabled() or not is_ordinary(*grad_outputs):

            def reference(x: Tensor, *tensors: Tensor | None) -> Pair:
                z, ladj = _plainly(steps, x, tensors, inverse=False)
                return z, ladj * pixels

            return None, *gradients_of(reference, given, needed, grad_outputs)
        z, ladj = (t.contiguous() for t in grad_outputs)
        return None, *compiled.gradients(steps, given[0], pixels, (z, ladj), needed)


def _plainly(steps: Sequence[LinearStep], rows: Tensor, tensors: Sequence[Tensor | None], *, inverse: bool) -> Pair:
    """The same of rows by single operations, with these tensors in turn; the ladj of one row."""
    columns = torch.eye(rows.shape[-1], rows.shape[-1] + 1, dtype=rows.dtype, device=rows.device)
    matrix, shift, total = columns[:, :-1], columns[:, -1], rows.new_zeros(())
    for i, step in enumerate(steps):
        log_scale, own, lower, upper = tensors[4 * i : 4 * i + 4]
        here = step._replace(log_scale=log_scale, shift=own, lower=lower, upper=upper)
        matrix, shift, ladj = (_before if inverse else _after)(here, matrix, shift)
        total = total + ladj
    return F.linear(rows, matrix, shift), total


def _after(step: LinearStep, matrix: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A matrix and a shift followed by a map, and its ladj."""
    if step.order is not None:
        return matrix.index_select(0, step.order), shift.index_select(0, step.order), shift.new_zeros(())
    factors, log_scale, own = _parts(step)
    if factors is None:
        scale = log_scale.exp()
        return matrix * scale.unsqueeze(-1), shift * scale + own, log_scale.sum()
    product = factors[0] @ factors[1]
    return product @ matrix, product @ shift + own, log_scale.sum()


def _before(step: LinearStep, matrix: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A matrix and a shift followed by a map's inverse, and the inverse's ladj."""
    if step.order is not None:
        order = step.order.argsort()
        return matrix.index_select(0, order), shift.index_select(0, order), shift.new_zeros(())
    factors, log_scale, own = _parts(step)
    shift = shift - own
    if factors is None:
        scale = (-log_scale).exp()
        return matrix * scale.unsqueeze(-1), shift * scale, -log_scale.sum()
    columns = torch.cat([matrix, shift.unsqueeze(-1)], -1)
    columns = torch.linalg.solve_triangular(factors[0], columns, upper=False)
    columns = torch.linalg.solve_triangular(factors[1], columns, upper=True)
    return columns[:, :-1], columns[:, -1], -log_scale.sum()


def _parts(step: LinearStep) -> tuple[Pair | None, Tensor, Tensor]:
    """L and U, the logarithm of the scales, and the shift."""
    log_scale, shift, lower, upper = step[:4]
    if log_scale is None or shift is None:
        raise ConfigError("LinearStep: expected an order, or log_scale and shift; got neither. Give one of them.")
    if lower is None or upper is None:
        return None, log_scale, shift
    log_scale = soft_clip(log_scale, step.limit)
    unit = lower.tril(-1) + torch.eye(len(lower), dtype=lower.dtype, device=lower.device)
    return (unit, upper_triangular(upper, log_scale)), log_scale, shift


def _rows(x: Tensor) -> Tensor:
    return x.movedim(-3, -1).reshape(-1, x.shape[-3]).contiguous()
