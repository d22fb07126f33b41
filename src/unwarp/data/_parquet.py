"""The Parquet side of `read_table` and `TableFile`: columns judged by metadata before anything is decoded."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet

from unwarp.data._arrow import known
from unwarp.data._choose import cap, choose, drop, most_columns, numbers, numeric, present, type_words
from unwarp.data._values import quote
from unwarp.errors import DataError

_BUFFER = 1 << 20  # bytes of a column that are read at once: a row group may be as large as the file


def read_parquet(
    path: Path,
    ignore: tuple[str, ...],
    columns: Sequence[str] | None,
    *,
    kinds: Literal["numbers", "any"] = "numbers",
) -> pa.Table:
    """The chosen columns of a Parquet file, numbers or of any kind."""
    if kinds == "any":
        return _read_mixed(path, ignore, columns)
    with path.open("rb") as source, pyarrow.parquet.ParquetFile(source) as file:
        names = _names(path, file, ignore, columns)
        cap(path.name, file.metadata.num_rows * len(names) * 8)
        table = file.read(columns=names).select(names)
    return numbers(path.name, table, lambda row: f"row {row + 1}")


def _read_mixed(path: Path, ignore: tuple[str, ...], columns: Sequence[str] | None) -> pa.Table:
    """Columns of any kind that a schema knows; texts are measured as they are decoded."""
    with path.open("rb") as source, pyarrow.parquet.ParquetFile(source) as file:
        names = _names(path, file, ignore, columns, known)
        cap(path.name, file.metadata.num_rows * len(names))  # a truth value takes least
        batches, size = [], 0
        for batch in file.iter_batches(columns=names):
            size += batch.nbytes
            cap(path.name, size)
            batches.append(batch)
    return pa.Table.from_batches(batches).select(names)


@dataclass(frozen=True)
class ParquetPieces:
    """The chosen columns of a Parquet file, to be read piece by piece.

    Args:
        path: Where the file lies.
        names: Of the columns.
        groups: How many rows each row group has.
        mixed: Whether columns may hold anything that a schema knows.
        truths: Names of those that hold truth values.
    """

    path: Path
    names: list[str]
    groups: tuple[int, ...]
    mixed: bool
    truths: list[str]

    @classmethod
    def open(
        cls,
        path: Path,
        ignore: tuple[str, ...],
        columns: Sequence[str] | None,
        optional: Collection[str],
        *,
        mixed: bool,
    ) -> "ParquetPieces":
        """Look at the metadata, and refuse columns that hold no numbers, or what no schema knows."""
        with path.open("rb") as source, pyarrow.parquet.ParquetFile(source) as file:
            columns = present(list(file.schema_arrow.names), columns, optional)
            names = _names(path, file, ignore, columns, known if mixed else numeric)
            found, schema = file.metadata, file.schema_arrow
            groups = tuple(found.row_group(i).num_rows for i in range(found.num_row_groups))
            return cls(path, names, groups, mixed, [n for n in names if pa.types.is_boolean(schema.field(n).type)])

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(self.groups)

    @property
    def decoded(self) -> int:
        """Bytes of all rows in memory."""
        return self.rows * len(self.names) * 8

    def tables(self, wanted: Callable[[int, int], bool], size: int) -> Iterator[tuple[int, pa.Table]]:
        """Tables in order, each with the number of its first row; of row groups that have wanted rows."""
        begin = 0
        with (
            pa.OSFile(str(self.path), "rb") as source,
            pyarrow.parquet.ParquetFile(source, buffer_size=_BUFFER, pre_buffer=False) as file,
        ):
            for group, rows in enumerate(self.groups):
                start = begin
                begin += rows
                if not wanted(start, begin):
                    continue
                for batch in file.iter_batches(size, row_groups=[group], columns=self.names):
                    table = pa.Table.from_batches([batch]).select(self.names)
                    yield start, table if self.mixed else self._numbers(table, start)
                    start += len(table)

    def _numbers(self, table: pa.Table, start: int) -> pa.Table:
        return numbers(self.path.name, table, lambda row: f"row {start + row + 1}")


def _names(
    path: Path,
    file: pyarrow.parquet.ParquetFile,
    ignore: tuple[str, ...],
    columns: Sequence[str] | None,
    usable: Callable[[pa.DataType], bool] = numeric,
) -> list[str]:
    """The wanted columns, which are usable, of a file that has rows."""
    schema = file.schema_arrow
    header = list(schema.names)
    most_columns(path.name, len(header))
    names = [header[place] for place in choose(path.name, header, ignore, columns)]
    wrong = [name for name in names if not usable(schema.field(name).type)]
    if wrong:
        got = type_words(schema.field(wrong[0]).type)
        what = "numbers" if usable is numeric else "numbers, texts, dates or truth values"
        raise DataError(f"{path.name}: expected {what} in column {quote(wrong[0])}; got {got}. {drop(wrong)}")
    if not file.metadata.num_rows:
        raise DataError(f"{path.name}: expected rows; got a table without any. Check how the file was written.")
    return names
