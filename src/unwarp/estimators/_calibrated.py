"""What detectors of strange rows share: p-values beside calibration rows, and rates of false discoveries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted

from unwarp.errors import ConfigError
from unwarp.estimators._conformal import conformal, discoveries, within

__all__ = ["FOUND", "Calibrated"]

FOUND = 0.05
"""False discovery rate of what leaves the calibration."""


class Calibrated(OutlierMixin, BaseEstimator, ABC):
    """A detector whose scores stand beside those of calibration rows, `calibration_`, and whose `offset_` they give."""

    calibration_: NDArray[np.float64]
    offset_: float
    _ranked: str  # the attribute with the scores by which rows of `fit` are judged among themselves

    @abstractmethod
    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """How normal each row is, ``(rows,)``: higher is more normal, minus infinity is impossible."""

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """`score_samples` less `offset_`: below 0 is strange, ``(rows,)``."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> NDArray[np.int_]:
        """-1 for a strange row and 1 for a normal one, ``(rows,)``; of normal rows a share `level` is called strange.

        `outliers` judges a batch of rows as a whole, so that few false ones are among those found.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_values(self, X: Any = None) -> NDArray[np.float64]:
        """The p-value of each row, ``(rows,)``: how often a normal row would be as strange or stranger.

        Args:
            X: New rows; None for those of `fit`, which a loaded model does not hold.

        Raises:
            ConfigError: When a loaded model is asked for the rows of `fit`.
        """
        check_is_fitted(self)
        if X is not None:
            return conformal(self.score_samples(X), self.calibration_)
        return within(self._own("p_values"), FOUND)[0]

    def outliers(self, X: Any = None, *, fdr: float = 0.05) -> NDArray[np.bool_]:
        """Which rows are strange, ``(rows,)`` bool: at most a share `fdr` of those found is false, on average.

        Args:
            X: New rows; None for those of `fit`.
            fdr: The false discovery rate, above 0 and below 1.

        Raises:
            ConfigError: When `fdr` is out of range, or a loaded model is asked for the rows of `fit`.
        """
        check_is_fitted(self)
        if not 0 < fdr < 1:
            raise ConfigError(f"outliers: expected fdr above 0 and below 1; got {fdr}. Use 0.05.")
        return within(self._own("outliers"), fdr)[1] if X is None else discoveries(self.p_values(X), fdr)

    def _own(self, where: str) -> NDArray[np.float64]:
        """The scores of the rows of `fit`."""
        if self._ranked not in vars(self):
            raise ConfigError(f"{where}: expected rows; got none, and a loaded model holds none. Give the rows.")
        return vars(self)[self._ranked]
