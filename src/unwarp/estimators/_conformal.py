"""From scores to p-values, and from p-values to discoveries."""

from __future__ import annotations

import numpy as np

_TAIL = 0.25  # share of the rows that are taken for the tail; half of it, and no less, bears strange ones
_STILL = 5  # rounds after which what is found seldom changes


def conformal(scores: np.ndarray, calibration: np.ndarray) -> np.ndarray:
    r"""Split-conformal p-values, $(1 + \#\{i: s_i \le s\}) / (n + 1)$: uniform for rows like the calibration's.

    Args:
        scores: Higher is more normal, ``(rows,)``.
        calibration: Scores of rows that no training saw, sorted, ``(n,)``.

    Source: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005.
    """
    return (1.0 + np.searchsorted(calibration, scores, side="right")) / (len(calibration) + 1.0)


def offset(calibration: np.ndarray, level: float) -> float:
    """The score below which the p-value is `level` or less, if it can be that low; the calibration is sorted."""
    finite = calibration[np.isfinite(calibration)]
    place = max(int(np.floor(level * (len(calibration) + 1) + 1e-9)) - 1, 0)
    lowest = float(finite[0]) if len(finite) else 0.0
    return max(float(calibration[min(place, len(calibration) - 1)]), lowest)


def discoveries(p: np.ndarray, fdr: float) -> np.ndarray:
    """Which rows are found when at most a share `fdr` of those found may, on average, be false, ``(rows,)`` bool.

    Source: Benjamini, Hochberg, "Controlling the False Discovery Rate", 1995; for conformal p-values Bates, Candes,
    Lei, Romano, Sesia, "Testing for Outliers with Conformal p-values", 2023, arXiv 2104.08279.
    """
    ordered = np.sort(p)
    passed = np.flatnonzero(ordered <= fdr * np.arange(1, len(p) + 1) / max(len(p), 1))
    return p <= ordered[passed[-1]] if len(passed) else np.zeros(len(p), dtype=bool)


def within(scores: np.ndarray, fdr: float) -> tuple[np.ndarray, np.ndarray]:
    r"""p-values of the rows of one table against each other, and the rows found strange among them.

    Ranks alone cannot tell: however strange the lowest score, its rank is one in n. The log density of most laws,
    normal or heavy-tailed, has an exponential lower tail, so the lower tail of the scores is taken for one whose
    scale comes from its nearer half, which few strange rows reach; what is found leaves before the next round.

    Args:
        scores: Higher is more normal, of rows that the scoring model did not see, ``(rows,)``.
        fdr: Share of those found that may be false.

    Returns:
        p-values ``(rows,)`` and found ``(rows,)`` bool.
    """
    strange = np.zeros(len(scores), dtype=bool)
    p = conformal(scores, np.sort(scores))
    for _ in range(_STILL):
        kept = scores[~strange & np.isfinite(scores)]
        if len(kept) < 20:
            break
        edge = np.quantile(kept, _TAIL)
        beyond = edge - kept[kept < edge]
        if not len(beyond) or np.median(beyond) <= 0:
            break
        scale = float(np.median(beyond)) / np.log(2.0)
        depth = np.maximum(edge - scores, 0.0) / scale
        share = conformal(scores, np.sort(kept))
        p = np.where(scores < edge, _TAIL * np.exp(-depth), share)
        found = discoveries(p, fdr)
        if np.array_equal(found, strange):
            break
        strange = found
    return p, strange
