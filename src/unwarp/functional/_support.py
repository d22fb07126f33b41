"""Maps from the real line onto half lines and intervals."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

__all__ = ["exp", "log", "logit", "sigmoid", "softplus", "softplus_inverse"]


def exp(x: Tensor) -> tuple[Tensor, Tensor]:
    r"""$y = e^x$ and $\log dy/dx = x$."""
    return x.exp(), x


def log(y: Tensor) -> tuple[Tensor, Tensor]:
    r"""$x = \log y$ and $\log dx/dy = -\log y$."""
    x = y.log()
    return x, -x


def softplus(x: Tensor) -> tuple[Tensor, Tensor]:
    r"""$y = \log(1 + e^x)$ and $\log dy/dx = \log\sigma(x)$."""
    return F.softplus(x), F.logsigmoid(x)


def softplus_inverse(y: Tensor) -> tuple[Tensor, Tensor]:
    r"""$x = \log(e^y - 1)$ and $\log dx/dy = -\log(1 - e^{-y})$, without overflow."""
    log1mexp = (-(-y).expm1()).log()
    return y + log1mexp, -log1mexp


def sigmoid(x: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    r"""$y = a + (b - a)\,\sigma(x)$ onto $(a, b)$, and $\log dy/dx$."""
    return low + (high - low) * x.sigmoid(), math.log(high - low) + F.logsigmoid(x) + F.logsigmoid(-x)


def logit(y: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    r"""Inverse of `sigmoid`: $x = \log\frac{y - a}{b - y}$ and $\log dx/dy$."""
    above, below = (y - low).log(), (high - y).log()
    return above - below, math.log(high - low) - above - below
