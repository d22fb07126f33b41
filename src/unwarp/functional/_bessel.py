"""Modified Bessel functions of any order."""

from __future__ import annotations

import math

from torch import Tensor

__all__ = ["log_bessel"]

_HIGH = 64  # order from which four terms of the expansion are right to some 1e-11


def log_bessel(nu: float, square: Tensor) -> Tensor:
    r"""$\log\big(I_\nu(\kappa)\,\kappa^{-\nu}\big)$ for $\nu \ge 0$ as a function of $\kappa^2$, in which it is smooth.

    At a high order it is an expansion that holds for all $\kappa$ at once; from there down the ratios
    $s_n = I_{n+1} / (\kappa I_n) = 1 / (2n + 2 + \kappa^2 s_{n+1})$ lead, which forget the error of their start.

    Shapes: square `(...)`, float64 for all digits -> `(...)`.

    Source: Olver, *Tables for Bessel functions of moderate or large orders*, 1962; NIST Digital Library of Mathematical
    Functions, 10.41.3 and 10.29.1.

    Example:
        >>> kappa = torch.tensor([0.5, 30.0], dtype=torch.float64)  # of order 1/2: sqrt(2 / pi) sinh(kappa) / kappa
        >>> truth = (2 / torch.pi) ** 0.5 * kappa.sinh() / kappa
        >>> torch.allclose(log_bessel(0.5, kappa.square()), truth.log(), atol=1e-9)
        True
    """
    steps = max(0, math.ceil(_HIGH - nu))
    high = nu + steps
    total = _expansion(high, square)
    ratio = (_expansion(high + 1, square) - total).exp()
    for k in range(steps - 1, -1, -1):
        ratio = 1 / (2 * (nu + k) + 2 + square * ratio)
        total = total - ratio.log()
    return total


def _expansion(nu: float, square: Tensor) -> Tensor:
    """The uniform expansion for large orders."""
    q = (nu * nu + square).sqrt()
    p = nu / q
    s = p * p
    series = 1 + p * (3 - 5 * s) / (24 * nu)
    series = series + s * (81 + s * (-462 + 385 * s)) / (1152 * nu**2)
    series = series + p * s * (30375 + s * (-369603 + s * (765765 - 425425 * s))) / (414720 * nu**3)
    fourth = 4465125 + s * (-94121676 + s * (349922430 + s * (-446185740 + 185910725 * s)))
    series = series + s * s * fourth / (39813120 * nu**4)
    return q - nu * (nu + q).log() - 0.5 * (2 * math.pi * q).log() + series.log()
