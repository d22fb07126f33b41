"""What a model of codes must know about one column."""

from __future__ import annotations

from typing import Any

from unwarp.data._column import Column


def head(column: Column) -> dict[str, Any]:
    """Atoms and the rest of a modelled column, ready for JSON; `Schema.heads` says what the words mean."""
    if column.levels is not None and column.kind != "boolean":
        count = len(column.levels) if column.common is None else column.common
        tail = len(column.levels) + 1 - count
        return {"atoms": [float(code) for code in range(count)], "rest": "tail", "tail": tail} | _ON_LEVELS
    if column.kind == "boolean":
        return {"atoms": [0.0, 1.0], "rest": "none"} | _ON_LEVELS
    support = column.support
    told: dict[str, Any] = {
        "atoms": list(column.atoms),
        "rest": "line",
        "support": list(support) if isinstance(support, tuple) else support,
        "measure": "mass" if column.whole and column.width == column.step else "density",
    }
    if column.kind == "periodic" and column.low is not None and column.high is not None:
        told |= {"rest": "circle", "period": [column.low, column.high - column.low]}
    if column.width is not None:
        told |= {"width": column.width, "edge": column.edge}
    return told


_ON_LEVELS = {"support": "real", "measure": "mass"}
