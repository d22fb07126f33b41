"""Whether synthetic rows lie nearer to the rows of training than fresh ones would, or repeat them."""

from __future__ import annotations

import numpy as np

from unwarp.applications._synthesis._columns import NUMBERS, Aligned, Array
from unwarp.applications._synthesis._measures import Closest, Duplicates

ASKED, AMONG = 3_000, 20_000  # rows that are asked about, and rows that they are compared with
_TOGETHER = 32


def closest(columns: list[Aligned], seed: int) -> Closest:
    """Distances of synthetic and of fresh rows to the closest of as many rows of training and of the holdout."""
    rng = np.random.default_rng([seed, 2])
    train, synthetic, *rest = (_matrix(columns, k) for k in range(len(columns[0].parts)))
    size = min(AMONG, len(train), len(rest[0])) if rest else min(AMONG, max(1, len(train) // 2))
    order = rng.permutation(len(train))
    among, left = train[order[:size]], train[order[size:]]
    fresh = _draw(rng, rest[0] if rest else left if len(left) else train, ASKED)
    asked = _draw(rng, synthetic, ASKED)
    low, high = (
        np.array([of(part) if np.any(~np.isnan(part)) else 0.0 for part in train.T]) for of in (np.nanmin, np.nanmax)
    )
    discrete = np.array([column.kind not in NUMBERS for column in columns]) | ~(high > low)
    shift = np.array([low[j] if column.kind in NUMBERS else 0.0 for j, column in enumerate(columns)])
    scale = np.where(discrete, 1.0, high - low)
    among, fresh, asked, *rest = (_scaled(rows, shift, scale) for rows in (among, fresh, asked, *rest))
    held = _nearest(asked, _draw(rng, rest[0], size), discrete) if rest else None
    return Closest(_nearest(asked, among, discrete), _nearest(fresh, among, discrete), held, size)


def _scaled(rows: Array, shift: Array, scale: Array) -> Array:
    """Numbers as shares of the range of training, in columns that lie together."""
    return np.asfortranarray(np.clip((rows - shift) / scale, -1e30, 1e30).astype(np.float32))


def duplicates(columns: list[Aligned]) -> Duplicates:
    """How often synthetic rows repeat a row of training, and how often fresh rows do."""
    train, synthetic, *rest = ([row.tobytes() for row in _matrix(columns, k)] for k in range(len(columns[0].parts)))
    seen = set(train)
    if rest:
        base = float(np.mean([row in seen for row in rest[0]]))
    else:  # a row of training repeats another one
        _, place, counts = np.unique(np.array(train, dtype=object), return_inverse=True, return_counts=True)
        base = float(np.mean(counts[place] > 1))
    return Duplicates(float(np.mean([row in seen for row in synthetic])), base)


def _matrix(columns: list[Aligned], k: int) -> Array:
    return np.ascontiguousarray(np.column_stack([column.parts[k] for column in columns]))


def _draw(rng: np.random.Generator, rows: Array, most: int) -> Array:
    return rows if len(rows) <= most else rows[rng.choice(len(rows), most, replace=False)]


def _nearest(asked: Array, among: Array, discrete: Array) -> Array:
    """Of each row the mean distance of its cells to those of the closest row, 0 the same and 1 apart in all."""
    gaps = [bool(np.isnan(a).any() or np.isnan(b).any()) for a, b in zip(asked.T, among.T, strict=True)]
    found = np.empty(len(asked))
    for start in range(0, len(asked), _TOGETHER):
        some = asked[start : start + _TOGETHER]
        total = np.zeros((len(some), len(among)), dtype=np.float32)
        for j, whole in enumerate(discrete.tolist()):
            total += _apart(some[:, j, None], among[:, j], whole=whole, gaps=gaps[j])
        found[start : start + _TOGETHER] = total.min(axis=1)
    return found / len(discrete)


def _apart(a: Array, b: Array, *, whole: bool, gaps: bool) -> Array:
    """The distance of cells: at most 1, and 1 where just one of them is missing."""
    apart = a != b if whole else np.minimum(np.abs(a - b), np.float32(1.0))
    return np.where(np.isnan(a) | np.isnan(b), np.isnan(a) != np.isnan(b), apart) if gaps else apart
