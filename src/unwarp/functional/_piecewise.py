"""Monotone splines besides the rational-quadratic one: linear, linear-rational, quadratic and cubic pieces."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from unwarp.functional._roots import invert_increasing
from unwarp.functional._spline import Place, boxed, knot_slope, locate

__all__ = [
    "cubic",
    "cubic_inverse",
    "linear_rational",
    "piecewise_linear",
    "quadratic",
    "quadratic_inverse",
]

_STEEPEST = 2.5  # a cubic's slope at a knot, of the smaller neighbouring secant; above 3 it may turn back
_LARGEST = 20.0  # raw numbers beyond +-20 change nothing that a floor does not hold already


def piecewise_linear(v: Tensor, params: Tensor, side: int, *, bound: float, min_bin: float) -> tuple[Tensor, Tensor]:
    r"""$y = y_k + h_k \xi$ with $\xi = (x - x_k)/w_k$ (Müller et al. 2019, section 4.1, with bins of learned width).

    Shapes: v `(...)`, x for `side` 0 and y for `side` 1; params `(..., 2K)` -> y and $\log dy/dx$, or x and
    $\log dx/dy$, `(...)`.
    """

    def line(v: Tensor) -> tuple[Tensor, Tensor]:
        p = locate(v, params.unflatten(-1, (2, -1)), side, bound=bound, min_bin=min_bin)
        a, b, c, d = (p.x, p.y, p.w, p.h) if side == 0 else (p.y, p.x, p.h, p.w)
        return b + d * ((v - a) / c), (d / c).log()

    return boxed(line, v, bound)


def linear_rational(
    v: Tensor, params: Tensor, side: int, *, bound: float, min_bin: float, min_slope: float
) -> tuple[Tensor, Tensor]:
    r"""Two Möbius pieces a bin, which meet at the share $\lambda$ of its width (Dolatabadi et al. 2020, algorithm 1).

    A piece from $(a_0, b_0)$ to $(a_1, b_1)$ with weights $\omega_0, \omega_1$ and $t = (a - a_0)/(a_1 - a_0)$ is
    $b = b_0 + (b_1 - b_0)\,\omega_1 t / (\omega_0 (1 - t) + \omega_1 t)$; its inverse has the weights exchanged.

    Shapes: v `(...)`, x for `side` 0 and y for `side` 1; params `(..., 4K - 1)`: K widths, K heights, K - 1 inner
    slopes, K shares -> y and $\log dy/dx$, or x and $\log dx/dy$, `(...)`.
    """
    return boxed(lambda v: _moebius(v, params, side, bound, min_bin, min_slope), v, bound)


def _moebius(
    v: Tensor, params: Tensor, side: int, bound: float, min_bin: float, min_slope: float
) -> tuple[Tensor, Tensor]:
    bins = (params.shape[-1] + 1) // 4
    sizes, raw_slopes, raw_share = params.split([2 * bins, bins - 1, bins], -1)
    p = locate(v, sizes.unflatten(-1, (2, bins)), side, bound=bound, min_bin=min_bin)
    d0, d1 = (knot_slope(raw, min_slope) for raw in p.ends(F.pad(raw_slopes, (1, 1))))
    share = 0.025 + 0.95 * p.own(raw_share).sigmoid()
    s = p.h / p.w
    w0, w1 = torch.ones_like(d0), (d0 / d1).sqrt()
    middle = (share * d0 + (1 - share) * w1 * d1) / s  # the weight where the pieces meet
    lift = share * w1 / (1 - share + share * w1)  # and the share of the height there
    x, y = (v - p.x) / p.w, (v - p.y) / p.h
    right = (x >= share) if side == 0 else (y >= lift)
    x0, y0 = torch.where(right, share, 0.0), torch.where(right, lift, 0.0)
    dx, dy = torch.where(right, 1 - share, share), torch.where(right, 1 - lift, lift)
    w0, w1 = torch.where(right, middle, w0), torch.where(right, w1, middle)
    if side:
        x0, y0, dx, dy, w0, w1 = y0, x0, dy, dx, w1, w0
    t = (((x if side == 0 else y) - x0) / dx).clamp(0.0, 1.0)
    below = w0 * (1 - t) + w1 * t
    out = y0 + dy * w1 * t / below
    ladj = (dy / dx).log() + (w0 * w1).log() - 2 * below.log()
    return (p.y + p.h * out, ladj + s.log()) if side == 0 else (p.x + p.w * out, ladj - s.log())


def quadratic(x: Tensor, params: Tensor, *, bound: float, min_bin: float, min_slope: float) -> tuple[Tensor, Tensor]:
    r"""$y = y_k + w_k (d_k \xi + \tfrac12 (d_{k+1} - d_k) \xi^2)$: the integral of a slope with straight pieces.

    Source: Müller et al. 2019, section 4.2. Differs: slopes at the box's ends are 1, and the inner ones are
    normalised among themselves so that the box is mapped onto itself.

    Shapes: x `(...)`, params `(..., 2K - 1)`: K widths, K - 1 inner slopes -> y and $\log dy/dx$.
    """

    def parabola(x: Tensor) -> tuple[Tensor, Tensor]:
        p, d0, d1 = _sloping(x, params, 0, bound, min_bin, min_slope)
        xi = ((x - p.x) / p.w).clamp(0.0, 1.0)
        return p.y + p.w * xi * (d0 + 0.5 * (d1 - d0) * xi), (d0 + (d1 - d0) * xi).log()

    return boxed(parabola, x, bound)


def quadratic_inverse(
    y: Tensor, params: Tensor, *, bound: float, min_bin: float, min_slope: float
) -> tuple[Tensor, Tensor]:
    r"""Inverse of `quadratic`, with $\theta = (y - y_k)/w_k$.

    $\xi = 2\theta/(d_k + f')$ and $f'^2 = d_k^2 + 2(d_{k+1} - d_k)\theta$, which does not cancel.
    """

    def root(y: Tensor) -> tuple[Tensor, Tensor]:
        p, d0, d1 = _sloping(y, params, 1, bound, min_bin, min_slope)
        theta = (y - p.y) / p.w
        slope = (d0.square() + 2 * (d1 - d0) * theta).clamp(min=0.25 * min_slope**2).sqrt()
        return p.x + p.w * (2 * theta / (d0 + slope)).clamp(0.0, 1.0), -slope.log()

    return boxed(root, y, bound)


def _sloping(
    v: Tensor, params: Tensor, side: int, bound: float, min_bin: float, min_slope: float
) -> tuple[Place, Tensor, Tensor]:
    """The bin of each point and the slopes at its ends."""
    bins = (params.shape[-1] + 1) // 2
    w = _sizes(params[..., :bins], bound, min_bin)
    inner = 0.5 * (w[..., 1:] + w[..., :-1])  # what an inner knot's slope counts for in the integral
    mass = params[..., bins:].clamp(-_LARGEST, _LARGEST).exp()
    d = min_slope + (1 - min_slope) * mass * inner.sum(-1, keepdim=True) / (inner * mass).sum(-1, keepdim=True)
    d = F.pad(d, (1, 1), value=1.0)
    h = 0.5 * w * (d[..., 1:] + d[..., :-1])
    p = _place(v, w, h, side, bound)
    return p, *p.ends(d)


def cubic(x: Tensor, params: Tensor, *, bound: float, min_bin: float, min_slope: float) -> tuple[Tensor, Tensor]:
    r"""Hermite's cubic through the knots with slopes $d_k$ below 2.5 times the smaller of the neighbouring secants.

    With $\alpha = d_k/s_k$ and $\beta = d_{k+1}/s_k$:

    $$ y = y_k + h_k\,[\alpha\xi(1-\xi)^2 + \xi^2(3 - 2\xi) - \beta\xi^2(1-\xi)] $$

    Source: Durkan et al., *Cubic-Spline Flows*, 2019, section 3. Differs: every slope is learned, within the bounds
    of Fritsch and Carlson, *Monotone piecewise cubic interpolation*, 1980.

    Shapes: x `(...)`, params `(..., 3K - 1)`: K widths, K heights, K - 1 inner slopes -> y and $\log dy/dx$.
    """

    def hermite(x: Tensor) -> tuple[Tensor, Tensor]:
        p, a, b = _hermite(x, params, 0, bound, min_bin, min_slope)
        share, ladj = _cubic(((x - p.x) / p.w).clamp(0.0, 1.0), a, b)
        return p.y + p.h * share, ladj + (p.h / p.w).log()

    return boxed(hermite, x, bound)


def cubic_inverse(
    y: Tensor, params: Tensor, *, bound: float, min_bin: float, min_slope: float
) -> tuple[Tensor, Tensor]:
    """Inverse of `cubic`: x and the log of its slope, by a search within the bin."""

    def root(y: Tensor) -> tuple[Tensor, Tensor]:
        p, a, b = _hermite(y, params, 1, bound, min_bin, min_slope)
        xi, ladj = invert_increasing(lambda xi: _cubic(xi, a, b), (y - p.y) / p.h, ends=(0.0, 1.0), pairs=10)
        return p.x + p.w * xi, ladj - (p.h / p.w).log()

    return boxed(root, y, bound)


def _cubic(xi: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    rest = 1 - xi
    value = xi * (a * rest * rest + xi * (3 - 2 * xi) - b * xi * rest)
    slope = a * rest * (1 - 3 * xi) + b * xi * (3 * xi - 2) + 6 * xi * rest
    return value, slope.log()


def _hermite(
    v: Tensor, params: Tensor, side: int, bound: float, min_bin: float, min_slope: float
) -> tuple[Place, Tensor, Tensor]:
    """The bin of each point and the slopes at its ends, in units of its secant."""
    bins = (params.shape[-1] + 1) // 3
    w, h = (_sizes(raw, bound, min_bin) for raw in params[..., : 2 * bins].split(bins, -1))
    s = h / w
    even = math.log((1 - min_slope) / (_STEEPEST - 1))  # for zeros the slope is the smaller secant
    share = (params[..., 2 * bins :] + even).sigmoid()
    d = torch.minimum(s[..., 1:], s[..., :-1]) * (min_slope + (_STEEPEST - min_slope) * share)
    ends = [(_STEEPEST * s[..., i]).clamp(max=1.0) for i in (slice(0, 1), slice(-1, None))]
    p = _place(v, w, h, side, bound)
    d0, d1 = p.ends(torch.cat([ends[0], d, ends[1]], -1))
    secant = p.h / p.w
    return p, d0 / secant, d1 / secant


def _sizes(raw: Tensor, bound: float, min_bin: float) -> Tensor:
    """All bins' extents, `(..., K)`, which fill the box."""
    share = raw.clamp(-_LARGEST, _LARGEST).softmax(-1)
    return 2 * bound * (min_bin + (1 - min_bin * raw.shape[-1]) * share)


def _place(v: Tensor, w: Tensor, h: Tensor, side: int, bound: float) -> Place:
    """The bin of each point among bins of widths w and heights h: `side` 0 searches the x knots, 1 the y knots."""
    ends = [F.pad(size.cumsum(-1)[..., :-1], (1, 0)) - bound for size in (w, h)]
    k = (v.unsqueeze(-1) >= ends[side][..., 1:].detach()).sum(-1, keepdim=True)
    empty = torch.zeros_like(v)
    p = Place(k, empty, empty, empty, empty)
    return Place(k, *(p.own(values) for values in (*ends, w, h)))
