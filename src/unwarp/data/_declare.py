"""What people say about a column in a word: ``"positive"``, ``"bounded:0:1"``, ``"ordinal:low<mid<high"``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unwarp.data._column import Kind
from unwarp.data._values import quote, suggest
from unwarp.errors import DataError

NUMERIC = ("real", "positive", "bounded:LOW:HIGH", "integer", "integer:STEP")
TYPED = (
    *NUMERIC, "periodic:LOW:HIGH", "ordinal", "ordinal:FIRST<SECOND<...", "categorical", "boolean", "date", "ignore"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Declared:
    """A declaration's parts; all are at their defaults when nothing was said."""

    kind: Kind | None = None
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    levels: tuple[str, ...] = ()
    ignored: bool = False


def declarations(
    columns: Mapping[str, str] | None, names: Sequence[str], allowed: Sequence[str] = NUMERIC
) -> dict[str, Declared]:
    """Every declaration, parsed, by the name of its column.

    Raises:
        DataError: When there is no such column, or a declaration is none of those `allowed`.
    """
    found: dict[str, Declared] = {}
    for name, text in dict(columns or {}).items():
        if name not in names:
            raise DataError(f"columns: expected names of columns; got {quote(name)}. {suggest(name, names)}")
        declared = _parse(str(text), allowed)
        if declared is None:
            raise DataError(
                f"columns[{quote(name)}]: expected one of {', '.join(allowed)}; got {quote(text)}. "
                "Change the declaration."
            )
        found[name] = declared
    return found


def _parse(text: str, allowed: Sequence[str]) -> Declared | None:
    kind, colon, rest = text.partition(":")
    if kind not in {word.split(":")[0] for word in allowed}:
        return None
    numbers = _numbers(rest.split(":")) if colon else []
    found = None
    match kind, numbers:
        case "ordinal", _:
            levels = tuple(level.strip() for level in rest.split("<")) if colon else ()
            if not colon or (len(levels) > 1 and len(set(levels)) == len(levels) and all(levels)):
                found = Declared("ordinal", levels=levels)
        case (("real" | "positive" | "categorical" | "boolean" | "date"), []):
            found = Declared(kind)
        case "ignore", []:
            found = Declared(ignored=True)
        case (("bounded" | "periodic"), [low, high]) if low < high:
            found = Declared(kind, low, high)
        case "integer", []:
            found = Declared("integer", step=1.0)
        case "integer", [step] if step > 0:
            found = Declared("integer", step=step)
        case _:
            pass
    return found


def _numbers(parts: Sequence[str]) -> list[float] | None:
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return None
    return numbers if all(math.isfinite(number) for number in numbers) else None
