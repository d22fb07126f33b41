"""How long to train and how fast: the budget, and the learning rate along it."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Schedule", "default_batch", "default_steps"]


@dataclass(frozen=True, slots=True)
class Schedule:
    r"""Linear warm-up over steps, then half a cosine from `lr` to zero over the budget.

    The budget is a number of steps, of seconds, or both; progress is the larger share that has been spent. Warm-up
    takes 200 steps, or a twentieth of the budget if that is over sooner.

    $\mathrm{lr}(t, p) = \mathrm{lr}\,w\,\tfrac12(1 + \cos \pi p)$ at step t, progress p and share w of the warm-up.

    Args:
        lr: the peak learning rate.
        steps: budget in steps.
        seconds: budget in seconds.

    Example:
        >>> schedule = Schedule(1e-3, steps=1000)
        >>> schedule.rate(0, 0.0) < schedule.rate(100, 0.0) > schedule.rate(900, 0.0)
        True
        >>> schedule.progress(1000, 0.0)
        1.0
    """

    lr: float
    steps: int | None = None
    seconds: float | None = None

    def progress(self, step: int, elapsed: float) -> float:
        """The share of the budget that `step` steps and `elapsed` seconds have spent, in [0, 1]."""
        by_steps = step / self.steps if self.steps else float(self.steps == 0)
        by_seconds = elapsed / self.seconds if self.seconds else 0.0
        return min(1.0, max(by_steps, by_seconds))

    def rate(self, step: int, elapsed: float) -> float:
        """The learning rate of step number `step`, counted from 0."""
        warmup = min(200, self.steps // 20) if self.steps else 200
        by_seconds = 20 * elapsed / self.seconds if self.seconds else 0.0
        ramp = min(1.0, max((step + 1) / max(1, warmup), by_seconds))
        return self.lr * ramp * 0.5 * (1 + math.cos(math.pi * self.progress(step, elapsed)))


def default_batch(rows: int) -> int:
    """Rows a step: all of a few hundred, then 128 to 512 as there are more."""
    if rows <= 256:
        return rows
    return 128 if rows < 5_000 else 256 if rows < 50_000 else 512


def default_steps(rows: int, batch: int) -> int:
    """Steps when no budget is given: a hundred passes over the data, at least 2,000 and at most 12,000 steps."""
    return max(2_000, min(12_000, 100 * rows // batch))
