"""A table on disk that is read in pieces."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from unwarp.data._csv_stream import CsvPieces
from unwarp.data._io import PARQUET, SEPARATED, kind_of, readable
from unwarp.data._mixed import retyped
from unwarp.data._parquet import ParquetPieces
from unwarp.data._values import quote
from unwarp.errors import ConfigError

_END = 1 << 20  # bytes at either end of a file that say which one it is
_FOREVER = 1 << 62


class TableFile:
    r"""The columns of a CSV or Parquet file of any size, read in pieces: memory stays flat.

    When to use it: for tables that `read_table` finds too large, or to draw a sample of one. What a file may hold is as
    for `read_table`; a value that can't be used is found when its piece is read. Parquet files are read by row groups
    (of any size), CSV files in blocks of 16 MB, compressed ones too.

    Args:
        path: Where the file lies. The suffix says what it is.
        ignore: Columns to leave out, by name.
        columns: The columns to read, in this order, whatever else the file holds; all by default.
        optional: Those of them that need not be there.
        kinds: ``"numbers"``, or ``"any"`` for what `Codes` understands: a Parquet file as it is, and texts in
            all columns of a CSV file, None where a cell is missing (a piece doesn't tell what the whole column is).

    Attributes:
        path: Where the file lies.
        names: Names of the columns.
        truths: Names of those that hold truth values.
        decoded: Bytes that all rows would take in memory, about.
        known_rows: How many rows there are, where that is known without reading them (Parquet); else None.

    Raises:
        DataError: When the file cannot be read, is empty, or its columns are not as asked for.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "trees.csv"
        >>> _ = path.write_text("height,rings\n12.5,80\n9.25,31\n11,55\n")
        >>> file = TableFile(path)
        >>> file.rows, [len(table) for table in file.batches(size=2)]
        (3, [2, 1])
        >>> file.sample(2, seed=0).num_rows
        2
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        ignore: Iterable[str] = (),
        columns: Sequence[str] | None = None,
        optional: Iterable[str] = (),
        kinds: Literal["numbers", "any"] = "numbers",
    ) -> None:
        if kinds not in {"numbers", "any"}:
            raise ConfigError(f'TableFile: expected kinds "numbers" or "any"; got {quote(kinds)}. Choose one.')
        self.path, wanted = Path(path), (tuple(ignore), columns, frozenset(optional))
        kind, squeezed = kind_of(self.path)
        with readable(self.path):
            if kind in PARQUET:
                self._pieces = ParquetPieces.open(self.path, *wanted, mixed=kinds == "any")
            else:
                self._pieces = CsvPieces.open(self.path, squeezed, SEPARATED[kind], *wanted, mixed=kinds == "any")
            self.names, self.decoded = self._pieces.names, self._pieces.decoded
        self.truths = self._pieces.truths
        self.known_rows: int | None = self._pieces.rows

    @property
    def rows(self) -> int:
        """How many rows there are; a CSV file is read once to know it, and its values are checked on the way."""
        if self.known_rows is None:
            self.known_rows = sum(len(table) for table in self.batches())
        return self.known_rows

    @property
    def identity(self) -> str:
        """A digest of the file's size and of its first and last 1 MiB (a Parquet file's statistics are at its end)."""
        with readable(self.path), self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.blake2b(str(size).encode(), digest_size=16)
            digest.update(file.read(_END))
            file.seek(max(0, size - _END))
            digest.update(file.read(_END))
        return digest.hexdigest()

    def batches(self, among: Iterable[tuple[int, int]] | None = None, *, size: int = 65_536) -> Iterator[pa.Table]:
        """The rows in order, as tables; numbers are int64 and float64 columns (a CSV file's are all float64).

        Args:
            among: Ranges ``(start, stop)`` of row numbers from 0, rising and apart; all rows by default. Row groups
                outside are not read.
            size: Rows of a table. Tables begin anew with each range, so that a range gives the same tables each time.

        Raises:
            DataError: When a value cannot be used or the file turns out to be damaged.
        """
        ranges = [(0, _FOREVER)] if among is None else list(among)
        starts, stops = np.array(ranges, dtype=np.int64).reshape(-1, 2).T

        def wanted(start: int, stop: int) -> bool:
            place = int(np.searchsorted(stops, start, side="right"))
            return place < len(starts) and starts[place] < stop

        with readable(self.path):
            yield from _cut(self._pieces.tables(wanted, min(size, 1 << 16)), ranges, size)

    def sample(self, rows: int, *, seed: int = 0) -> pa.Table:
        """Rows drawn without replacement, each as likely as any other, in the order of the file; all if it has fewer.

        Each row of the file gets a random number, and the lowest win: one pass, with at most about twice the sample in
        memory. Columns of any kind from a CSV file get the types of what they hold, as `read_table` would give them.

        Raises:
            ConfigError: When `rows` is below 1.
            DataError: As `batches`.

        Source: the bottom-k form of reservoir sampling; Vitter, *Random sampling with a reservoir*, 1985.
        """
        if rows < 1:
            raise ConfigError(f"TableFile.sample: expected rows of at least 1; got {rows}. Ask for more.")
        rng, bound, total = np.random.default_rng(seed), 1.0, 0
        kept: list[pa.Table] = []
        keys = np.empty(0)
        for table in self.batches():
            drawn = rng.random(len(table))
            some = np.flatnonzero(drawn < bound)
            kept.append(table.take(some))
            keys, total = np.concatenate([keys, drawn[some]]), total + len(table)
            if len(keys) >= 2 * rows:
                kept, keys, bound = _lowest(kept, keys, rows)
        self.known_rows = total
        table = _lowest(kept, keys, rows)[0][0]
        return retyped(table) if isinstance(self._pieces, CsvPieces) and self._pieces.mixed else table


def _lowest(kept: list[pa.Table], keys: np.ndarray, rows: int) -> tuple[list[pa.Table], np.ndarray, float]:
    """The rows with the lowest keys, in their order; these keys, and what the next ones must be below."""
    table = pa.concat_tables(kept)
    if len(keys) <= rows:
        return [table.combine_chunks()], keys, 1.0
    lowest = np.sort(np.argpartition(keys, rows - 1)[:rows])
    return [table.take(lowest).combine_chunks()], keys[lowest], float(keys[lowest].max())


def _cut(tables: Iterator[tuple[int, pa.Table]], ranges: Sequence[tuple[int, int]], size: int) -> Iterator[pa.Table]:
    """Tables of `size` rows, the last one of a range shorter, from tables that come as they come."""
    pieces = ((low, min(low + size, stop)) for start, stop in ranges for low in range(start, stop, size))
    low, high = next(pieces, (_FOREVER, _FOREVER))
    held: list[pa.Table] = []
    for start, table in tables:
        end = start + len(table)
        while low < end:
            held.append(table.slice(max(low, start) - start, min(high, end) - max(low, start)))
            if high > end:
                low = end
                break
            yield pa.concat_tables(held).combine_chunks()
            held = []
            low, high = next(pieces, (_FOREVER, _FOREVER))
    if held:
        yield pa.concat_tables(held).combine_chunks()
