"""Monotone rational-quadratic splines."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["rational_quadratic", "rational_quadratic_inverse"]

_LARGEST = 20.0  # raw widths and heights beyond +-20 change no bin that the floor does not hold already


class _Bin(NamedTuple):
    """The bin that a point falls into: lower left corner, width, height and the slopes at both ends."""

    x: Tensor
    y: Tensor
    w: Tensor
    h: Tensor
    d0: Tensor
    d1: Tensor


def rational_quadratic(
    x: Tensor, params: Tensor, *, bound: float, min_bin: float, min_slope: float
) -> tuple[Tensor, Tensor]:
    r"""Spline of $K$ rational-quadratic bins on $[-B, B]$, the identity outside.

    In bin $k$, with $\xi = (x - x_k)/w_k$, $s = h_k/w_k$ and $\delta = d_k + d_{k+1} - 2s$ (Durkan et al.
    2019, eq. 4 and 5):

    $$ y = y_k + \frac{h_k\,[s\xi^2 + d_k\xi(1-\xi)]}{s + \delta\,\xi(1-\xi)} $$

    Zero params give the identity: equal bins, slopes 1.

    Args:
        x: points, `(...)`.
        params: `(..., 3K - 1)`, unconstrained: K widths, K heights, K - 1 inner slopes.
        bound: half-width $B$.
        min_bin: floor of a bin's share of the box.
        min_slope: floor of the slope at a knot.

    Returns:
        y and $\log dy/dx$, `(...)`.
    """
    inside = (x > -bound) & (x < bound)
    x_safe = torch.where(inside, x, 0.0)
    k = _locate(x_safe, params, 0, bound, min_bin, min_slope)
    xi = (x_safe - k.x) / k.w
    y, ladj = _evaluate(xi, k)
    return torch.where(inside, y, x), torch.where(inside, ladj, 0.0)


def rational_quadratic_inverse(
    y: Tensor, params: Tensor, *, bound: float, min_bin: float, min_slope: float
) -> tuple[Tensor, Tensor]:
    r"""Inverse of `rational_quadratic`: x and $\log dx/dy$, the root of a quadratic (Durkan et al. 2019, eq. 6 to 8).

    With $\theta = (y - y_k)/h_k$: $a = s - d_k + \theta\delta$, $b = d_k - \theta\delta$, $c = -s\theta$ and
    $\xi = 2c / (-b - \sqrt{b^2 - 4ac})$, which does not cancel; the discriminant is clamped at 0.
    """
    inside = (y > -bound) & (y < bound)
    y_safe = torch.where(inside, y, 0.0)
    k = _locate(y_safe, params, 1, bound, min_bin, min_slope)
    theta = ((y_safe - k.y) / k.h).clamp(0.0, 1.0)
    s = k.h / k.w
    bend = theta * (k.d0 + k.d1 - 2 * s)
    a, b, c = s - k.d0 + bend, k.d0 - bend, -s * theta
    root = (b * b - 4 * a * c).clamp(min=torch.finfo(y.dtype).tiny).sqrt()
    xi = (2 * c / (-b - root)).clamp(0.0, 1.0)
    _, ladj = _evaluate(xi, k)
    return torch.where(inside, k.x + k.w * xi, y), torch.where(inside, -ladj, 0.0)


def _evaluate(xi: Tensor, k: _Bin) -> tuple[Tensor, Tensor]:
    s = k.h / k.w
    mixed = xi * (1 - xi)
    below = s + (k.d0 + k.d1 - 2 * s) * mixed
    y = k.y + k.h * (s * xi * xi + k.d0 * mixed) / below
    above = k.d1 * xi * xi + 2 * s * mixed + k.d0 * (1 - xi) ** 2
    return y, 2 * (s / below).log() + above.log()


def _locate(v: Tensor, params: Tensor, side: int, bound: float, min_bin: float, min_slope: float) -> _Bin:
    """The bin of each point: `side` 0 searches the x knots, 1 the y knots. The rest is computed for that bin alone."""
    bins = (params.shape[-1] + 1) // 3
    mass = params[..., : 2 * bins].unflatten(-1, (2, bins)).clamp(-_LARGEST, _LARGEST).exp()
    upto = mass.cumsum(-1)
    rate = (1 - min_bin * bins) / upto[..., -1]
    floor = min_bin * torch.arange(1, bins, dtype=v.dtype, device=v.device)
    knots = upto[..., side, :-1].detach() * rate[..., side, None].detach() + floor
    k = ((v.unsqueeze(-1) + bound) / (2 * bound) >= knots).sum(-1, keepdim=True)
    batch = k.shape[:-1]
    both = k.unsqueeze(-2).expand(*batch, 2, 1)
    own = mass.expand(*batch, 2, bins).gather(-1, both).squeeze(-1)
    before = upto.expand(*batch, 2, bins).gather(-1, both).squeeze(-1) - own
    corner = 2 * bound * (min_bin * k.to(v.dtype) + rate * before) - bound
    extent = 2 * bound * (min_bin + rate * own)
    raw = F.pad(params[..., 2 * bins :], (1, 1)).expand(*batch, bins + 1).gather(-1, torch.cat([k, k + 1], -1))
    d0, d1 = (min_slope + F.softplus(raw + math.log(math.expm1(1 - min_slope)))).unbind(-1)
    (x, y), (w, h) = corner.unbind(-1), extent.unbind(-1)
    return _Bin(x, y, w, h, d0, d1)
