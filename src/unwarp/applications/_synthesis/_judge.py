"""Two tables in, a judgement out: are the synthetic rows like the real ones, useful, and nobody's copies?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from unwarp.applications._synthesis._closest import closest, duplicates
from unwarp.applications._synthesis._columns import Aligned, Array, align, arrow
from unwarp.applications._synthesis._judgement import Judgement
from unwarp.applications._synthesis._measures import ColumnScore, Likelihood
from unwarp.applications._synthesis._scores import adherence, pairs, quality, shape
from unwarp.applications._synthesis._utility import utility
from unwarp.errors import ConfigError, DataError


class Scorer(Protocol):
    """What `judge` asks of a model."""

    def score_samples(self, X: Any) -> Array:
        """Log density of each row, in nats."""
        ...


def judge(
    real: Any,
    synthetic: Any,
    *,
    holdout: Any = None,
    target: str | None = None,
    model: Scorer | None = None,
    rows: int = 50_000,
    seed: int = 0,
) -> Judgement:
    """How good synthetic rows are: like the real ones, useful in their place, and nobody's copies.

    Likeness is SDMetrics' quality score, possibility its diagnostic score. Copying shows in the distances to the
    closest rows of training beside those to a holdout, and in rows repeated; usefulness in what a model reaches that
    learns from the synthetic rows and is tested on real ones.

    When to use it: before synthetic rows go anywhere, whatever made them. Give a holdout: without one, copying is
    nearly invisible, and a table that repeats its training rows has the best of all scores.

    Numbers, dates, categories and truth values are told apart by the types of `real`; codes that are categories should
    be cast to text. Missing cells may be anywhere. Infinite numbers count as missing.

    Args:
        real: the rows that the synthetic ones were made from: a frame of any make, or an array of numbers.
        synthetic: the rows to judge.
        holdout: real rows that took no part in making them.
        target: a column to predict from the others.
        model: what made the rows, for its mean log-likelihood of the holdout.
        rows: at most so many rows of each table are looked at for pairs and for the target (for distances 3,000
            synthetic ones beside 20,000 others); single columns, ranges and repeated rows are judged on all.
        seed: of the rows drawn and of the trees that predict the target.

    Returns:
        The figures; `summary()` says what they mean.

    Raises:
        DataError: when a table is none, is empty, or shares no column with the others.
        ConfigError: when the target is no column of all tables, or a model comes without a holdout.

    Source: SDMetrics 0.32, *Quality report*, *Diagnostic report*, *DCROverfittingProtection*, docs.sdv.dev/sdmetrics.
    Differs: kinds of columns stand in for data types, ties of distances count half, and every draw has a seed.

    Example:
        >>> import numpy as np, pyarrow as pa
        >>> rng = np.random.default_rng(0)
        >>> table = pa.table({"age": rng.integers(18, 90, 600), "kind": rng.choice(["oak", "elm"], 600)})
        >>> found = judge(table[:400], table[400:500], holdout=table[500:])
        >>> found.quality > 0.85, found.diagnostic == 1
        (True, True)
    """
    if model is not None and holdout is None:
        raise ConfigError("judge: expected a holdout beside the model; got none. Leave the model out, or give one.")
    tables = [arrow("real", real), arrow("synthetic", synthetic)]
    tables += [] if holdout is None else [arrow("holdout", holdout)]
    names = _shared(tables)
    columns = align(tables, names)
    rng = np.random.default_rng([seed, 1])
    kept = [_some(rng, table.num_rows, rows) for table in tables]
    first, second = tables[0].column_names, tables[1].column_names
    return Judgement(
        rows=(tables[0].num_rows, tables[1].num_rows, 0 if holdout is None else tables[2].num_rows),
        columns=tuple(_column(column, kept) for column in columns),
        pairs=pairs(columns, (kept[0], kept[1])),
        lacking=tuple(name for name in first if name not in second),
        extra=tuple(name for name in second if name not in first),
        same_order=[name for name in first if name in second] == [name for name in second if name in first],
        ceiling=None if holdout is None else _ceiling(columns, kept, seed),
        closest=closest(columns, seed),
        duplicates=duplicates(columns),
        utility=None if target is None else _useful(columns, kept, target, seed),
        likelihood=None if model is None else _likelihood(model, holdout),
        sampled=rows,
        seed=seed,
    )


def _shared(tables: list[pa.Table]) -> list[str]:
    """The columns that all tables have, in the order of the first."""
    names = [name for name in tables[0].column_names if all(name in table.column_names for table in tables)]
    if len(tables) == 3 and len(names) < len(set(tables[0].column_names) & set(tables[1].column_names)):
        lost = next(name for name in tables[0].column_names if name not in tables[2].column_names)
        raise DataError(f'judge: expected the columns of real in holdout; got none named "{lost}". Add the column.')
    if not names:
        raise DataError("judge: expected a column that both tables have; got none. Compare the names of the columns.")
    return names


def _some(rng: np.random.Generator, rows: int, most: int) -> Array:
    return np.arange(rows) if rows <= most else np.sort(rng.choice(rows, most, replace=False))


def _column(column: Aligned, kept: list[Array]) -> ColumnScore:
    real, synthetic = column.parts[:2]
    own = column.kinds[1]
    return ColumnScore(
        name=column.name,
        kind=column.kind,
        shape=shape(column),
        adherence=adherence(column),
        same_type=own is None or own == column.kind or (column.kind == "number" and own == "whole"),
        missing=(float(np.mean(np.isnan(real))), float(np.mean(np.isnan(synthetic)))),
        levels=column.levels,
        calendar=column.calendar,
        real=real[kept[0]],
        synthetic=synthetic[kept[1]],
    )


def _ceiling(columns: list[Aligned], kept: list[Array], seed: int) -> float:
    """The quality of held-out rows, as many as there are synthetic ones where there are so many."""
    fresh = np.random.default_rng([seed, 5]).permutation(kept[2])[: len(kept[1])]
    compared = [replace(column, parts=(column.parts[0], column.parts[2][fresh])) for column in columns]
    return quality([shape(column) for column in compared], pairs(compared, (kept[0], np.arange(len(fresh)))))


def _useful(columns: list[Aligned], kept: list[Array], target: str, seed: int) -> Any:
    """`utility` on the holdout, or without one on a quarter of the real rows, which no model is trained on then."""
    if len(kept) == 3:
        return utility(columns, (kept[0], kept[1], kept[2]), target, seed)
    order = np.random.default_rng([seed, 4]).permutation(kept[0])
    cut = max(1, len(order) // 4)
    again = [replace(column, parts=(*column.parts, column.parts[0])) for column in columns]
    return utility(again, (order[cut:], kept[1], order[:cut]), target, seed)


def _likelihood(model: Scorer, holdout: Any) -> Likelihood:
    scores = np.asarray(model.score_samples(holdout), dtype=np.float64)
    known = scores[np.isfinite(scores)]
    mean = float(known.mean()) if len(known) else float("nan")
    error = float(known.std(ddof=1) / math.sqrt(len(known))) if len(known) > 1 else float("nan")
    return Likelihood(mean, error, len(scores), len(scores) - len(known))
