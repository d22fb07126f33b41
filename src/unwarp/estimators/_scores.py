"""Scores of tables of any size: into one file, or into a folder of parts that a killed run goes on with."""

from __future__ import annotations

import functools
import itertools
import operator
import os
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from unwarp.data import TableFile, write_table
from unwarp.errors import ConfigError, DataError
from unwarp.estimators._batches import Precision, log_probs
from unwarp.estimators._density import FlowDensity
from unwarp.estimators._load import load_estimator
from unwarp.estimators._mixed import FlowTable
from unwarp.estimators._parts import Marker, Plan, RowDigest, begin, digest_of, is_done
from unwarp.estimators._tally import Tally

__all__ = ["Progress", "ScoredParts", "score_parts", "score_table"]

Progress = Callable[[int, int | None], object]
"""Gets how many rows are done and, where it is known, how many there are to do."""

_BATCH = 16_384  # rows that are scored at once
_PART = 262_144  # rows of a part, and of a row group
_LEAVE_OUT = re.compile(r" or leave (it|them) out with --ignore .*\.$", re.DOTALL)
_Path = str | os.PathLike[str]


def score_table(
    data: _Path, model: _Path, output: _Path, *, precision: Precision = "float64", progress: Progress | None = None
) -> Tally:
    """Write the log density of each row of a file, in nats, to another file, as column ``log_prob``; in flat memory.

    Columns are found by name. The output holds the old file or the whole new one at every moment.

    Args:
        data: The table: CSV or Parquet, of any size.
        model: A model file.
        output: The file to write: CSV or Parquet.
        precision: ``"float32"`` for many rows; see `FlowDensity.score_samples`.
        progress: Is told after each batch.

    Raises:
        DataError: When the table cannot be used, or the output cannot be written.
        BundleError: When the model cannot be used.
    """
    estimator, file = _opened(data, model)
    tallies: list[Tally] = []

    def blocks() -> Iterator[pa.Table]:
        scored, rows = _scored(estimator, file, None, precision), 0
        held: list[np.ndarray] = []
        for _, scores, error in scored:
            tallies.append(Tally.of(scores, start=rows, float32_error=error))
            held.append(scores)
            rows += len(scores)
            if progress is not None:
                progress(rows, file.known_rows)
            if rows % _PART == 0:
                yield _column(held)
                held = []
        if held:
            yield _column(held)

    write_table(output, blocks())
    return functools.reduce(operator.add, tallies)


@dataclass(frozen=True, slots=True)
class ScoredParts:
    """What a run of `score_parts` did.

    Args:
        parts: How many parts the table has.
        before: Parts of this shard that were there when the run began.
        now: Parts that the run wrote.
        tally: Of all parts of this shard; None if it has none.
    """

    parts: int
    before: int
    now: int
    tally: Tally | None


def score_parts(
    data: _Path,
    model: _Path,
    folder: _Path,
    *,
    shard: tuple[int, int] = (1, 1),
    part: int = _PART,
    precision: Precision = "float64",
    progress: Progress | None = None,
) -> ScoredParts:
    """Write the log density of each row to a folder of Parquet parts, and go on where an earlier run was ended.

    A part holds so many rows one after the other, in column ``log_prob``; sorted by name, the parts have the rows in
    order. Each is written whole, then a marker beside it says what it was made from, so a run that is killed at any
    moment loses the part that it was at and no more. Shards of one table are runs of their own, side by side or on
    several machines that share the folder: which parts a shard has depends on its number alone. `verify_scores` proves
    that nothing is missing or doubled.

    Args:
        data: The table: CSV or Parquet, of any size.
        model: A model file.
        folder: Where parts go; made if it does not exist.
        shard: ``(i, n)``, the i-th of n shards, counted from 1.
        part: Rows of a part; the same in all runs.
        precision: ``"float32"`` for many rows; see `FlowDensity.score_samples`.
        progress: Is told after each batch, of the rows of this run.

    Raises:
        ConfigError: When there is no such shard.
        DataError: When the table cannot be used, or the folder was begun with another table, model or options.
        BundleError: When the model cannot be used.
    """
    (number, shards), where = shard, Path(folder)
    if not 1 <= number <= shards or part < 1:
        raise ConfigError(
            f"score: expected a shard i of n from 1/n to n/n, and parts of rows; got {number}/{shards} and {part}. "
            "Correct them."
        )
    estimator, file = _opened(data, model)
    plan = Plan(
        table=file.identity, rows=_count(file), part=part, columns=tuple(file.names), model=digest_of(Path(model)),
        precision=precision, kinds=_kinds(estimator),
    )  # fmt: skip
    begin(where, plan)
    mine = range(number - 1, plan.parts, shards)
    found = {place: is_done(where, plan, place) for place in mine}
    todo = [place for place, marker in found.items() if marker is None]
    total, done = sum(len(plan.rows_of(place)) for place in todo), 0

    def tell(rows: int) -> None:
        if progress is not None:
            progress(done + rows, total)

    ranges = [(plan.rows_of(place).start, plan.rows_of(place).stop) for place in todo]
    scored = _scored(estimator, file, ranges, precision)
    for place in todo:
        found[place] = _write_part(where, plan, place, scored, tell)
        done += len(plan.rows_of(place))
    tallies = [marker.tally for marker in found.values() if marker is not None]
    tally = functools.reduce(operator.add, tallies) if tallies else None
    return ScoredParts(plan.parts, len(found) - len(todo), len(todo), tally)


_Scored = Iterator[tuple[pa.Table, np.ndarray, float]]


def _write_part(folder: Path, plan: Plan, place: int, scored: _Scored, tell: Callable[[int], None]) -> Marker:
    """Take the rows of a part from `scored`, write them, then the marker."""
    wanted, held, digest, rows = plan.rows_of(place), list[np.ndarray](), RowDigest(), 0
    tallies: list[Tally] = []
    while rows < len(wanted):
        table, scores, error = next(scored, (None, np.empty(0), 0.0))
        if table is None:
            raise DataError(f"score: expected {plan.rows} rows; got fewer. Leave the table as it is while it is read.")
        digest.update(table)
        held.append(scores)
        tallies.append(Tally.of(scores, start=wanted.start + rows, float32_error=error))
        rows += len(scores)
        tell(rows)
    path = plan.path(folder, place)
    write_table(path, _column(held))
    marker = Marker(
        part=place, start=wanted.start, rows=rows, input=digest.hexdigest(), output=digest_of(path), plan=plan.digest,
        tally=functools.reduce(operator.add, tallies),
    )  # fmt: skip
    marker.write(folder)
    return marker


def _opened(data: _Path, model: _Path) -> tuple[FlowDensity | FlowTable, TableFile]:
    """The model, and the table's columns that it wants; a mixed model does without those that say nothing new."""
    estimator = load_estimator(model)
    columns = [column for column in estimator.schema_.columns if column.role != "ignored"]
    optional: list[str] = []
    if isinstance(estimator, FlowTable):
        optional = [column.name for column in columns if column.role != "modelled"]
    names = [column.name for column in columns]
    try:
        return estimator, TableFile(data, columns=names, optional=optional, kinds=_kinds(estimator))
    except DataError as error:
        raise _without_advice(error) from error


def _kinds(estimator: FlowDensity | FlowTable) -> Literal["numbers", "any"]:
    return "any" if isinstance(estimator, FlowTable) else "numbers"


def _count(file: TableFile) -> int:
    try:
        return file.rows
    except DataError as error:
        raise _without_advice(error) from error


def _scored(
    estimator: FlowDensity | FlowTable, file: TableFile, ranges: list[tuple[int, int]] | None, precision: Precision
) -> _Scored:
    """Each batch of the ranges with its log densities and how far they may be from those in float64."""
    batches = file.batches(ranges, size=_BATCH)
    starts = itertools.chain(*(range(low, high, _BATCH) for low, high in ranges or [(0, 1 << 62)]))
    told = False
    while True:
        try:
            table = next(batches, None)
        except DataError as error:
            raise _without_advice(error) from error
        if table is None:
            return
        start = next(starts)
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            try:
                scores = log_probs(estimator, table, precision)
            except DataError as error:
                raise DataError(_placed(str(error), file.path.name, start)) from error
        if found and not told:  # once is enough: each batch would tell
            warnings.warn(_placed(str(found[0].message), file.path.name, start), found[0].category, stacklevel=2)
            told = True
        yield (
            table,
            scores,
            estimator.float32_error_ if isinstance(estimator, FlowDensity) and precision == "float32" else 0.0,
        )


def _placed(message: str, name: str, start: int) -> str:
    """What was said about a batch, with the row's number in the whole table."""
    message = re.sub(r"\bin row (\d+)", lambda found: f"in row {int(found[1]) + start}", message)
    return message.replace("score_samples", name, 1)


def _without_advice(error: DataError) -> DataError:
    """A model needs all of its columns, so that none can be left out."""
    return DataError(_LEAVE_OUT.sub(".", str(error)))


def _column(scores: list[np.ndarray]) -> pa.Table:
    return pa.table({"log_prob": np.concatenate(scores)})
