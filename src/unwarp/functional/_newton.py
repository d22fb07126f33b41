"""Root finding for maps of vectors, from a start nearby."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["solve_monotone", "solve_nearby"]

_LENGTHS = (1.0, 0.3, 0.05)  # of a Newton step; the best is taken
_ROUNDS = 16


Linearized = Callable[[Tensor], tuple[Tensor, Tensor]]


def solve_nearby(f: Linearized, y: Tensor, start: Tensor, *, steps: int = 4) -> Tensor:
    r"""The x with $f(x) = y$ near `start`, by Newton's method, with derivatives with respect to y and all of f.

    The search leaves no graph; two more steps on its result do, and they carry derivatives up to the third order:
    the implicit function theorem, unrolled. Every step squares the error once it is small; nothing holds it back
    before, so the start must be near.

    Args:
        f: from x to f(x) and its Jacobian, row by row (see `jacobian`).
        y: the values to reach.
        start: where to begin.
        steps: number of steps without a graph.

    Shapes: x, y, start, f(x) `(*batch, D)`, Jacobian `(*batch, D, D)`.

    Example:
        >>> y = torch.tensor([[2.0, 8.0]], dtype=torch.float64)
        >>> solve_nearby(lambda x: (x + x**3, (1 + 3 * x**2).diag_embed()), y, torch.ones_like(y)).round(
        ...     decimals=6
        ... ).tolist()
        [[1.0, 1.833751]]
    """
    with torch.no_grad():
        x, target = start.detach(), y.detach()
        for _ in range(steps):
            x = _step(f, x, target)
    for _ in range(2):
        x = _step(f, x, y)
    return x


def solve_monotone(f: Callable[[Tensor], Tensor], linearized: Linearized, y: Tensor) -> Tensor:
    r"""The x with $f(x) = y$ for a smooth, strongly monotone f, wherever it is, by Newton's method from x = y.

    A step's direction makes the misfit smaller in every norm, if the step is short enough, so of three lengths the one
    with the least misfit is taken. Derivatives as of `solve_nearby`.

    Args:
        f: from x to f(x).
        linearized: from x to f(x) and its Jacobian.
        y: the values to reach.

    Shapes: x, y, f(x) `(*batch, D)`, Jacobian `(*batch, D, D)`.

    Source: Nocedal and Wright, *Numerical Optimization*, 2006, section 11.2. Differs: a fixed number of steps without
    branches.

    Example:
        >>> y = torch.tensor([[2.0, -1010.0]], dtype=torch.float64)
        >>> solve_monotone(lambda x: x + x**3, lambda x: (x + x**3, (1 + 3 * x**2).diag_embed()), y).round(
        ...     decimals=6
        ... ).tolist()
        [[1.0, -10.0]]
    """
    target = y.detach()
    with torch.no_grad():
        x = target
        lengths = torch.tensor(_LENGTHS, dtype=x.dtype, device=x.device).reshape(-1, *[1] * x.dim())
        for _ in range(_ROUNDS):
            tries = x + lengths * (_step(linearized, x, target) - x)
            misfit = (f(tries) - target).abs().amax(-1, keepdim=True)
            best = misfit.argmin(0, keepdim=True).expand(1, *x.shape)
            x = tries.gather(0, best).squeeze(0)
    return solve_nearby(linearized, y, x, steps=0)


def _step(f: Linearized, x: Tensor, y: Tensor) -> Tensor:
    value, slope = f(x)
    step, _ = torch.linalg.solve_ex(slope, (value - y).unsqueeze(-1))  # the check of `solve` would let rows see others
    return x - step.squeeze(-1)
