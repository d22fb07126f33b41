"""From values to a `Schema`: kinds, grids, constants and copies, each with its reason."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np

from unwarp.data._column import Column
from unwarp.data._declare import Declared, declarations
from unwarp.data._numeric import Values, box_of, gridded, settled
from unwarp.data._schema import Schema
from unwarp.data._values import quote
from unwarp.errors import DataError


def infer(
    values: np.ndarray,
    names: Sequence[str],
    *,
    columns: Mapping[str, str] | None = None,
    weight: np.ndarray | None = None,
) -> Schema:
    """Say what every column is.

    *Constants* and exact *copies* of an earlier column leave the flow. A *grid* is found where all values are whole
    numbers, or where values repeat and lie at multiples of one step (also after a linear rescaling). *Positive* are
    columns above 0 to which a log-normal law fits better than a normal one by 0.1 nats a row. Nothing is taken for
    *bounded* unless `columns` says so, because a bound that was only seen would make a new row impossible.

    When to use it: through `FlowDensity`, which does it in `fit`; by itself to see what would be made of a table.

    Args:
        values: ``(rows, columns)`` float64, finite.
        names: One name a column.
        columns: What is known already, by name: ``"real"``, ``"positive"``, ``"bounded:LOW:HIGH"``, ``"integer"`` or
            ``"integer:STEP"``.
        weight: ``(rows,)``; whole weights count as repeated rows, others as one row each.

    Raises:
        DataError: When a declaration is unknown or a value contradicts it, or when no column varies.

    Example:
        >>> rolls = np.array([[1.0, 7.0], [2.0, 7.0], [6.0, 7.0], [2.0, 7.0]])
        >>> [column.summary for column in infer(rolls, ["die", "shop"]).columns]
        ['integer', 'constant 7']
    """
    declared = declarations(columns, names)
    counts = np.ones(len(values)) if weight is None else _counts(weight)
    values, counts = values[counts > 0], counts[counts > 0]
    found: list[Column] = []
    seen: dict[bytes, str] = {}
    for place, name in enumerate(names):
        rows = np.ascontiguousarray(values[:, place]) + 0.0  # -0.0 becomes 0.0
        source = seen.setdefault(hashlib.blake2b(rows.tobytes(), digest_size=16).digest(), name)
        found.append(_column(name, rows, counts, declared.get(name, Declared()), source))
    if all(column.role == "constant" for column in found):
        only = "one row (n_samples = 1)" if len(values) == 1 else "the same values in every row"
        raise DataError(f"fit: expected a column that varies; got {only}. Give rows that differ.")
    return Schema(columns=tuple(found))


def _counts(weight: np.ndarray) -> np.ndarray:
    whole = bool(np.all(weight == np.round(weight)))
    return np.asarray(weight, dtype=np.float64) if whole else (weight > 0).astype(np.float64)


def _column(name: str, rows: np.ndarray, counts: np.ndarray, declared: Declared, source: str) -> Column:
    if np.all(counts == 1):
        distinct, held = np.unique(rows, return_counts=True)
    else:
        distinct, inverse = np.unique(rows, return_inverse=True)
        held = np.bincount(inverse.ravel(), weights=counts)
    if distinct.size == 1:
        return Column(name=name, role="constant", value=float(distinct[0]), reason="every row holds this value")
    if source != name:
        return Column(name=name, role="copy", source=source, reason=f"every row repeats column {quote(source)}")
    column = Values(name, rows, counts, distinct, held.astype(np.float64))
    grid = gridded(column, declared)
    box, why = box_of(column, grid)
    fields, reason = settled(column, grid, box, declared)
    return Column(name=name, reason="; ".join(part for part in (reason, why) if part), **fields)


def dependent(schema: Schema, values: np.ndarray) -> list[str]:
    """Names of modelled columns that are linear functions of those before them, up to a millionth of their spread.

    When to use it: to warn that the density has no finite value, since the rows fill no volume. A box around recorded
    values gives them volume, so columns with boxes count with theirs.

    Args:
        schema: The columns.
        values: ``(rows, columns)`` float64.

    Example:
        >>> a, b = np.random.default_rng(0).normal(size=(2, 50))
        >>> table = np.column_stack([a, b, a - 3 * b])
        >>> dependent(infer(table, ["a", "b", "c"]), table)
        ['c']
    """
    kept = [(place, column) for place, column in enumerate(schema.columns) if column.role == "modelled"]
    if len(values) <= len(kept) + 1:
        return []
    rows = values[:: -(-len(values) // 20_000)][:, [place for place, _ in kept]]
    logs = np.array([column.kind == "positive" for _, column in kept])
    rows = np.where(logs, np.log(np.where(logs, rows, 1.0)), rows)
    scale = rows.std(axis=0)
    scale[scale == 0] = 1.0
    white = (rows - rows.mean(axis=0)) / scale
    boxes = np.array([0.0 if column.width is None else column.width for _, column in kept])
    left = np.abs(np.diagonal(np.linalg.qr(white).R)) / math.sqrt(len(rows))
    volume = np.where(logs, boxes, boxes / scale)
    return [
        column.name for (_, column), rest, box in zip(kept, left, volume, strict=True) if rest < 1e-6 and box < 1e-6
    ]
