"""Importance weights: how far they can be trusted, and their smoothed form."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["effective_size", "pareto_smoothed"]

Floats = NDArray[np.float64]
_FEWEST = 25  # weights from which a tail can be told


def effective_size(log_weight: Floats) -> float:
    r"""Kish's effective sample size $(\sum w)^2 / \sum w^2$ of log weights `(n,)`.

    Example:
        >>> effective_size(np.zeros(10))
        10.0
    """
    w = np.exp(log_weight - log_weight.max())
    return float(w.sum() ** 2 / (w**2).sum())


def pareto_smoothed(log_weight: Floats) -> tuple[Floats, float]:
    r"""Log weights of sum 1, the largest replaced by quantiles of a generalised Pareto law, and that law's shape k.

    Below 0.5 means of weights have the usual errors; up to 0.7 they can be used; above, they can't be trusted whatever
    their spread looks like. Fewer than 25 weights give k = inf.

    Args:
        log_weight: `(n,)`, unnormalised; minus infinity is a weight of 0.

    Source: Vehtari, Simpson, Gelman, Yao and Gabry, *Pareto Smoothed Importance Sampling*, 2024, arXiv:1507.02646;
    Zhang and Stephens, *A New and Efficient Estimation Method for the Generalized Pareto Distribution*, 2009.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> _, light = pareto_smoothed(rng.normal(size=4000))
        >>> _, heavy = pareto_smoothed(3 * rng.exponential(size=4000))
        >>> light < 0.7 < heavy
        True
    """
    count = len(log_weight)
    shifted = np.asarray(log_weight, dtype=np.float64) - np.max(log_weight)
    tail = int(min(0.2 * count, 3 * math.sqrt(count)))
    if count < _FEWEST or tail < 5:
        return shifted - np.log(np.exp(shifted).sum()), math.inf
    order = np.argsort(shifted, kind="stable")
    largest, cut = order[-tail:], shifted[order[-tail - 1]]
    excess = np.exp(shifted[largest]) - np.exp(cut)
    if excess[-1] <= 1e-12:  # all alike
        return shifted - np.log(np.exp(shifted).sum()), -math.inf
    shape, scale = _generalised_pareto(np.maximum(excess, 1e-300))
    if np.isfinite(shape):
        rank = (np.arange(tail) + 0.5) / tail
        ahead = -np.log1p(-rank) if abs(shape) < 1e-9 else np.expm1(-shape * np.log1p(-rank)) / shape
        shifted[largest] = np.minimum(np.log(np.exp(cut) + scale * ahead), 0.0)
    return shifted - np.log(np.exp(shifted).sum()), float(shape)


def _generalised_pareto(x: Floats) -> tuple[float, float]:
    """Shape and scale of values above 0 in order, the shape drawn to 0.5 by ten values' worth."""
    count = len(x)
    grid = 30 + int(math.sqrt(count))
    b = (1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3 * x[int(count / 4 + 0.5) - 1]) + 1 / x[-1]
    k = np.log1p(-b[:, None] * x).mean(axis=1)
    profile = count * (np.log(-b / k) - k - 1)
    share = np.exp(profile - profile.max())
    b_mean = float((b * share).sum() / share.sum())
    shape = float(np.log1p(-b_mean * x).mean())
    return (shape * count + 5) / (count + 10), -shape / b_mean
