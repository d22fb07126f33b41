"""Between a table's values and what a flow sees: columns left out, boxes around recorded values, grids restored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from unwarp.data._column import Column
from unwarp.data._schema import Schema
from unwarp.data._values import LARGEST

LogProb = Callable[[np.ndarray], np.ndarray]

_CHUNK = 8192  # rows that are scored at once


@dataclass(frozen=True)
class Encoding:
    """What a schema means for numbers: rows of a table to and from events of a flow.

    When to use it: to put a flow of your own under a table; `FlowDensity` does it for you.

    Args:
        schema: The table's columns.

    Shapes: values ``(rows, columns)``, events ``(rows, features)``, float64; features are the modelled columns.

    Example:
        >>> schema = Schema(columns=(Column(name="a"), Column(name="b", role="constant", value=2.0)))
        >>> encoding = Encoding(schema)
        >>> events = encoding.events(np.array([[0.5, 2.0], [1.5, 2.0]]))
        >>> events.tolist(), encoding.values(events).tolist()
        ([[0.5], [1.5]], [[0.5, 2.0], [1.5, 2.0]])
    """

    schema: Schema

    @property
    def features(self) -> int:
        """How many columns the flow sees."""
        return len(self.schema.modelled)

    @property
    def boxed(self) -> list[int]:
        """Places, among the features, of those whose values stand for boxes."""
        return [j for j, column in enumerate(self.schema.modelled) if column.width is not None]

    def possible(self, values: np.ndarray) -> np.ndarray:
        """Which rows agree with the constants, the copies and the declared bounds, ``(rows,)`` bool.

        The others have density 0: the model never makes such a row.
        """
        place = {name: i for i, name in enumerate(self.schema.names)}
        fine = np.ones(len(values), dtype=bool)
        for i, column in enumerate(self.schema.columns):
            rows = values[:, i]
            if column.role == "constant":
                fine &= rows == column.value
            elif column.role == "copy":
                fine &= rows == values[:, place[column.source or ""]]
            elif column.kind == "bounded":
                fine &= (rows >= column.low) & (rows <= column.high)
        return fine

    def events(self, values: np.ndarray) -> np.ndarray:
        """What the flow sees of the rows: modelled columns, at the middle of the box where there is one."""
        places = [i for i, column in enumerate(self.schema.columns) if column.role == "modelled"]
        moved = np.array(values[:, places], dtype=np.float64)
        edge, width = self._sizes(self.boxed)
        moved[:, self.boxed] += 0.5 * width - edge
        return moved

    def draws(self, values: np.ndarray, copies: int, seed: int) -> np.ndarray:
        """Events drawn from the boxes, `copies` a row: one whole table after the other, ``(copies * rows, features)``.

        Uniform noise over its box makes a grid continuous. The draws of one row are a lattice with a random shift, so
        that a few of them fill the box evenly.
        """
        boxed = self.boxed
        drawn = np.tile(self.events(values), (copies, 1))
        if boxed:
            _, width = self._sizes(boxed)
            shift = np.random.default_rng(seed).random((len(values), len(boxed)))
            points = _points(len(boxed), copies) if copies > 1 else np.zeros((1, len(boxed)))
            drawn[:, boxed] += ((points[:, None] + shift).reshape(-1, len(boxed)) % 1.0 - 0.5) * width
        return drawn

    def noise(self, values: np.ndarray, share: float) -> np.ndarray:
        """Deviations of noise that is this share of the columns' own, ``(features,)``; 0 where values have bounds."""
        free = np.array([column.support == "real" for column in self.schema.modelled])
        return np.where(free, share * self.events(values).std(axis=0), 0.0)

    def boxes(self, values: np.ndarray) -> Iterator[np.ndarray]:
        """Events that fill the boxes evenly, the same way for every row; columns of one point stay in the middle.

        The mean of their densities estimates the mean over the box: by the midpoint rule for one column, by a Sobol
        sequence moved to midpoints for several.

        Yields:
            As many times ``(rows, features)`` as the column of most points asks for.
        """
        middle = self.events(values)
        varied = [j for j, column in enumerate(self.schema.modelled) if column.points > 1]
        if not varied:
            yield middle
            return
        _, width = self._sizes(varied)
        for point in _points(len(varied), max(column.points for column in self.schema.modelled)):
            moved = middle.copy()
            moved[:, varied] += (point - 0.5) * width
            yield moved

    def mean_log_prob(self, values: np.ndarray, log_prob: LogProb) -> np.ndarray:
        """Log of the mean density over each row's box, ``(rows,)`` nats; minus infinity for impossible rows.

        Args:
            values: Rows of the table.
            log_prob: Log density of events, ``(rows, features) -> (rows,)``.
        """
        scores = np.full(len(values), -np.inf)
        fine = np.flatnonzero(self.possible(values))
        for rows in np.split(fine, range(_CHUNK, len(fine), _CHUNK)):
            points = np.stack([log_prob(events) for events in self.boxes(values[rows])])
            scores[rows] = np.logaddexp.reduce(points, axis=0) - np.log(len(points))
        return scores

    def settled(self, values: np.ndarray, log_prob: LogProb) -> Schema:
        """The schema with as few points as averages over the boxes need for this density.

        A column along which the density is flat within the box, so that the average moves by less than a thousandth of
        a nat, is left in the middle; for the others, the fewest points win that come within 0.003 nats of 64 points.

        Args:
            values: Some rows of the table; without any, every box is taken at its middle.
            log_prob: Log density of events.
        """
        columns = self.schema.columns
        varied = [column.name for column in columns if column.points > 1 and len(values)]

        def scored(names: list[str], points: int) -> tuple[Schema, np.ndarray]:
            told = dict.fromkeys(names, points)
            asked = [column.model_copy(update={"points": told.get(column.name, 1)}) for column in columns]
            schema = Schema(columns=tuple(asked))
            return schema, Encoding(schema).mean_log_prob(values, log_prob)

        centred, middle = scored([], 1)
        if not varied:
            return centred
        needed = [name for name in varied if _apart(scored([name], 8)[1], middle) > 1e-3]
        _, best = scored(needed, 64)
        for points in (1, 2, 4, 8, 16, 32):
            schema, scores = scored(needed, points)
            if _apart(scores, best) < 3e-3:
                return schema
        return scored(needed, 64)[0]

    def values(self, events: np.ndarray) -> np.ndarray:
        """Whole rows from events: on their grids, within their bounds, with constants and copies."""
        whole = np.empty((len(events), len(self.schema.columns)))
        made = {column.name: recorded(column, events[:, j]) for j, column in enumerate(self.schema.modelled)}
        for place, column in enumerate(self.schema.columns):
            whole[:, place] = column.value if column.role == "constant" else made[column.source or column.name]
        return whole

    def _sizes(self, places: list[int]) -> tuple[np.ndarray, np.ndarray]:
        columns = [self.schema.modelled[j] for j in places]
        return np.array([column.edge for column in columns]), np.array([column.width for column in columns])


def _apart(first: np.ndarray, second: np.ndarray) -> float:
    """Root mean square difference of two scores."""
    both = np.isfinite(first) & np.isfinite(second)
    return float(np.sqrt(np.mean((first[both] - second[both]) ** 2))) if both.any() else np.inf


def recorded(column: Column, rows: np.ndarray) -> np.ndarray:
    """A column's values as they would have been recorded."""
    rows = np.clip(rows, -LARGEST, LARGEST)
    if column.step is not None and column.origin is not None:
        reach = column.edge if column.width == column.step and column.edge is not None else column.step / 2
        rows = column.origin + np.floor((rows - column.origin + reach) / column.step) * column.step
        rows = _decimal(rows, column.step, column.origin)
        if column.kind == "positive":
            rows = np.maximum(rows, column.origin or column.step)
    return np.clip(rows, column.low, column.high) if column.kind == "bounded" else rows


def _decimal(rows: np.ndarray, step: float, origin: float) -> np.ndarray:
    """The numbers nearest to the decimals of a grid of few decimal places: 0.3 instead of 3 times 0.1."""
    for places in range(10):
        scaled = np.array([step, origin]) * 10.0**places
        if np.abs(scaled - np.round(scaled)).max() < 1e-9:
            return np.round(rows, places)
    return rows


def _points(dimensions: int, count: int) -> np.ndarray:
    """So many points in the unit cube, each of their coordinates the middle of another of `count` equal pieces."""
    size = 1 << (count - 1).bit_length()
    sobol = torch.quasirandom.SobolEngine(dimensions, scramble=True, seed=0).draw(size, dtype=torch.float64)
    order = sobol[:count].argsort(0).argsort(0).double()
    return ((order + 0.5) / count).numpy()
