"""What makes synthetic rows here: columns drawn alone, trees in turn, a network of pairs, and the flow if there is one.

Each has `fit(frame)`, `sample(n, seed)` and, where it has a density, `score_samples(frame)`: the logarithm of the
probability of what is observed in each row. All numbers are whole (see `synthetic.py`), so every cell has a
probability, and a missing cell is summed over.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

GRID = tuple(
    (bins, alpha) for bins in (32, 64, 128, 256, 1024) for alpha in (0.01, 0.1, 1.0)
)  # chosen by held-out rows
SPIKE = 0.01  # a value that more rows hold has a bin of its own


@dataclass
class Cells:
    """One column in cells: categories, and of numbers their spikes and bins of whole numbers; two tails at the ends."""

    levels: list[Any] | None  # of a category; the last cell is for what was never seen
    low: np.ndarray  # first whole number of each cell
    wide: np.ndarray  # how many whole numbers it has

    @classmethod
    def of(cls, values: pd.Series, bins: int) -> Cells:
        known = values.dropna()
        if not is_number(values):
            levels = list(known.value_counts().index)
            return cls(levels, np.zeros(len(levels) + 1), np.ones(len(levels) + 1))
        x = np.sort(known.to_numpy(dtype=np.int64))
        level, count = np.unique(x, return_counts=True)
        spikes = level[count > max(SPIKE * len(x), 1)]
        edges = np.quantile(x, np.linspace(0, 1, bins + 1), method="nearest")
        span = max(int(x[-1] - x[0]), 1)
        ends = [x[0] - span, x[0], x[-1] + 1, x[-1] + 1 + span]
        start = np.unique(np.concatenate([edges, spikes, spikes + 1, ends]))
        return cls(None, start[:-1].astype(float), np.diff(start).astype(float))

    @property
    def count(self) -> int:
        return len(self.wide)

    def code(self, values: pd.Series) -> np.ndarray:
        """The cell of each value, -1 where it is missing."""
        if self.levels is None:
            x = values.to_numpy(dtype=float, na_value=np.nan)
            found = np.clip(np.searchsorted(self.low, x, "right") - 1, 0, self.count - 1)
            return np.where(np.isnan(x), -1, found)
        places = {level: place for place, level in enumerate(self.levels)}
        return np.array([-1 if pd.isna(v) else places.get(v, len(places)) for v in values], dtype=np.int64)

    def draw(self, codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A value inside each cell."""
        if self.levels is not None:
            return np.array([*self.levels, self.levels[0]], dtype=object)[codes]
        drawn = self.low[codes] + np.floor(rng.random(len(codes)) * self.wide[codes])
        return np.clip(drawn, self.low[1], self.low[-1] - 1).astype(np.int64)  # the tails are for scoring alone


def is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


@dataclass
class Network:
    """A tree of columns in cells, each given its parent (Chow and Liu 1968); without edges, columns alone.

    Cells and the counts added to them are chosen by a tenth of the rows of training, then all rows are counted.
    """

    edges: bool = True
    bins: int = 0
    alpha: float = 0.0
    cells: list[Cells] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    tables: list[np.ndarray] = field(default_factory=list)

    def fit(self, frame: pd.DataFrame, seed: int) -> Network:
        order = np.random.default_rng(seed).permutation(len(frame))
        held, rest = frame.iloc[order[: len(order) // 10]], frame.iloc[order[len(order) // 10 :]]
        best = max(GRID, key=lambda choice: self._count(rest, *choice).score_samples(held).mean())
        return self._count(frame, *best)

    def _count(self, frame: pd.DataFrame, bins: int, alpha: float) -> Network:
        self.names, self.bins, self.alpha = list(frame), bins, alpha
        self.lacks = frame.isna().mean().to_numpy()
        self.cells = [Cells.of(frame[name], bins) for name in frame]
        codes = [cell.code(frame[name]) for cell, name in zip(self.cells, frame, strict=True)]
        d = len(codes)
        self.parent, self.order = [-1] * d, list(range(d))
        if self.edges:
            self._grow(codes)
        self.tables = []
        for j, cell in enumerate(self.cells):
            p, width = self.parent[j], cell.count
            alone = np.bincount(codes[j][codes[j] >= 0], minlength=width) + alpha * cell.wide / cell.wide.mean()
            alone = alone / alone.sum()
            if p < 0:
                self.tables.append(alone)
                continue
            joint = _joint(codes[p], codes[j], self.cells[p].count, width)
            joint = joint + max(alpha * width, 0.5) * alone  # few rows of a parent fall back on the column alone
            self.tables.append(joint / joint.sum(axis=1, keepdims=True))
        return self

    def _grow(self, codes: list[np.ndarray]) -> None:
        """The tree of the greatest mutual information, from the first column."""
        d = len(codes)
        gain = np.zeros((d, d))
        for i in range(d):
            for j in range(i):
                joint = _joint(codes[i], codes[j], self.cells[i].count, self.cells[j].count)
                joint = joint / max(joint.sum(), 1.0)
                both = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
                there = joint > 0
                gain[i, j] = gain[j, i] = float(np.sum(joint[there] * np.log(joint[there] / both[there])))
        self.order, left = [0], set(range(1, d))
        while left:
            p, j = max(((p, j) for p in self.order for j in left), key=lambda edge: gain[edge])
            self.parent[j] = p
            self.order.append(j)
            left.remove(j)

    def score_samples(self, frame: pd.DataFrame) -> np.ndarray:
        return np.concatenate([self._score(frame.iloc[k : k + 4096]) for k in range(0, len(frame), 4096)])

    def _score(self, frame: pd.DataFrame) -> np.ndarray:
        """Messages from the leaves to the root; a missing cell lets all its values through."""
        upward: list[Any] = [0.0] * len(self.cells)
        total = np.zeros(len(frame))
        for j in reversed(self.order):
            cell, p = self.cells[j], self.parent[j]
            codes = cell.code(frame[self.names[j]])
            there = codes >= 0
            table = np.log(self.tables[j] if p >= 0 else self.tables[j][None])  # (parent's cells or 1, cells)
            into = np.broadcast_to(upward[j], (len(frame), cell.count))
            message = np.zeros((len(frame), len(table)))
            at = codes[there]
            own = into[there, at] - np.log(cell.wide[at])
            message[there] = table[:, at].T + own[:, None]
            if not there.all():
                message[~there] = _logsumexp(table[None] + into[~there][:, None])
            if p >= 0:
                upward[p] = upward[p] + message
            else:
                total += message[:, 0]
        return total

    def sample(self, n: int, seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        drawn: list[np.ndarray] = [np.zeros(0)] * len(self.cells)
        for j in self.order:
            table = self.tables[j][drawn[self.parent[j]]] if self.parent[j] >= 0 else self.tables[j][None]
            below = np.cumsum(table, axis=1)
            drawn[j] = np.minimum((rng.random((n, 1)) > below).sum(axis=1), self.cells[j].count - 1)
        made = {}
        for j, name in enumerate(self.names):
            values = pd.Series(self.cells[j].draw(drawn[j], rng))
            made[name] = values.mask(rng.random(n) < self.lacks[j]) if self.lacks[j] else values
        return pd.DataFrame(made)


def _joint(a: np.ndarray, b: np.ndarray, rows: int, columns: int) -> np.ndarray:
    both = (a >= 0) & (b >= 0)
    return np.bincount(a[both] * columns + b[both], minlength=rows * columns).reshape(rows, columns).astype(float)


def _logsumexp(values: np.ndarray) -> np.ndarray:
    top = values.max(axis=-1, keepdims=True)
    return (top + np.log(np.exp(values - top).sum(axis=-1, keepdims=True)))[..., 0]


class Bootstrap:
    """Each column drawn from its own values: the same values, no dependence. Its density is that of cells alone."""

    def fit(self, frame: pd.DataFrame, seed: int) -> Bootstrap:
        self.frame, self.alone = frame, Network(edges=False).fit(frame, seed)
        return self

    def sample(self, n: int, seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        return pd.DataFrame(
            {name: self.frame[name].to_numpy()[rng.integers(0, len(self.frame), n)] for name in self.frame}
        )

    def score_samples(self, frame: pd.DataFrame) -> np.ndarray:
        return self.alone.score_samples(frame)


class Trees:
    """Each column from a tree over those before it, by a value of the leaf's rows, as synthpop does (Nowok 2016)."""

    score_samples = None  # a leaf's values have no density between them

    def __init__(self, leaf: int = 5) -> None:
        self.leaf = leaf

    def fit(self, frame: pd.DataFrame, seed: int) -> Trees:
        self.frame = frame
        self.levels = {n: pd.Index(frame[n].dropna().value_counts().index) for n in frame if not is_number(frame[n])}
        x = self._numbers(frame)
        self.trees, self.donors = [], []
        for j, name in enumerate(frame):
            if not j:
                continue
            options = {"min_samples_leaf": self.leaf, "random_state": seed}
            y = x[:, j]
            if name in self.levels:
                tree = DecisionTreeClassifier(**options).fit(x[:, :j], np.nan_to_num(y, nan=-1.0))
            else:
                tree = DecisionTreeRegressor(**options).fit(x[:, :j], np.where(np.isnan(y), np.nanmedian(y), y))
            leaves = tree.apply(x[:, :j])
            order = np.argsort(leaves, kind="stable")
            names, start, count = np.unique(leaves[order], return_index=True, return_counts=True)
            self.trees.append(tree)
            self.donors.append((order, dict(zip(names, zip(start, count, strict=True), strict=True))))
        return self

    def _numbers(self, frame: pd.DataFrame) -> np.ndarray:
        columns = []
        for name in frame:
            if name in self.levels:
                codes = self.levels[name].get_indexer(frame[name])
                columns.append(np.where(codes < 0, np.nan, codes))
            else:
                columns.append(frame[name].to_numpy(dtype=float, na_value=np.nan))
        return np.column_stack(columns)

    def sample(self, n: int, seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        x = self._numbers(self.frame)
        taken = [rng.integers(0, len(x), n)]
        made = x[taken[0], :1]
        for tree, (order, places) in zip(self.trees, self.donors, strict=True):
            start, count = np.array([places[leaf] for leaf in tree.apply(made)]).T
            taken.append(order[start + rng.integers(0, count)])
            made = np.column_stack([made, x[taken[-1], made.shape[1]]])
        return pd.DataFrame(
            {name: self.frame[name].to_numpy()[rows] for name, rows in zip(self.frame, taken, strict=True)}
        )


class Flow:
    """`unwarp.FlowTable` at its defaults, once it is there."""

    def __init__(self, budget: float) -> None:
        self.budget = budget

    @staticmethod
    def there() -> bool:
        import unwarp

        return getattr(unwarp, "FlowTable", None) is not None

    def fit(self, frame: pd.DataFrame, seed: int) -> Flow:
        import unwarp

        make: Any = unwarp.FlowTable  # pyright: ignore[reportAttributeAccessIssue]
        options = {"max_seconds": self.budget, "random_state": seed}
        known = inspect.signature(make).parameters
        self.model = make(**{name: value for name, value in options.items() if name in known}).fit(frame)
        return self

    def sample(self, n: int, seed: int) -> pd.DataFrame:
        known = inspect.signature(self.model.sample).parameters
        drawn = self.model.sample(n, **({"random_state": seed} if "random_state" in known else {}))
        return drawn if isinstance(drawn, pd.DataFrame) else drawn.to_pandas()

    def score_samples(self, frame: pd.DataFrame) -> np.ndarray:
        return np.asarray(self.model.score_samples(frame), dtype=float)
