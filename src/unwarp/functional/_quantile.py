"""Normal quantiles of probabilities given by their logarithms, and mixtures turned into one normal."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["log_normal_cdf", "normal_mixture", "normal_quantile"]

_ROOT = math.sqrt(0.5)
_HIGHEST = 8.0  # above, the lower tail is one to the last digit


def log_normal_cdf(a: Tensor) -> tuple[Tensor, Tensor]:
    r"""$\log\Phi(a)$ and its derivative $\varphi(a)/\Phi(a)$, in full digits far down; a is held to at most 8."""
    a = a.clamp(max=_HIGHEST)
    tail = torch.special.erfcx(-_ROOT * a)
    return (0.5 * tail).log() - 0.5 * a.square(), math.sqrt(2 / math.pi) / tail


def normal_quantile(log_p: Tensor) -> Tensor:
    r"""$z$ with $\log\Phi(z) = \log p$, for p up to 0.6, however small.

    Newton's method on $\log\Phi$, which is concave; two more steps carry derivatives up to the third order.

    Shapes: log_p `(...)` -> z `(...)`.
    """
    log_p = log_p.clamp(max=-0.5)
    with torch.no_grad():
        s = (-2 * log_p - math.log(2 * math.pi)).clamp(min=2.0)
        far = -(s - (s - s.log().clamp(min=0.0)).clamp(min=1.0).log()).clamp(min=0.5).sqrt()
        z = torch.where(log_p > -12, torch.special.ndtri(log_p.clamp(min=-12.0).exp()), far)
        for _ in range(3):
            z = _newton(z, log_p)
    return _newton(_newton(z, log_p), log_p)


def _newton(z: Tensor, log_p: Tensor) -> Tensor:
    value, slope = log_normal_cdf(z)
    return z - (value - log_p) / slope


def normal_mixture(a: Tensor, log_slope: Tensor, log_w: Tensor) -> tuple[Tensor, Tensor]:
    r"""$y = \Phi^{-1}(\sum_k w_k\,\Phi(a_k))$ and the log of its slope, from the smaller tail, so that none is lost.

    With $\lambda = \varphi/\Phi$ and $p_k \propto w_k \Phi(a_k)$ it is $\sum_k p_k a'_k \lambda(a_k) / \lambda(y)$.

    Shapes: a, log_slope $= \log a'$, log_w `(..., K)`, broadcasting -> `(...)`.
    """
    lower = (log_w + log_normal_cdf(a)[0]).logsumexp(-1)
    upper = (log_w + log_normal_cdf(-a)[0]).logsumexp(-1)
    flip = lower > upper
    sign = torch.where(flip, -1.0, 1.0).to(a.dtype)
    log_tail, hazard = log_normal_cdf(a * sign.unsqueeze(-1))
    z = normal_quantile(torch.where(flip, upper, lower))
    share = (log_w + log_tail).softmax(-1)
    slope = (share * log_slope.exp() * hazard).sum(-1) / log_normal_cdf(z)[1]
    return sign * z, slope.clamp(min=torch.finfo(a.dtype).tiny).log()
