"""What the numbers of one column tell: their grid, their box, their kind, whether a declaration holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from unwarp.data._column import Kind
from unwarp.data._declare import Declared
from unwarp.data._grid import Grid, grid_of
from unwarp.data._values import quote
from unwarp.errors import DataError

_FINE = 1000  # a flow cannot follow a comb of more teeth than this, nor a tooth narrower than its share of the spread
_GAIN = 0.1  # nats a row that a log scale must be worth


@dataclass(frozen=True, slots=True)
class Values:
    """The distinct values of one column in order, and how many rows hold each."""

    name: str
    rows: np.ndarray
    counts: np.ndarray
    distinct: np.ndarray
    held: np.ndarray
    places: np.ndarray | None = None  # of the rows in the table, where some are missing

    @classmethod
    def of(cls, name: str, cells: np.ndarray) -> Values:
        """The values of cells that may be missing (NaN)."""
        places = np.flatnonzero(~np.isnan(cells))
        distinct, held = np.unique(cells[places], return_counts=True)
        return cls(name, cells[places], np.ones(len(places)), distinct, held.astype(np.float64), places)

    def without(self, left_out: np.ndarray) -> Values:
        """The rows whose value is none of those distinct ones."""
        kept = ~left_out[np.searchsorted(self.distinct, self.rows)]
        places = None if self.places is None else self.places[kept]
        return Values(
            self.name, self.rows[kept], self.counts[kept], self.distinct[~left_out], self.held[~left_out], places
        )

    def row(self, index: int) -> int:
        """Where a row is in the table, from 1."""
        return 1 + (index if self.places is None else int(self.places[index]))

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


def gridded(column: Values, declared: Declared) -> Grid | None:
    """The grid of a column: the declared one, or the one on which its values lie."""
    return grid_of(column.distinct, column.ties) if declared.step is None else _declared_grid(column, declared.step)


def settled(column: Values, grid: Grid | None, box: dict[str, Any], declared: Declared) -> tuple[dict[str, Any], str]:
    """The fields of a `Column` that say where its numbers lie, and why.

    Args:
        column: The numbers.
        grid: Their grid.
        box: Its fields, and those of the box of a value.
        declared: What people said.
    """
    kind, reason = (declared.kind, "declared") if declared.kind else _kind(column, grid, box)
    if kind == "positive":
        inside(column, 0.0, math.inf)
        if grid is not None and box.get("width") == grid.step:
            box["edge"] = grid.origin or grid.step  # the first box then begins at 0, and the boxes fill the half-line
        elif "edge" in box:
            box["edge"] = min(box["edge"], float(column.distinct[0]))
    if kind == "bounded":
        box.update(_bounds(column, (declared.low, declared.high), box))
    return {"kind": kind} | box, reason


def _deviation(rows: np.ndarray, counts: np.ndarray) -> float:
    mean = np.average(rows, weights=counts)
    return math.sqrt(float(np.average((rows - mean) ** 2, weights=counts)))


def _declared_grid(column: Values, step: float) -> Grid:
    """The grid of a declared step; whole numbers lie at its multiples, other grids begin where the values do."""
    grid = Grid(step, 0.0 if step == 1.0 else float(np.mod(column.distinct[0], step)))
    off = ~grid.holds(column.rows)
    if off.any():
        bad = int(np.argmax(off))
        raise DataError(
            f"fit: expected multiples of {step:g} in column {quote(column.name)}; got {column.rows[bad]} in row "
            f"{column.row(bad)}. Declare integer:STEP with another step, or nothing."
        )
    return grid


def box_of(column: Values, grid: Grid | None) -> tuple[dict[str, Any], str]:
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


def _kind(column: Values, grid: Grid | None, box: dict[str, Any]) -> tuple[Kind, str]:
    """Kind of an undeclared column, and why."""
    median = float(column.distinct[np.searchsorted(np.cumsum(column.held), column.total / 2)])
    if column.distinct[0] > 0 and column.distinct.size >= 20 and median > 10 * box.get("width", 0.0):
        gain = column.log_gain
        if gain > _GAIN:
            return "positive", f"all above 0, and a log scale fits better by {gain:.2f} nats a row"
    if grid is not None and grid.step.is_integer() and grid.origin.is_integer():
        return "integer", ""
    return "real", ""


def _bounds(column: Values, bounds: tuple[float, float], box: dict[str, Any]) -> dict[str, float]:
    """Bounds of a bounded column, with a margin when values on a bound need one."""
    low, high = bounds
    inside(column, math.nextafter(low, -math.inf), math.nextafter(high, math.inf))
    touched = column.distinct[0] == low or column.distinct[-1] == high
    return {"low": low, "high": high, "margin": box["width"] / 2 if "width" in box else (high - low) * 1e-3 * touched}


def inside(column: Values, low: float, high: float) -> None:
    """Refuse declared bounds that a value contradicts."""
    wrong = (column.rows <= low) | (column.rows >= high)
    if wrong.any():
        bad = int(np.argmax(wrong))
        raise DataError(
            f"fit: expected column {quote(column.name)} as declared; got {column.rows[bad]} in row {column.row(bad)}. "
            "Correct the value or the declaration."
        )
