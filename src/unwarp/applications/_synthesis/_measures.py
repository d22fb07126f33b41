"""The parts of a judgement: a column, a pair of columns, distances, repeated rows, usefulness, likelihood."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unwarp.applications._synthesis._columns import Array

_RELATED = {"correlation": 0.5, "contingency": 0.3}  # from which strength on a pair counts, as SDMetrics has it


@dataclass(frozen=True, slots=True, eq=False)
class ColumnScore:
    """One column of the real and of the synthetic table.

    Attributes:
        name: of the column.
        kind: whole, number, date, boolean or category.
        shape: 1 - Kolmogorov's distance, or 1 - total variation for categories; NaN without any value.
        adherence: the share of synthetic cells inside the real range, or of a category that real rows have.
        same_type: whether the synthetic column is of the same kind; whole numbers stay whole.
        missing: shares of missing cells, real and synthetic.
        levels: the categories, in the order of their codes.
        calendar: whether the values are microseconds since 1970.
        real: its values, or their codes, NaN where missing.
        synthetic: the same of the synthetic rows.
    """

    name: str
    kind: str
    shape: float
    adherence: float
    same_type: bool
    missing: tuple[float, float]
    levels: tuple[str, ...] = field(repr=False)
    calendar: bool
    real: Array = field(repr=False)
    synthetic: Array = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON-able data, without name and rows."""
        return {
            "kind": self.kind,
            "shape": plain(self.shape),
            "adherence": self.adherence,
            "same_type": self.same_type,
            "missing": list(self.missing),
        }


@dataclass(frozen=True, slots=True)
class PairScore:
    """Two columns together.

    Attributes:
        first: name of one column.
        second: name of the other.
        measure: correlation, of two numbers, or contingency.
        score: 1 - half the difference of the correlations, or 1 - total variation of the joint counts; NaN where
            undefined.
        strength: how related the real columns are: Pearson's correlation without its sign, or Cramer's V.
    """

    first: str
    second: str
    measure: str
    score: float
    strength: float

    @property
    def related(self) -> bool:
        """Whether the real columns are related enough for the pair to count: correlation above .5, V above .3."""
        return self.strength > _RELATED[self.measure] and not math.isnan(self.score)

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON-able data."""
        return {
            "columns": [self.first, self.second],
            "measure": self.measure,
            "score": plain(self.score),
            "strength": plain(self.strength),
            "related": self.related,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Closest:
    """Distances to the closest row of training: the mean over columns of the gap in ranges, 1 for another category.

    Attributes:
        synthetic: of synthetic rows, to the closest of `among` rows of training.
        fresh: of real rows that are not among those: of the holdout, or other rows of training without one.
        held: of synthetic rows, to the closest of as many rows of the holdout; None without one.
        among: how many rows of each were looked at.
    """

    synthetic: Array = field(repr=False)
    fresh: Array = field(repr=False)
    held: Array | None = field(repr=False)
    among: int

    @property
    def share(self) -> float | None:
        """The share of synthetic rows that are closer to training than to the holdout, ties half: 0.5 is ideal."""
        if self.held is None:
            return None
        return float(np.mean(self.synthetic < self.held) + 0.5 * np.mean(self.synthetic == self.held))

    @property
    def error(self) -> float:
        """Standard error of the share, if it is one half."""
        return 0.5 / math.sqrt(len(self.synthetic))

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON-able data, without the distances themselves."""
        return {
            "share": self.share,
            "median": float(np.median(self.synthetic)),
            "median_fresh": float(np.median(self.fresh)),
            "among": self.among,
        }


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Rows that repeat a row of training, cell by cell.

    Attributes:
        share: of the synthetic rows.
        base: of the holdout's rows; without one, the share of training rows that repeat another one.
    """

    share: float
    base: float


@dataclass(frozen=True, slots=True)
class Utility:
    """A model trained on synthetic rows and one trained on as many real ones, both scored on other real rows.

    Attributes:
        target: the column that is predicted.
        task: classification or regression.
        rows: how many rows each was trained on.
        tested: how many rows they were scored on.
        scores: of each measure, the score after synthetic and after real rows.
    """

    target: str
    task: str
    rows: int
    tested: int
    scores: dict[str, tuple[float, float]]

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON-able data."""
        return {
            "target": self.target,
            "task": self.task,
            "rows": self.rows,
            "tested": self.tested,
            "synthetic": {name: plain(pair[0]) for name, pair in self.scores.items()},
            "real": {name: plain(pair[1]) for name, pair in self.scores.items()},
        }


@dataclass(frozen=True, slots=True)
class Likelihood:
    """A model's mean log-likelihood of held-out rows.

    Attributes:
        mean: over the rows that it holds possible, in nats a row.
        error: its standard error.
        rows: how many rows there were.
        impossible: to how many of them it gives density 0.
    """

    mean: float
    error: float
    rows: int
    impossible: int

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON-able data."""
        return {
            "mean": plain(self.mean),
            "error": plain(self.error),
            "rows": self.rows,
            "impossible": self.impossible,
        }


def mean(values: Iterable[float]) -> float:
    """The mean of what is defined; NaN where nothing is."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def plain(value: float) -> float | None:
    """The value, or None where it is undefined: JSON knows no such numbers."""
    return value if math.isfinite(value) else None
