"""Detectors of strange rows that others wrote: scores of new rows, or of those that they were fitted to."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity, LocalOutlierFactor, NearestNeighbors

Detector = Callable[[np.ndarray, "np.ndarray | None", int], np.ndarray]
"""Training rows, rows to judge (None for the training rows) and a seed -> how strange each is."""


def forest(train: np.ndarray, test: np.ndarray | None, seed: int) -> np.ndarray:
    """Isolation forest."""
    return -IsolationForest(random_state=seed).fit(train).score_samples(train if test is None else test)


def nearest(train: np.ndarray, test: np.ndarray | None, _: int) -> np.ndarray:
    """Distance to the fifth neighbour, a row itself not counted."""
    return NearestNeighbors(n_neighbors=min(5, len(train) - 1)).fit(train).kneighbors(test)[0][:, -1]


def local(train: np.ndarray, test: np.ndarray | None, _: int) -> np.ndarray:
    """Local outlier factor of 20 neighbours."""
    model = LocalOutlierFactor(min(20, len(train) - 1), novelty=test is not None).fit(train)
    return -(model.negative_outlier_factor_ if test is None else model.score_samples(test))


def mixture(train: np.ndarray, test: np.ndarray | None, seed: int) -> np.ndarray:
    """Minus the log density of a mixture of Gaussians with the best BIC."""
    sizes = [k for k in (1, 2, 4, 8) if k * 10 <= len(train)] or [1]
    made = [GaussianMixture(k, reg_covar=1e-3, random_state=seed).fit(train) for k in sizes]
    return -min(made, key=lambda model: model.bic(train)).score_samples(train if test is None else test)


def kernels(train: np.ndarray, test: np.ndarray | None, _: int) -> np.ndarray:
    """Minus the log density of Gaussian kernels of Scott's width."""
    return -KernelDensity(bandwidth="scott").fit(train).score_samples(train if test is None else test)


def rivals() -> dict[str, Detector]:
    """All of them: ECOD, COPOD and HBOS come from PyOD and are left out where it is not installed."""
    found: dict[str, Detector] = {
        "forest": forest, "knn": nearest, "lof": local, "mixture": mixture, "kde": kernels,
    }  # fmt: skip
    if importlib.util.find_spec("pyod") is None:
        return found
    from pyod.models import copod, ecod, hbos

    def wrapped(kind: type) -> Detector:
        def judged(train: np.ndarray, test: np.ndarray | None, _: int) -> np.ndarray:
            model = kind().fit(train)
            return model.decision_scores_ if test is None else model.decision_function(test)

        return judged

    return found | {"ecod": wrapped(ecod.ECOD), "copod": wrapped(copod.COPOD), "hbos": wrapped(hbos.HBOS)}
