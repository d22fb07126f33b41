"""Power laws, logarithms and hyperbolic sines: one-line maps that bend tails or skew."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from unwarp.functional._guards import straight_beyond, straight_beyond_inverse

__all__ = [
    "dual_power",
    "dual_power_inverse",
    "power",
    "sinh_arcsinh",
    "sinh_arcsinh_inverse",
    "yeo_johnson",
    "yeo_johnson_inverse",
]

_FAR = 1e8  # where power laws go on as straight lines
_LONGEST = 18.0  # the largest argument of the hyperbolic sine in `dual_power`


def power(x: Tensor, log_power: Tensor) -> tuple[Tensor, Tensor]:
    r"""$y = x^p$ with $p = e^s$ for x > 0, held to the numbers that the dtype has, and $\log dy/dx$."""
    info = torch.finfo(x.dtype)
    log_x = x.log()
    y = (log_power.exp() * log_x).clamp(0.9999 * math.log(info.tiny), 0.9999 * math.log(info.max)).exp()
    return y, log_power + (log_power.exp() - 1) * log_x


def yeo_johnson(x: Tensor, lam: Tensor) -> tuple[Tensor, Tensor]:
    r"""$y = ((1 + x)^\lambda - 1)/\lambda$ for x >= 0, $-((1 - x)^{2 - \lambda} - 1)/(2 - \lambda)$ below.

    Straight beyond $10^8$. Shapes: x, lam between 0 and 2, `(...)` -> y and $\log dy/dx$.

    Source: Yeo and Johnson, *A new family of power transformations*, 2000, equation 2.1.
    """
    return straight_beyond(lambda x: _yeo_johnson(x, lam), x, _FAR)


def yeo_johnson_inverse(y: Tensor, lam: Tensor) -> tuple[Tensor, Tensor]:
    r"""Inverse of `yeo_johnson`: x and $\log dx/dy$."""

    def back(y: Tensor) -> tuple[Tensor, Tensor]:
        p = torch.where(y < 0, 2 - lam, lam)
        log_a = (p * y.abs()).log1p() / p
        return log_a.expm1().copysign(y), (1 - p) * log_a

    return straight_beyond_inverse(lambda x: _yeo_johnson(x, lam), back, y, _FAR)


def _yeo_johnson(x: Tensor, lam: Tensor) -> tuple[Tensor, Tensor]:
    p = torch.where(x < 0, 2 - lam, lam)
    log_a = x.abs().log1p()
    return ((p * log_a).expm1() / p).copysign(x), (p - 1) * log_a


def dual_power(x: Tensor, lam: Tensor) -> tuple[Tensor, Tensor]:
    r"""$y = (x^\lambda - x^{-\lambda})/(2\lambda) = \sinh(\lambda \log x)/\lambda$ for x > 0, and $\log dy/dx$.

    Where $|\lambda \log x|$ passes 18 the map goes on as a straight line of $\log x$.

    Source: Yang, *A modified family of power transformations*, 2006, equation 2.
    """
    log_x = x.log()
    u = (lam * log_x).clamp(-_LONGEST, _LONGEST)
    return u.sinh() / lam + (log_x - u / lam) * u.cosh(), _log_cosh(u) - log_x


def dual_power_inverse(y: Tensor, lam: Tensor) -> tuple[Tensor, Tensor]:
    r"""$x = \exp(\operatorname{arcsinh}(\lambda y)/\lambda)$, held to the numbers of the dtype, and $\log dx/dy$."""
    info = torch.finfo(y.dtype)
    end = y.new_tensor(math.sinh(_LONGEST)) / lam
    inner = torch.maximum(torch.minimum(y, end), -end)
    u = (lam * inner).asinh()
    log_x = u / lam + (y - inner) / math.cosh(_LONGEST)
    log_x = log_x.clamp(0.9999 * math.log(info.tiny), 0.9999 * math.log(info.max))
    return log_x.exp(), log_x - _log_cosh(u)


def sinh_arcsinh(x: Tensor, epsilon: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
    r"""$y = \sinh(e^\tau \operatorname{arcsinh} x + \epsilon)$, straight beyond $10^8$, and $\log dy/dx$.

    Source: Jones and Pewsey, *Sinh-arcsinh distributions*, 2009, equation 2. Differs: the tail's weight is $e^\tau$.
    """
    return straight_beyond(lambda x: _sinh_arcsinh(x, epsilon, tau), x, _FAR)


def sinh_arcsinh_inverse(y: Tensor, epsilon: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
    r"""Inverse of `sinh_arcsinh`, the same map with other parameters: x and $\log dx/dy$."""
    return straight_beyond_inverse(
        lambda x: _sinh_arcsinh(x, epsilon, tau),
        lambda y: _sinh_arcsinh(y, -epsilon * (-tau).exp(), -tau),
        y,
        _FAR,
    )


def _sinh_arcsinh(x: Tensor, epsilon: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
    u = x.asinh()
    v = tau.exp() * u + epsilon
    return v.sinh(), tau + _log_cosh(v) - _log_cosh(u)


def _log_cosh(u: Tensor) -> Tensor:
    return F.softplus(2 * u) - u - math.log(2)
