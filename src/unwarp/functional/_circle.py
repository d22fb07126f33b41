"""Maps of the circle, in angles from -pi to pi."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unwarp.functional._roots import solve_increasing
from unwarp.functional._spline import periodic_rational_quadratic, periodic_rational_quadratic_inverse

__all__ = ["circular_spline", "circular_spline_inverse", "moebius", "moebius_inverse", "wrap"]


def wrap(x: Tensor) -> Tensor:
    r"""The angle in $[-\pi, \pi]$ that x is, but for whole turns."""
    turns = torch.floor((x.detach() + math.pi) / (2 * math.pi))
    return (x - 2 * math.pi * turns).clamp(-math.pi, math.pi)


def circular_spline(x: Tensor, params: Tensor, *, min_bin: float, min_slope: float) -> tuple[Tensor, Tensor]:
    r"""A rational-quadratic spline from $-\pi$ to $\pi$ with one slope at both ends, then a rotation; and $\log dy/dx$.

    Args:
        x: angles, `(...)`.
        params: `(..., 3K + 1)`, unconstrained: K widths, K heights, K slopes and the angle of the rotation.
        min_bin: floor of a bin's share of the circle.
        min_slope: floor of the slope at a knot.

    Source: Rezende et al. 2020, arXiv:2002.02428, section 2.1.2.
    """
    params, shift = _without_shift(params)
    y, ladj = periodic_rational_quadratic(wrap(x), params, min_bin=min_bin, min_slope=min_slope)
    return wrap(y + shift), ladj


def circular_spline_inverse(y: Tensor, params: Tensor, *, min_bin: float, min_slope: float) -> tuple[Tensor, Tensor]:
    r"""Inverse of `circular_spline`: x and $\log dx/dy$."""
    params, shift = _without_shift(params)
    return periodic_rational_quadratic_inverse(wrap(y - shift), params, min_bin=min_bin, min_slope=min_slope)


def _without_shift(params: Tensor) -> tuple[Tensor, Tensor]:
    params, shift = params.split([params.shape[-1] - 1, 1], -1)
    return params, shift.squeeze(-1)


def moebius(x: Tensor, omega: Tensor, weight: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    r"""$y = x + t + \sum_k \rho_k\, 2 \arg(1 - \bar\omega_k e^{ix})^{-1}$, wrapped, and $\log dy/dx$.

    Each term is a Moebius transformation of the disc that stretches the circle near $\omega_k$ and leaves its direction
    where it is; the slopes are $(1 - |\omega|^2) / |e^{ix} - \omega|^2$.

    Args:
        x: angles, `(...)`.
        omega: points in the open unit disc, `(..., K, 2)`.
        weight: $\rho$, positive and of sum 1, `(..., K)`.
        shift: t, `(...)`.

    Source: Rezende et al. 2020, arXiv:2002.02428, section 2.1.1 and appendix A. Differs: written for the angle itself,
    so that nothing has to be turned back or cut open.
    """
    move, slope = _moebius_terms(x, omega, weight)
    return wrap(x + shift + move), slope.log()


def moebius_inverse(y: Tensor, omega: Tensor, weight: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    r"""Inverse of `moebius`, by root finding: x and $\log dx/dy$."""
    y = y - shift

    def misfit(step: Tensor) -> tuple[Tensor, Tensor]:
        move, slope = _moebius_terms(y + step, omega, weight)
        return step + move, slope.log()

    x = y + solve_increasing(misfit, torch.zeros_like(y), ends=(-math.pi, math.pi))
    return wrap(x), -_moebius_terms(x, omega, weight)[1].log()


def _moebius_terms(x: Tensor, omega: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """How far the weighted transformations move x, and the slope of x plus that."""
    cos, sin = x.cos().unsqueeze(-1), x.sin().unsqueeze(-1)
    a, b = omega.unbind(-1)
    across, along = a * sin - b * cos, a * cos + b * sin
    square = a * a + b * b
    move = (weight * 2 * torch.atan2(across, 1 - along)).sum(-1)
    return move, (weight * (1 - square) / (1 - 2 * along + square)).sum(-1)
