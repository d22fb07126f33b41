"""Distribution functions as maps onto the unit interval, with their quantiles."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unwarp.functional._quantile import normal_quantile

__all__ = [
    "gumbel",
    "gumbel_inverse",
    "kumaraswamy",
    "kumaraswamy_inverse",
    "normal_cdf",
    "normal_cdf_inverse",
    "weibull",
    "weibull_inverse",
]


def normal_cdf(x: Tensor) -> tuple[Tensor, Tensor]:
    r"""$y = \Phi(x)$ and $\log\varphi(x)$; y never rounds to an end."""
    return _open(torch.special.ndtr(x)), -0.5 * x.square() - 0.5 * math.log(2 * math.pi)


def normal_cdf_inverse(y: Tensor) -> tuple[Tensor, Tensor]:
    r"""$x = \Phi^{-1}(y)$ and $\log dx/dy$."""
    flip = y > 0.5
    tail = torch.where(flip, 1 - y, y)
    z = normal_quantile(tail.log())
    return torch.where(flip, -z, z), 0.5 * z.square() + 0.5 * math.log(2 * math.pi)


def gumbel(x: Tensor, mu: Tensor, log_beta: Tensor) -> tuple[Tensor, Tensor]:
    r"""$y = \exp(-e^{-(x - \mu)/\beta})$ and $\log dy/dx$; y never rounds to an end."""
    u = ((mu - x) * (-log_beta).exp()).clamp(max=_HIGHEST)
    return _open((-u.exp()).exp()), u - u.exp() - log_beta


def gumbel_inverse(y: Tensor, mu: Tensor, log_beta: Tensor) -> tuple[Tensor, Tensor]:
    r"""$x = \mu - \beta\log(-\log y)$ and $\log dx/dy$."""
    u = (-y.log()).log()
    return mu - log_beta.exp() * u, log_beta - u + u.exp()


def weibull(x: Tensor, log_scale: Tensor, log_shape: Tensor) -> tuple[Tensor, Tensor]:
    r"""$y = 1 - \exp(-(x/\lambda)^k)$ for x > 0 and $\log dy/dx$; y never rounds to an end."""
    log_x = x.log()
    u = (log_shape.exp() * (log_x - log_scale)).clamp(max=_HIGHEST)
    return _open(-(-u.exp()).expm1()), log_shape + u - log_x - u.exp()


def weibull_inverse(y: Tensor, log_scale: Tensor, log_shape: Tensor) -> tuple[Tensor, Tensor]:
    r"""$x = \lambda\,(-\log(1 - y))^{1/k}$ and $\log dx/dy$."""
    u = (-(-y).log1p()).log()
    log_x = log_scale + (-log_shape).exp() * u
    info = torch.finfo(y.dtype)
    x = log_x.clamp(0.9999 * math.log(info.tiny), 0.9999 * math.log(info.max)).exp()
    return x, log_x + u.exp() - log_shape - u


def kumaraswamy(x: Tensor, log_a: Tensor, log_b: Tensor) -> tuple[Tensor, Tensor]:
    r"""$y = 1 - (1 - x^a)^b$ on (0, 1) and $\log dy/dx$; y never rounds to an end."""
    log_x = x.log()
    log_p = log_a.exp() * log_x  # of x^a
    log_q = _log1mexp(log_p)  # of 1 - x^a
    y = -(log_b.exp() * log_q).expm1()
    return _open(y), log_a + log_b + log_p - log_x + (log_b.exp() - 1) * log_q


def kumaraswamy_inverse(y: Tensor, log_a: Tensor, log_b: Tensor) -> tuple[Tensor, Tensor]:
    r"""$x = (1 - (1 - y)^{1/b})^{1/a}$ and $\log dx/dy$."""
    log_q = (-log_b).exp() * (-y).log1p()
    log_p = _log1mexp(log_q)
    log_x = (-log_a).exp() * log_p
    x = _open(log_x.exp())
    return x, -(log_a + log_b + log_p - log_x + (log_b.exp() - 1) * log_q)


_HIGHEST = 6.5  # log of the largest exponent: exp(-exp(6.5)) is 1e-289


def _log1mexp(u: Tensor) -> Tensor:
    """log(1 - e^u) for u < 0."""
    u = u.clamp(max=-torch.finfo(u.dtype).tiny)
    near = u > -0.7
    return torch.where(near, (-torch.where(near, u, -1.0).expm1()).log(), (-torch.where(near, -1.0, u).exp()).log1p())


def _open(y: Tensor) -> Tensor:
    """`y` held to the numbers of its dtype inside (0, 1)."""
    info = torch.finfo(y.dtype)
    return y.clamp(info.tiny, 1 - info.eps)
