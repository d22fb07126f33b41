"""Is a law of parameters given data right on average? Ranks, levels, distances and classifiers, each with a p-value."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["conservatism", "distance_levels", "highest_density_levels", "local_two_sample", "ranks", "uniformity"]

Floats = NDArray[np.float64]


def ranks(draws: Floats, truth: Floats, seed: int) -> Floats:
    """Of each true parameter among its draws, as shares in (0, 1), `(m, d)`; ties are told apart by chance.

    Args:
        draws: `(n, m, d)`.
        truth: `(m, d)`.
        seed: of what chance decides.

    Source: Talts, Betancourt, Simpson, Vehtari and Gelman, *Validating Bayesian Inference Algorithms with
    Simulation-Based Calibration*, 2018, arXiv:1804.06788. Differs: ranks are spread over their step.
    """
    below, equal = (draws < truth).sum(0), (draws == truth).sum(0)
    chance = np.random.default_rng([seed, 1]).random(truth.shape)
    return (below + chance * (equal + 1)) / (len(draws) + 1)


def highest_density_levels(log_draws: Floats, log_truth: Floats, seed: int) -> Floats:
    """The credible level of the highest-density region that just holds each truth, `(m,)`, uniform when all is well.

    Args:
        log_draws: log density of draws, `(n, m)`.
        log_truth: of the truths, `(m,)`.
        seed: of what chance decides.

    Source: Hermans et al., *A Crisis In Simulation-Based Inference? Beware, Your Posterior Approximations Can Be
    Unfaithful*, 2022, arXiv:2110.06581, section 2.
    """
    chance = np.random.default_rng([seed, 2]).random(log_truth.shape)
    return ((log_draws > log_truth).sum(0) + chance) / (len(log_draws) + 1)


def distance_levels(draws: Floats, truth: Floats, seed: int) -> Floats:
    """The share of draws that are nearer to a random point than the truth is, `(m,)`, uniform when all is well.

    Points and parameters are scaled by the truths' moments; the points are uniform over the truths' range.

    Args: as for `ranks`.

    Source: Lemos, Coogan, Hezaveh and Perreault-Levasseur, *Sampling-Based Accuracy Testing of Posterior Estimators for
    General Inference*, 2023, arXiv:2302.03026, algorithm 2.
    """
    rng = np.random.default_rng([seed, 3])
    scale = np.where(truth.std(0) > 0, truth.std(0), 1.0)
    low, high = truth.min(0), truth.max(0)
    point = low + (high - low) * rng.random(truth.shape)
    far = np.sqrt(np.square((draws - point) / scale).sum(-1))
    own = np.sqrt(np.square((truth - point) / scale).sum(-1))
    return ((far < own).sum(0) + rng.random(len(truth))) / (len(draws) + 1)


def uniformity(levels: Floats, bins: int = 20) -> tuple[float, float]:
    """p-values of Kolmogorov's and of the chi-square test that numbers in (0, 1) are uniform.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> min(uniformity(rng.random(500))) > 0.01, max(uniformity(rng.random(500) ** 2)) < 1e-6
        (True, True)
    """
    from scipy.stats import chisquare, kstest  # pyright: ignore[reportMissingTypeStubs]

    bins = max(2, min(bins, len(levels) // 10))
    counts = np.histogram(levels, bins, (0.0, 1.0))[0]
    return float(kstest(levels, "uniform").pvalue), float(chisquare(counts).pvalue)  # pyright: ignore[reportAttributeAccessIssue]


def local_two_sample(
    u: Floats, drawn: Floats, again: Floats, x: Floats, at: tuple[Floats, Floats], seed: int, *, trials: int = 60
) -> tuple[float, float]:
    """How well a classifier tells true parameters from drawn ones *at one observation*, and the p-value.

    The classifier is logistic in all products of two numbers of (parameters, data), so that it sees shifts, scales and
    correlations that change with the data. Its law where all is well comes from draws beside other draws.

    Args:
        u: true parameters, `(m, d)`.
        drawn: one draw for each datum, `(m, d)`.
        again: another.
        x: data, `(m, k)`.
        at: draws at the observation, `(n, d)`, and the observation, `(k,)`.
        seed: of the trials.
        trials: of the law where all is well.

    Returns:
        The mean of (probability - 1/2)^2 at the observation, and the share of trials with at least as much.

    Source: Linhart, Gramfort and Rodrigues, *L-C2ST: Local Diagnostics for Posterior Approximations in Simulation-Based
    Inference*, 2023, arXiv:2306.03580, algorithms 1 and 2. Differs: the classifier.
    """
    center, scale = drawn.mean(0), np.where(drawn.std(0) > 0, drawn.std(0), 1.0)
    middle, width = np.median(x, 0), np.where(x.std(0) > 0, x.std(0), 1.0)
    told = np.arcsinh((x - middle) / width)
    here = np.arcsinh((at[1] - middle) / width)

    def seen(theta: Floats, data: Floats) -> Floats:
        both = np.concatenate([(theta - center) / scale, data], 1)
        i, j = np.triu_indices(both.shape[1])
        keep = i < theta.shape[1]  # products of data alone tell nothing
        return np.concatenate([both, both[:, i[keep]] * both[:, j[keep]]], 1)

    probes = seen(at[0], np.broadcast_to(here, (len(at[0]), len(here))))
    base, other = seen(drawn, told), seen(again, told)

    def statistic(one: Floats, two: Floats) -> float:
        from sklearn.linear_model import LogisticRegression  # pyright: ignore[reportMissingTypeStubs]
        from sklearn.preprocessing import StandardScaler  # pyright: ignore[reportMissingTypeStubs]

        rows = np.concatenate([one, two])
        units = StandardScaler().fit(rows)
        labels = np.repeat([0, 1], [len(one), len(two)])
        model = LogisticRegression(C=0.1, max_iter=200, tol=1e-3).fit(units.transform(rows), labels)
        return float(np.square(model.predict_proba(units.transform(probes))[:, 1] - 0.5).mean())

    found = statistic(base, seen(u, told))
    rng = np.random.default_rng([seed, 4])
    null = np.empty(trials)
    for i in range(trials):
        swap = rng.random(len(base))[:, None] < 0.5
        null[i] = statistic(np.where(swap, other, base), np.where(swap, base, other))
    return found, float((1 + (null >= found).sum()) / (1 + trials))


def conservatism(levels: Floats) -> float:
    """By how much regions hold more truths than they claim, on average over all levels; below 0 is overconfident."""
    return float(0.5 - np.mean(levels)) if len(levels) else math.nan
