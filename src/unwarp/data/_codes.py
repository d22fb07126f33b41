"""Typed tables to codes, the numbers that a model sees, and codes back to tables of the same types."""

from __future__ import annotations

import bisect
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from unwarp.data._arrow import (
    NUMBER,
    is_number,
    is_text,
    known,
    numbers_of,
    parses,
    plain,
    restored,
    texts_of,
    type_of,
    unsuitable,
)
from unwarp.data._column import Column
from unwarp.data._dates import Clock, codes_of, dates_of, is_date, looks_dated
from unwarp.data._encode import recorded
from unwarp.data._frames import arrow_table
from unwarp.data._levels import places_of
from unwarp.data._schema import Schema
from unwarp.data._typed import finite
from unwarp.data._values import quote, suggest
from unwarp.errors import DataError

_TRUTHS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "1": 1.0, "0": 0.0}


@dataclass(frozen=True)
class Codes:
    """What a typed schema means: a table of any types to and from codes, the numbers that a model sees.

    Codes are float64, one column a modelled column, NaN where a cell is missing. Numbers are themselves; levels are
    their place in `Column.levels`, one more than the last for a level never seen; truth values are 0 and 1; dates count
    the column's unit since its epoch. A missing cell of a column is filled from its copies.

    When to use it: to put a density of your own under a table with categories, dates and gaps.

    Args:
        schema: The table's columns, as `infer_table` finds them.

    Shapes: codes ``(rows, features)`` float64; features are the modelled columns.

    Example:
        >>> from unwarp.data import infer_table
        >>> table = pa.table({"color": ["red", "blue", "red"], "size": [1.5, None, 3.125], "shop": [7, 7, 7]})
        >>> codes = Codes(infer_table(table))
        >>> codes.codes(table).tolist()
        [[0.0, 1.5], [1.0, nan], [0.0, 3.125]]
        >>> codes.table(codes.codes(table)) == table
        True
    """

    schema: Schema

    @property
    def features(self) -> int:
        """How many columns a model sees."""
        return len(self.schema.modelled)

    def codes(self, data: Any, *, where: str = "codes") -> np.ndarray:
        """Codes of the rows, ``(rows, features)`` float64, NaN where missing.

        Args:
            data: A table with the modelled columns, in any order; others may be there.
            where: What messages begin with.

        Raises:
            DataError: When a column is missing or a cell contradicts its column's kind, with column and row. A level
                never seen is no error: it has a code, and a warning tells of it.
        """
        table = arrow_table(where, data)
        made = np.empty((table.num_rows, self.features))
        strange: list[str] = []
        for j, column in enumerate(self.schema.modelled):
            made[:, j] = np.nan
            copies = [copy for copy in self._copies(column) if copy.name in table.column_names]
            if column.name in table.column_names:
                made[:, j] = _coded(where, column, table[column.name])
            elif not copies:
                raise DataError(
                    f"{where}: expected the column {quote(column.name)}; got a table without it. "
                    f"{suggest(column.name, table.column_names)}"
                )
            for copy in copies if np.isnan(made[:, j]).any() else ():
                said = self._said(where, copy, column, table[copy.name])
                made[:, j] = np.where(np.isnan(made[:, j]), said, made[:, j])
            if column.levels is not None and (made[:, j] >= len(column.levels)).any():
                row = int(np.argmax(made[:, j] >= len(column.levels)))
                cell = table[column.name][row] if column.name in table.column_names else "?"
                strange.append(f"{quote(cell)} of column {quote(column.name)} in row {row + 1}")
        if strange:
            more = f" and {len(strange) - 3} more columns" if len(strange) > 3 else ""
            warnings.warn(f"{where}: levels never seen in fit, such as {', '.join(strange[:3])}{more}.", stacklevel=2)
        return made

    def column(self, name: str, values: Any, *, where: str = "codes") -> np.ndarray:
        """Codes of some values of one column, ``(values,)`` float64; those of a copy are its source's codes.

        Args:
            name: A modelled column or a copy of one.
            values: A sequence or an Arrow array, in the user's own terms.
            where: What messages begin with.

        Raises:
            DataError: When there is no such column or a value contradicts its kind.
        """
        known = {column.name: column for column in self.schema.columns if column.role in {"modelled", "copy"}}
        if name not in known:
            raise DataError(f"{where}: expected a column of the model; got {quote(name)}. {suggest(name, list(known))}")
        column = known[name]
        try:
            cells = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise DataError(
                f"{where}: expected values of column {quote(name)}; got {quote(values)}. Give such."
            ) from error
        if column.role == "copy":
            return self._said(where, column, known[str(column.source)], cells)
        return _coded(where, column, cells)

    def possible(self, data: Any, *, where: str = "codes") -> np.ndarray:
        """Which rows agree with the constants, the copies and the bounds, ``(rows,)`` bool; missing cells agree.

        The others have density 0: a model never makes such a row.
        """
        table = arrow_table(where, data)
        fine = np.ones(table.num_rows, dtype=bool)
        known = {column.name: column for column in self.schema.columns}
        for column in self.schema.columns:
            if column.name not in table.column_names:
                continue
            if column.role == "constant":
                codes = _coded(where, column, table[column.name])
                fine &= np.isnan(codes) | (codes == column.value)
            elif column.role == "copy" and column.source in table.column_names:
                source = known[str(column.source)]
                said, own = self._said(where, column, source, table[column.name]), table[column.source]
                own = _coded(where, source, own)
                fine &= np.isnan(said) | np.isnan(own) | (said == own)
            elif column.role == "modelled" and column.kind == "bounded":
                codes = _coded(where, column, table[column.name])
                fine &= ~((codes < column.low) | (codes > column.high))
        return fine

    def table(self, codes: np.ndarray, *, within: Literal["support", "seen"] = "support", seed: int = 0) -> pa.Table:
        """The rows that codes stand for: names, order and types of the columns, levels, grids and bounds as they were.

        The code of a level never seen becomes a missing cell where the column has some, otherwise a rare level drawn.

        Args:
            codes: ``(rows, features)`` float64, NaN where missing.
            within: ``"seen"`` also keeps numbers and dates within the range that was seen.
            seed: Of the draws.
        """
        codes = np.asarray(codes, dtype=np.float64)
        draws = np.random.default_rng(seed)
        modelled = {column.name: j for j, column in enumerate(self.schema.modelled)}
        settled = {name: _settled(self.schema.modelled[j], codes[:, j], within, draws) for name, j in modelled.items()}
        known = {column.name: column for column in self.schema.columns}
        made: dict[str, pa.Array] = {}
        for column in self.schema.columns:
            source = known[column.source or column.name]
            spec = column if column.levels is not None else source
            if column.role == "ignored":
                made[column.name] = pa.nulls(len(codes), type_of(column.arrow) or pa.float64())
                continue
            rows = np.full(len(codes), column.value) if column.role == "constant" else settled[source.name]
            try:
                made[column.name] = _cells(spec, rows, type_of(column.arrow) or _usual_type(spec))
            except pa.ArrowException as error:
                raise DataError(
                    f"table: expected levels that {column.arrow} can hold in column {quote(column.name)}; got others. "
                    "Correct the schema."
                ) from error
        return pa.table(made)

    def _copies(self, column: Column) -> list[Column]:
        return [copy for copy in self.schema.columns if copy.source == column.name]

    def _said(self, where: str, copy: Column, source: Column, cells: Any) -> np.ndarray:
        """Codes of the source that a copy's cells stand for; a cell never seen stands for a level never seen."""
        if copy.levels is None:
            return _coded(where, source.model_copy(update={"name": copy.name, "arrow": copy.arrow}), cells)
        codes = _coded(where, copy, cells)
        if source.kind == "boolean" and (codes == 2).any():
            raise _refused(where, copy, plain(cells), codes != 2, "two values")
        return codes


def _coded(where: str, column: Column, cells: Any) -> np.ndarray:
    """One column's codes."""
    if not known(cells.type):
        raise unsuitable(where, column.name, cells.type)
    cells = plain(cells)
    if cells.null_count == len(cells):
        return np.full(len(cells), np.nan)
    if column.kind == "boolean":
        return _truths(where, column, cells)
    if column.levels is not None:
        return places_of(_texts(column, cells), column.levels)
    if column.unit is not None:
        if not (is_date(cells.type) or (is_text(cells.type) and looks_dated(cells))):
            raise _refused(where, column, cells, _dated(cells), "dates in ISO form")
        return codes_of(cells, Clock.of(column.unit, column.epoch))
    numeric = is_number(cells.type) or pa.types.is_boolean(cells.type)
    if not numeric and not (is_text(cells.type) and parses(cells, NUMBER).all()):
        fine = parses(cells, NUMBER) if is_text(cells.type) else np.asarray(cells.is_null())
        raise _refused(where, column, cells, fine, "numbers")
    codes = finite(where, column.name, numbers_of(cells))
    if column.kind == "periodic" and column.low is not None and column.high is not None:
        codes = column.low + np.mod(codes - column.low, column.high - column.low)
    return codes


def _dated(cells: pa.Array) -> np.ndarray:
    """Which rows come before the first that is no date, ``(rows,)`` bool."""
    rows = np.flatnonzero(np.asarray(cells.is_valid()))

    def wrong(count: int) -> int:
        return 1 - (is_text(cells.type) and looks_dated(cells.take(pa.array(rows[:count]))))

    return np.arange(len(cells)) < rows[bisect.bisect_left(range(1, len(rows)), 1, key=wrong)]


def _texts(column: Column, cells: pa.Array) -> pa.Array:
    """Cells as levels are written; values that the column's type cannot hold, as they are."""
    try:
        return texts_of(cells, type_of(column.arrow))
    except pa.ArrowException:
        return texts_of(cells, None)


def _truths(where: str, column: Column, cells: pa.Array) -> np.ndarray:
    """0 and 1 from truth values, from the two levels of the column, or from words for yes and no."""
    texts = texts_of(cells, None)
    if column.levels is not None:
        codes = places_of(texts, column.levels)
        wrong = codes == 2
    else:
        codes = np.array(
            [np.nan if text is None else _TRUTHS.get(text.strip().lower(), 2.0) for text in texts.to_pylist()]
        )
        wrong = codes == 2
    if wrong.any():
        raise _refused(where, column, cells, ~wrong, "two values")
    return codes


def _refused(where: str, column: Column, cells: pa.Array, fine: np.ndarray, what: str) -> DataError:
    row = int(np.argmin(fine))
    return DataError(
        f"{where}: expected {what} in column {quote(column.name)}; got {quote(cells[row])} in row {row + 1}. "
        "Correct the cell, or leave it empty."
    )


def _settled(column: Column, codes: np.ndarray, within: str, draws: np.random.Generator) -> np.ndarray:
    """Codes that stand for values: on the grid, within the bounds, of a level that exists."""
    if column.leveled:
        count = 2 if column.levels is None else len(column.levels)
        codes = np.maximum(np.round(codes), 0.0)
        strange = codes >= count
        first = 0 if column.common in {None, count} else column.common
        drawn = np.nan if column.missing else draws.integers(first or 0, count, len(codes))
        return np.where(strange, drawn, codes)
    rows = _rounded(column, codes)
    if column.kind == "periodic" and column.low is not None and column.high is not None:
        rows = column.low + np.mod(rows - column.low, column.high - column.low)
    if column.atoms:
        atoms = np.array(column.atoms)
        nearest = _nearest(atoms, codes)
        rows = np.where(np.abs(codes - nearest) <= 1e-6 * np.abs(nearest), nearest, rows)
    if within == "seen" and column.least is not None and column.most is not None:
        rows = np.clip(rows, column.least, column.most)
    return rows


def _rounded(column: Column, codes: np.ndarray) -> np.ndarray:
    """Codes on the grid; those that are there stay as they are, for a box need not hold its own value at its end."""
    if column.step is None or column.origin is None:
        return recorded(column, codes)
    teeth = (codes - column.origin) / column.step
    middle = codes if column.width is None or column.edge is None else codes + 0.5 * column.width - column.edge
    off = np.abs(teeth - np.round(teeth))
    return np.where(off <= 1e-12, codes, recorded(column, np.where(off < 1e-6, middle, codes)))


def _usual_type(column: Column) -> pa.DataType:
    """The type of a column that has none of its own."""
    if column.levels is not None:
        return pa.string()
    if column.unit is not None:
        return pa.date32() if column.unit == "day" else pa.timestamp("us")
    return pa.bool_() if column.kind == "boolean" else pa.int64() if column.whole else pa.float64()


def _nearest(atoms: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The atom nearest to each code."""
    right = np.clip(np.searchsorted(atoms, codes), 0, len(atoms) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(np.abs(atoms[left] - codes) <= np.abs(atoms[right] - codes), atoms[left], atoms[right])


def _cells(column: Column, codes: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Settled codes as cells of the type."""
    if column.levels is not None:
        missing = np.isnan(codes)
        places = pa.array(np.where(missing, 0, codes).astype(np.int64), mask=missing)
        levels = pa.array(column.levels, pa.large_string())
        return restored(levels.take(places), kind, levels)
    if column.unit is not None:
        return dates_of(codes, Clock.of(column.unit, column.epoch), kind)
    return restored(codes, kind)
