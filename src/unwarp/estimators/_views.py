"""Rows seen beside known ones in several ways, and what these say together."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch

from unwarp.data import Encoding
from unwarp.distributions import GaussianMixture
from unwarp.estimators._density import FlowDensity

_ROWS = 4_000  # that are kept at most
_ENTRIES = 80_000  # of the rows that are kept, at most, so that a model file stays small
_FINE, _COARSE = 0.1, 1.0  # standard deviations of the noise, in those of the columns
_CHUNK = 1_024
_BULK = 0.15  # share of the scores whose spread is the unit below the lowest

NAMES = ("near", "broad", "columns")


@dataclass(frozen=True, eq=False)
class Views:
    r"""What some known rows say of others without a flow, each higher where a row is more normal.

    `near` and `broad` are the log density of the known rows under Gaussian noise of 0.1 and 1 standard deviations of
    each column, $\log \frac1n \sum_i N(x; x_i, \sigma^2)$ up to a constant: what a flow that was trained with such
    noise would learn without limit. `columns` is the sum over columns of the logarithm of how often known values are as
    far out on the same side, which knows nothing of what goes with what.

    Args:
        center: Means of the columns, ``(features,)``.
        scale: Their standard deviations, 1 for constants.
        rows: Known rows in these units, ``(known, features)``, at most 4,000 and 80,000 entries.
    """

    center: np.ndarray
    scale: np.ndarray
    rows: np.ndarray

    @classmethod
    def learn(cls, events: np.ndarray, known: np.ndarray, seed: int) -> tuple[Self, np.ndarray]:
        """Views of the rows where `known` is true, and the place of each row among those kept, -1 for none."""
        places = np.random.default_rng([seed, 3]).permutation(np.flatnonzero(known))
        places = places[: max(1, min(_ROWS, _ENTRIES // events.shape[1]))]
        center, scale = events[known].mean(axis=0), events[known].std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        rows = np.clip((events[places] - center) / scale, -6e4, 6e4).astype(np.float16).astype(np.float64)
        place = np.full(len(events), -1)
        place[places] = np.arange(len(places))
        return cls(center, scale, rows), place

    def of(self, events: np.ndarray, place: np.ndarray | None = None) -> np.ndarray:
        """`near`, `broad` and `columns` of rows, ``(rows, 3)``; one with a `place` is seen without itself."""
        place = np.full(len(events), -1) if place is None else place
        x = np.clip((events - self.center) / self.scale, -1e9, 1e9)
        known = torch.from_numpy(self.rows)
        views = np.empty((len(x), len(NAMES)))
        for start in range(0, len(x), _CHUNK):
            some = slice(start, start + _CHUNK)
            squares = torch.cdist(torch.from_numpy(x[some]), known) ** 2
            own = np.flatnonzero(place[some] >= 0)
            if len(known) > 1:
                squares[own, place[some][own]] = torch.inf
            for view, noise in enumerate((_FINE, _COARSE)):
                views[some, view] = torch.logsumexp(-0.5 / noise**2 * squares, dim=1).numpy()
        views[:, 2] = self._tails(x, place >= 0)
        return views

    def _tails(self, x: np.ndarray, own: np.ndarray) -> np.ndarray:
        others, total = len(self.rows) - own, np.zeros(len(x))
        coarse = x.astype(np.float16).astype(np.float64) if np.abs(x).max(initial=0.0) < 6e4 else x
        for j, column in enumerate(np.sort(self.rows, axis=0).T):
            below = np.searchsorted(column, coarse[:, j], side="right") - own
            above = len(column) - np.searchsorted(column, coarse[:, j], side="left") - own
            total += np.log((1.0 + np.minimum(below, above)) / (1.0 + others))
        return total

    def to_json(self) -> dict[str, Any]:
        """Lists, and the rows as base64 of little-endian float16, which they are rounded to."""
        rows = base64.b64encode(self.rows.astype("<f2").tobytes()).decode()
        return {"center": self.center.tolist(), "scale": self.scale.tolist(), "rows": rows}

    @classmethod
    def from_json(cls, center: list[float], scale: list[float], rows: str) -> Self:
        """The views that `to_json` wrote.

        Raises:
            ValueError: When sizes do not agree or a number is not finite.
        """
        known = np.frombuffer(base64.b64decode(rows, validate=True), dtype="<f2").astype(np.float64)
        known = known.reshape(-1, len(center))
        if len(scale) != len(center) or not len(known) or not np.isfinite(known).all():
            raise ValueError("views: sizes do not agree")
        return cls(np.array(center), np.array(scale), known)


def latent(density: FlowDensity, values: np.ndarray) -> np.ndarray:
    """Minus half the squared distance of each row's latent from the origin, ``(rows,)``; impossible rows -inf."""
    encoding = Encoding(density.schema_)
    scores = np.full(len(values), -np.inf)
    for rows in np.array_split(np.arange(len(values)), 1 + len(values) // 8192):
        x = torch.from_numpy(encoding.events(values[rows]))
        fine = encoding.possible(values[rows]) & density.flow_.space.contains(x).numpy()
        with torch.no_grad():
            z, base = density.flow_.transform.encode(x[torch.from_numpy(fine)]), density.flow_.base
            z = base.to_normal(z) if isinstance(base, GaussianMixture) else z
        scores[rows[fine]] = -0.5 * (z**2).sum(dim=1).numpy()
    return scores


def together(views: np.ndarray, reference: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
    r"""One score of several: minus the mean over views of $-\log p$, Fisher's way to join p-values.

    p counts reference rows that look as strange. Below all of them, where p has nothing left to tell, the distance to
    the lowest goes on, in units in which the lower tail of the reference falls by e. That of a log density, whose tail
    is nearly exponential, counts in full: such a row is strange whatever the others say. That of the others, whose
    tails are longer, counts by its square root and as one of several.

    Args:
        views: Higher is more normal, ``(rows, views)``, the log density of a flow first.
        reference: The same of normal rows, each column sorted, ``(n, views)``, finite.
        own: Which rows are among those of the reference, ``(rows,)`` bool; they are counted without themselves.

    Source: Fisher, "Statistical Methods for Research Workers", 1932, section 21.1; ours goes on below the lowest.
    """
    own = np.zeros(len(views), dtype=bool) if own is None else own
    n, total = len(reference), np.zeros(len(views))
    for view, (seen, known) in enumerate(zip(views.T, reference.T, strict=True)):
        count = np.searchsorted(known, seen, side="right") - own
        edge = np.quantile(known, _BULK)
        beyond = edge - known[known < edge]
        unit = float(np.median(beyond)) / np.log(2.0) if len(beyond) else 0.0
        lowest = np.where(own & (count == 0), known[min(1, n - 1)], known[0])
        further = np.maximum(lowest - seen, 0.0) / (unit if unit > 0 else 1.0)
        total += np.log((1.0 + np.maximum(count, 0)) / (n + 1.0 - own)) - (
            views.shape[1] * further if view == 0 else np.sqrt(further)
        )
    return total / views.shape[1]
