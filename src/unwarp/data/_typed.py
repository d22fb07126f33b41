"""From a table of any types to a `Schema`: what each column is, with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from unwarp.data._arrow import (
    NUMBER,
    PADDED,
    is_number,
    is_text,
    known,
    numbers_of,
    parses,
    plain,
    texts_of,
    unsuitable,
)
from unwarp.data._atoms import spikes
from unwarp.data._column import Column
from unwarp.data._copies import Draft, without_copies
from unwarp.data._dates import anchored, clock_of, codes_of, is_date, looks_dated
from unwarp.data._declare import TYPED, Declared, declarations
from unwarp.data._frames import arrow_table
from unwarp.data._grid import decimal_grid
from unwarp.data._levels import entries_of, identifies, levels_of, numeric_order, places_of, yes_no
from unwarp.data._numeric import Values, gridded, inside, settled
from unwarp.data._schema import Schema
from unwarp.data._values import first_bad, quote
from unwarp.errors import DataError

_FINEST = 1e-5  # a grid finer than this share of the spread is no grid to a density


def infer_table(data: Any, *, columns: Mapping[str, str] | None = None) -> Schema:
    """Say what every column of a table is, whatever its type.

    Numbers are judged as `infer` does, and *spikes* (values that many rows hold exactly) are told from the rest. Texts
    are *categories*, unless all are numbers, ISO dates or yes and no. Dates and times are counted from an epoch near
    them. Any cell may be missing. *Constants*, columns that only say again what another one says (also in other words,
    like a name and its number), columns without a value and texts that name single rows are left out of the model.

    When to use it: to see what would be made of a table, and to correct it before a model is fitted: in `columns`, or
    in the file that `Schema.to_file` writes.

    Args:
        data: A frame of pandas, polars, pyarrow or any other library that narwhals knows, or an array.
        columns: What is known already, by name: ``"real"``, ``"positive"``, ``"bounded:LOW:HIGH"``, ``"integer"``,
            ``"integer:STEP"``, ``"periodic:LOW:HIGH"``, ``"categorical"``, ``"ordinal"``,
            ``"ordinal:FIRST<SECOND<..."``, ``"boolean"``, ``"date"`` or ``"ignore"``.

    Raises:
        DataError: When a declaration is unknown or a cell contradicts it, a column holds what no model takes
            (infinities, lists, several types), or no column varies.

    Example:
        >>> table = pa.table({"color": ["red", "blue", "red", None], "size": [1.5, 2.25, 3.125, 9.0], "shop": [7] * 4})
        >>> [column.summary for column in infer_table(table).columns]
        ['categorical, "red", "blue"', 'real', 'constant 7']
    """
    table = arrow_table("fit", data)
    if not table.num_rows or not table.num_columns:
        what = "rows" if table.num_columns else "columns"
        raise DataError(f"fit: expected a table; got one without {what}. Check how it was made.")
    odd = next((name for name in table.column_names if not 0 < len(name) <= 1000), None)
    if odd is not None:
        raise DataError(f"fit: expected names of 1 to 1000 characters; got {quote(odd)}. Rename the column.")
    declared = declarations(columns, table.column_names, TYPED)
    drafts = [
        _draft(name, column, declared.get(name, Declared()))
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    found = without_copies(drafts)
    if not any(column.role == "modelled" for column in found):
        only = "one row" if table.num_rows == 1 else "none"
        raise DataError(f"fit: expected a column that varies; got {only}. Give rows that differ.")
    return Schema(columns=tuple(found))


def _draft(name: str, column: pa.ChunkedArray, declared: Declared) -> Draft:
    """One column by itself, and its codes."""
    kind = str(column.type) if known(column.type) else "null"
    if declared.ignored:
        return Draft(Column(name=name, role="ignored", arrow=kind, reason="declared"))
    if not known(column.type):
        raise unsuitable("fit", name, column.type)
    cells = plain(column)
    found = _judged(name, column, cells, declared)
    gone = np.isnan(found.codes)
    share = float(gone.mean())
    if share == 1.0:
        return Draft(Column(name=name, role="ignored", arrow=kind, reason="every cell is missing"))
    reasons = [*found.reasons, f"{_percent(share)} of the cells are missing" if share else ""]
    if found.identifier:
        reason = "nearly every text is another one: it names rows"
        return Draft(Column(name=name, role="ignored", arrow=kind, reason=reason))
    held = found.codes[~gone]
    fields: dict[str, Any] = found.fields | {"missing": bool(share), "arrow": kind}
    if np.all(held == held[0]):
        reason = "every row holds this value" if not share else f"every cell holds this value; {reasons[-1]}"
        return Draft(_constant(name, float(held[0]), fields, reason))
    if "levels" not in fields:
        fields |= {"least": float(held.min()), "most": float(held.max())}
    reason = "; ".join(part for part in reasons if part)
    made = Column(name=name, reason=reason, **fields)
    return Draft(made, found.codes, cells, told=declared.kind is not None or pa.types.is_dictionary(column.type))


def _constant(name: str, value: float, fields: dict[str, Any], reason: str) -> Column:
    kept: dict[str, Any] = {key: fields[key] for key in ("missing", "arrow", "unit", "epoch") if key in fields}
    kind = fields["kind"] if fields["kind"] == "date" else "real"
    if "levels" in fields:
        kept["levels"], kind, value = (fields["levels"][int(value)],), "categorical", 0.0
    return Column(name=name, role="constant", kind=kind, value=value, reason=reason, **kept)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a column's cells say: fields of `Column`, codes with NaN where missing, and reasons."""

    fields: dict[str, Any]
    codes: np.ndarray
    reasons: tuple[str, ...] = ()
    identifier: bool = False


def _judged(name: str, column: pa.ChunkedArray, cells: pa.Array, declared: Declared) -> _Found:
    """What a column is, by its type, its texts and what was declared."""
    kind, text = declared.kind, is_text(cells.type)
    if kind in {"categorical", "ordinal"}:
        return _leveled(name, column, cells, declared)
    if kind == "date" or (kind is None and (is_date(cells.type) or (text and looks_dated(cells)))):
        return _dated(name, cells, declared)
    if kind == "boolean" or (kind is None and (pa.types.is_boolean(cells.type) or (text and yes_no(cells)))):
        return _boolean(name, cells, declared)
    if kind is None and (pa.types.is_dictionary(column.type) or (text and not _numeric_text(name, cells))):
        return _leveled(name, column, cells, declared)
    if not (is_number(cells.type) or text or pa.types.is_null(cells.type) or pa.types.is_boolean(cells.type)):
        raise DataError(
            f"fit: expected numbers in column {quote(name)}, as declared; got {cells.type}. Change the declaration."
        )
    return _numeric(name, cells, declared)


def _numeric_text(name: str, cells: pa.Array) -> bool:
    """Whether texts spell numbers; refuses those that nearly all do, for a wrong cell is likelier than a category."""
    fine = parses(cells, NUMBER)
    if fine.all():
        return not parses(cells, PADDED, missing=False).any()
    if fine.mean() < 0.9 or len(cells.filter(pa.array(fine)).unique()) <= 20:
        return False
    row = int(np.argmin(fine))
    raise DataError(
        f"fit: expected numbers in column {quote(name)}; got {quote(cells[row].as_py())} in row {row + 1}. "
        "Correct the cell, or declare the column categorical."
    )


def _numeric(name: str, cells: pa.Array, declared: Declared) -> _Found:
    if is_text(cells.type) and not parses(cells, NUMBER).all():
        row = int(np.argmin(parses(cells, NUMBER)))
        raise DataError(
            f"fit: expected numbers in column {quote(name)}; got {quote(cells[row].as_py())} in row {row + 1}. "
            "Correct the cell, or change the declaration."
        )
    codes = finite("fit", name, numbers_of(cells))
    if declared.kind == "periodic":
        codes = declared.low + np.mod(codes - declared.low, declared.high - declared.low)
    places = cells.type.scale if pa.types.is_decimal(cells.type) else None
    fields, reasons = _numbers(name, codes, declared, places)
    if pa.types.is_integer(cells.type) and np.nanmax(np.abs(codes), initial=0.0) > 2**53:
        reasons = (*reasons, "digits beyond 2^53 are lost")
    if declared.kind == "periodic":
        fields |= {"low": declared.low, "high": declared.high}
    return _Found(fields, codes, reasons)


def finite(where: str, name: str, numbers: np.ndarray) -> np.ndarray:
    """The numbers with 0.0 for -0.0, once all that are there are finite and not too large."""
    bad = first_bad(np.nan_to_num(numbers, nan=0.0, posinf=np.inf, neginf=-np.inf))
    if bad is not None:
        raise DataError(
            f"{where}: expected finite numbers in column {quote(name)}; got {bad[1]} in row {bad[0] + 1}. "
            "Correct the value, or leave the row or the column out."
        )
    return numbers + 0.0


def _numbers(
    name: str, codes: np.ndarray, declared: Declared, places: int | None = None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Kind, grid, box and spikes of numbers (NaN where missing) with so many decimal places, if that is known."""
    column = Values.of(name, codes)
    if column.distinct.size < 2:
        return {"kind": declared.kind or "real"}, ()
    if declared.kind == "positive":
        inside(column, 0.0, np.inf)
    grid = None if places is None or declared.step else decimal_grid(column.distinct, places)
    grid = gridded(column, declared) if grid is None else grid
    atoms = spikes(column, grid)
    rest = column.without(atoms) if column.rows.size - column.held[atoms].sum() >= 20 and (~atoms).sum() > 1 else column
    if grid is None and rest is not column:
        grid = gridded(rest, declared)
    box: dict[str, Any] = {} if grid is None else {"step": grid.step, "origin": grid.origin}
    if grid is not None and (grid.step.is_integer() or grid.step > _FINEST * rest.spread):
        box |= {"width": grid.step, "edge": grid.step / 2}
    fields, reason = settled(rest, grid, box, declared)
    if declared.kind == "bounded":
        inside(column, np.nextafter(declared.low, -np.inf), np.nextafter(declared.high, np.inf))
    told = [reason]
    if grid is not None and fields["kind"] != "integer":
        told.append(f"on a grid of {grid.step:.6g}, {_percent(column.ties)} of the rows repeat a value")
    if atoms.any():
        fields["atoms"] = tuple(column.distinct[atoms].tolist())
        top = int(np.argmax(np.where(atoms, column.held, 0.0)))
        most = f"{column.distinct[top]:.6g} with {_percent(float(column.held[top]) / column.total)} of the rows"
        told.append(f"{int(atoms.sum())} values stand out, {most}" if atoms.sum() > 1 else f"{most} stands out")
    if grid is not None and grid.step == 1.0 and len(codes) >= 50 and np.all(np.diff(codes) == 1.0):
        told.append("counts the rows: better left out")
    return fields, tuple(told)


def _dated(name: str, cells: pa.Array, declared: Declared) -> _Found:
    if not (is_date(cells.type) or (is_text(cells.type) and looks_dated(cells))):
        raise DataError(
            f"fit: expected dates in ISO form (2024-12-31, 2024-12-31 23:59:59) in column {quote(name)}, as declared; "
            f"got {cells.type}. Convert the column or change the declaration."
        )
    clock = clock_of(cells)
    codes = codes_of(cells, clock)
    fields, reasons = _numbers(name, codes, Declared("date", step=declared.step))
    fields |= {"kind": "date", "unit": clock.unit, "epoch": clock.text if anchored(cells.type) else None}
    return _Found(fields, codes, reasons[1:])


def _boolean(name: str, cells: pa.Array, declared: Declared) -> _Found:
    if pa.types.is_boolean(cells.type):
        return _Found({"kind": "boolean"}, numbers_of(cells))
    texts = texts_of(cells, cells.type)
    order = yes_no(texts)
    if order is None:
        found = texts.drop_null().unique()
        if len(found) > 2:
            row = texts.index(found[2]).as_py()
            raise DataError(
                f"fit: expected two values in column {quote(name)}, as declared; got a third, {quote(found[2])}, in "
                f"row {row + 1}. Change the declaration."
            )
        order = sorted(found.to_pylist())
    if len(order) < 2:
        return _Found({"kind": "categorical", "levels": tuple(order)}, places_of(texts, order))
    reason = "declared" if declared.kind else "says yes or no"
    return _Found({"kind": "boolean", "levels": tuple(order)}, places_of(texts, order), (reason,))


def _leveled(name: str, column: pa.ChunkedArray, cells: pa.Array, declared: Declared) -> _Found:
    texts = texts_of(cells, column.type)
    held = len(texts) - texts.null_count
    if declared.kind is None and identifies(cells, held):
        return _Found({}, np.zeros(len(texts)), identifier=True)
    order = list(declared.levels) or entries_of(column)
    ordinal = declared.kind == "ordinal" or (declared.kind is None and getattr(column.type, "ordered", False))
    if ordinal and order is None:
        order = numeric_order(name, texts)
    levels = levels_of(name, texts, order)
    fields = {"kind": "ordinal" if ordinal else "categorical", "levels": tuple(levels.texts), "common": levels.common}
    reason = "declared" if declared.kind else ""
    return _Found(fields, places_of(texts, levels.texts), (reason, levels.told))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.2g} %"
