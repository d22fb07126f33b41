"""What ``unwarp fit`` is told about columns, and what it reads: numbers alone, or columns of any kind."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

from unwarp.cli._out import Failure
from unwarp.data import Schema, TableFile, infer_table, read_table
from unwarp.errors import DataError

_LARGEST = 2 << 30  # bytes of rows that are fitted as they are; of more, a quarter of that is drawn
_COPIES = 12  # of its rows that a fit may have in memory
_NUMERIC = ("real", "positive", "integer", "bounded")
_NAME = re.compile(r'column ("(?:[^"\\]|\\.)*")')


@dataclass(frozen=True, slots=True)
class Taken:
    """The rows of a fit.

    Args:
        table: The rows.
        drawn_from: Of how many they were drawn; None if these are all.
        schema: What the columns are, where they are not all numbers.
        why: Why they are not taken for numbers.
    """

    table: pa.Table
    drawn_from: int | None
    schema: Schema | None = None
    why: str = ""


def declared(**options: Sequence[str] | None) -> dict[str, str]:
    """The kinds of columns as estimators want them, from the options of that name."""
    found: list[tuple[str, str]] = []
    for kind, texts in options.items():
        for text in texts or ():
            name, rest = _parted(kind, text)
            found.append((name, f"{kind}{rest}"))
    names = [name for name, _ in found]
    for name in names:
        if names.count(name) > 1:
            raise Failure(f"unwarp fit: expected one kind for column {name!r}; got two. Leave one out.")
    return dict(found)


def _parted(kind: str, text: str) -> tuple[str, str]:
    """A column's name, which may hold colons of its own, and what is said about it."""
    if kind in {"bounded", "periodic"}:
        name, *bounds = text.rsplit(":", 2)
        if len(bounds) != 2:
            raise Failure(f"unwarp fit: expected --{kind} COLUMN:LOW:HIGH; got {text!r}. Give both bounds.")
        return name, ":" + ":".join(bounds)
    if kind == "ordinal" and "<" in text:
        name, colon, levels = text.partition("<")[0].rpartition(":")[0], ":", text
        if not name:
            raise Failure(f'unwarp fit: expected --ordinal "COLUMN:FIRST<SECOND<..."; got {text!r}. Name the column.')
        return name, colon + levels.removeprefix(f"{name}:")
    return text, ""


def take(
    data: Path,
    *,
    ignore: Sequence[str],
    most: int | None,
    seed: int,
    flow: str,
    known: dict[str, str],
    schema: Schema | None,
) -> Taken:
    """Read the rows to fit: as numbers if all are, else with what their columns are.

    Raises:
        Failure: When the options contradict each other.
        DataError: When the table cannot be used.
    """
    typed = [kind.partition(":")[0] for kind in known.values() if kind.partition(":")[0] not in _NUMERIC]
    option = "--columns" if schema is not None else f"--{typed[0]}" if typed else ""
    if option and flow not in {"auto", "mixed"}:
        raise Failure(f"unwarp fit: expected {option} without --flow {flow}; got both. Leave --flow out, or say mixed.")
    if schema is not None and known:
        raise Failure("unwarp fit: expected kinds of columns in one place; got --columns and others. Leave one out.")
    if option or flow == "mixed":
        rows = _rows(data, ignore, most, seed, "any", None if schema is None else schema.names)
        return Taken(*rows, schema or infer_table(rows[0], columns=known), f"{option or '--flow mixed'} asks for it")
    refused: DataError | None = None
    try:
        if flow != "auto" or not TableFile(data, ignore=ignore).truths:
            return Taken(*_rows(data, ignore, most, seed, "numbers"))
    except DataError as error:
        refused = error
    return _of_any_kind(data, ignore, most, seed, flow, known, refused)


def _of_any_kind(
    data: Path,
    ignore: Sequence[str],
    most: int | None,
    seed: int,
    flow: str,
    known: dict[str, str],
    refused: DataError | None,
) -> Taken:
    """The rows of a table that does not hold numbers alone, or why it cannot be used."""
    try:
        rows = _rows(data, ignore, most, seed, "any")
    except DataError as error:
        raise refused or error from error
    odd = _odd(rows[0])
    if refused is not None and not odd:
        raise refused
    if refused is not None and flow != "auto":
        raise DataError(f"{refused} Without --flow {flow}, columns of any kind are modelled.") from refused
    try:
        return Taken(*rows, infer_table(rows[0], columns=known), _words(odd))
    except DataError as error:
        raise (error if refused is None else _better(data, refused, error)) from error


def _better(data: Path, numbers: DataError, mixed: DataError) -> DataError:
    """The message that helps more, of two about a column: that for numbers knows the line."""
    name, wrong = _NAME.search(str(mixed)), _NAME.search(str(numbers))
    if name is None or "categorical" not in str(mixed):
        return mixed
    advice = f"--categorical {name[1]}"
    if wrong is not None and wrong[1] == name[1]:
        return DataError(f"{numbers} If they are words, say {advice}.")
    words = str(mixed).replace("declare the column categorical", f"say {advice}")
    return DataError(words.replace("fit:", f"{data.name}:", 1))


def _rows(
    data: Path,
    ignore: Sequence[str],
    most: int | None,
    seed: int,
    kinds: Literal["numbers", "any"],
    columns: Sequence[str] | None = None,
) -> tuple[pa.Table, int | None]:
    """The rows to fit, and of how many they were drawn if not all are taken: a fit needs several times their memory."""
    file = TableFile(data, ignore=ignore, columns=columns, kinds=kinds)
    if most is None:
        room = min(_LARGEST, _memory() // _COPIES)
        if file.decoded <= room:
            return read_table(data, ignore=ignore, columns=columns, kinds=kinds), None
        most = max(1, room // (32 * len(file.names)))
    table = file.sample(most, seed=seed)
    return table, file.rows if file.rows > len(table) else None


def _odd(table: pa.Table) -> list[tuple[str, str]]:
    """Columns that hold more than numbers, or gaps, and what."""
    found = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        what = ["gaps"] if column.null_count else []
        if pa.types.is_temporal(kind) or pa.types.is_boolean(kind):
            what.insert(0, "truth values" if pa.types.is_boolean(kind) else "dates or times")
        elif not plain:
            what.insert(0, "text")
        if what:
            found.append((name, " and ".join(what)))
    return found


def _words(odd: Sequence[tuple[str, str]]) -> str:
    (name, what), *others = odd
    more = f" (and {len(others)} more are no plain numbers)" if others else ""
    return f"column {name!r} holds {what}{more}"


def _memory() -> int:
    """Bytes of the machine's memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 8 << 30
