"""Flows of vector fields."""

from collections.abc import Callable
from typing import Any

from unwarp.networks import VectorField
from unwarp.transforms import Continuous, Transform

__all__ = ["ROWS", "continuous"]


def continuous(features: int, context: int = 0, **options: Any) -> Continuous:
    return Continuous(features, VectorField(features, hidden=(4,), context=context, time=1), context=context, **options)


ROWS: dict[str, Callable[[], Transform]] = {
    "Continuous": lambda: continuous(3, steps=1),
    "Continuous(midpoint, context)": lambda: continuous(2, context=2, solver="midpoint", steps=2),
    "Continuous(euler, 1 feature, context)": lambda: continuous(1, context=1, solver="euler", steps=2),
}
