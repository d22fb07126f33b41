"""Columns of any kind from a CSV file: numbers, dates, truth values and texts, with missing cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.csv

from unwarp.data._arrow import MISSING, NUMBER, PADDED, is_text, parses, plain, trimmed

_DIGITS = r"^[-+]?\d{1,18}$"
_MARKERS = {"null_values": list(MISSING), "strings_can_be_null": True}


def read_mixed(read: Callable[..., pa.Table], places: list[int]) -> pa.Table:
    """What all cells of a column are is what the column is; pyarrow's first guess is only a beginning.

    Args:
        read: Reads the columns at some places with pyarrow's options for conversion.
        places: Of the wanted columns.
    """
    try:
        table = read(places, **_MARKERS)
    except pa.ArrowInvalid as error:
        if "conversion error" not in str(error):
            raise
        table = read(places, **_MARKERS, column_types={str(place): pa.string() for place in places})
    columns = [_told(column) for column in table.columns]
    whole = [i for i, column in enumerate(columns) if pa.types.is_integer(column.type)]
    if whole:
        chosen = [places[i] for i in whole]
        texts = read(chosen, **_MARKERS, column_types={str(place): pa.string() for place in chosen})
        for i, column in zip(whole, texts.columns, strict=True):
            if parses(plain(column), PADDED, missing=False).any():
                columns[i] = pa.chunked_array([trimmed(plain(column)).cast(pa.string())])
    return pa.table(columns, names=table.column_names)


def retyped(table: pa.Table) -> pa.Table:
    """A table of texts as `read_mixed` would have read it."""
    names = [str(place) for place in range(table.num_columns)]
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(table.rename_columns(names), sink)
    text = sink.getvalue()

    def read(places: list[int], **options: Any) -> pa.Table:
        return pyarrow.csv.read_csv(
            pa.BufferReader(text),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(include_columns=[str(place) for place in places], **options),
        )

    return read_mixed(read, list(range(table.num_columns))).rename_columns(table.column_names)


def _told(column: pa.ChunkedArray) -> Any:
    """A column of texts as numbers where all cells are, otherwise without blanks and markers of missing cells."""
    if not is_text(column.type):
        return column
    texts = trimmed(plain(column))
    if texts.null_count == len(texts) or not parses(texts, NUMBER).all():
        return pa.chunked_array([texts.cast(pa.string())])
    return pa.chunked_array([texts.cast(pa.int64() if parses(texts, _DIGITS).all() else pa.float64())])
