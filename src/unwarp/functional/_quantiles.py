"""A monotone map through given points: between them rational quadratics, beyond them straight or logarithmic."""

from __future__ import annotations

import torch
from torch import Tensor

from unwarp.functional._spline import Bin, evaluate, solve
from unwarp.functional._tails import log_tail, log_tail_inverse

__all__ = ["through_knots", "through_knots_inverse"]


def through_knots(x: Tensor, knots: Tensor, tails: Tensor) -> tuple[Tensor, Tensor]:
    r"""A monotone map that takes $x_k$ to $y_k$ with slope $d_k$ there; below $x_1$ and above $x_K$ it goes on as
    $y_K + \log(1 + \kappa\,d_K (x - x_K))/\kappa$, a straight line for $\kappa = 0$.

    Args:
        x: points, `(...)`.
        knots: `(..., 3, K)`: $x_k$ and $y_k$, both increasing, and slopes above 0.
        tails: `(..., 2)`, $\kappa \ge 0$ below and above.

    Returns:
        y and $\log dy/dx$, `(...)`.

    Source: Gregory and Delbourgo, *Piecewise rational quadratic interpolation to monotonic data*, 1982.
    """
    bin_ = _bin(x, knots, 0)
    xi = (x - bin_.x) / bin_.w
    y, ladj = evaluate(xi.clamp(0.0, 1.0), bin_)
    low, high = knots[..., 0], knots[..., -1]
    beyond = torch.where(xi < 0, (x - low[..., 0]) * low[..., 2], (x - high[..., 0]) * high[..., 2])
    outside = (x < low[..., 0]) | (x > high[..., 0])
    kappa = torch.where(x < low[..., 0], tails[..., 0], tails[..., 1])
    far, more = log_tail(torch.where(outside, beyond, 0.0), kappa, 0.0)
    end = torch.where(x < low[..., 0], low[..., 1], high[..., 1])
    slope = torch.where(x < low[..., 0], low[..., 2], high[..., 2])
    return torch.where(outside, end + far, y), torch.where(outside, slope.log() + more, ladj)


def through_knots_inverse(y: Tensor, knots: Tensor, tails: Tensor) -> tuple[Tensor, Tensor]:
    r"""Inverse of `through_knots`: x and $\log dx/dy$."""
    bin_ = _bin(y, knots, 1)
    low, high = knots[..., 0], knots[..., -1]
    x, ladj = solve(torch.minimum(torch.maximum(y, low[..., 1]), high[..., 1]), bin_)
    outside = (y < low[..., 1]) | (y > high[..., 1])
    kappa = torch.where(y < low[..., 1], tails[..., 0], tails[..., 1])
    end = torch.where(y < low[..., 1], low[..., 1], high[..., 1])
    start = torch.where(y < low[..., 1], low[..., 0], high[..., 0])
    slope = torch.where(y < low[..., 1], low[..., 2], high[..., 2])
    far, more = log_tail_inverse(torch.where(outside, y - end, 0.0), kappa, 0.0)
    return torch.where(outside, start + far / slope, x), torch.where(outside, more - slope.log(), ladj)


def _bin(v: Tensor, knots: Tensor, side: int) -> Bin:
    """The piece that each point falls into; the first or the last for points beyond."""
    knots = knots.expand(*v.shape, 3, knots.shape[-1])
    k = (v.unsqueeze(-1) >= knots[..., side, 1:-1]).sum(-1, keepdim=True)
    both = torch.cat([k, k + 1], -1).unsqueeze(-2).expand(*v.shape, 3, 2)
    (x0, x1), (y0, y1), (d0, d1) = (part.unbind(-1) for part in knots.gather(-1, both).unbind(-2))
    return Bin(x0, y0, x1 - x0, y1 - y0, d0, d1)
