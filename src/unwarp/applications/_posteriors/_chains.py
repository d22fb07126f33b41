"""What Markov chains are worth, and whether they agree."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["independent_draws", "r_hat"]

Floats = NDArray[np.float64]


def independent_draws(chains: Floats) -> float:
    """Draws over the integrated autocorrelation time, by Geyer's initial monotone sequence over all chains.

    Args:
        chains: of one number, `(chains, draws)`.

    Source: Geyer, *Practical Markov Chain Monte Carlo*, 1992.

    Example:
        >>> bool(independent_draws(np.random.default_rng(0).normal(size=(4, 500))) > 1500)
        True
    """
    count = chains.shape[1]
    centered = chains - chains.mean()
    size = 2 ** math.ceil(math.log2(2 * count))
    spectrum = np.fft.rfft(centered, size, axis=1)
    covariance = np.fft.irfft(spectrum * spectrum.conj(), size, axis=1)[:, :count].mean(0) / count
    if covariance[0] <= 0:
        return 1.0
    rho = covariance / covariance[0]
    pairs = rho[: count // 2 * 2].reshape(-1, 2).sum(1)
    stop = int(np.argmax(pairs < 0)) if (pairs < 0).any() else len(pairs)
    time = -1 + 2 * np.minimum.accumulate(pairs[: max(1, stop)]).sum()
    return chains.size / max(1.0, float(time))


def r_hat(chains: Floats) -> float:
    """How much wider all chains are together than each half of one: 1 where they agree, above 1.01 where they don't.

    The larger of two: of the ranks, which sees different places, and of the ranks of distances from the median, which
    sees different widths.

    Args:
        chains: of one number, `(chains, draws)`, at least 4 draws each.

    Source: Vehtari, Gelman, Simpson, Carpenter and Buerkner, *Rank-normalization, folding, and localization*, 2021,
    arXiv:1903.08008.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> bool(r_hat(rng.normal(size=(4, 500))) < 1.01), bool(r_hat(rng.normal([[0.0], [3.0]], 1.0, (2, 500))) > 1.5)
        (True, True)
    """
    half = chains.shape[1] // 2
    halves = np.concatenate([chains[:, :half], chains[:, -half:]])
    return max(_ratio(_scores(halves)), _ratio(_scores(np.abs(halves - np.median(halves)))))


def _scores(values: Floats) -> Floats:
    """Normal scores of ranks; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place.reshape(values.shape)]
    return torch.special.ndtri(torch.from_numpy((ranks - 0.375) / (values.size + 0.25))).numpy()


def _ratio(values: Floats) -> float:
    count = values.shape[1]
    within = values.var(axis=1, ddof=1).mean()
    between = count * values.mean(axis=1).var(ddof=1)
    return float(np.sqrt((count - 1) / count + between / within / count)) if within > 0 else math.inf
