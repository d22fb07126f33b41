"""The CSV side of `TableFile`: blocks of rows in order; only when one is at fault is the file gone through by line."""

import contextlib
import csv
import io
import itertools
import re
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from unwarp.data._arrow import MISSING, NUMBER, plain, trimmed
from unwarp.data._choose import choose, drop, numbers, present
from unwarp.data._csv import BLOCK, broken, cell_words, header_of, line_of, records, refuse_binary
from unwarp.data._values import quote
from unwarp.errors import DataError

_HEAD = 4 << 20  # bytes that show what the columns are
_SQUEEZE = 4  # how many times smaller compressed numbers are, about
_TRUTH = {"true", "false"}


@dataclass(frozen=True)
class CsvPieces:
    """The chosen columns of a CSV file, to be read piece by piece.

    Args:
        path: Where the file lies.
        squeezed: How it is compressed, if at all.
        delimiter: What separates cells.
        header: Names of all columns.
        places: Those of the chosen columns, in the order wanted.
        truth: Those of the chosen columns that hold true and false.
        body: The byte at which rows begin.
        mixed: Whether columns may hold anything; all are texts then, without blanks around them, None where missing.
    """

    path: Path
    squeezed: str | None
    delimiter: str
    header: list[str]
    places: list[int]
    truth: frozenset[int]
    body: int
    mixed: bool

    @classmethod
    def open(
        cls, path: Path, squeezed: str | None, delimiter: str | None, ignore: tuple[str, ...],
        columns: Sequence[str] | None, optional: Collection[str], *, mixed: bool,
    ) -> "CsvPieces":  # fmt: skip
        """Look at the first lines."""
        with _opened(path, squeezed) as raw:
            head = raw.read(_HEAD)
        refuse_binary(path, head[:4096])
        delimiter, header, body = header_of(path, head, delimiter)
        places = choose(path.name, header, ignore, present(header, columns, optional))
        first = next(itertools.islice(records(io.BytesIO(head), delimiter), 1, None), None)
        if first is None and len(head) < _HEAD:
            got = "blank lines alone" if head[body:] else "a header line alone"
            raise DataError(f"{path.name}: expected rows; got {got}. Check how the file was written.")
        cells = dict(enumerate(first[1] if first else []))
        truth = frozenset(place for place in places if cells.get(place, "").strip().lower() in _TRUTH)
        return cls(path, squeezed, delimiter, header, places, truth, body, mixed)

    @property
    def names(self) -> list[str]:
        """Of the chosen columns."""
        return [self.header[place] for place in self.places]

    @property
    def truths(self) -> list[str]:
        """Names of those that hold true and false."""
        return [self.header[place] for place in self.places if place in self.truth]

    @property
    def rows(self) -> None:
        """Not known before the file is read."""

    @property
    def decoded(self) -> int:
        """Bytes of the text, about."""
        return self.path.stat().st_size * (1 if self.squeezed is None else _SQUEEZE)

    def tables(self, wanted: Callable[[int, int], bool], size: int) -> Iterator[tuple[int, pa.Table]]:
        """Tables in order, each with the number of its first row; `size` is what a Parquet file goes by."""
        start = 0
        options: dict[str, Any] = {"null_values": list(MISSING), "strings_can_be_null": True} if self.mixed else {}
        kinds = {str(i): self._kind(i) for i in self.places}
        with _opened(self.path, self.squeezed) as raw:
            raw.read(self.body)
            try:
                for batch in pyarrow.csv.open_csv(
                    raw,
                    read_options=pyarrow.csv.ReadOptions(
                        column_names=[str(place) for place in range(len(self.header))], block_size=BLOCK
                    ),
                    parse_options=pyarrow.csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
                    convert_options=pyarrow.csv.ConvertOptions(
                        column_types=kinds, include_columns=list(kinds), **options
                    ),
                ):
                    table = pa.Table.from_batches([batch]).rename_columns(self.names)
                    if wanted(start, start + len(table)):
                        yield start, _trimmed(table) if self.mixed else self._numbers(table, start)
                    start += len(table)
            except pa.ArrowInvalid as error:
                raise self._at_fault(error) from error

    def _kind(self, place: int) -> pa.DataType:
        """What is read from a column."""
        return pa.string() if self.mixed else pa.bool_() if place in self.truth else pa.float64()

    def _numbers(self, table: pa.Table, start: int) -> pa.Table:
        def line(row: int) -> str:
            with _opened(self.path, self.squeezed) as raw:
                return f"line {line_of(records(raw, self.delimiter), start + row)}"

        return numbers(self.path.name, table, line)

    def _at_fault(self, error: Exception) -> DataError:
        """The first line with too few or too many cells, or with a cell that is no number."""
        with _opened(self.path, self.squeezed) as raw, contextlib.suppress(csv.Error):
            for line, record in itertools.islice(records(raw, self.delimiter), 1, None):
                if len(record) != len(self.header):
                    break
                for place in self.places:
                    if not self._reads(place, record[place]):
                        name, cell = self.header[place], record[place]
                        got = "bytes that are not UTF-8" if "\ufffd" in cell else cell_words(cell)
                        what = "UTF-8" if self.mixed else "numbers"
                        return DataError(
                            f"{self.path.name}: expected {what} in column {quote(name)}; got {got} in line {line}. "
                            f"{drop([name])}"
                        )
        with _opened(self.path, self.squeezed) as raw:
            return broken(self.path, records(raw, self.delimiter), len(self.header), error)

    def _reads(self, place: int, cell: str) -> bool:
        if self.mixed:
            return "\ufffd" not in cell
        if place in self.truth:
            return cell.strip().lower() in _TRUTH
        return cell in _NULLS or re.match(NUMBER, cell) is not None or cell.strip().lower() in _INFINITE


def _trimmed(table: pa.Table) -> pa.Table:
    return pa.table([trimmed(plain(column)) for column in table.columns], names=table.column_names)


_NULLS = frozenset(pyarrow.csv.ConvertOptions().null_values)
_INFINITE = {"inf", "-inf", "+inf", "infinity", "-infinity", "+infinity", "nan", "-nan", "+nan"}


@contextlib.contextmanager
def _opened(path: Path, squeezed: str | None) -> Generator[io.BufferedReader]:
    """The file's bytes, decompressed."""
    with path.open("rb") as file:
        if squeezed is None:
            yield file
        else:
            with io.BufferedReader(pa.input_stream(file, compression=squeezed), 1 << 20) as stream:  # pyright: ignore[reportArgumentType]
                yield stream
