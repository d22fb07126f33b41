"""What keeps learned scalar maps invertible everywhere: floors of slopes, straight tails, units that differ."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["spread", "straight_beyond", "straight_beyond_inverse", "tilted"]


def tilted(x: Tensor, y: Tensor, ladj: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    r"""$(1 - \epsilon)\,y + \epsilon\,x$ and the log of its slope, which is at least $\epsilon$ = `floor`.

    Where y = x it stays so.

    Shapes: x, y, ladj `(...)`, of an increasing map -> `(...)`, `(...)`.
    """
    least = ladj.new_tensor(math.log(floor)).expand_as(ladj)
    return (1 - floor) * y + floor * x, torch.logaddexp(ladj + math.log1p(-floor), least)


def straight_beyond(f: Callable[[Tensor], tuple[Tensor, Tensor]], x: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    r"""f on $[-B, B]$, and outside the straight lines that touch it at the ends: $y$ and $\log dy/dx$.

    Use it for formulas that overflow or turn back far out. f sees no value beyond `bound` $= B$.
    """
    inside = x.clamp(-bound, bound)
    y, ladj = f(inside)
    return y + (x - inside) * ladj.exp(), ladj


def straight_beyond_inverse(
    f: Callable[[Tensor], tuple[Tensor, Tensor]],
    inverse: Callable[[Tensor], tuple[Tensor, Tensor]],
    y: Tensor,
    bound: float,
) -> tuple[Tensor, Tensor]:
    """The inverse of `straight_beyond(f, x, bound)`, from that of f."""
    low, high = (f(torch.full_like(y, end))[0] for end in (-bound, bound))
    inside = torch.maximum(torch.minimum(y, high), low)
    x, ladj = inverse(inside)
    return x + (y - inside) * ladj.exp(), ladj


def spread(units: int, reach: float, like: Tensor) -> Tensor:
    """`units` fixed numbers between -reach and reach, all different and none zero, with the dtype and device of `like`.

    Exchangeable units that start equal would stay equal under gradients; measured in these numbers they part.
    """
    return reach * ((torch.arange(units, dtype=like.dtype, device=like.device) + 0.75) * (2 / units) - 1)
