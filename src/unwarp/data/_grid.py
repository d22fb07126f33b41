"""Finding the grid on which a column was recorded: whole numbers, decimals, or one step after a linear rescaling."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_TIES = 0.05  # share of rows that must repeat a value before anything but whole numbers counts as a grid
_MOST_PLACES = 9
_MOST_TEETH = 1_000_000
_LARGEST_WHOLE = 2.0**53


@dataclass(frozen=True, slots=True)
class Grid:
    """Values at ``origin + k step`` for whole k, with ``0 <= origin < step``."""

    step: float
    origin: float

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Which values lie on the grid, up to a hundredth of a step."""
        teeth = (values - self.origin) / self.step
        return np.abs(teeth - np.round(teeth)) <= 0.01


def grid_of(distinct: np.ndarray, ties: float) -> Grid | None:
    """The grid on which the sorted distinct values lie, if there is one.

    Whole numbers always count; their step is the greatest one that divides all differences. Other grids need ties: the
    step that explains all gaps, or decimal places where these are coarser or give the same grid exactly.

    Args:
        distinct: ``(values,)`` at least two, ascending.
        ties: Share of the rows that repeat the value of another row.

    Example:
        >>> grid_of(np.array([0.1, 0.3, 0.4]), ties=0.5)
        Grid(step=0.1, origin=0.0)
        >>> grid_of(np.array([10.0, 30.0, 40.0]), ties=0.0)
        Grid(step=10.0, origin=0.0)
        >>> grid_of(np.array([0.1, 0.3, 0.4]), ties=0.0)
    """
    whole = decimal_grid(distinct, 0)
    if whole is not None or ties < _TIES:
        return whole
    rescaled = _rescaled(distinct)
    for places in range(1, _MOST_PLACES + 1):
        grid = decimal_grid(distinct, places)
        if grid is not None and (rescaled is None or grid.step > 0.9 * rescaled.step):
            return grid
    return rescaled


def decimal_grid(distinct: np.ndarray, places: int) -> Grid | None:
    """The coarsest grid of the numbers with so many decimal places.

    Numbers read from text are the doubles nearest to a decimal, and so is the quotient here: they are equal or not.
    """
    teeth = np.round(distinct * 10.0**places)
    if np.abs(teeth).max() > _LARGEST_WHOLE or np.any(teeth / 10.0**places != distinct):
        return None
    step = math.gcd(*(int(gap) for gap in np.unique(np.diff(teeth))))
    if places and teeth[-1] - teeth[0] > _MOST_TEETH * step:
        return None
    return Grid(step / 10.0**places, (int(teeth[0]) % step) / 10.0**places)


def _rescaled(distinct: np.ndarray) -> Grid | None:
    """A grid of any step, as a linear rescaling of whole numbers leaves it, also in single precision."""
    gaps = np.diff(distinct)
    step = float(gaps.min())
    if step * _MOST_TEETH < distinct[-1] - distinct[0]:
        return None
    teeth = np.round(gaps / step)
    step = float(gaps.sum() / teeth.sum())
    if np.any(np.abs(gaps - teeth * step) > 0.01 * step):
        return None
    return Grid(step, float(np.mod(distinct[0], step)))
