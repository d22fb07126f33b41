"""Columns of Arrow tables as numbers and as texts, and both back to the type that a table had."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from unwarp.data._values import quote
from unwarp.errors import DataError

MISSING = ("", "?", "-", ".", "NA", "N/A", "n/a", "#N/A", "null", "NULL", "NaN", "nan", "<NA>")
"""Texts that stand for a missing cell where a file has them."""

NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
PADDED = r"^\s*[-+]?0\d"
"""Digits that begin with a zero: a label, like a postal code, rather than a number."""

_UNITS = ("s", "ms", "us", "ns")
_PLAIN = {
    str(kind): kind
    for kind in (
        pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(),
        pa.float16(), pa.float32(), pa.float64(), pa.string(), pa.large_string(), pa.string_view(), pa.null(),
        pa.date32(), pa.date64(), pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"),
        *(pa.timestamp(unit) for unit in _UNITS), *(pa.duration(unit) for unit in _UNITS),
    )
}  # fmt: skip


def type_of(text: str | None) -> pa.DataType | None:
    """The Arrow type that ``str(type)`` spells.

    Raises:
        ValueError: When it is no type of a column of numbers, texts, dates or truth values.
    """
    if text is None:
        return None
    if text in _PLAIN:
        return _PLAIN[text]
    if found := re.fullmatch(r"timestamp\[(s|ms|us|ns), tz=([\w+:/-]{1,60})\]", text):
        return pa.timestamp(found[1], found[2])
    if found := re.fullmatch(r"decimal(32|64|128|256)\((\d{1,2}), (-?\d{1,2})\)", text):
        return getattr(pa, f"decimal{found[1]}")(int(found[2]), int(found[3]))
    found = re.fullmatch(r"dictionary<values=(.+), indices=(u?int(?:8|16|32|64)), ordered=([01])>", text)
    if found and not found[1].startswith("dictionary"):
        return pa.dictionary(_PLAIN[found[2]], type_of(found[1]), ordered=found[3] == "1")
    raise ValueError("a type of numbers, texts, dates or truth values")


def known(kind: pa.DataType) -> bool:
    """Whether a column of this type can have a schema."""
    try:
        type_of(str(kind))
    except ValueError:
        return False
    return True


def plain(column: Any) -> pa.Array:
    """The column in one piece, without a dictionary or views of texts, which few functions know."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(column, pa.ChunkedArray):  # pyarrow keeps more than 2 GB of text in pieces
        column = pa.concat_arrays(column.chunks)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.large_string()) if pa.types.is_string_view(column.type) else column


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are text."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def is_number(kind: pa.DataType) -> bool:
    """Whether values of this type are numbers."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def trimmed(column: pa.Array) -> pa.Array:
    """Texts without blanks around them, null where they stand for a missing cell."""
    texts = pc.call_function("utf8_trim_whitespace", [column.cast(pa.large_string())])
    gone = pc.call_function("is_in", [texts], pc.SetLookupOptions(pa.array(MISSING, pa.large_string())))
    return pc.call_function("if_else", [gone, pa.scalar(None, pa.large_string()), texts])


def parses(column: pa.Array, pattern: str, *, missing: bool = True) -> np.ndarray:
    """Which texts have this form once blanks around them are gone, ``(rows,)`` bool; gaps count as `missing`."""
    found = pc.call_function("match_substring_regex", [trimmed(column)], pc.MatchSubstringOptions(pattern))
    return np.asarray(found.fill_null(missing))


def numbers_of(column: pa.Array) -> np.ndarray:
    """Numbers, truth values and texts of numbers as float64, NaN where missing.

    Numbers in single precision become the decimals that they print as, so that 0.1 lies on a grid of tenths.
    """
    if is_text(column.type):
        column = trimmed(column).cast(pa.float64())
    elif pa.types.is_float32(column.type) or pa.types.is_decimal(column.type):
        column = column.cast(pa.string()).cast(pa.float64())
    elif pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return np.array(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


def texts_of(column: pa.Array, kind: pa.DataType | None) -> pa.Array:
    """Values as texts, written as those of type `kind` are: 1.0 as ``"1"`` where it is for whole numbers."""
    if kind is not None and pa.types.is_dictionary(kind):
        kind = kind.value_type
    if kind is not None and not is_text(column.type) and column.type != kind and not is_text(kind):
        column = column.cast(kind)
    if pa.types.is_floating(column.type):
        nan = pc.call_function("is_nan", [column])
        column = pc.call_function("if_else", [nan, pa.scalar(None, column.type), column])
    return column.cast(pa.large_string())


def restored(values: Any, kind: pa.DataType, levels: pa.Array | None = None) -> pa.Array:
    """Numbers or texts as an Arrow array of that type.

    Args:
        values: ``(rows,)``, numpy numbers with NaN where missing, or an Arrow array of texts.
        kind: The type.
        levels: Texts of the dictionary, when the type is one: its entries are kept, in order.
    """
    if not pa.types.is_dictionary(kind):
        return values.cast(kind) if isinstance(values, pa.Array) else _numbers_as(values, kind)
    cells = restored(values, kind.value_type)
    return encoded(cells, kind, cells.drop_null().unique() if levels is None else restored(levels, kind.value_type))


def encoded(cells: pa.Array, kind: pa.DataType, entries: pa.Array) -> pa.Array:
    """Cells as a dictionary with these entries, whose indices are wider than asked for where they must be."""
    places = pc.call_function("index_in", [cells], pc.SetLookupOptions(entries, skip_nulls=True))
    narrow = kind.index_type if len(entries) - 1 <= _range(kind.index_type)[1] else pa.int32()
    return pa.DictionaryArray.from_arrays(places.cast(narrow), entries, ordered=kind.ordered)


def _numbers_as(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    missing = np.isnan(values)
    values = np.where(missing, 0.0, values)
    if pa.types.is_null(kind):
        return pa.nulls(len(values))
    if is_text(kind):
        whole = np.all(values == np.round(values)) and np.abs(values).max(initial=0.0) < 2**53
        return pa.array(values.astype(np.int64) if whole else values, mask=missing).cast(kind)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        low, high = (0, 1) if pa.types.is_boolean(kind) else _range(kind)
        return pa.array(_whole(np.clip(np.round(values), low, high), low, high), mask=missing).cast(kind)
    if pa.types.is_decimal(kind):
        places = max(kind.scale, 0)
        texts = [None if gone else f"{value:.{places}f}" for value, gone in zip(values, missing, strict=True)]
        return pa.array(texts, pa.string()).cast(kind)
    return pa.array(values, mask=missing).cast(kind, safe=False)


def _range(kind: pa.DataType) -> tuple[int, int]:
    info = np.iinfo(kind.to_pandas_dtype())
    return int(info.min), int(info.max)


def _whole(values: np.ndarray, low: int, high: int) -> np.ndarray:
    """Whole numbers as int64 or uint64, those at the end of the range exactly there."""
    made = np.uint64 if low == 0 and high > 2**63 else np.int64
    edge = float(np.nextafter(float(high), 0.0)) if high > 2**53 else float(high)
    return np.where(values > edge, made(high), np.minimum(values, edge).astype(made))


def unsuitable(where: str, name: str, kind: pa.DataType) -> DataError:
    """What to say about a column of lists, structures or bytes."""
    return DataError(
        f"{where}: expected numbers, texts, dates or truth values in column {quote(name)}; got values of type "
        f"{str(kind)[:60]}. Convert the column or leave it out."
    )
