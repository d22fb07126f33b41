"""The CSV side of `read_table`: what the first line says, which line is at fault."""

import csv
import io
import itertools
import math
import mmap
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from unwarp.data._arrow import MISSING, NUMBER
from unwarp.data._choose import cap, choose, drop, most_columns, numbers, numeric, type_words
from unwarp.data._mixed import read_mixed
from unwarp.data._values import quote
from unwarp.errors import DataError

Bytes = bytes | mmap.mmap

BLOCK = 16 << 20
"""Bytes of a CSV file that are parsed at once, and the longest line."""

_DELIMITERS = (",", ";", "\t")


def read_csv(
    path: Path,
    squeezed: str | None,
    delimiter: str | None,
    ignore: tuple[str, ...],
    columns: Sequence[str] | None,
    *,
    kinds: Literal["numbers", "any"] = "numbers",
) -> pa.Table:
    """The chosen columns of a CSV file, numbers or of any kind; `squeezed` is how it is compressed, if at all."""
    return parse_csv(path, _load(path, squeezed), delimiter, ignore, columns, kinds=kinds)


def parse_csv(
    path: Path,
    data: Bytes,
    delimiter: str | None = ",",
    ignore: tuple[str, ...] = (),
    columns: Sequence[str] | None = None,
    *,
    kinds: Literal["numbers", "any"] = "any",
) -> pa.Table:
    """The chosen columns of a CSV file's bytes."""
    refuse_binary(path, data[:4096])
    delimiter, header, body = header_of(path, data, delimiter)
    places = choose(path.name, header, ignore, columns)
    rows = pa.py_buffer(data).slice(body)
    if not rows.size:
        raise DataError(f"{path.name}: expected rows; got a header line alone. Check how the file was written.")
    quoted = data.find(b'"', body) >= 0

    def read(chosen: list[int], **options: Any) -> pa.Table:
        by_place = [str(place) for place in range(len(header))]  # odd or repeated names stay out of pyarrow's sight
        return pyarrow.csv.read_csv(
            pa.BufferReader(rows),
            read_options=pyarrow.csv.ReadOptions(column_names=by_place, block_size=BLOCK),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=quoted),
            convert_options=pyarrow.csv.ConvertOptions(include_columns=[str(place) for place in chosen], **options),
        ).rename_columns([header[place] for place in chosen])

    try:
        table = read(places) if kinds == "numbers" else read_mixed(read, places)
    except pa.ArrowInvalid as error:
        raise broken(path, records(_raw(data), delimiter), len(header), error) from error
    if not table.num_rows:
        raise DataError(f"{path.name}: expected rows; got blank lines alone. Check how the file was written.")

    def line(row: int) -> str:
        return f"line {line_of(records(_raw(data), delimiter), row)}"

    if kinds == "any" and not any(pa.types.is_binary(column.type) for column in table.columns):
        return table
    _refuse_text(path, table, line)
    return numbers(path.name, table, line)


def _load(path: Path, squeezed: str | None) -> Bytes:
    """The file's bytes: mapped into memory, or decompressed up to the cap and not a byte further."""
    with path.open("rb") as file:
        if squeezed is None:
            size = os.fstat(file.fileno()).st_size
            cap(path.name, size)
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else file.read()
        stream, pieces, size = pa.input_stream(file, compression=squeezed), [], 0
        while piece := stream.read(1 << 24):
            size += len(piece)
            cap(path.name, size)
            pieces.append(piece)
        return b"".join(pieces)


def refuse_binary(path: Path, head: bytes) -> None:
    if not head.removeprefix(b"\xef\xbb\xbf").strip():
        raise DataError(f"{path.name}: expected a table; got an empty file. Check how it was written.")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path.name}: expected UTF-8; got UTF-16. Save the file as UTF-8.")
    if b"\x00" in head or head.startswith((b"PK\x03\x04", b"PAR1", b"\x1f\x8b", b"\x80\x04")):
        raise DataError(f"{path.name}: expected text; got a binary file. Export the table as CSV or Parquet.")


def records(raw: io.BufferedIOBase | mmap.mmap, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Every record that is not a blank line, with the line that it begins on; `raw` is at its beginning."""
    lines = iter(raw.readline, b"")
    reader = csv.reader((line.decode("utf-8-sig", errors="replace") for line in lines), delimiter=delimiter)
    start = 1
    for record in reader:
        if record:
            yield start, record
        start = reader.line_num + 1


def _raw(data: Bytes) -> io.BytesIO | mmap.mmap:
    if isinstance(data, bytes):
        return io.BytesIO(data)
    data.seek(0)
    return data


def header_of(path: Path, data: Bytes, delimiter: str | None) -> tuple[str, list[str], int]:
    """The delimiter, the names of the columns without blanks around them, and where the rows begin."""
    raw = _raw(data)
    first = data[: 4 << 20].lstrip(b"\xef\xbb\xbf\r\n").split(b"\n", 1)[0]
    if delimiter is None:
        bare = re.sub(rb'"[^"]*"', b"", first)
        delimiter = max(_DELIMITERS, key=lambda mark: bare.count(mark.encode()))
    try:
        first.decode()
        _, cells = next(records(raw, delimiter), (0, [""]))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name}: expected names in UTF-8; got other bytes in line 1. Save the file as UTF-8."
        ) from error
    except csv.Error as error:
        raise DataError(
            f"{path.name}: expected a line of names; got {error}. Check how the file was written."
        ) from error
    most_columns(path.name, len(cells))
    if _headless(cells):
        shown = quote(delimiter.join(cells[:4]))
        raise DataError(
            f"{path.name}: expected column names in line 1; got numbers, {shown}. Add a first line of names."
        )
    return delimiter, [cell.strip() or f"Unnamed: {place}" for place, cell in enumerate(cells)], raw.tell()


def _headless(cells: list[str]) -> bool:
    """Whether the first line is data: mostly numbers that, unlike years or wavelengths, don't run in order."""
    found = [value for value in map(_float, cells) if value is not None]
    ordered = len(found) > 1 and all(a < b for a, b in itertools.pairwise(found))
    return 2 * len(found) > len(cells) and not ordered


def _float(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def line_of(found: Iterator[tuple[int, list[str]]], row: int) -> int:
    """The line of the file on which the row begins, by the file's `records`."""
    try:
        for place, (line, _) in enumerate(found, start=-1):
            if place == row:
                return line
    except csv.Error:
        pass
    return row + 2  # a cell too long for the line counter: right for every file without blank or broken lines


def broken(path: Path, found: Iterator[tuple[int, list[str]]], width: int, error: Exception) -> DataError:
    """The first of the file's `records` with too few or too many cells, or what pyarrow said."""
    try:
        for line, record in found:
            if len(record) != width:
                return DataError(
                    f"{path.name}: expected {width} cells in line {line}; got {len(record)}. "
                    "Mend that line, or quote cells that hold the separator."
                )
    except csv.Error:
        pass
    words = str(error).splitlines()[0][:120].rstrip(".")
    if "straddling" in words:
        words = "a line of more than 16 MB"
    return DataError(f"{path.name}: expected a table; got {words}. Check how the file was written.")


def _refuse_text(path: Path, table: pa.Table, line: Callable[[int], str]) -> None:
    """Refuse columns that pyarrow could not read as numbers: the first bad cell of the first, and the names of all
    that hold text or missing values.
    """
    named = list(zip(table.column_names, table.columns, strict=True))
    worst = [name for name, column in named if pa.types.is_binary(column.type)]
    text = next(iter(worst or [name for name, column in named if not numeric(column.type)]), None)
    if text is None:
        return
    column = table.column(text)
    kind = column.type
    wrong = worst or [name for name, column in named if not numeric(column.type) or column.null_count]
    if pa.types.is_binary(kind):
        row = next((row for row, cell in enumerate(column) if not _decodes(cell.as_py())), 0)
        got = "bytes that are not UTF-8"
    elif pa.types.is_string(kind):
        plain = pc.call_function("match_substring_regex", [column], pc.MatchSubstringOptions(NUMBER))
        row = max(pc.index(plain, False).as_py(), 0)
        got = cell_words(column[row].as_py())
    else:
        row, got = 0, type_words(kind)
    raise DataError(f"{path.name}: expected numbers in column {quote(text)}; got {got} in {line(row)}. {drop(wrong)}")


def cell_words(cell: str) -> str:
    """A cell that is no number, in words."""
    return f"a missing value ({quote(cell)})" if cell.strip() in MISSING else quote(cell)


def _decodes(cell: bytes | None) -> bool:
    try:
        (cell or b"").decode()
    except UnicodeDecodeError:
        return False
    return True
