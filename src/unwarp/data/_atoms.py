"""Spikes: values that many rows hold exactly, far more than their neighbours."""

from __future__ import annotations

import numpy as np

from unwarp.data._column import MOST_ATOMS
from unwarp.data._grid import Grid
from unwarp.data._numeric import Values

_FEW = 20  # numbers of so few values are taken value by value
_WINDOW = 5
_TIMES = 5.0  # how far a spike stands out of its neighbours


def spikes(column: Values, grid: Grid | None) -> np.ndarray:
    """Which of the distinct values have probability of their own, ``(values,)`` bool.

    Of numbers with at most 20 values, each that a few rows hold. Of others, those that at least ten rows and one
    in 3,000 hold, and five times as many as a tooth of the grid nearby (the median of its five neighbours on
    either side, times the share of teeth that hold anything). Without a grid a value comes once, so every value that is
    repeated so often counts.

    Example:
        >>> zeros = np.concatenate([np.zeros(50), np.random.default_rng(0).random(50)])
        >>> distinct, held = np.unique(zeros, return_counts=True)
        >>> found = spikes(Values("rain", zeros, np.ones(100), distinct, held.astype(float)), None)
        >>> distinct[found].tolist()
        [0.0]
    """
    held, least = column.held, column.total / 3000
    if column.distinct.size <= _FEW:
        return held >= max(least, 5)
    found = held >= max(least, 10)
    if grid is not None:
        often = np.flatnonzero(found)
        found[often] = held[often] > _TIMES * _usual(column, grid, often)
    if found.sum() > MOST_ATOMS:
        found &= held >= np.sort(held[found])[-MOST_ATOMS]
        found[np.flatnonzero(found)[MOST_ATOMS:]] = False
    return found


def _usual(column: Values, grid: Grid, places: np.ndarray) -> np.ndarray:
    """How many rows a tooth of the grid holds around the distinct values at some places, spikes aside."""
    final = column.distinct.size - 1
    first, last = np.maximum(places - _WINDOW, 0), np.minimum(places + _WINDOW, final)
    teeth = np.round((column.distinct[last] - column.distinct[first]) / grid.step)
    share = (last - first) / np.maximum(teeth, 1.0)
    near = places[:, None] + np.delete(np.arange(-_WINDOW, _WINDOW + 1), _WINDOW)
    there = (near >= 0) & (near <= final)
    return np.nanmedian(np.where(there, column.held[np.clip(near, 0, final)], np.nan), axis=1) * share
