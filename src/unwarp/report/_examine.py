"""From a fitted model and a table to `Findings`."""

from __future__ import annotations

from typing import Any, Protocol

import narwhals.stable.v2 as nw
import numpy as np
import pyarrow as pa

from unwarp.report._findings import Array, Findings, Strange

_TRIED = 33  # values that are tried in place of a strange one
_SUSPECTS = 40  # columns that are tried, those furthest from their middle first


class Model(Protocol):
    """What `examine` asks of a model; `FlowDensity` has it."""

    def score_samples(self, X: Any) -> Array:
        """Log density of each row, in nats."""
        ...

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Any:
        """Rows that the model draws."""
        ...

    def transform(self, X: Any) -> Any:
        """The latent of each row."""
        ...


def examine(
    model: Model, data: Any, *, samples: int = 10_000, strange: int = 12, seed: int = 0, **about: Any
) -> Findings:
    """Compare a fitted model with a table.

    Args:
        model: a fitted `FlowDensity`.
        data: the table: numpy, pandas, polars or pyarrow, with the model's columns.
        samples: how many rows the model draws for the comparison.
        strange: how many of the least likely rows to explain.
        seed: of the draw.
        **about: other attributes of `Findings` that the caller knows: source, held_out, baselines, curve, card, kinds,
            labels.

    Returns:
        The findings; `render` makes a page of them.
    """
    named = names_of(model)
    rows = as_rows(data, named)
    columns = named or tuple(f"x{j}" for j in range(rows.shape[1]))
    drawn = as_rows(model.sample(samples, random_state=seed), named)
    log_prob, log_prob_drawn = _score(model, rows, named), _score(model, drawn, named)
    possible = rows[np.isfinite(log_prob)]
    return Findings(
        columns=columns,
        data=rows,
        samples=drawn,
        log_prob=log_prob,
        log_prob_samples=log_prob_drawn,
        latent=as_rows(model.transform(_frame(possible, named)), None) if len(possible) else None,
        strange=strangest(model, rows, log_prob, log_prob_drawn, count=strange),
        **about,
    )


def strangest(
    model: Model, rows: Array, log_prob: Array, log_prob_samples: Array, *, count: int = 12
) -> tuple[Strange, ...]:
    """The `count` least likely rows and, for each of their values, how much likelier the row would be without it.

    A value's gain is the log density of the row with that value replaced by the best of 33 quantiles of its column,
    less the row's own: it finds values that are odd only beside the others of the row, which no single column shows.

    Args:
        model: a fitted `FlowDensity`.
        rows: the table, (n, columns).
        log_prob: of its rows, (n,).
        log_prob_samples: of rows that the model drew, (m,).
        count: how many rows.

    Returns:
        The rows, the strangest first.
    """
    named, tied = names_of(model), _copies(model)
    tries = np.quantile(rows, np.linspace(0.0, 1.0, _TRIED), axis=0, method="nearest")
    middle = np.median(rows, axis=0)
    spread = np.median(np.abs(rows - middle), axis=0) + 1e-9 * (np.abs(middle) + 1e-300)
    known = log_prob[np.isfinite(log_prob)]
    floor = (known.min() if len(known) else 0.0) - 1e3  # stands for the minus infinity of a row that can't be
    found = []
    for i in np.argsort(log_prob, kind="stable")[:count]:
        gain, instead = np.zeros(rows.shape[1]), rows[i].copy()
        suspects = np.argsort(-np.abs(rows[i] - middle) / spread, kind="stable")[:_SUSPECTS]
        changed = np.repeat(rows[i][None], _TRIED * len(suspects), axis=0)
        for k, j in enumerate(suspects):
            for place in (j, *tied.get(int(j), ())):
                changed[k * _TRIED : (k + 1) * _TRIED, place] = tries[:, j]
        scores = _score(model, changed, named).reshape(len(suspects), _TRIED)
        best = scores.argmax(axis=1)
        gain[suspects] = np.maximum(scores.max(axis=1), floor) - max(float(log_prob[i]), floor)
        gain = np.maximum(gain, 0.0)
        instead[suspects] = np.where(gain[suspects] > 0, tries[best, suspects], rows[i, suspects])
        rarity = float(np.mean(log_prob_samples < log_prob[i]))
        found.append(Strange(int(i), float(log_prob[i]), rarity, rows[i], gain, instead))
    return tuple(found)


def as_rows(data: Any, columns: tuple[str, ...] | None) -> Array:
    """`data` as a float64 array (n, columns), its named columns in the model's order."""
    frame = nw.from_native(data, eager_only=True, pass_through=True)
    if isinstance(frame, nw.DataFrame):
        chosen = frame if columns is None else frame.select(list(columns))
        return np.column_stack([np.asarray(chosen[name].to_numpy(), dtype=np.float64) for name in chosen.columns])
    return np.asarray(data, dtype=np.float64)


def names_of(model: Any) -> tuple[str, ...] | None:
    """The column names that a model was fitted with, if any."""
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else tuple(str(name) for name in names)


def _copies(model: Any) -> dict[int, list[int]]:
    """Of each column the places of its copies, which change with it."""
    found: dict[int, list[int]] = {}
    if "schema_" not in vars(model):
        return found
    schema = model.schema_
    for place, column in enumerate(schema.columns):
        if column.role == "copy":
            found.setdefault(schema.names.index(column.source), []).append(place)
    return found


def _frame(rows: Array, columns: tuple[str, ...] | None) -> Any:
    return rows if columns is None else pa.table(list(rows.T), names=list(columns))


def _score(model: Model, rows: Array, columns: tuple[str, ...] | None) -> Array:
    return np.asarray(model.score_samples(_frame(rows, columns)), dtype=np.float64)
