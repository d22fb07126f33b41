"""Columns that say again what another one says: the same values, or other names for the same levels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from unwarp.data._arrow import is_number, numbers_of, texts_of
from unwarp.data._column import MOST_ATOMS, Column
from unwarp.data._values import quote

_LEAST = 10  # rows beside those of the most common level, below which two columns may agree by accident


@dataclass(frozen=True, slots=True)
class Draft:
    """A column by itself, its codes (None when it is left out), its cells, and whether people told its order."""

    column: Column
    codes: np.ndarray | None = None
    cells: pa.Array | None = None
    told: bool = False


def without_copies(drafts: list[Draft]) -> list[Column]:
    """The columns, with every later one that repeats another one made a copy of it."""
    columns = [draft.column for draft in drafts]
    _same(drafts, columns)
    _renamed(drafts, columns)
    return columns


def _same(drafts: list[Draft], columns: list[Column]) -> None:
    """Columns of the same numbers, dates or texts."""
    seen: dict[Any, int] = {}
    for place, draft in enumerate(drafts):
        if draft.codes is None:
            continue
        column = draft.column
        rows = np.where(np.isnan(draft.codes), np.nan, draft.codes)
        digest = hashlib.blake2b(rows.tobytes(), digest_size=16).digest()
        first = seen.setdefault((digest, column.levels, column.kind == "date", column.unit, column.epoch), place)
        if first != place:
            columns[place] = _copy(column, columns[first], None, "every row repeats column")


def _renamed(drafts: list[Draft], columns: list[Column]) -> None:
    """Columns whose levels stand one to one for those of a category."""
    groups: dict[bytes, list[int]] = {}
    for place, draft in enumerate(drafts):
        if draft.codes is not None and columns[place].role == "modelled":
            digest = _pattern(draft)
            if digest is not None:
                groups.setdefault(digest, []).append(place)
    for group in groups.values():
        source = next((place for place in group if columns[place].leveled), None)
        if source is None:
            continue
        for place in group:
            if place != source and not (drafts[place].told and columns[place].kind != "categorical"):
                _rename(drafts, columns, place, source)
    known = {column.name: column for column in columns}
    for place, column in enumerate(columns):
        through = known.get(column.source or "")
        if through is not None and through.role == "copy":  # what it repeats has itself become a copy
            columns[place] = through.model_copy(update={"name": column.name, "arrow": column.arrow})


def _pattern(draft: Draft) -> bytes | None:
    """A digest of which rows agree with which, whatever the levels are called; None for numbers of many values."""
    column, codes = draft.column, draft.codes
    if codes is None or draft.cells is None or not (column.leveled or is_number(draft.cells.type)):
        return None
    distinct, first, inverse, held = np.unique(
        codes, return_index=True, return_inverse=True, return_counts=True, equal_nan=True
    )
    known = ~np.isnan(distinct)
    if (not column.leveled and known.sum() > MOST_ATOMS) or held[known].sum() - held[known].max() < _LEAST:
        return None
    count = 2 if column.levels is None and column.leveled else len(column.levels or ())
    if column.leveled and (known.sum() != count or distinct[known].max() >= count):
        return None
    order = np.empty(len(distinct), dtype=np.int64)
    order[np.argsort(first)] = np.arange(len(distinct))
    pattern = np.where(known[inverse], order[inverse], -1)
    return hashlib.blake2b(pattern.tobytes(), digest_size=16).digest()


def _rename(drafts: list[Draft], columns: list[Column], place: int, source: int) -> None:
    """Make the column at `place` a copy of that at `source`, a category whose levels follow the numbers of the copy."""
    draft, codes = drafts[place], drafts[source].codes
    if codes is None or draft.cells is None:
        return
    _, first = np.unique(codes[~np.isnan(codes)], return_index=True)
    rows = np.flatnonzero(~np.isnan(codes))[first]
    told = columns[source]
    names = texts_of(draft.cells.take(pa.array(rows)), draft.cells.type)
    free = not drafts[source].told and told.kind == "categorical" and told.common is None and told.levels is not None
    if free and not draft.column.leveled:
        order = np.argsort(numbers_of(names), kind="stable")
        names = names.take(pa.array(order))
        reason = f"{told.reason}; " * bool(told.reason) + f"in the order of column {quote(draft.column.name)}"
        levels = tuple((told.levels or ())[code] for code in order)
        columns[source] = told.model_copy(update={"levels": levels, "reason": reason[:400]})
        drafts[source] = Draft(columns[source], _renumbered(codes, order), drafts[source].cells, told=True)
    columns[place] = _copy(draft.column, columns[source], tuple(names.to_pylist()), "one to one with column")


def _renumbered(codes: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Codes after the levels were put into another order."""
    fresh = np.empty(len(order))
    fresh[order] = np.arange(len(order))
    return np.where(np.isnan(codes), np.nan, fresh[np.nan_to_num(codes).astype(np.int64)])


def _copy(column: Column, source: Column, levels: tuple[str, ...] | None, why: str) -> Column:
    kept: dict[str, Any] = {"kind": "real"}
    if levels is not None:
        kept = {"kind": "categorical", "levels": levels}
    elif column.kind == "date":
        kept = {"kind": "date", "unit": column.unit, "epoch": column.epoch}
    return Column(
        name=column.name, role="copy", source=source.name, missing=column.missing, arrow=column.arrow,
        reason=f"{why} {quote(source.name)}", **kept,
    )  # fmt: skip
