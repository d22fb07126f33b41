"""What happened in a run: an event of it, and its account at the end."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Event", "History", "Step", "Stopped"]

Event = Literal["train", "validation", "rollback", "done"]
Stopped = Literal["budget", "patience", "diverged", "interrupted"]


@dataclass(frozen=True, slots=True)
class Step:
    """An event of a run. Losses are the objective's, lower is better: for `likelihood`, mean nats of -log p.

    Attributes:
        event: "train" (some steps went by), "validation", "rollback" (weights went bad and were put back) or "done".
        step: steps done.
        total: steps in all; None under a budget of seconds alone.
        progress: share of the budget spent, 0 to 1.
        loss: mean over the last training steps; NaN before the first.
        validation: the averaged weights' value on the held-out rows; None in other events than "validation".
        best: the best validation so far; None before the first.
        lr: learning rate.
        seconds: since the run began.
        skipped: steps left out so far, for gradients far too large or not finite.
    """

    event: Event
    step: int
    total: int | None
    progress: float
    loss: float
    validation: float | None
    best: float | None
    lr: float
    seconds: float
    skipped: int

    def to_json(self) -> dict[str, Any]:
        """The event as JSON-able data; what is not finite becomes None."""
        return {name: _finite(value) for name, value in dataclasses.asdict(self).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The account of a run. Log-likelihoods are means in nats over the held-out rows, higher is better.

    The flow's best weights and the mixture's size are chosen on the same held-out rows on which they are reported here,
    so each of these figures is somewhat optimistic: keep rows of your own aside for a final judgement.

    Attributes:
        stopped: why the run ended: its "budget" was spent, "patience" ran out, it "diverged", or it was "interrupted".
        steps: steps done.
        best_step: the step whose weights were kept.
        seconds: duration of the training.
        rows: rows trained on.
        held_rows: rows held out.
        batch: rows a step.
        lr: peak learning rate.
        seed: what makes the run repeatable.
        skipped: steps left out by the gradient guard.
        rollbacks: how often weights were put back.
        training: (step, mean loss since the entry before), where finite.
        validation: (step, value on the held-out rows), where finite; objective values, lower is better.
        held_out: mean log-likelihood of the flow, whatever the objective; None without held-out rows.
        held_out_error: its standard error over the rows.
        baselines: the same figure for plain models fitted to the same rows: "gaussian", "mixture", and "linear" (a
            Gaussian with a mean linear in the context).
        margin: mean gain of the flow over the best baseline.
        margin_error: its standard error, of the differences row by row.
    """

    stopped: Stopped
    steps: int
    best_step: int
    seconds: float
    rows: int
    held_rows: int
    batch: int
    lr: float
    seed: int
    skipped: int = 0
    rollbacks: int = 0
    training: tuple[tuple[int, float], ...] = ()
    validation: tuple[tuple[int, float], ...] = ()
    held_out: float | None = None
    held_out_error: float | None = None
    baselines: dict[str, float] = field(default_factory=dict[str, float])
    margin: float | None = None
    margin_error: float | None = None

    @property
    def converged(self) -> bool:
        """Did the run end by itself with sound weights?"""
        return self.stopped in ("budget", "patience")

    @property
    def interrupted(self) -> bool:
        """Did someone stop the run?"""
        return self.stopped == "interrupted"

    @property
    def best(self) -> float | None:
        """The lowest validation value."""
        return min((value for _, value in self.validation), default=None)

    @property
    def worth_it(self) -> bool | None:
        """Does the flow beat the best baseline by more than a standard error? None with nothing to compare."""
        return None if self.margin is None or self.margin_error is None else self.margin > self.margin_error

    def summary(self) -> str:
        """The run in a few lines."""
        how = {"budget": "budget spent", "patience": "no more gain"}.get(self.stopped, self.stopped)
        lines = [f"{self.steps} steps of {self.batch} of {self.rows} rows in {self.seconds:.1f} s: {how}."]
        if self.skipped or self.rollbacks:
            lines.append(f"{self.skipped} steps left out, weights put back {self.rollbacks} times.")
        if self.stopped == "diverged":
            lines.append("The weights kept going bad; the last good ones were kept. Lower lr or look at the data.")
        if self.held_out is None:
            lines.append("No rows were held out, so nothing is known about unseen data.")
            return "\n".join(lines)
        lines.append(f"Held-out log-likelihood in nats a row, on {self.held_rows} rows:")
        error = "" if self.held_out_error is None else f" +- {self.held_out_error:.4f}"
        lines.append(f"  flow      {self.held_out:12.4f}{error}")
        lines += [f"  {name:<9} {value:12.4f}" for name, value in self.baselines.items()]
        if self.margin is not None and self.margin_error is not None:
            best = max(self.baselines, key=lambda name: self.baselines[name])
            gain = f"{self.margin:+.4f} +- {self.margin_error:.4f} nats a row against the {best}"
            lines.append(f"The flow gains {gain}." if self.worth_it else f"The flow is not worth it: {gain}.")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The account as JSON-able data; what is not finite becomes None."""
        plain = {name: _finite(value) for name, value in dataclasses.asdict(self).items()}
        return plain | {"converged": self.converged, "worth_it": self.worth_it}


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    return value
