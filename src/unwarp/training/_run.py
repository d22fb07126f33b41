"""One run from data to trained weights; `fit` and `steps` are its doors."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from unwarp._random import Randomness, fresh_seed, mixed
from unwarp.distributions import Distribution, Flow
from unwarp.errors import BundleError, ConfigError
from unwarp.training._checkpoint import read_checkpoint, write_checkpoint
from unwarp.training._gradient import Gradient
from unwarp.training._history import Event, History, Step
from unwarp.training._interrupt import HeldBack
from unwarp.training._learner import Learner, averaged_weights
from unwarp.training._metrics import Rivals, compare
from unwarp.training._objectives import Objective, likelihood
from unwarp.training._rows import Rows, Validation, batches, encoded, frozen_prefix, split
from unwarp.training._schedule import Schedule, default_batch, default_steps
from unwarp.training._settings import Ledger, Settings
from unwarp.training._settle import comes_back, free_of_steps, settle, stepping
from unwarp.transforms import conditioners_in, reversible

__all__ = ["Run"]

_LOOK = 20  # steps between two looks at what the device has counted
_STEER = 8_192  # held-out rows that steer the run; all of them are scored at the end
_ADAPT = 100_000, 2**20  # rows that the flow adapts to, and entries in all of them
_STALE = 5  # validations without gain that patience lasts at least
_BROKEN = 3  # steps that are not finite between two looks before weights are put back
_THERE_AND_BACK = 200  # rows that must return, of a flow whose map nothing else keeps one to one
_ROLLBACKS = 5  # times that weights are put back before the run is given up
_BEAT = 1.0  # seconds after which slow steps are reported between two looks


class Run:
    """The state of a run. Whatever ends `events`, an exception included, the flow then has its best weights.

    Every few steps comes a look: it fetches the counts, and either puts the last good state back or copies the present
    one. The state at a look is all that a checkpoint holds. Under a step budget every decision depends on steps alone.
    """

    def __init__(
        self,
        flow: Distribution,
        x: Tensor,
        context: Tensor | None,
        weight: Tensor | None,
        validation: Validation,
        settings: Settings,
    ) -> None:
        self._began = self._written = time.perf_counter()
        self._flow, self._settings = flow, settings
        first = next(flow.parameters(), x)
        self._device = first.device
        self._dtype = first.dtype if first.is_floating_point() else torch.get_default_dtype()
        saved = None if settings.checkpoint is None else read_checkpoint(settings.checkpoint)
        chosen = settings.seed if saved is None or settings.seed is not None else int(saved[1]["ledger"]["seed"])
        self._ledger = Ledger(fresh_seed() if chosen is None else chosen)
        self._train, self._held = split(flow, x, context, weight, validation, self._ledger.seed)
        self._batch = min(len(self._train), settings.batch or default_batch(len(self._train)))
        budget = settings.max_steps if any(p.requires_grad for p in flow.parameters()) else 0
        if budget is None and settings.max_seconds is None:
            budget = default_steps(len(self._train), self._batch)
        self._schedule = Schedule(settings.lr, budget, settings.max_seconds)
        self._random = Randomness(mixed(self._ledger.seed, 1), self._device)
        self._loss = math.nan
        self._good: dict[str, Tensor] = {}
        self._best: dict[str, Tensor] = {}
        self._identity = {} if settings.checkpoint is None else self._identify()
        self._saved = None if saved is None else self._own(*saved)

    def events(self) -> Generator[Step, None, None]:
        """Train, telling what happens; the last event is "done"."""
        try:
            with HeldBack():
                events = self._start()
            yield from events
            stream = batches(len(self._rows), self._batch, self._ledger.step, self._ledger.seed, self._device)
            while self._ledger.stopped is None:
                with HeldBack() as interrupt:
                    with self._random, self._manner():
                        self._advance(stream, interrupt)
                    events = self._look() if self._at_look() else [self._event("train")]
                yield from events
        finally:
            with HeldBack():
                if self._best:
                    self._learner.release()
                    self._flow.load_state_dict(self._best)
                self._flow.eval()
                if self._best:
                    with Randomness(mixed(self._ledger.seed, 4), self._device):
                        seen = self._rows if self._scored is None else self._scored
                        settle(self._flow, self._target, seen, self._settings.objective)
        yield self._event("done")

    def history(self, rivals: Rivals, *, interrupted: bool) -> History:
        """The account of the run; for an interrupted one without the plain models."""
        ledger, figures = self._ledger, {}
        if self._held is not None and self._best:
            figures = compare(
                self._score(), self._train, self._held, Rivals(()) if interrupted else rivals, ledger.seed
            )
        return History(
            stopped="interrupted" if interrupted or ledger.stopped is None else ledger.stopped,
            steps=ledger.step, best_step=ledger.best_step, seconds=ledger.seconds,
            rows=len(self._train), held_rows=0 if self._held is None else len(self._held),
            batch=self._batch, lr=self._settings.lr, seed=ledger.seed,
            skipped=ledger.skipped, rollbacks=ledger.rollbacks,
            training=_curve(ledger.training), validation=_curve(ledger.validation), **figures,
        )  # fmt: skip

    def _start(self) -> list[Step]:
        """Adapt, or take up a saved run; then bring the rows to where training wants them."""
        if self._saved is not None:
            self._flow.load_state_dict(_under("now.flow.", self._saved))
        elif self._settings.start == "adapt":
            with self._random:
                _adapt(self._flow, self._train, self._device, self._dtype)
        prefix, self._target = None, self._flow
        if self._settings.objective is likelihood and isinstance(self._flow, Flow):
            prefix, self._target = frozen_prefix(self._flow)
        wants = self._target.context_shape is not None
        self._rows = encoded(self._train, prefix, self._device, self._dtype, context=wants)
        self._offset = self._rows.offset()
        self._scored = self._held
        if self._scored is not None:
            self._scored = encoded(self._scored, prefix, self._device, self._dtype, context=wants)
        self._steer = None if self._scored is None else self._scored.take(slice(_STEER)).balanced()
        self._flow.train()
        settings = self._settings
        self._learner = Learner(
            self._flow, beside=_module(settings.objective, self._device, self._dtype),
            weight_decay=settings.weight_decay, average=settings.average,
        )  # fmt: skip
        self._gradient = Gradient(self._target, settings.objective, compiled=settings.execution == "compiled")
        if self._saved is not None:
            self._take_up(self._saved)
            return []
        if not self._learner.is_finite():
            self._learner.release()
            raise ConfigError("fit: expected finite weights to start from; got others. Build the flow anew.")
        self._good = self._learner.snapshot()
        self._best = averaged_weights(self._good)
        if self._over():
            self._ledger.stopped = "budget"
        return [] if self._steer is None else self._validate()

    def _take_up(self, saved: dict[str, Tensor]) -> None:
        """Go on from a saved run."""
        self._good, self._best = _under("now.", saved), _under("best.", saved)
        self._random.states = [saved[f"random.{i}"] for i in range(len(self._random.states))]
        self._learner.restore(self._good)

    @contextlib.contextmanager
    def _manner(self) -> Generator[None]:
        """How steps are computed, as the settings ask."""
        with contextlib.ExitStack() as stack:
            if self._settings.memory == "reversible":
                stack.enter_context(reversible(self._target))
            if self._settings.conditioners == "bfloat16":
                stack.enter_context(conditioners_in(torch.bfloat16))
            yield

    def _advance(self, stream: Iterator[Tensor | None], interrupt: HeldBack) -> None:
        """Steps until the next look, or until people should hear something; the host never waits for the device."""
        ledger = self._ledger
        until = time.perf_counter() + _BEAT
        while True:
            index = next(stream)
            rows = self._rows if index is None else self._rows.take(index)
            self._learner.update(self._gradient(rows.x, rows.context, rows.weight), self._lr(), ledger.step)
            ledger.step += 1
            if self._at_look() or interrupt.asked or time.perf_counter() > until:
                return

    def _look(self) -> list[Step]:
        """Judge the steps since the last look, and do what is due."""
        ledger, guard = self._ledger, self._learner.guard
        mean, accepted, broken = guard.read()
        guard.reset()
        self._loss = mean - self._offset
        ledger.skipped += ledger.step - ledger.looked - accepted
        ledger.looked = ledger.step
        ledger.training.append((ledger.step, self._loss if math.isfinite(self._loss) else None))
        if broken < _BROKEN and self._learner.is_finite():
            self._good = self._learner.snapshot()
            events = [self._event("train")]
        else:
            events = [self._roll_back()]
        if self._over() and ledger.stopped is None:
            ledger.stopped = "budget"
        if self._steer is None:
            self._best, ledger.best_step = averaged_weights(self._good), ledger.step
        elif ledger.step % self._interval() == 0 or ledger.stopped is not None:
            events += self._validate()
        self._write()
        return events

    def _roll_back(self) -> Step:
        """Put the last good state back and go on half as fast; give up after some times."""
        ledger = self._ledger
        self._learner.restore(self._good)
        ledger.lr_scale *= 0.5
        ledger.rollbacks += 1
        if ledger.rollbacks > _ROLLBACKS:
            ledger.stopped = "diverged"
        return self._event("rollback")

    def _validate(self) -> list[Step]:
        """Value the averaged weights; keep them if they are the best, end the run if that has long been otherwise."""
        ledger, folds = self._ledger, self._folds()
        value = math.inf if folds else self._value()
        better = math.isfinite(value) and (ledger.best is None or value < ledger.best)
        ledger.validation.append((ledger.step, value if math.isfinite(value) else None))
        progress = self._progress()
        if better or ledger.best is None:
            self._best = averaged_weights(self._good)
            ledger.best = value if better else None
            ledger.best_step, ledger.best_progress, ledger.stale = ledger.step, progress, 0
        else:
            ledger.stale += 1
        tired = ledger.stale >= _STALE and progress - ledger.best_progress > self._settings.patience
        if tired and ledger.stopped is None:
            ledger.stopped = "patience"
        events = [self._event("validation", value)]
        if folds and ledger.stopped is None:
            self._good |= {f"{kind}.{name}": t for name, t in self._best.items() for kind in ("flow", "mean")}
            events.append(self._roll_back())
        return events

    def _folds(self) -> bool:
        """Has the flow stopped being one to one? Then its likelihood is no likelihood, however good."""
        if self._steer is None or free_of_steps(self._settings.objective) or not stepping(self._target):
            return False
        with self._learner.averaged(), Randomness(mixed(self._ledger.seed, 2), self._device):
            return not comes_back(self._target, self._steer, _THERE_AND_BACK)

    def _value(self) -> float:
        """The objective of the averaged weights on the held-out rows that steer; draws are the same each time."""
        rows = self._steer
        if rows is None:
            return math.nan
        total = 0.0
        with self._learner.averaged(), Randomness(mixed(self._ledger.seed, 2), self._device):
            for part in rows.chunks(4 * self._batch):
                total += float(self._settings.objective(self._target, part.x, part.context, part.weight)) * len(part)
        return total / len(rows) - rows.offset()

    def _interval(self) -> int:
        """Steps between validations, which so cost at most about a tenth of the training; at most 200 of a step budget.

        A row's way forward is taken for a third of its way forward and back.
        """
        held = 0 if self._steer is None else len(self._steer)
        by_cost = held / (3 * 0.1 * self._batch)
        by_number = (self._schedule.steps or 0) / 200
        return _LOOK * max(1, math.ceil(max(by_cost, by_number) / _LOOK))

    def _score(self) -> Tensor:
        """Log-likelihood of each held-out row, float64."""
        parts: list[Tensor] = []
        with torch.no_grad(), Randomness(mixed(self._ledger.seed, 3), self._device):
            for part in [] if self._scored is None else self._scored.chunks(4 * self._batch):
                value = self._target.log_prob(part.x, part.context).double()
                parts.append((value if part.ladj is None else value + part.ladj.double()).cpu())
        return torch.cat(parts)

    def _write(self) -> None:
        """Save the run when it is time, or at its end."""
        path, now = self._settings.checkpoint, time.perf_counter()
        if path is None or (self._ledger.stopped is None and now - self._written < self._settings.checkpoint_seconds):
            return
        self._ledger.seconds = now - self._began
        tensors = {f"now.{name}": t for name, t in self._good.items()}
        tensors |= {f"best.{name}": t for name, t in self._best.items()}
        tensors |= {f"random.{i}": t for i, t in enumerate(self._random.states)}
        write_checkpoint(path, tensors, {"identity": self._identity, "ledger": asdict(self._ledger)})
        self._written = time.perf_counter()

    def _own(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> dict[str, Tensor]:
        """The tensors of a checkpoint, and its facts taken over, once it is known to be of this very run."""
        differ = [name for name, value in self._identity.items() if facts["identity"].get(name) != value]
        if differ:
            raise BundleError(
                f"{self._settings.checkpoint}: expected a checkpoint of this run; "
                f"got one with other {', '.join(differ)}. Remove it or name another file."
            )
        self._ledger = Ledger(**facts["ledger"])
        self._began -= self._ledger.seconds
        return tensors

    def _identify(self) -> dict[str, Any]:
        """What two runs must share to be the same one."""
        settings, schedule = self._settings, self._schedule
        state = [(name, str(t.dtype), list(t.shape)) for name, t in self._flow.state_dict().items()]
        spec = self._flow.spec if isinstance(self._flow, Flow) else None
        objective = getattr(settings.objective, "__qualname__", type(settings.objective).__qualname__)
        if isinstance(settings.objective, nn.Module):
            state += [(name, str(t.dtype), list(t.shape)) for name, t in settings.objective.state_dict().items()]
        return {
            "model": hashlib.blake2b(json.dumps([spec, state], sort_keys=True).encode(), digest_size=16).hexdigest(),
            "data": self._train.digest(),
            "held-out data": None if self._held is None else self._held.digest(),
            "objective": objective,
            "seed": self._ledger.seed,
            "batch": self._batch,
            "lr": settings.lr,
            "max_steps": schedule.steps,
            "max_seconds": schedule.seconds,
            "patience": settings.patience,
            "weight_decay": settings.weight_decay,
            "average": settings.average,
            "start": settings.start,
        }

    def _elapsed(self) -> float:
        return time.perf_counter() - self._began

    def _progress(self) -> float:
        return self._schedule.progress(self._ledger.step, self._elapsed())

    def _over(self) -> bool:
        return self._progress() >= 1.0

    def _at_look(self) -> bool:
        return self._ledger.step % _LOOK == 0 or self._over()

    def _lr(self) -> float:
        return self._schedule.rate(self._ledger.step, self._elapsed()) * self._ledger.lr_scale

    def _event(self, event: Event, validation: float | None = None) -> Step:
        ledger = self._ledger
        ledger.seconds = self._elapsed()
        return Step(
            event, ledger.step, self._schedule.steps, self._progress(), self._loss, validation, ledger.best, self._lr(),
            ledger.seconds, ledger.skipped,
        )  # fmt: skip


def _adapt(flow: Distribution, rows: Rows, device: torch.device, dtype: torch.dtype) -> None:
    """Let the flow follow the first of the data, in their precision when that is the finer one."""
    rows = rows.take(slice(min(_ADAPT[0], max(1, _ADAPT[1] // rows.x[0].numel()))))
    working = torch.promote_types(rows.x.dtype, dtype)
    before = {name: t.dtype for name, t in chain(flow.named_parameters(), flow.named_buffers())}
    context, weight = (None if t is None else t.to(device, working) for t in (rows.context, rows.weight))
    flow.to(working)
    flow.adapt(rows.x.to(device, working), context, weight)
    for name, tensor in chain(flow.named_parameters(), flow.named_buffers()):
        tensor.data = tensor.data.to(before[name])


def _module(objective: Objective, device: torch.device, dtype: torch.dtype) -> nn.Module | None:
    """The objective, brought to where the flow is, when it has parameters of its own."""
    return objective.to(device, dtype).train() if isinstance(objective, nn.Module) else None


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _curve(points: Sequence[tuple[int, float | None]]) -> tuple[tuple[int, float], ...]:
    return tuple((step, value) for step, value in points if value is not None)
