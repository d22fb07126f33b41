"""Root finding for increasing scalar maps that have no closed inverse."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unwarp.kernels import is_ordinary

__all__ = ["invert_increasing", "solve_increasing"]

_REACH = 46.0  # sinh(46) is 4.7e19
_PAIRS = 22  # of a Newton step and a halving
_STEEPEST = 80.0  # log of the largest step a unit of misfit may cause
_FAST = 1 / 16  # of the misfit that a step of Newton's leaves where the bracket need not be halved beside it
_NEAR = 16  # units of the last digit: what two more of Newton's steps mend


def solve_increasing(
    f: Callable[[Tensor], tuple[Tensor, Tensor]],
    y: Tensor,
    *,
    ends: tuple[float, float] | None = None,
    pairs: int = _PAIRS,
) -> Tensor:
    r"""The x with $f(x) = y$ for an increasing f, wherever it is, with derivatives with respect to y and all of f.

    Newton's method, with a bracket that is halved beside each of its steps and that it must not leave: quadratic
    where f is smooth, never lost where it is not. Ordinary calls on the CPU leave the halving out where the misfit of
    every x falls fast. On the real line the bracket is $x = \sinh u$ with $|u| \le 46$, that is up to $5 \cdot 10^{19}$
    on either side. The search leaves no graph; two Newton steps on its result do, and they carry derivatives up to the
    third order: the implicit function theorem, unrolled.

    Args:
        f: from x to $f(x)$ and $\log f'(x)$, elementwise.
        y: the values to reach.
        ends: of the bracket; without, it spans the real line.
        pairs: how many times a Newton step and a halving are made, at most: ordinary calls on the CPU end when every x
            is found or rests.

    Shapes: y `(...)` -> x `(...)`.

    Source: safeguarded Newton as in Press et al., *Numerical Recipes*, 2007, section 9.4. Differs: a fixed number of
    steps without branches, in a coordinate that spans all magnitudes.

    Example:
        >>> y = torch.tensor([0.0, 2.0, 1e12 + 1e4], dtype=torch.float64)
        >>> solve_increasing(lambda x: (x + x**3, (1 + 3 * x**2).log()), y).round(decimals=6).tolist()
        [0.0, 1.0, 10000.0]
    """
    target = y.detach()
    watched = not torch.compiler.is_compiling() and is_ordinary(target)
    with torch.no_grad():
        low = torch.full_like(target, -_REACH if ends is None else ends[0])
        high = torch.full_like(target, _REACH if ends is None else ends[1])
        u = 0.5 * (low + high) if ends else target.asinh().clamp(-_REACH, _REACH)
        misfit = torch.full_like(target, torch.inf)
        for _ in range(pairs):
            x = u if ends else u.sinh()
            before, last = u, misfit
            value, log_slope = f(x)
            misfit = value - target
            found = _near(value, target)
            low, high = torch.where(misfit > 0, low, u), torch.where(misfit > 0, u, high)
            x = x - _newton(misfit, log_slope)
            u = x if ends else x.asinh()
            if not (watched and bool((found | (misfit.abs() < _FAST * last.abs())).all())):
                middle = 0.5 * (low + high)
                above = f(middle if ends else middle.sinh())[0] > target
                low, high = torch.where(above, low, middle), torch.where(above, middle, high)
            u = torch.where((u >= low) & (u <= high), u, 0.5 * (low + high))
            if watched and bool((found | _near(u, before) | u.isnan()).all()):
                u = before  # a bracket that rounding has moved past the root would lead away from it
                break
        x = u if ends else u.sinh()
    for _ in range(2):
        value, log_slope = f(x)
        x = x - _newton(value - y, log_slope)
        x = x if ends is None else x.clamp(*ends)
    return x


def invert_increasing(
    f: Callable[[Tensor], tuple[Tensor, Tensor]],
    y: Tensor,
    *,
    ends: tuple[float, float] | None = None,
    pairs: int = _PAIRS,
) -> tuple[Tensor, Tensor]:
    r"""The x with $f(x) = y$ and $\log dx/dy$, of an f that has no closed inverse; see `solve_increasing`."""
    x = solve_increasing(f, y, ends=ends, pairs=pairs)
    return x, -f(x)[1]


def _near(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs() <= _NEAR * torch.finfo(a.dtype).eps * (1 + b.abs())


def _newton(misfit: Tensor, log_slope: Tensor) -> Tensor:
    return misfit * (-log_slope).clamp(max=_STEEPEST).exp()
