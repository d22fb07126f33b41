"""What ``--given`` says about columns."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

from unwarp.cli._out import Failure
from unwarp.data import Codes, Column, Schema
from unwarp.errors import DataError

_SHOWN = 6  # levels that a message names


def known_of(schema: Schema, texts: Sequence[str]) -> dict[str, Any]:
    """What `FlowTable.given` takes, from texts like ``country=FR``, ``age=30:40``, ``age=65:`` and ``job=a|b``.

    Raises:
        Failure: When a text says nothing that its column can be.
        DataError: When there is no such column.
    """
    known: dict[str, Any] = {}
    for text in texts:
        column, value = _parted(schema, text)
        if column.name in known:
            raise Failure(f"--given: expected column {column.name!r} once; got it twice. Leave one out.")
        known[column.name] = (
            _leveled(schema, column, value) if _has_levels(schema, column) else _number(schema, column, value)
        )
    return known


def _parted(schema: Schema, text: str) -> tuple[Column, str]:
    """The column, whose name may hold equals signs, and what is said of it."""
    names = {column.name: column for column in schema.columns if column.role in {"modelled", "copy"}}
    for place in (place for place, letter in enumerate(text) if letter == "="):
        if text[:place] in names and text[place + 1 :]:
            return names[text[:place]], text[place + 1 :]
    if "=" not in text or not text.partition("=")[2]:
        raise Failure(f"--given: expected COLUMN=VALUE, COLUMN=LOW:HIGH or COLUMN=A|B; got {text!r}. Correct it.")
    Codes(schema).column(text.partition("=")[0], [], where="--given")  # says which columns there are
    raise Failure(f"--given: expected a column of the model; got {text!r}. Correct it.", 3)


def _has_levels(schema: Schema, column: Column) -> bool:
    source = next(one for one in schema.columns if one.name == (column.source or column.name))
    return column.levels is not None or source.leveled


def _leveled(schema: Schema, column: Column, text: str) -> Any:
    """One level, or a list of those between bars."""
    if _level(schema, column, text):
        return text
    found = text.split("|")
    for level in found:
        if not _level(schema, column, level):
            levels = column.levels or ("true", "false")
            shown = ", ".join(map(repr, levels[:_SHOWN])) + (
                f" and {len(levels) - _SHOWN} more" * (len(levels) > _SHOWN)
            )
            raise Failure(
                f"--given: expected a level of column {column.name!r}: {shown}; got {level!r}. Correct it.", 3
            )
    return found


def _level(schema: Schema, column: Column, text: str) -> bool:
    with contextlib.suppress(DataError):
        code = float(Codes(schema).column(column.name, [text])[0])
        return code < (2 if column.levels is None else len(column.levels))
    return False


def _number(schema: Schema, column: Column, text: str) -> Any:
    """One number or date, or both ends of a range, of which one may be open."""
    if _is_value(schema, column, text):
        return text
    for place in (place for place, letter in enumerate(text) if letter == ":"):
        low, high = text[:place].strip(), text[place + 1 :].strip()
        if (low or high) and all(not end or _is_value(schema, column, end) for end in (low, high)):
            return low or None, high or None
    what = "a date or time in ISO form" if column.unit is not None else "a number"
    raise Failure(f"--given: expected {what}, or LOW:HIGH, for column {column.name!r}; got {text!r}. Correct it.", 3)


def _is_value(schema: Schema, column: Column, text: str) -> bool:
    with contextlib.suppress(DataError):
        return math.isfinite(float(Codes(schema).column(column.name, [text])[0]))
    return False
