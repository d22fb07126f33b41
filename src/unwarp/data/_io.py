"""Tables in and out: CSV and Parquet by pyarrow, every failure a one-line `DataError`."""

import contextlib
import io
import itertools
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from unwarp._files import write_atomically
from unwarp.data._csv import read_csv
from unwarp.data._parquet import read_parquet
from unwarp.data._values import quote
from unwarp.errors import ConfigError, DataError

SEPARATED = {".csv": None, ".txt": None, ".tsv": "\t"}
_SQUEEZED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
PARQUET = (".parquet", ".pq")


def read_table(
    path: str | os.PathLike[str],
    *,
    ignore: Iterable[str] = (),
    columns: Sequence[str] | None = None,
    kinds: Literal["numbers", "any"] = "numbers",
) -> pa.Table:
    r"""Read the columns of a CSV or Parquet file, or say in one line why that is impossible.

    When to use it: for everything that comes from a file. By default the table that it returns holds finite numbers
    only: integers as int64, everything else as float64, true and false as 1 and 0. With ``kinds="any"`` it also holds
    texts, dates, truth values and missing cells, ready for `infer_table`: a Parquet file's types are kept, and a CSV
    file's columns become what all their cells are. Blanks around a cell don't count, and the cells ``?``, ``-``, ``.``,
    ``NA``, ``N/A``, ``n/a``, ``#N/A``, ``null``, ``NULL``, ``NaN``, ``nan`` and ``<NA>``, like empty ones, are missing.
    Digits that begin with a zero are texts.

    A CSV file is UTF-8 (a byte-order mark is accepted), has a first line of column names, and is separated by commas,
    semicolons or tabs (whichever the first line holds most of). Columns without a name are called ``Unnamed: 0``
    and so on.

    Args:
        path: Where the file lies. The suffix says what it is.
        ignore: Columns to leave out, by name.
        columns: The columns to return, in this order, whatever else the file holds; all by default.
        kinds: ``"numbers"`` or ``"any"``.

    Returns:
        A `pyarrow.Table`; of int64 and float64 columns without missing values where only numbers are asked for.

    Raises:
        DataError: When the file cannot be read, is empty, too large once decoded, ragged or not UTF-8, when names are
            missing or repeated, or a column holds what it may not: text, missing values, infinities or magnitudes above
            1e150 where numbers are asked for, lists or bytes anywhere. The message names the column, the line (CSV,
            counted from 1) or row (Parquet), and what to do.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "trees.csv"
        >>> _ = path.write_text("height,kind,rings\n12.5,oak,80\n9.25,elm,31\n")
        >>> read_table(path, ignore=["kind"]).to_pydict()
        {'height': [12.5, 9.25], 'rings': [80, 31]}
        >>> read_table(path, kinds="any")["kind"].to_pylist()
        ['oak', 'elm']
    """
    if kinds not in {"numbers", "any"}:
        raise ConfigError(f'read_table: expected kinds "numbers" or "any"; got {quote(kinds)}. Choose one.')
    path, ignored = Path(path), tuple(ignore)
    kind, squeezed = kind_of(path)
    with readable(path):
        if kind in PARQUET:
            return read_parquet(path, ignored, columns, kinds=kinds)
        return read_csv(path, squeezed, SEPARATED[kind], ignored, columns, kinds=kinds)


def kind_of(path: Path) -> tuple[str, str | None]:
    """What a path's suffix says: a key of `SEPARATED` or one of `PARQUET`, and how it is compressed, if at all."""
    kind, squeezed = path.suffix.lower(), None
    if kind in _SQUEEZED:
        kind, squeezed = Path(path.stem).suffix.lower(), _SQUEEZED[kind]
    if kind not in SEPARATED and (kind not in PARQUET or squeezed is not None):
        raise DataError(
            f"{path.name}: expected a name that ends in .csv, .tsv, .txt (also with .gz, .bz2, .zst), .parquet or .pq; "
            f"got {quote(path.suffix)}. Rename or convert the file."
        )
    return kind, squeezed


def write_table(path: str | os.PathLike[str], table: pa.Table | Iterable[pa.Table]) -> None:
    """Write a table as CSV, TSV or Parquet (by the suffix) so that the path holds the old file or the whole new one.

    The rows go to a temporary file in the same folder, which is synced to the disk and then renamed.

    Args:
        path: Where to write; its folder must exist.
        table: The rows; or tables one after the other, at least one and all of the same columns, of which only one is
            in memory at a time.

    Raises:
        DataError: When the suffix is unknown or the file cannot be written; nothing is left behind then.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "rows.csv"
        >>> write_table(path, pa.table({"a": [1, 2], "b": [0.5, 1.5]}))
        >>> read_table(path).to_pydict()
        {'a': [1, 2], 'b': [0.5, 1.5]}
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".csv", ".tsv", *PARQUET):
        raise DataError(
            f"{path.name}: expected a name that ends in .csv, .tsv, .parquet or .pq; got {quote(path.suffix)}. "
            "Choose another name."
        )
    try:
        write_atomically(path, _encoded(kind, iter([table] if isinstance(table, pa.Table) else table)))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: expected a place to write to; got {_why(error)}. Choose another path.") from error


def _encoded(kind: str, tables: Iterator[pa.Table]) -> Iterator[bytes]:
    """The bytes of a file of these tables, as they come."""
    first = next(tables)
    sink = _Sink()
    if kind in PARQUET:
        writer = pyarrow.parquet.ParquetWriter(pa.PythonFile(sink, mode="w"), first.schema)
    else:
        options = pyarrow.csv.WriteOptions(delimiter="\t" if kind == ".tsv" else ",")
        writer = pyarrow.csv.CSVWriter(pa.PythonFile(sink, mode="w"), first.schema, write_options=options)
    with writer:
        for table in itertools.chain([first], tables):
            writer.write_table(table)
            yield sink.take()
    yield sink.take()


class _Sink(io.RawIOBase):
    """A file that hands on what was written to it."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._pieces.append(bytes(data))
        return len(self._pieces[-1])

    def take(self) -> bytes:
        """What was written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _why(error: BaseException) -> str:
    """The first line of what the system said, without the path that the message already names."""
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (words.splitlines() or [type(error).__name__])[0][:200].rstrip(".").lower()


@contextlib.contextmanager
def readable(path: Path) -> Generator[None]:
    """Turn what the system and pyarrow raise about a whole file into one line."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path}: expected a file; got nothing at that path. Check its spelling.") from error
    except IsADirectoryError as error:
        raise DataError(f"{path}: expected a file; got a folder. Name one table in it.") from error
    except PermissionError as error:
        raise DataError(f"{path}: expected a file that may be read; got no permission. Change its mode.") from error
    except (OSError, pa.ArrowException, MemoryError) as error:
        raise DataError(f"{path.name}: expected a table; got {_why(error)}. Check how the file was written.") from error
