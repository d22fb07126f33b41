"""What was found about synthetic rows, as numbers and in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from unwarp.applications._synthesis._measures import (
    Closest,
    ColumnScore,
    Duplicates,
    Likelihood,
    PairScore,
    Utility,
    mean,
    plain,
)
from unwarp.applications._synthesis._words import findings, percent


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """Synthetic rows beside real ones.

    Attributes:
        rows: of the real, the synthetic and the holdout table.
        columns: a score of each column that both have.
        pairs: a score of each pair of them.
        lacking: columns that the synthetic table lacks.
        extra: columns that it has beyond the real ones.
        same_order: whether the columns that both have come in the same order.
        ceiling: the quality of as many rows of the holdout in the synthetic ones' place; None without a holdout.
        closest: distances to the closest rows of training.
        duplicates: rows that were repeated.
        utility: what a model that learns from the synthetic rows is worth, if a target was named.
        likelihood: of the holdout, if a model was given.
        sampled: at most so many rows of each table were looked at for pairs, use and pictures.
        seed: of every draw.
    """

    rows: tuple[int, int, int]
    columns: tuple[ColumnScore, ...]
    pairs: tuple[PairScore, ...]
    lacking: tuple[str, ...]
    extra: tuple[str, ...]
    same_order: bool
    ceiling: float | None
    closest: Closest
    duplicates: Duplicates
    utility: Utility | None
    likelihood: Likelihood | None
    sampled: int
    seed: int

    @property
    def shapes(self) -> float:
        """Mean over the columns of how alike their distributions are, 0 to 1."""
        return mean(column.shape for column in self.columns)

    @property
    def trends(self) -> float:
        """Mean over the related pairs of how alike they are, 0 to 1; NaN where none is related."""
        return mean(pair.score for pair in self.pairs if pair.related)

    @property
    def trends_all(self) -> float:
        """The same over all pairs, as SDMetrics had it up to 0.25: what is unrelated is easily met and lifts it."""
        return mean(pair.score for pair in self.pairs)

    @property
    def quality(self) -> float:
        """Mean of `shapes` and `trends`, 0 to 1: SDMetrics' quality score."""
        return mean((self.shapes, self.trends))

    @property
    def quality_all(self) -> float:
        """Mean of `shapes` and `trends_all`, 0 to 1: SDMetrics' quality score up to 0.25."""
        return mean((self.shapes, self.trends_all))

    @property
    def validity(self) -> float:
        """Mean over the columns of their adherence, 0 to 1."""
        return mean(column.adherence for column in self.columns)

    @property
    def structure(self) -> float:
        """Of all columns, the share that both tables have with the same type."""
        same = sum(column.same_type for column in self.columns)
        return same / (2 * len(self.columns) - same + len(self.lacking) + len(self.extra))

    @property
    def diagnostic(self) -> float:
        """Mean of `validity` and `structure`, 0 to 1: SDMetrics' diagnostic score. It should be 1."""
        return (self.validity + self.structure) / 2

    @property
    def missing(self) -> float:
        """Mean over the columns of 1 - the difference of the shares of missing cells."""
        return mean(1 - abs(column.missing[0] - column.missing[1]) for column in self.columns)

    def worst_columns(self, count: int = 5) -> tuple[ColumnScore, ...]:
        """The columns whose distributions are furthest off, the worst first."""
        known = [column for column in self.columns if not math.isnan(column.shape)]
        return tuple(sorted(known, key=lambda column: column.shape)[:count])

    def worst_pairs(self, count: int = 5) -> tuple[PairScore, ...]:
        """The pairs that are furthest off, the worst first: of the related ones, if any are."""
        related = [pair for pair in self.pairs if pair.related]
        known = related or [pair for pair in self.pairs if not math.isnan(pair.score)]
        return tuple(sorted(known, key=lambda pair: pair.score)[:count])

    @property
    def findings(self) -> tuple[str, ...]:
        """What the figures mean, a sentence or two each."""
        return findings(self)

    def summary(self) -> str:
        """The findings and the main figures as lines of text."""
        columns = ", ".join(f"{column.name} {percent(column.shape)}" for column in self.worst_columns(3))
        pairs = ", ".join(f"{pair.first} x {pair.second} {percent(pair.score)}" for pair in self.worst_pairs(3))
        lines = [*self.findings, f"Columns furthest off: {columns}."]
        return "\n".join([*lines, f"Pairs furthest off: {pairs}."] if pairs else lines)

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON-able data: no rows; what is undefined is None."""
        means = (
            "quality",
            "shapes",
            "trends",
            "quality_all",
            "trends_all",
            "diagnostic",
            "validity",
            "structure",
            "missing",
        )
        return {
            "findings": list(self.findings),
            "rows": dict(zip(("real", "synthetic", "holdout"), self.rows, strict=True)),
            **{name: plain(getattr(self, name)) for name in means},
            "ceiling": None if self.ceiling is None else plain(self.ceiling),
            "lacking": list(self.lacking),
            "extra": list(self.extra),
            "same_order": self.same_order,
            "closest": self.closest.to_json(),
            "duplicates": {"share": self.duplicates.share, "base": self.duplicates.base},
            "utility": self.utility and self.utility.to_json(),
            "likelihood": self.likelihood and self.likelihood.to_json(),
            "columns": {column.name: column.to_json() for column in self.columns},
            "pairs": [pair.to_json() for pair in self.pairs],
            "sampled": self.sampled,
            "seed": self.seed,
        }
