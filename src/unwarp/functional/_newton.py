"""Root finding for maps of vectors, from a start nearby."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["solve_nearby"]


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


def _step(f: Linearized, x: Tensor, y: Tensor) -> Tensor:
    value, slope = f(x)
    step, _ = torch.linalg.solve_ex(slope, (value - y).unsqueeze(-1))  # the check of `solve` would let rows see others
    return x - step.squeeze(-1)
