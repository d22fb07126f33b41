"""Tables of any make as columns of numbers that can be compared: categories as codes, dates as microseconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from narwhals.exceptions import NarwhalsError
from numpy.typing import NDArray

from unwarp.errors import DataError

Array = NDArray[Any]

NUMBERS = ("whole", "number", "date")  # kinds that have an order and a distance
_LARGEST = 1e150  # whose square is finite
_TRUTH = ("false", "true")
_TIMES = (
    (pa.types.is_timestamp, pa.timestamp("us")),
    (pa.types.is_date, pa.timestamp("us")),
    (pa.types.is_time, pa.time64("us")),
    (pa.types.is_duration, pa.duration("us")),
)


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """One column of several tables, in numbers that mean the same in each.

    Attributes:
        name: of the column.
        kind: what the first table holds: whole, number, date, boolean or category.
        kinds: what each table holds by itself; None where all its cells are missing.
        levels: of a category, those of the first table by how often they come, then those of the others.
        parts: the values in each table, float64, NaN where missing or unreadable.
        unreadable: how many cells of each table hold something that cannot be such a value.
        calendar: whether the numbers are microseconds since 1970.
    """

    name: str
    kind: str
    kinds: tuple[str | None, ...]
    levels: tuple[str, ...]
    parts: tuple[Array, ...]
    unreadable: tuple[int, ...]
    calendar: bool


def arrow(where: str, data: Any) -> pa.Table:
    """A frame of any make, or an array of two axes, as a `pyarrow.Table`.

    Raises:
        DataError: when it is no table, is empty, or a name comes twice.
    """
    if isinstance(data, np.ndarray) and data.ndim == 2:
        data = pa.table([pa.array(column) for column in data.T], names=[f"x{j}" for j in range(data.shape[1])])
    try:
        frame = nw.from_native(data, pass_through=True)
        frame = frame.collect() if isinstance(frame, nw.LazyFrame) else frame
    except NarwhalsError as error:
        got = str(error).splitlines()[0].rstrip(".:,")
        raise DataError(f"judge: expected {where} as a plain table; got {got}. Rename columns.") from error
    if not isinstance(frame, nw.DataFrame):
        got = type(data).__name__
        raise DataError(f"judge: expected {where} as a data frame or a table; got {got}. Make a frame of it.")
    names = [str(name) for name in frame.columns]
    if not names or not len(frame):
        raise DataError(
            f"judge: expected rows and columns in {where}; got {len(frame)} x {len(names)}. Check the table."
        )
    return pa.table([_arrow_column(frame[name]) for name in frame.columns], names=names)


def _arrow_column(series: Any) -> pa.Array | pa.ChunkedArray:
    """A column; one of mixed Python objects as text."""
    try:
        return series.to_arrow()
    except (pa.ArrowException, TypeError, ValueError):
        values = series.to_list()
        return pa.array([None if value is None or value != value else str(value) for value in values])  # noqa: PLR0124


def align(tables: Sequence[pa.Table], names: Sequence[str]) -> list[Aligned]:
    """The named columns of all tables; the first table says what each of them is."""
    return [_align(name, [table.column(name) for table in tables]) for name in names]


def _align(name: str, columns: list[pa.ChunkedArray]) -> Aligned:
    kinds = tuple(map(_kind, columns))
    kind = next((kind for kind in kinds if kind is not None), "category")
    calendar = next((_is_calendar(column.type) for column in columns if not pa.types.is_null(column.type)), False)
    levels = _TRUTH if kind == "boolean" else _levels(columns) if kind == "category" else ()
    read: Callable[[Any], float] = _reader(kind, levels)
    parts, unreadable = zip(*(_values(column, kind, read) for column in columns), strict=True)
    return Aligned(name, kind, kinds, levels, parts, unreadable, calendar)


def _kind(column: pa.ChunkedArray) -> str | None:
    kind = column.type
    if pa.types.is_null(kind) or column.null_count == len(column):
        return None
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return "whole"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = _floats(column)
        values = values[np.isfinite(values)]
        return None if not len(values) else "whole" if np.all(values == np.floor(values)) else "number"
    return "date" if any(test(kind) for test, _ in _TIMES) else "category"


def _is_calendar(kind: pa.DataType) -> bool:
    return pa.types.is_timestamp(kind) or pa.types.is_date(kind)


def _floats(column: pa.ChunkedArray) -> Array:
    """Numbers and times as float64, NaN where missing, infinite or too large to be squared."""
    for test, unit in _TIMES:
        if test(column.type):
            column = column.cast(unit, safe=False).cast(pa.int64())
    values = np.array(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
    values[~(np.abs(values) <= _LARGEST)] = np.nan
    return values + 0.0  # no minus zero


def _values(column: pa.ChunkedArray, kind: str, read: Callable[[Any], float]) -> tuple[Array, int]:
    """The column in numbers, and how many of its cells could not be read as such."""
    if kind in NUMBERS and (_kind(column) in NUMBERS):
        return _floats(column), 0
    codes, values = _encoded(column)
    table = np.array([*map(read, values), np.nan])
    found = table[codes]
    return found, int(np.sum(np.isnan(found) & (codes >= 0)))


def _encoded(column: pa.ChunkedArray) -> tuple[Array, list[Any]]:
    """Codes, -1 where missing, and the Python values that they stand for."""
    if pa.types.is_floating(column.type):
        column = pc.call_function(
            "if_else", [pc.call_function("is_finite", [column]), column, pa.scalar(None, column.type)]
        )
    try:
        found = column.combine_chunks()
        found = found if pa.types.is_dictionary(found.type) else found.dictionary_encode()
    except (pa.ArrowException, NotImplementedError):
        found = pa.array([None if value is None else str(value) for value in column.to_pylist()]).dictionary_encode()
    codes = np.array(found.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)
    return codes, found.dictionary.to_pylist()


def _levels(columns: list[pa.ChunkedArray]) -> tuple[str, ...]:
    """All levels as text, those of the first column first, the most frequent ahead."""
    ordered: dict[str, None] = {}
    for column in columns:
        codes, values = _encoded(column)
        counts = np.bincount(codes[codes >= 0], minlength=len(values))
        there = [
            (-int(count), _text(value))
            for value, count in zip(values, counts, strict=True)
            if count and value is not None
        ]
        ordered |= dict.fromkeys(text for _, text in sorted(there))
    return tuple(ordered)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _reader(kind: str, levels: tuple[str, ...]) -> Callable[[Any], float]:
    """How one Python value of a column of this kind is read as a number."""
    if kind == "boolean":
        return _truth
    if kind == "category":
        return partial(_code, {level: float(code) for code, level in enumerate(levels)})
    return _stamp if kind == "date" else _number


def _code(codes: dict[str, float], value: Any) -> float:
    return codes.get(_text(value), np.nan)


def _truth(value: Any) -> float:
    return {"false": 0.0, "0": 0.0, "true": 1.0, "1": 1.0}.get(_text(value).lower(), np.nan)


def _number(value: Any) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return np.nan
    return found if abs(found) <= _LARGEST else np.nan


def _stamp(value: Any) -> float:
    try:
        return float(np.datetime64(str(value), "us").astype(np.int64))
    except ValueError:
        return np.nan
