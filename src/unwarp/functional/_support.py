"""Maps from the real line onto half lines and intervals."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["exp", "log", "logit", "rescale", "sigmoid", "softplus", "softplus_inverse"]


def exp(x: Tensor) -> tuple[Tensor, Tensor]:
    r"""$y = e^x$, held to the positive numbers that the dtype has, and $\log dy/dx = x$."""
    info = torch.finfo(x.dtype)
    return x.clamp(0.9999 * math.log(info.tiny), 0.9999 * math.log(info.max)).exp(), x


def log(y: Tensor) -> tuple[Tensor, Tensor]:
    r"""$x = \log y$ and $\log dx/dy = -\log y$."""
    x = y.log()
    return x, -x


def softplus(x: Tensor) -> tuple[Tensor, Tensor]:
    r"""$y = \log(1 + e^x)$ and $\log dy/dx = \log\sigma(x)$."""
    return F.softplus(x).clamp(min=torch.finfo(x.dtype).tiny), F.logsigmoid(x)


def softplus_inverse(y: Tensor) -> tuple[Tensor, Tensor]:
    r"""$x = \log(e^y - 1)$ and $\log dx/dy = -\log(1 - e^{-y})$, without overflow."""
    log1mexp = (-(-y).expm1()).log()
    return y + log1mexp, -log1mexp


def sigmoid(x: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    r"""$y = a + (b - a)\,\sigma(x)$ onto $(a, b)$, and $\log dy/dx$; y never rounds to an end."""
    y = _within(low + (high - low) * x.sigmoid(), low, high)
    return y, math.log(high - low) + F.logsigmoid(x) + F.logsigmoid(-x)


def rescale(x: Tensor, source: tuple[float, float], target: tuple[float, float]) -> tuple[Tensor, Tensor]:
    r"""The straight line from $(a, b)$ onto $(c, d)$, and $\log\frac{d - c}{b - a}$; y never rounds to an end."""
    slope = (target[1] - target[0]) / (source[1] - source[0])
    y = _within(x if source == target else target[0] + slope * (x - source[0]), *target)
    return y, y.new_tensor(math.log(slope)).expand_as(y)


def _within(y: Tensor, low: float, high: float) -> Tensor:
    """`y` held to the numbers of its dtype that lie inside the open interval."""
    info = torch.finfo(y.dtype)
    above, below = (max(info.eps * abs(end), info.tiny) for end in (low, high))
    return y.clamp(low + above, high - below)


def logit(y: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    r"""Inverse of `sigmoid`: $x = \log\frac{y - a}{b - y}$ and $\log dx/dy$."""
    above, below = (y - low).log(), (high - y).log()
    return above - below, math.log(high - low) - above - below
