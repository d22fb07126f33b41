"""From values to a `Schema`: kinds, grids, constants and copies, each with its reason."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unwarp.data._grid import Grid, grid_of
from unwarp.data._schema import Column, Kind, Schema
from unwarp.data._values import quote, suggest
from unwarp.errors import DataError

_KINDS = ("real", "positive", "bounded:LOW:HIGH", "integer", "integer:STEP")
_FINE = 1000  # a flow cannot follow a comb of more teeth than this, nor a tooth narrower than its share of the spread
_GAIN = 0.1  # nats a row that a log scale must be worth


@dataclass(frozen=True, slots=True)
class _Values:
    """The distinct values of one column in order, and how many rows hold each."""

    name: str
    rows: np.ndarray
    counts: np.ndarray
    distinct: np.ndarray
    held: np.ndarray

    @property
    def total(self) -> float:
        return float(self.counts.sum())

    @property
    def ties(self) -> float:
        """Share of the rows that repeat the value of another row."""
        return 1.0 - self.distinct.size / self.total

    @property
    def levels(self) -> float:
        """How many equally common values would be as varied: the exponential of the entropy."""
        share = self.held / self.total
        return float(np.exp(-(share * np.log(share)).sum()))

    @property
    def atom(self) -> tuple[float, float] | None:
        """The most common value and its share when that is no accident."""
        top = int(np.argmax(self.held))
        share = float(self.held[top]) / self.total
        return (float(self.distinct[top]), share) if self.held[top] >= 10 and share >= 0.01 else None

    @property
    def spread(self) -> float:
        """The interquartile range in units of a standard deviation, or the standard deviation where that is 0."""
        ranks = np.cumsum(self.held) / self.total
        low, high = (self.distinct[np.searchsorted(ranks, q)] for q in (0.25, 0.75))
        return float((high - low) / 1.349) or _deviation(self.rows, self.counts)

    @property
    def log_gain(self) -> float:
        """Nats a row by which a normal law fits better to the logarithms."""
        logs = np.log(self.rows)
        mean = float(np.average(logs, weights=self.counts))
        return math.log(_deviation(self.rows, self.counts)) - math.log(_deviation(logs, self.counts)) - mean


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
    declared = dict(columns or {})
    for name, text in declared.items():
        if name not in names:
            raise DataError(f"columns: expected names of columns; got {quote(name)}. {suggest(name, names)}")
        _declared(name, text)
    counts = np.ones(len(values)) if weight is None else _counts(weight)
    values, counts = values[counts > 0], counts[counts > 0]
    found: list[Column] = []
    seen: dict[bytes, str] = {}
    for place, name in enumerate(names):
        rows = np.ascontiguousarray(values[:, place]) + 0.0  # -0.0 becomes 0.0
        source = seen.setdefault(hashlib.blake2b(rows.tobytes(), digest_size=16).digest(), name)
        found.append(_column(name, rows, counts, declared.get(name), source))
    if all(column.role == "constant" for column in found):
        only = "one row (n_samples = 1)" if len(values) == 1 else "the same values in every row"
        raise DataError(f"fit: expected a column that varies; got {only}. Give rows that differ.")
    return Schema(columns=tuple(found))


def _counts(weight: np.ndarray) -> np.ndarray:
    whole = bool(np.all(weight == np.round(weight)))
    return np.asarray(weight, dtype=np.float64) if whole else (weight > 0).astype(np.float64)


def _deviation(rows: np.ndarray, counts: np.ndarray) -> float:
    mean = np.average(rows, weights=counts)
    return math.sqrt(float(np.average((rows - mean) ** 2, weights=counts)))


def _column(name: str, rows: np.ndarray, counts: np.ndarray, declared: str | None, source: str) -> Column:
    if np.all(counts == 1):
        distinct, held = np.unique(rows, return_counts=True)
    else:
        distinct, inverse = np.unique(rows, return_inverse=True)
        held = np.bincount(inverse.ravel(), weights=counts)
    if distinct.size == 1:
        return Column(name=name, role="constant", value=float(distinct[0]), reason="every row holds this value")
    if source != name:
        return Column(name=name, role="copy", source=source, reason=f"every row repeats column {quote(source)}")
    column = _Values(name, rows, counts, distinct, held.astype(np.float64))
    kind, bounds, step = _declared(name, declared)
    grid = grid_of(distinct, column.ties) if step is None else _declared_grid(column, step)
    box, why = _box(column, grid)
    kind, reason = (kind, "declared") if kind else _kind(column, grid, box)
    if kind == "positive":
        _inside(column, 0.0, math.inf)
        if grid is not None and box.get("width") == grid.step:
            box["edge"] = grid.origin or grid.step  # the first box then begins at 0, and the boxes fill the half-line
        elif box:
            box["edge"] = min(box["edge"], float(distinct[0]))
    if kind == "bounded":
        box.update(_bounds(column, bounds, box))
    return Column(name=name, kind=kind, reason="; ".join(part for part in (reason, why) if part), **box)


def _declared_grid(column: _Values, step: float) -> Grid:
    """The grid of a declared step; whole numbers lie at its multiples, other grids begin where the values do."""
    grid = Grid(step, 0.0 if step == 1.0 else float(np.mod(column.distinct[0], step)))
    off = ~grid.holds(column.rows)
    if off.any():
        bad = int(np.argmax(off))
        raise DataError(
            f"fit: expected multiples of {step:g} in column {quote(column.name)}; got {column.rows[bad]} in row "
            f"{bad + 1}. Declare integer:STEP with another step, or nothing."
        )
    return grid


def _declared(name: str, text: str | None) -> tuple[Kind | None, tuple[float, float], float | None]:
    """A declaration's kind, bounds and step."""
    if text is None:
        return None, (0.0, 0.0), None
    kind, *rest = str(text).split(":")
    try:
        numbers = [float(part) for part in rest]
    except ValueError:
        numbers = [math.nan]
    sound = all(math.isfinite(number) for number in numbers)
    if sound and not numbers and kind in {"real", "positive"}:
        return ("real" if kind == "real" else "positive"), (0.0, 0.0), None
    if sound and kind == "bounded" and len(numbers) == 2 and numbers[0] < numbers[1]:
        return kind, (numbers[0], numbers[1]), None
    if sound and kind == "integer" and (not numbers or (len(numbers) == 1 and numbers[0] > 0)):
        return kind, (0.0, 0.0), numbers[0] if numbers else 1.0
    raise DataError(
        f"columns[{quote(name)}]: expected one of {', '.join(_KINDS)}; got {quote(text)}. Change the declaration."
    )


def _box(column: _Values, grid: Grid | None) -> tuple[dict[str, Any], str]:
    """Grid and box of a column as fields of `Column`, and why.

    The box is as wide as the grid's step. When that is too fine to matter, the most common values, which nine tenths of
    the rows hold, may lie on a coarser one: a few odd values don't free the others from their ties. A single repeated
    value has no grid; its box is a thousandth of the spread.
    """
    finest = column.spread / _FINE
    fields: dict[str, Any] = {} if grid is None else {"step": grid.step, "origin": grid.origin}
    common = grid
    if grid is None or grid.step < finest:
        order = np.argsort(-column.held, kind="stable")
        most = np.sort(column.distinct[order[: 1 + np.searchsorted(np.cumsum(column.held[order]), 0.9 * column.total)]])
        coarser = grid_of(most, column.ties) if most.size > 1 else None
        common = coarser if coarser is not None and (grid is None or coarser.step > 3 * grid.step) else grid
    atom = column.atom
    if atom is not None and (common is None or common.step < finest):
        width = max(float(np.diff(column.distinct).min()), finest)
        told = f"{100 * atom[1]:.0f} % of the rows hold exactly {atom[0]:.6g}, smoothed over {width:.3g}"
    elif common is not None:
        width = common.step
        told = f"on a grid of {common.step:.6g}, {100 * column.ties:.0f} % of the rows repeat a value"
    else:
        return fields, ""
    return fields | {"width": width, "edge": width / 2, "points": 64 if atom is not None or width > finest else 1}, told


def _kind(column: _Values, grid: Grid | None, box: dict[str, Any]) -> tuple[Kind, str]:
    """Kind of an undeclared column, and why."""
    median = float(column.distinct[np.searchsorted(np.cumsum(column.held), column.total / 2)])
    if column.distinct[0] > 0 and column.distinct.size >= 20 and median > 10 * box.get("width", 0.0):
        gain = column.log_gain
        if gain > _GAIN:
            return "positive", f"all above 0, and a log scale fits better by {gain:.2f} nats a row"
    if grid is not None and grid.step.is_integer() and grid.origin.is_integer():
        return "integer", ""
    return "real", ""


def _bounds(column: _Values, bounds: tuple[float, float], box: dict[str, Any]) -> dict[str, float]:
    """Bounds of a bounded column, with a margin when values on a bound need one."""
    low, high = bounds
    _inside(column, math.nextafter(low, -math.inf), math.nextafter(high, math.inf))
    touched = column.distinct[0] == low or column.distinct[-1] == high
    return {"low": low, "high": high, "margin": box["width"] / 2 if box else (high - low) * 1e-3 * touched}


def _inside(column: _Values, low: float, high: float) -> None:
    """Refuse declared bounds that a value contradicts."""
    wrong = (column.rows <= low) | (column.rows >= high)
    if wrong.any():
        bad = int(np.argmax(wrong))
        raise DataError(
            f"fit: expected column {quote(column.name)} as declared; got {column.rows[bad]} in row {bad + 1}. "
            "Correct the value or the declaration."
        )


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
