"""How alike two tables are, column by column and pair by pair, as SDMetrics defines it."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from unwarp.applications._synthesis._columns import NUMBERS, Aligned, Array
from unwarp.applications._synthesis._measures import PairScore, mean

_CELLS = 4_000_000  # of a joint table of counts that is kept whole


def shape(column: Aligned) -> float:
    """1 minus Kolmogorov's distance of numbers, 1 minus the total variation of categories; NaN without any cell."""
    x, y = (part[~np.isnan(part)] for part in column.parts[:2])
    if not len(x) or not len(y):
        return float("nan")
    if column.kind in NUMBERS:
        x, y = np.sort(x), np.sort(y)
        at = np.concatenate([x, y])
        apart = np.searchsorted(x, at, "right") / len(x) - np.searchsorted(y, at, "right") / len(y)
        return 1.0 - float(np.abs(apart).max())
    p, q = (np.bincount(part.astype(np.int64), minlength=len(column.levels)) / len(part) for part in (x, y))
    return 1.0 - 0.5 * float(np.abs(p - q).sum())


def adherence(column: Aligned) -> float:
    """The share of synthetic cells that could be real ones: inside the range, or a known category.

    A missing cell is possible only where the real column has some; it is then counted among categories alone.
    """
    real, synthetic = column.parts[:2]
    known = real[~np.isnan(real)]
    lowest, highest = (known.min(), known.max()) if len(known) else (np.inf, -np.inf)
    inside = int(np.sum((synthetic >= lowest) & (synthetic <= highest)))  # codes of known levels come first
    allowed = int(np.sum(np.isnan(synthetic))) - column.unreadable[1] if len(known) < len(real) else 0
    among = len(synthetic)
    if column.kind in NUMBERS:
        among, allowed = among - allowed, 0
    return (inside + allowed) / among if among else 1.0


def pairs(columns: list[Aligned], rows: tuple[Array, Array]) -> tuple[PairScore, ...]:
    """A score of each pair of columns, and how strongly the real ones are related.

    Two numbers: `1 - |r - s| / 2` with Pearson's r and s, and |r|. Else: 1 minus the total variation of the joint
    counts, and Cramer's V; numbers stand in ten bins from their least to their greatest, in each table its own.

    Args:
        columns: with real rows first and those to compare second.
        rows: places of the rows to look at, in each table.
    """
    tables = [[column.parts[place][kept] for column in columns] for place, kept in enumerate(rows)]
    cells = [[_cells(column, values) for column, values in zip(columns, table, strict=True)] for table in tables]
    found = []
    for i, j in combinations(range(len(columns)), 2):
        if columns[i].kind in NUMBERS and columns[j].kind in NUMBERS:
            r, s = (_correlation(table[i], table[j]) for table in tables)
            measure, score, strength = "correlation", 1.0 - abs(r - s) / 2.0, abs(r)
        else:
            measure = "contingency"
            score, strength = _contingency([(table[i], table[j]) for table in cells])
        found.append(PairScore(columns[i].name, columns[j].name, measure, score, strength))
    return tuple(found)


def _cells(column: Aligned, values: Array) -> Array:
    """Codes from 0, with one for missing cells."""
    known = values[~np.isnan(values)]
    if column.kind in NUMBERS and len(known):
        low, high = float(known.min()), float(known.max())
        return np.digitize(values, np.linspace(low, high, 11) if low < high else np.linspace(low - 0.5, high + 0.5, 11))
    return np.where(np.isnan(values), len(column.levels), values).astype(np.int64)


def _correlation(x: Array, y: Array) -> float:
    both = ~(np.isnan(x) | np.isnan(y))
    x, y = x[both], y[both]
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    x, y = x / np.abs(x).max(), y / np.abs(y).max()  # squares of extreme values are finite
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1.0, 1.0))


def _contingency(tables: list[tuple[Array, Array]]) -> tuple[float, float]:
    """The likeness of two joint tables of counts, and Cramer's V of the first."""
    width = 1 + max(int(second.max()) for _, second in tables)
    joint = [first * width + second for first, second in tables]
    size = 1 + max(int(codes.max()) for codes in joint)
    if size > _CELLS:
        distinct, inverse = np.unique(np.concatenate(joint), return_inverse=True)
        joint, size = np.split(inverse, [len(joint[0])]), len(distinct)
    p, q = (np.bincount(codes, minlength=size) / len(codes) for codes in joint)
    return 1.0 - 0.5 * float(np.abs(p - q).sum()), cramer(*tables[0])


def cramer(first: Array, second: Array) -> float:
    """Cramer's V of two columns of codes: 0 unrelated, 1 each tells the other; NaN when one is constant."""
    (_, a), (_, b) = (np.unique(codes, return_inverse=True) for codes in (first, second))
    few = min(a.max(), b.max())
    if few == 0:
        return float("nan")
    cells, counts = np.unique(a * (b.max() + 1) + b, return_counts=True)
    rows, across = np.bincount(a), np.bincount(b)
    expected = rows[cells // (b.max() + 1)] * across[cells % (b.max() + 1)]
    return float(np.sqrt(max(float(np.sum(counts**2 / expected)) - 1.0, 0.0) / few))


def quality(shapes: list[float], found: tuple[PairScore, ...]) -> float:
    """Mean of the mean over columns and the mean over related pairs."""
    return mean((mean(shapes), mean(pair.score for pair in found if pair.related)))
