"""Pairs of parameters and simulated data, as they are learned from."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unwarp.applications._simulators._prior import Prior
from unwarp.errors import DataError, ShapeError

__all__ = ["Simulations", "observation", "pairs", "steps_of"]

_FEWEST = 20


@dataclass(frozen=True, slots=True)
class Simulations:
    """Usable pairs.

    Attributes:
        theta: parameters `(n, d)`, float64.
        x: data `(n, *observed)`, float32.
        dropped: how many pairs were not finite.
    """

    theta: Tensor
    x: Tensor
    dropped: int

    def joined(self, other: Simulations) -> Simulations:
        """Both, one after the other."""
        theta, x = torch.cat([self.theta, other.theta]), torch.cat([self.x, other.x])
        return Simulations(theta, x, self.dropped + other.dropped)


def pairs(where: str, prior: Prior, theta: Any, x: Any) -> Simulations:
    """The pairs that can be learned from; a warning counts the others.

    Raises:
        DataError: when parameters and data are not as many, parameters lie outside the prior's support, or fewer than
            20 pairs are finite.
        ShapeError: when parameters are no matrix of the prior's columns.
    """
    rows, data = _array(theta), _array(x)
    if rows.ndim == 1 and prior.dim == 1:
        rows = rows[:, None]
    if rows.ndim != 2 or rows.shape[1] != prior.dim:
        raise ShapeError(
            f"{where}: expected parameters of shape (n, {prior.dim}); got {rows.shape}. Give a row a simulation."
        )
    if data.ndim == 0 or len(data) != len(rows):
        raise DataError(f"{where}: expected as many data as parameters, {len(rows)}; got {data.shape}. Pair them.")
    data = data.reshape(len(data), -1) if data.ndim == 1 else data
    with np.errstate(over="ignore"):
        seen = np.ascontiguousarray(data, dtype=np.float32)
    finite: Any = np.isfinite(rows).all(1) & np.isfinite(seen).reshape(len(seen), -1).all(1)
    dropped = int((~finite).sum())
    if finite.sum() < _FEWEST:
        raise DataError(
            f"{where}: expected at least {_FEWEST} valid simulations; got {int(finite.sum())} of {len(rows)}, the "
            "others NaN or infinite. Mend the simulator."
        )
    rows, seen = rows[finite], seen[finite]
    rows = prior.nudged(rows)
    outside = int((~prior.contains(rows)).sum())
    if outside:
        raise DataError(
            f"{where}: expected parameters inside the prior's support; got {outside} outside. Use prior.sample."
        )
    if dropped:
        warnings.warn(
            f"{where}: {dropped:,} of {len(finite):,} simulations are not finite and are left out; the posterior is "
            "then that given that a simulation succeeds.",
            UserWarning,
            stacklevel=3,
        )
    return Simulations(torch.from_numpy(rows), torch.from_numpy(seen), dropped)


def observation(where: str, x: Any, shape: tuple[int, ...]) -> Tensor:
    """One observation of that shape.

    Raises:
        ShapeError: when it has another.
        DataError: when it is not finite.
    """
    data = _array(x)
    if data.shape == (1, *shape):
        data = data[0]
    data = data.reshape(shape) if data.shape == () and shape == (1,) else data
    if data.shape != shape:
        raise ShapeError(f"{where}: expected one observation of shape {shape}; got {data.shape}. Give one at a time.")
    if not np.isfinite(data).all():
        raise DataError(
            f"{where}: expected a finite observation; got NaN or infinity. Fill or leave out what is missing."
        )
    return torch.from_numpy(np.ascontiguousarray(data, dtype=np.float32))


def steps_of(x: Tensor) -> Tensor:
    """For each column of `(n, k)` the step of the grid that its values lie on; 0 where they lie on none."""
    found: list[float] = []
    for column in x.double().unbind(-1):
        values = column.unique()
        gaps = values.diff()
        step = float(gaps.min()) if len(gaps) else 0.0
        even = 0 < len(gaps) < 0.5 * len(column) and bool((gaps / step - (gaps / step).round()).abs().max() < 1e-3)
        found.append(step if even else 0.0)
    return torch.tensor(found)


def _array(values: Any) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
    return np.asarray(values, dtype=np.float64)
