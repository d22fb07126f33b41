"""Rows taken apart: how surprising each value is beside the others of its row."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from unwarp.data import Encoding
from unwarp.estimators._conditional import LogProb, conditional
from unwarp.estimators._density import FlowDensity

_DRAWN = 4096  # rows of the model that show where a column lies


def explained(density: FlowDensity, values: np.ndarray, names: list[str], why: int | None) -> dict[str, Any]:
    """The lines of `FlowOutlier.explain`, by column.

    Args:
        density: A fitted model.
        values: The rows, ``(rows, columns)``.
        names: Of the columns.
        why: How many columns a row; None for all.
    """
    surprise, low, high, likely = _by_column(density, values)
    order = np.argsort(-surprise, axis=1, kind="stable")[:, : values.shape[1] if why is None else max(why, 0)]

    def picked(figures: np.ndarray) -> np.ndarray:
        return np.take_along_axis(figures, order, 1).reshape(-1)

    return {
        "row": np.repeat(np.arange(len(values)), order.shape[1]),
        "column": [names[place] for place in order.reshape(-1)],
        "value": picked(values),
        "surprise": picked(surprise),
        "usual_low": picked(low),
        "usual_high": picked(high),
        "likely": picked(likely),
    }


def _by_column(density: FlowDensity, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Surprise, usual range and most likely value of each value, ``(rows, columns)`` each."""
    schema = density.schema_
    encoding, places = Encoding(schema), [i for i, column in enumerate(schema.columns) if column.role == "modelled"]
    drawn = encoding.events(density.sample(_DRAWN, random_state=0))
    events = encoding.events(values)
    inside = events.copy()
    for j, column in enumerate(schema.modelled):  # a row outside its bounds still has other columns
        if column.kind == "bounded":
            inside[:, j] = np.clip(inside[:, j], column.low, column.high)
        elif column.kind == "positive":
            inside[:, j] = np.where(inside[:, j] > 0, inside[:, j], drawn[:, j].min())
    log_prob = _log_prob(density)
    found = [conditional(log_prob, inside, j, column, drawn[:, j]) for j, column in enumerate(schema.modelled)]
    surprise = np.zeros(values.shape)
    surprise[:, places] = np.column_stack([each.surprise for each in found])
    surprise[:, places] = np.where(events == inside, surprise[:, places], np.inf)
    low, high, likely = (
        encoding.values(np.column_stack(each))
        for each in zip(*((each.low, each.high, each.likely) for each in found), strict=True)
    )
    for i, column in enumerate(schema.columns):  # constants, and copies of what the row itself holds
        if column.role != "modelled":
            should = (
                values[:, schema.names.index(column.source)] if column.source else np.full(len(values), column.value)
            )
            surprise[:, i] = np.where(values[:, i] == should, 0.0, np.inf)
            low[:, i] = high[:, i] = likely[:, i] = should
    return surprise, low, high, likely


def _log_prob(density: FlowDensity) -> LogProb:
    def log_prob(events: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return density.flow_.log_prob(torch.from_numpy(events)).numpy()

    return log_prob
