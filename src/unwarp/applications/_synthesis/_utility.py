"""What a model that is trained on synthetic rows is worth on real ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from unwarp.applications._synthesis._columns import NUMBERS, Aligned, Array
from unwarp.applications._synthesis._measures import Utility
from unwarp.errors import ConfigError

_LEVELS = 255  # that gradient boosting tells apart; the rare ones share the last


def utility(columns: list[Aligned], rows: tuple[Array, Array, Array], target: str, seed: int) -> Utility | None:
    """Gradient boosting trained on as many real and synthetic rows, scored on real rows that neither saw.

    Args:
        columns: aligned, in real, synthetic and test tables.
        rows: which rows of each to use.
        target: the column to predict from all others.
        seed: of the rows drawn and of the trees.

    Returns:
        The scores, or None where the target is the same in all rows.
    """
    place = next((j for j, column in enumerate(columns) if column.name == target), None)
    if place is None or len(columns) < 2:
        names = ", ".join(column.name for column in columns[:8])
        raise ConfigError(
            f"judge: expected a target among several columns ({names}); got {target!r}. Name one of them."
        )
    column, rest = columns[place], [other for other in columns if other.name != target]
    numbers = column.kind in NUMBERS and len(np.unique(column.parts[0][~np.isnan(column.parts[0])])) > 2
    tables = [_table(column, rest, k, kept) for k, kept in enumerate(rows)]
    size = min(len(tables[0][1]), len(tables[1][1]))
    rng = np.random.default_rng([seed, 3])
    x, y = tables[2]
    if size < 2 or len(y) < 2 or len(np.unique(y)) < 2:
        return None
    found = []
    for features, values in (tables[1], tables[0]):
        chosen = rng.choice(len(values), size, replace=False)
        found.append(_score(rest, features[chosen], values[chosen], x, y, seed=seed, numbers=numbers))
    scores = {name: (found[0][name], found[1][name]) for name in found[0]}
    return Utility(target, "regression" if numbers else "classification", size, len(y), scores)


def _table(column: Aligned, rest: list[Aligned], k: int, kept: Array) -> tuple[Array, Array]:
    """Features and target of the rows whose target is known."""
    y = column.parts[k][kept]
    x = np.column_stack([other.parts[k][kept] for other in rest])
    for j, other in enumerate(rest):
        if other.kind not in NUMBERS:
            x[:, j] = np.minimum(x[:, j], _LEVELS - 1)
    return x[~np.isnan(y)], y[~np.isnan(y)]


def _score(
    rest: list[Aligned], features: Array, values: Array, x: Array, y: Array, *, seed: int, numbers: bool
) -> dict[str, float]:
    """Train on `features` and `values`, score on `x` and `y`."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.metrics import r2_score

    options: dict[str, Any] = {
        "categorical_features": [other.kind not in NUMBERS for other in rest],
        "random_state": seed,
    }
    if numbers:
        model = HistGradientBoostingRegressor(**options).fit(features, values)
        return {"R2": float(r2_score(y, model.predict(x)))}
    classes = np.unique(values)
    if len(classes) == 1:
        shares = np.ones((len(y), 1))
    else:
        shares = HistGradientBoostingClassifier(**options).fit(features, values).predict_proba(x)
    accuracy = float(np.mean(classes[shares.argmax(axis=1)] == y))
    return {"AUROC": _auroc(shares, classes, y), "accuracy": accuracy}


def _auroc(shares: Array, classes: Array, y: Array) -> float:
    """The area under the curve; of more than two classes the mean over each against the rest."""
    from sklearn.metrics import roc_auc_score

    there = np.unique(y)
    of = {float(value): shares[:, place] for place, value in enumerate(classes)}
    areas = [float(roc_auc_score(y == value, of.get(float(value), np.zeros(len(y))))) for value in there]
    return areas[-1] if len(there) == 2 and set(classes) <= set(there) else float(np.mean(areas))
