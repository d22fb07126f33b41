"""One column given the others: quadrature along the column through an exact joint density."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from unwarp.data import Column

LogProb = Callable[[np.ndarray], np.ndarray]

_START = 20  # points that every row has in common
_ROUNDS = (0.0, 0.0, 0.0, 0.1, 0.3)  # powers of the density by whose mass the next points are placed
_ZOOM = 6  # points of a round of power 0, around the peak
_MORE = 9  # points of every other round
_LEVELS = 64  # values up to which a column on a grid is summed rather than integrated
_CHUNK = 65_536  # rows that are scored at once


@dataclass(frozen=True, slots=True)
class Conditional:
    """What the other columns say of one column, a row each, ``(rows,)``.

    Attributes:
        surprise: ``-log P``, in nats, of a value as unlikely as the row's own or more, given the row's other values.
        low: Below it lies a twentieth of the mass.
        high: Above it lies a twentieth of the mass.
        likely: The value of the highest density.
    """

    surprise: np.ndarray
    low: np.ndarray
    high: np.ndarray
    likely: np.ndarray


def conditional(log_prob: LogProb, events: np.ndarray, place: int, column: Column, drawn: np.ndarray) -> Conditional:
    r"""$p(x_j \mid x_{-j}) = p(x) / \int p(v, x_{-j})\,dv$, by about 64 densities along the column.

    Between the points the logarithm is taken for linear, which tails are; the points go where the mass is, in rounds.
    A column of up to 64 values on a grid is summed instead.

    Args:
        log_prob: Log density of events, ``(rows, features) -> (rows,)``.
        events: The rows, ``(rows, features)``.
        place: The feature.
        column: What it is.
        drawn: The feature's values among rows that the model drew, ``(m,)``: its range and mass.
    """
    parts = [
        _some(log_prob, events[start : start + size], place, column, drawn)
        for size in (max(1, _CHUNK // _START),)
        for start in range(0, len(events), size)
    ]
    return Conditional(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _some(
    log_prob: LogProb, events: np.ndarray, place: int, column: Column, drawn: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    own = events[:, place]
    lattice = _lattice(column, drawn)
    if lattice is not None:
        return _summed(lambda at: _along(log_prob, events, place, at), own, lattice)
    at = np.sort(np.concatenate([np.tile(_spread(column, drawn), (len(own), 1)), own[:, None]], axis=1), axis=1)
    logs = _along(log_prob, events, place, at)
    for power in _ROUNDS:
        shares = (np.arange(_MORE) + 0.5) / _MORE
        more = _quantiles(at, power * logs, shares) if power else _around_peak(at, logs)
        at, logs = np.hstack([at, more]), np.hstack([logs, _along(log_prob, events, place, more)])
        order = np.argsort(at, axis=1, kind="stable")
        at, logs = np.take_along_axis(at, order, 1), np.take_along_axis(logs, order, 1)
    mine = np.take_along_axis(logs, np.argmax(at == own[:, None], axis=1)[:, None], 1)
    low, high = _quantiles(at, logs, np.array([0.05, 0.95])).T
    likely = np.take_along_axis(at, np.argmax(logs, axis=1)[:, None], 1)[:, 0]
    return _surprise(at, logs, mine), low, high, likely


def _along(log_prob: LogProb, events: np.ndarray, place: int, at: np.ndarray) -> np.ndarray:
    """Log densities of the rows with the values `at` in one column, ``(rows, points)``."""
    rows = np.repeat(events, at.shape[1], axis=0)
    rows[:, place] = at.reshape(-1)
    logs = np.concatenate([log_prob(rows[start : start + _CHUNK]) for start in range(0, len(rows), _CHUNK)])
    return np.maximum(np.nan_to_num(logs, nan=-1e300), -1e300).reshape(at.shape)


def _spread(column: Column, drawn: np.ndarray) -> np.ndarray:
    """Points that cover what the model draws: by mass in the middle, by distance at the ends."""
    low, high = drawn.min(), drawn.max()
    points = np.concatenate([np.quantile(drawn, np.linspace(0, 1, _START - 8)), np.linspace(low, high, 6)])
    reach = 0.25 * (high - low)
    ends = [low - reach, high + reach]
    if column.kind == "positive":
        ends[0] = low / 2
    if column.kind == "bounded" and column.low is not None and column.high is not None:
        ends = [max(ends[0], column.low), min(ends[1], column.high)]
    return np.sort(np.concatenate([points, ends]))


def _lattice(column: Column, drawn: np.ndarray) -> np.ndarray | None:
    """The events of all values of a column on a coarse grid."""
    if column.step is None or column.origin is None or column.width != column.step or column.edge is None:
        return None
    shift = 0.5 * column.step - column.edge
    first, last = np.floor((np.array([drawn.min(), drawn.max()]) - shift - column.origin) / column.step + 0.5)
    if last - first >= _LEVELS:
        return None
    at = column.origin + np.arange(first, last + 1) * column.step
    if column.kind == "positive":
        at = at[at > 0]
    if column.kind == "bounded" and column.low is not None and column.high is not None:
        at = at[(at >= column.low - 1e-9 * column.step) & (at <= column.high + 1e-9 * column.step)]
    return at + shift if len(at) else None


def _summed(
    along: Callable[[np.ndarray], np.ndarray], own: np.ndarray, lattice: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The same for a column of few values: sums over them, the row's own counted once."""
    at = np.tile(lattice, (len(own), 1))
    logs = along(at)
    mine = along(own[:, None])
    known = np.abs(at - own[:, None]).min(axis=1, keepdims=True) < 1e-6 * (np.abs(own[:, None]) + 1)
    top = np.maximum(logs.max(axis=1, keepdims=True), mine)
    mass = np.exp(logs - top)
    extra = np.where(known, 0.0, np.exp(mine - top))
    total = mass.sum(axis=1, keepdims=True) + extra
    below = np.where(logs <= mine + 1e-9, mass, 0.0).sum(axis=1, keepdims=True) + extra
    surprise = np.log(total) - np.log(np.maximum(below, 1e-300))
    ranks = np.cumsum(mass, axis=1) / mass.sum(axis=1, keepdims=True)
    low, high = (lattice[np.minimum((ranks < level).sum(axis=1), len(lattice) - 1)] for level in (0.05, 0.95))
    return np.maximum(surprise[:, 0], 0.0), low, high, lattice[logs.argmax(axis=1)]


def _masses(at: np.ndarray, logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mass and slope of the logarithm between neighbours, the highest density being 1, ``(rows, points - 1)``."""
    logs = np.maximum(logs - logs.max(axis=1, keepdims=True), -700.0)
    rise, width = np.diff(logs, axis=1), np.diff(at, axis=1)
    flat = np.abs(rise) < 1e-6
    mean = np.where(flat, 1.0, -np.expm1(-np.abs(rise)) / np.where(flat, 1.0, np.abs(rise)))
    return width * mean * np.exp(np.maximum(logs[:, :-1], logs[:, 1:])), rise


def _around_peak(at: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """Points evenly between the neighbours of the highest: a peak that is narrower than the gaps."""
    place = logs.argmax(axis=1)[:, None]
    low = np.take_along_axis(at, np.maximum(place - 1, 0), 1)
    high = np.take_along_axis(at, np.minimum(place + 1, at.shape[1] - 1), 1)
    return low + (high - low) * (np.arange(_ZOOM) + 0.5) / _ZOOM


def _quantiles(at: np.ndarray, logs: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Values below which the shares `levels` of the mass lie, ``(rows, levels)``."""
    mass, rise = _masses(at, logs)
    ranks = np.cumsum(mass, axis=1)
    wanted = levels * np.maximum(ranks[:, -1:], 1e-300)
    piece = np.minimum((ranks[:, None, :] < wanted[:, :, None]).sum(axis=2), mass.shape[1] - 1)
    held = np.take_along_axis(mass, piece, 1)
    before = np.take_along_axis(ranks, piece, 1) - held
    share = np.clip((wanted - before) / np.maximum(held, 1e-300), 0.0, 1.0)
    steep = np.clip(np.take_along_axis(rise, piece, 1), -600.0, 600.0)
    flat = np.abs(steep) < 1e-6
    part = np.where(flat, share, np.log1p(share * np.expm1(steep)) / np.where(flat, 1.0, steep))
    start, end = np.take_along_axis(at, piece, 1), np.take_along_axis(at, piece + 1, 1)
    return start + np.clip(part, 0.0, 1.0) * (end - start)


def _surprise(at: np.ndarray, logs: np.ndarray, mine: np.ndarray) -> np.ndarray:
    """Minus the log of the share of the mass whose density is `mine` at most, ``(rows,)``."""
    top = logs.max(axis=1, keepdims=True)
    mass, rise = _masses(at, logs)
    logs, mine = np.maximum(logs - top, -700.0), np.maximum(mine - top, -700.0)
    lower, upper = np.minimum(logs[:, :-1], logs[:, 1:]), np.maximum(logs[:, :-1], logs[:, 1:])
    steep = np.where(np.abs(rise) < 1e-6, 1.0, np.abs(rise))
    cut = np.diff(at, axis=1) * np.maximum(np.exp(np.minimum(upper, mine)) - np.exp(lower), 0.0) / steep
    below = np.where(upper <= mine, mass, np.where(lower >= mine, 0.0, cut)).sum(axis=1)
    outside = sum(_beyond(at, logs, mine))
    total = mass.sum(axis=1) + sum(_beyond(at, logs, np.zeros_like(mine)))
    return np.maximum(np.log(total) - np.log(np.maximum(below + outside, 1e-300)), 0.0)


def _beyond(at: np.ndarray, logs: np.ndarray, mine: np.ndarray) -> Iterator[np.ndarray]:
    """Mass on either side of the points, of density `mine` at most, the tails going on as they end."""
    for end, inner in ((0, 1), (-1, -2)):
        gap = np.abs(at[:, end] - at[:, inner])
        fall = logs[:, inner] - logs[:, end]
        going = (fall > 1e-6) & (gap > 0)
        yield np.where(going, np.exp(np.minimum(logs[:, end], mine[:, 0])) * gap / np.where(going, fall, 1.0), 0.0)
