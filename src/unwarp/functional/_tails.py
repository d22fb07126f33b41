"""Maps between heavy and light tails."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unwarp.kernels import fused

__all__ = ["heavy_tail", "heavy_tail_inverse", "lighten", "lighten_inverse", "log_tail", "log_tail_inverse"]

_STEEPEST = 60.0  # log(1 + lam t^2) beyond which the map goes on as a straight line, so that nothing overflows
_LONGEST = 40.0  # log of the stretch beyond a threshold at which `log_tail` goes on as a straight line


def lighten(t: Tensor, lam: Tensor) -> tuple[Tensor, Tensor]:
    r"""Student-t to normal: $z = \operatorname{sign}(t) \sqrt{\log(1 + \lambda t^2)/\lambda}$, $\lambda = 1/\nu \ge 0$.

    Smooth, with slope 1 at 0 and the identity for $\lambda = 0$. A normal z has $p(t) \sim |t|^{-(\nu+1)}$ up to a root
    of a logarithm. Where $\log(1 + \lambda t^2)$ passes 60 the map goes on as a straight line.

    Shapes: t, lam `(...)` -> z and $\log dz/dt$, `(...)`.

    Source: D. L. Wallace, *Bounds on normal approximations to Student's and the chi-square distributions*, 1959 (its
    leading term).
    """
    lam = lam.clamp(min=0.0)
    edge, _, slope = _edge(lam)
    a = t.abs()
    inner = torch.minimum(a, edge)
    w = lam * inner * inner
    r = _log1p_ratio(w)
    z = inner * r.sqrt() + (a - edge).clamp(min=0.0) * slope
    ladj = torch.where(a < edge, -w.log1p() - 0.5 * r.log(), slope.log())
    return z.copysign(t), ladj


def lighten_inverse(z: Tensor, lam: Tensor) -> tuple[Tensor, Tensor]:
    r"""Normal to Student-t: $t = \operatorname{sign}(z) \sqrt{(e^{\lambda z^2} - 1)/\lambda}$, and $\log dt/dz$."""
    lam = lam.clamp(min=0.0)
    edge, top, slope = _edge(lam)
    a = z.abs()
    inner = torch.minimum(a, top)
    v = lam * inner * inner
    t = inner * _expm1_ratio(v).sqrt()
    w = lam * t * t
    ladj = torch.where(a < top, w.log1p() + 0.5 * _log1p_ratio(w).log(), -slope.log())
    return (torch.where(a < top, t, edge) + (a - top).clamp(min=0.0) / slope).copysign(z), ladj


@fused
def heavy_tail(x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
    r"""`lighten` with a weight for each sign of x: below 0 the first of the parameters, above the second.

    Shapes: x `(...)`; params `(..., 2)` -> y and $\log dy/dx$, `(...)`.
    """
    return lighten(x, torch.where(x < 0, params[..., 0], params[..., 1]))


@fused
def heavy_tail_inverse(y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of `heavy_tail`."""
    return lighten_inverse(y, torch.where(y < 0, params[..., 0], params[..., 1]))


def _edge(lam: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where the straight line begins: t, z there, and the slope dz/dt."""
    edge = math.exp(_STEEPEST / 2) * lam.clamp(min=1e-8).rsqrt()
    w = (lam * edge * edge).detach()  # e^60, whatever lam > 1e-8 is
    r = _log1p_ratio(w)
    return edge, edge * r.sqrt(), 1 / ((1 + w) * r.sqrt())


def _log1p_ratio(w: Tensor) -> Tensor:
    """log(1 + w) / w for w >= 0."""
    small = w < 1e-3
    w, safe = torch.where(small, w, 0.0), torch.where(small, 1.0, w)
    series = 1 - w * (1 / 2 - w * (1 / 3 - w * (1 / 4 - w * (1 / 5 - w / 6))))
    return torch.where(small, series, safe.log1p() / safe)


def _expm1_ratio(v: Tensor) -> Tensor:
    """(exp(v) - 1) / v for v >= 0."""
    small = v < 1e-3
    safe = torch.where(small, 1.0, v)
    series = 1 + v * (1 / 2 + v * (1 / 6 + v * (1 / 24 + v * (1 / 120 + v / 720))))
    return torch.where(small, series, safe.expm1() / safe)


def log_tail(x: Tensor, kappa: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    r"""$y = x$ for $|x| \le \tau$, beyond $\pm(\tau + \log(1 + \kappa(|x| - \tau))/\kappa)$; and $\log dy/dx$.

    Where $1 + \kappa(|x| - \tau)$ passes $e^{40}$ the map goes on as a straight line.

    Shapes: x, kappa `(...)`, kappa >= 0.

    Source: Andrade, *Stable training of normalizing flows for high-dimensional variational inference*, 2024,
    arXiv:2402.16408, equation 5. Differs: there $\kappa = 1$, and no straight line.
    """
    edge, _ = _log_ends(kappa)
    beyond = (x.abs() - threshold).clamp(min=0.0)
    inner = torch.minimum(beyond, edge)
    w = kappa * inner
    y = inner * _log1p_ratio(w) + (beyond - edge).clamp(min=0.0) * math.exp(-_LONGEST)
    return ((x.abs() - beyond) + y).copysign(x), -w.log1p()


def log_tail_inverse(y: Tensor, kappa: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    r"""Inverse of `log_tail`: x and $\log dx/dy$."""
    _, top = _log_ends(kappa)
    beyond = (y.abs() - threshold).clamp(min=0.0)
    inner = torch.minimum(beyond, top)
    v = kappa * inner
    x = inner * _expm1_ratio(v) + (beyond - top).clamp(min=0.0) * math.exp(_LONGEST)
    return ((y.abs() - beyond) + x).copysign(y), v


def _log_ends(kappa: Tensor) -> tuple[Tensor, Tensor]:
    """How far beyond the threshold the straight line begins, in x and in y."""
    kappa = kappa.clamp(min=1e-15)
    return math.expm1(_LONGEST) / kappa, _LONGEST / kappa
