"""What to say about many log densities."""

from __future__ import annotations

import math
from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Tally"]

_Count = Annotated[int, Field(ge=0)]


class Tally(BaseModel):
    """Counts and extremes of log densities, of which two add up.

    Args:
        rows: How many rows.
        impossible: How many of them have density 0.
        total: Sum of the other log densities, in nats.
        lowest: The lowest of them all, in nats; None for minus infinity.
        lowest_row: The first row that has it, counted from 1.
        float32_error: The largest difference from float64 that was seen, in nats; 0 in float64, None when infinite.

    Example:
        >>> one = Tally.of(np.array([-1.0, -3.0])) + Tally.of(np.array([-np.inf]), start=2)
        >>> one.rows, one.mean, one.lowest_row
        (3, -2.0, 3)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    rows: _Count
    impossible: _Count
    total: float
    lowest: float | None
    lowest_row: Annotated[int, Field(ge=1)]
    float32_error: float | None = 0.0

    @classmethod
    def of(cls, scores: np.ndarray, *, start: int = 0, float32_error: float = 0.0) -> Self:
        """Of log densities, ``(rows,)`` nats, at least one; `start` is the number of the first row, from 0."""
        possible = scores[np.isfinite(scores)]
        place = int(scores.argmin())
        return cls(
            rows=len(scores),
            impossible=len(scores) - len(possible),
            total=float(possible.sum()),
            lowest=float(scores[place]) if np.isfinite(scores[place]) else None,
            lowest_row=start + place + 1,
            float32_error=float32_error if math.isfinite(float32_error) else None,
        )

    @property
    def mean(self) -> float | None:
        """Mean log density of the rows that are possible, in nats."""
        return self.total / (self.rows - self.impossible) if self.rows > self.impossible else None

    def __add__(self, other: Self) -> Self:
        first, second = sorted((self, other), key=lambda tally: tally.lowest_row)
        lower = second if _value(second.lowest, -1) < _value(first.lowest, -1) else first
        worse = max(self.float32_error, other.float32_error, key=lambda error: _value(error, 1))
        return type(self)(
            rows=self.rows + other.rows,
            impossible=self.impossible + other.impossible,
            total=self.total + other.total,
            lowest=lower.lowest,
            lowest_row=lower.lowest_row,
            float32_error=worse,
        )


def _value(number: float | None, sign: int) -> float:
    return sign * math.inf if number is None else number
