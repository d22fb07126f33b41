"""`FlowOutlier` by the conventions of PyOD."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_array, check_is_fitted

from unwarp.estimators._outlier import FlowOutlier

__all__ = ["pyod_detector"]

_IMPOSSIBLE = 1e300  # PyOD scales scores between their least and greatest, so all are finite


def pyod_detector(contamination: float = 0.1, *, outlier: FlowOutlier | None = None) -> Any:
    """A `FlowOutlier` as a detector of PyOD: higher scores are stranger, labels are 0 and 1.

    When to use it: in pipelines, ensembles and comparisons that are written for PyOD. `FlowOutlier` itself has p-values
    and a false discovery rate where PyOD asks for a guessed contamination.

    Args:
        contamination: Share of the rows of `fit` that get label 1, above 0 and at most 0.5.
        outlier: The settings; `fit` works on a copy. By default those of `FlowOutlier()`.

    Returns:
        A `pyod.models.base.BaseDetector` with PyOD's `decision_scores_`, `threshold_`, `labels_`, `decision_function`,
        `predict`, `predict_proba` and the rest; `outlier_` is the fitted `FlowOutlier`. It can be cloned and pickled.

    Raises:
        ModuleNotFoundError: Without PyOD.
    """
    return _detector()(contamination, outlier=outlier)


@cache
def _detector() -> type[Any]:
    """The class, which exists where PyOD does."""
    try:
        from pyod.models.base import BaseDetector  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ModuleNotFoundError(
            "pyod_detector: expected PyOD; got an environment without it. Run `pip install pyod`."
        ) from error
    base: Any = BaseDetector

    class FlowDetector(base):
        def __init__(self, contamination: float = 0.1, *, outlier: FlowOutlier | None = None) -> None:
            super().__init__(contamination=contamination)
            self.outlier = outlier

        def fit(self, X: Any, y: Any = None) -> Any:
            values = check_array(X)
            self._set_n_classes(y)
            outlier: Any = clone(FlowOutlier() if self.outlier is None else self.outlier)
            self.outlier_ = outlier.fit(values)
            self.decision_scores_ = _stranger(self.outlier_.scores_)
            self._process_decision_scores()
            return self

        def decision_function(self, X: Any) -> np.ndarray:
            check_is_fitted(self, "outlier_")
            return _stranger(self.outlier_.score_samples(check_array(X)))

        def __reduce__(self) -> tuple[Any, ...]:
            return _again, (vars(self),)

    return FlowDetector


def _stranger(scores: np.ndarray) -> np.ndarray:
    return np.minimum(-scores, _IMPOSSIBLE)


def _again(state: dict[str, Any]) -> Any:
    """A detector from its attributes: its class has no address that pickle could keep."""
    detector = pyod_detector()
    vars(detector).update(state)
    return detector
