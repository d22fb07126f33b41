"""How far out an observation is among the data that a simulator makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unwarp.errors import BundleError

__all__ = ["Usual"]

_MOST = 64  # directions that are looked along
_ROWS = 5_000
_LEVELS = 200


@dataclass(frozen=True)
class Usual:
    """Squared Mahalanobis distances of simulated data, by which that of an observation is judged.

    Numbers are pulled in by arsinh first; of many, some averages are looked at.

    Args:
        center: median of each number.
        scale: scaled interquartile range, or the standard deviation.
        mean: of what is looked at.
        whitener: the inverse of its covariance's Cholesky factor.
        levels: quantiles of the distances, from 0 to 1.
    """

    center: np.ndarray
    scale: np.ndarray
    mean: np.ndarray
    whitener: np.ndarray
    levels: np.ndarray

    @classmethod
    def of(cls, x: Tensor) -> Usual:
        """From the training data `(n, *observed)`."""
        rows = _looked(x[torch.linspace(0, len(x) - 1, min(len(x), _ROWS)).long()])
        low, center, high = np.quantile(rows, [0.25, 0.5, 0.75], axis=0)
        scale = np.where(high > low, (high - low) / 1.349, rows.std(0))
        scale = np.where(scale > 0, scale, 1.0)
        seen = np.arcsinh((rows - center) / scale)
        fit, rest = seen[::2], seen[1::2]  # distances of rows that set the covariance would be too small
        covariance = np.atleast_2d(np.cov(fit.T)) + 1e-6 * np.eye(seen.shape[1])
        whitener = np.linalg.inv(np.linalg.cholesky(covariance))
        far = np.square((rest - fit.mean(0)) @ whitener.T).sum(1)
        return cls(center, scale, fit.mean(0), whitener, np.quantile(far, np.linspace(0, 1, _LEVELS + 1)))

    def share_beyond(self, x: Tensor) -> float:
        """The share of simulated data at least as far out as one observation."""
        seen = np.arcsinh((_looked(x.unsqueeze(0))[0] - self.center) / self.scale)
        far = float(np.square(self.whitener @ (seen - self.mean)).sum())
        return 1.0 - float(np.searchsorted(self.levels, far)) / len(self.levels)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {name: getattr(self, name).tolist() for name in ("center", "scale", "mean", "whitener", "levels")}

    @classmethod
    def of_json(cls, spec: Any, where: str) -> Usual:
        """What `to_json` gave.

        Raises:
            BundleError: when it is something else.
        """
        try:
            made = cls(**{name: np.asarray(value, dtype=np.float64) for name, value in spec.items()})
            size = len(made.center)
            fits = made.scale.shape == made.mean.shape == (size,) and made.whitener.shape == (size, size)
            if not fits or made.levels.ndim != 1:
                raise ValueError("sizes")
        except (AttributeError, TypeError, ValueError) as error:
            raise BundleError(
                f"{where}: expected distances of training data; got others. Fit and save anew."
            ) from error
        return made


def _looked(x: Tensor) -> np.ndarray:
    """Numbers of each observation; of more than 64, means of as many stretches of neighbours."""
    rows = x.double().flatten(1)
    if rows.shape[1] > _MOST:
        rows = torch.nn.functional.adaptive_avg_pool1d(rows.unsqueeze(1), _MOST).squeeze(1)
    return rows.numpy()
