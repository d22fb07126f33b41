"""What a run was asked for, and its plain facts."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Literal

from unwarp import _check
from unwarp.errors import ConfigError
from unwarp.training._history import Stopped
from unwarp.training._objectives import Objective
from unwarp.transforms._base import Memory

__all__ = ["Conditioners", "Execution", "Ledger", "Settings", "Start"]

Conditioners = Literal["full", "bfloat16"]
Execution = Literal["eager", "compiled"]
Start = Literal["adapt", "keep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `fit` was asked for; see there."""

    objective: Objective
    batch: int | None
    lr: float
    max_steps: int | None
    max_seconds: float | None
    seed: int | None
    checkpoint: str | os.PathLike[str] | None
    checkpoint_seconds: float
    patience: float
    weight_decay: float
    average: float
    start: Start
    memory: Memory
    execution: Execution
    conditioners: Conditioners

    def __post_init__(self) -> None:
        for name, value, low in (("batch", self.batch, 1), ("max_steps", self.max_steps, 0), ("seed", self.seed, 0)):
            if value is not None:
                _check.at_least("fit", name, value, low)
        for name, value in (("max_seconds", self.max_seconds), ("lr", self.lr), ("patience", self.patience)):
            if value is not None:
                _check.positive("fit", name, value)
        if self.start not in ("adapt", "keep"):
            raise ConfigError(f'fit: expected start to be "adapt" or "keep"; got {self.start!r}. Choose one.')
        if self.memory not in ("stored", "reversible"):
            raise ConfigError(f'fit: expected memory to be "stored" or "reversible"; got {self.memory!r}. Choose one.')
        if self.execution not in ("eager", "compiled"):
            got = self.execution
            raise ConfigError(f'fit: expected execution to be "eager" or "compiled"; got {got!r}. Choose one.')
        if self.conditioners not in ("full", "bfloat16"):
            got = self.conditioners
            raise ConfigError(f'fit: expected conditioners to be "full" or "bfloat16"; got {got!r}. Choose one.')
        if not self.weight_decay >= 0:
            raise ConfigError(f"fit: expected weight_decay >= 0; got {self.weight_decay}. Use 0 for none.")
        if not 0 <= self.average < 1:
            raise ConfigError(f"fit: expected average in [0, 1); got {self.average}. Use 0 for no averaging.")


@dataclass(slots=True)
class Ledger:
    """The plain facts of a run, as a checkpoint holds them."""

    seed: int
    step: int = 0
    looked: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_step: int = 0
    best_progress: float = 0.0
    stale: int = 0
    lr_scale: float = 1.0
    skipped: int = 0
    rollbacks: int = 0
    stopped: Stopped | None = None
    training: list[tuple[int, float | None]] = field(default_factory=list[tuple[int, float | None]])
    validation: list[tuple[int, float | None]] = field(default_factory=list[tuple[int, float | None]])
