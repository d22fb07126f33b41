"""Monotone rational-quadratic splines, and the search for bins that all splines share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from unwarp.kernels import fused

__all__ = [
    "Bin",
    "Place",
    "boxed",
    "evaluate",
    "knot_slope",
    "locate",
    "periodic_rational_quadratic",
    "periodic_rational_quadratic_inverse",
    "rational_quadratic",
    "rational_quadratic_inverse",
    "solve",
]

_LARGEST = 20.0  # raw widths and heights beyond +-20 change no bin that the floor does not hold already


class Bin(NamedTuple):
    """The bin that a point falls into: lower left corner, width, height and the slopes at both ends."""

    x: Tensor
    y: Tensor
    w: Tensor
    h: Tensor
    d0: Tensor
    d1: Tensor


@fused
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

    def piece(x: Tensor) -> tuple[Tensor, Tensor]:
        k = _locate(x, params, 0, bound, min_bin, min_slope)
        return evaluate((x - k.x) / k.w, k)

    return boxed(piece, x, bound)


@fused
def rational_quadratic_inverse(
    y: Tensor, params: Tensor, *, bound: float, min_bin: float, min_slope: float
) -> tuple[Tensor, Tensor]:
    r"""Inverse of `rational_quadratic`: x and $\log dx/dy$, the root of a quadratic (Durkan et al. 2019, eq. 6 to 8).

    With $\theta = (y - y_k)/h_k$: $a = s - d_k + \theta\delta$, $b = d_k - \theta\delta$, $c = -s\theta$ and
    $\xi = 2c / (-b - \sqrt{b^2 - 4ac})$, which does not cancel; the discriminant is clamped at 0.
    """

    def piece(y: Tensor) -> tuple[Tensor, Tensor]:
        return solve(y, _locate(y, params, 1, bound, min_bin, min_slope))

    return boxed(piece, y, bound)


@fused
def periodic_rational_quadratic(
    x: Tensor, params: Tensor, *, min_bin: float, min_slope: float
) -> tuple[Tensor, Tensor]:
    r"""Spline as `rational_quadratic`, from $-\pi$ to $\pi$, with one slope at both ends.

    Args:
        x: angles in $[-\pi, \pi]$, `(...)`.
        params: `(..., 3K)`, unconstrained: K widths, K heights, K slopes, that of the ends first.
        min_bin: floor of a bin's share of the circle.
        min_slope: floor of the slope at a knot.
    """
    k = _locate_around(x, params, 0, min_bin, min_slope)
    return evaluate(_share((x - k.x) / k.w), k)


@fused
def periodic_rational_quadratic_inverse(
    y: Tensor, params: Tensor, *, min_bin: float, min_slope: float
) -> tuple[Tensor, Tensor]:
    r"""Inverse of `periodic_rational_quadratic`: x and $\log dx/dy$."""
    return solve(y, _locate_around(y, params, 1, min_bin, min_slope))


def solve(y: Tensor, k: Bin) -> tuple[Tensor, Tensor]:
    """x in its bin, and log dx/dy, of points y in the bin's range."""
    theta = _share((y - k.y) / k.h)
    s = k.h / k.w
    bend = theta * (k.d0 + k.d1 - 2 * s)
    a, b, c = s - k.d0 + bend, k.d0 - bend, -s * theta
    root = (b * b - 4 * a * c).clamp(min=torch.finfo(y.dtype).tiny).sqrt()
    xi = _share(2 * c / (-b - root))
    return k.x + k.w * xi, -evaluate(xi, k)[1]


def _share(v: Tensor) -> Tensor:
    """`v` within [0, 1], which only rounding leaves; its gradient passes, where a clamp stops it on knots."""
    return v + (v.clamp(0.0, 1.0) - v).detach()


def evaluate(xi: Tensor, k: Bin) -> tuple[Tensor, Tensor]:
    """y, and log dy/dx, at the share xi of the bin's width."""
    s = k.h / k.w
    mixed = xi * (1 - xi)
    below = s + (k.d0 + k.d1 - 2 * s) * mixed
    y = k.y + k.h * (s * xi * xi + k.d0 * mixed) / below
    above = k.d1 * xi * xi + 2 * s * mixed + k.d0 * (1 - xi) ** 2
    return y, 2 * (s / below).log() + above.log()


def _locate(v: Tensor, params: Tensor, side: int, bound: float, min_bin: float, min_slope: float) -> Bin:
    """The bin of each point: `side` 0 searches the x knots, 1 the y knots."""
    bins = (params.shape[-1] + 1) // 3
    place = locate(v, params[..., : 2 * bins].unflatten(-1, (2, bins)), side, bound=bound, min_bin=min_bin)
    return _with_slopes(place, F.pad(params[..., 2 * bins :], (1, 1)), min_slope)


def _locate_around(v: Tensor, params: Tensor, side: int, min_bin: float, min_slope: float) -> Bin:
    """The same on the circle, whose last knot is its first."""
    bins = params.shape[-1] // 3
    place = locate(v, params[..., : 2 * bins].unflatten(-1, (2, bins)), side, bound=math.pi, min_bin=min_bin)
    return _with_slopes(place, params[..., [*range(2 * bins, 3 * bins), 2 * bins]], min_slope)


def _with_slopes(place: Place, raw: Tensor, min_slope: float) -> Bin:
    raw0, raw1 = place.ends(raw)
    return Bin(place.x, place.y, place.w, place.h, knot_slope(raw0, min_slope), knot_slope(raw1, min_slope))


def boxed(f: Callable[[Tensor], tuple[Tensor, Tensor]], v: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """`f` inside $(-B, B)$, the identity outside; f sees 0 in place of what is outside."""
    inside = (v > -bound) & (v < bound)
    y, ladj = f(torch.where(inside, v, 0.0))
    return torch.where(inside, y, v), torch.where(inside, ladj, 0.0)


class Place(NamedTuple):
    """Which bin of a grid each point falls into, with its lower left corner, width and height."""

    k: Tensor  # (..., 1)
    x: Tensor
    y: Tensor
    w: Tensor
    h: Tensor

    def own(self, values: Tensor) -> Tensor:
        """Of values for each bin, `(..., K)`, that of the point's bin, `(...)`."""
        return values.expand(*self.k.shape[:-1], -1).gather(-1, self.k).squeeze(-1)

    def ends(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Of values for each knot, `(..., K + 1)`, those of the two knots of the point's bin."""
        both = torch.cat([self.k, self.k + 1], -1)
        low, high = values.expand(*self.k.shape[:-1], -1).gather(-1, both).unbind(-1)
        return low, high


def locate(v: Tensor, raw: Tensor, side: int, *, bound: float, min_bin: float) -> Place:
    """The bin of each point in the box $[-B, B]^2$; only that bin's extents are computed, not all.

    Args:
        v: points, `(...)`.
        raw: `(..., 2, K)`, unconstrained: the bins' widths, then their heights.
        side: 0 searches the x knots, 1 the y knots.
        bound: half-width $B$.
        min_bin: floor of a bin's share of the box.
    """
    bins = raw.shape[-1]
    mass = raw.clamp(-_LARGEST, _LARGEST).exp()
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
    (x, y), (w, h) = corner.unbind(-1), extent.unbind(-1)
    return Place(k, x, y, w, h)


def knot_slope(raw: Tensor, min_slope: float) -> Tensor:
    """The slope that an unconstrained number stands for: at least `min_slope`, and 1 for 0."""
    return min_slope + F.softplus(raw + math.log(math.expm1(1 - min_slope)))
