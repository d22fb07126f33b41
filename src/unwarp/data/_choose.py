"""Which columns of a file are wanted, and whether they hold numbers that a density can use."""

import shlex
from collections import Counter
from collections.abc import Callable, Collection, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from unwarp.data._values import first_bad, listing, quote, suggest
from unwarp.errors import DataError

MOST_BYTES = 2 << 30
"""The most bytes that a table may take once decoded: compressed files are measured before they are trusted."""

MOST_COLUMNS = 20_000


def cap(where: str, size: int) -> None:
    """Refuse a table that takes more memory than `MOST_BYTES`."""
    if size > MOST_BYTES:
        raise DataError(
            f"{where}: expected at most {MOST_BYTES / 1e9:.1f} GB once decoded; got more. "
            "Split the file, or leave columns out."
        )


def most_columns(where: str, count: int) -> None:
    """Refuse a table with more columns than `MOST_COLUMNS`."""
    if count > MOST_COLUMNS:
        raise DataError(f"{where}: expected at most {MOST_COLUMNS} columns; got {count}. Leave columns out.")


def choose(where: str, header: list[str], ignore: Sequence[str], columns: Sequence[str] | None) -> list[int]:
    """Places of the wanted columns in the file, in the wanted order."""
    for name in ignore:
        if name not in header:
            raise DataError(f"{where}: expected a column {quote(name)} to ignore; got none. {suggest(name, header)}")
    missing = [name for name in columns or () if name not in header]
    if missing:
        raise DataError(
            f"{where}: expected the columns {listing(missing)}; got a table without them. {suggest(missing[0], header)}"
        )
    wanted = [name for name in (header if columns is None else columns) if name not in set(ignore)]
    counts = Counter(header)
    twice = next((name for name in wanted if counts[name] > 1), None)
    if twice is not None:
        raise DataError(
            f"{where}: expected every column name once; got {quote(twice)} {counts[twice]} times. Rename the columns."
        )
    if not wanted:
        raise DataError(f"{where}: expected at least one column; got none. Ignore fewer columns.")
    places = {name: place for place, name in enumerate(header)}
    return [places[name] for name in wanted]


def present(header: list[str], columns: Sequence[str] | None, optional: Collection[str]) -> Sequence[str] | None:
    """The columns asked for, without those that are optional and not there."""
    return None if columns is None else [name for name in columns if name in header or name not in optional]


def numbers(where: str, table: pa.Table, place: Callable[[int], str]) -> pa.Table:
    """The table as int64 and float64, or an error that names the first bad column and every other one.

    Args:
        where: What messages begin with.
        table: Columns of numbers, truth values, decimals or nulls.
        place: Says where a row is, as in ``"line 7"``.
    """
    columns, found = [], []
    for name, column in zip(table.column_names, table.columns, strict=True):
        usable, bad = _usable(column)
        columns.append(usable)
        if bad is not None:
            found.append((name, *bad))
    if found:
        name, row, got = found[0]
        spot = "every row" if row is None else place(row)
        wrong = [name for name, *_ in found]
        raise DataError(f"{where}: expected finite numbers in column {quote(name)}; got {got} in {spot}. {drop(wrong)}")
    return pa.table(columns, names=table.column_names)


def _usable(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, tuple[int | None, str] | None]:
    """The column as int64 or float64, and its first bad row (None: all of them) with what was found there."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.null_count:
        every = column.null_count == len(column)
        return column, (None if every else pc.index(column.is_null(), True).as_py(), "a missing value")
    if pa.types.is_boolean(column.type) or (pa.types.is_integer(column.type) and column.type != pa.uint64()):
        return column.cast(pa.int64()), None
    column = column.cast(pa.float64(), safe=False)
    return column, first_bad(column.to_numpy())


def drop(wrong: Sequence[str]) -> str:
    """What to do about columns that cannot be used, ready to be pasted into a shell."""
    flags = " ".join(f"--ignore {shlex.quote(name) if name.isprintable() else quote(name)}" for name in wrong[:6])
    if len(wrong) == 1:
        return f"Clean the column or leave it out with {flags}."
    more = f" and {len(wrong) - 6} more" if len(wrong) > 6 else ""
    return f"Clean the {len(wrong)} such columns or leave them out with {flags}{more}."


def numeric(kind: pa.DataType) -> bool:
    """Whether values of this type can be read as numbers."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    checks = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal, pa.types.is_null)
    return any(check(kind) for check in checks)


def type_words(kind: pa.DataType) -> str:
    """A type that is not a number, in words."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_temporal(kind):
        return f"dates or times ({kind})"
    if any(check(kind) for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)):
        return "text"
    return f"values of type {str(kind)[:40]}"
