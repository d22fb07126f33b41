"""How fast a flow trains, scores and samples, and how much of the machine that is."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from unwarp import _check
from unwarp._random import Randomness
from unwarp.distributions import Distribution
from unwarp.doctor._limits import Limits, limits

__all__ = ["Pace", "Speed", "Work", "speed", "work"]


@dataclass(frozen=True, slots=True)
class Work:
    """What a call asks of the machine.

    Attributes:
        flop: floating-point operations of its matrix products and convolutions, those by zeros of a mask included.
        operations: how many operations torch was asked for, views left out.
    """

    flop: int
    operations: int


class _Operations(TorchDispatchMode):
    """Counts operations that are more than another view of the same numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def work(call: Callable[[], object]) -> Work:
    """Run `call` once and count what it asks of the machine.

    Example:
        >>> work(lambda: torch.ones(3, 4) @ torch.ones(4, 5))
        Work(flop=120, operations=3)
    """
    operations, products = _Operations(), FlopCounterMode(display=False)
    with products, operations:
        call()
    return Work(int(products.get_total_flops()), operations.count)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one thing is done.

    Attributes:
        task: "train" (a step of Adam on the mean log density), "log_prob", "sample" or "sample_and_log_prob".
        seconds: median over the tries.
        low: lower quartile.
        high: upper quartile.
        work: what it asks of the machine.
    """

    task: str
    seconds: float
    low: float
    high: float
    work: Work


@dataclass(frozen=True, slots=True)
class Speed:
    """What `speed` measured; `str(speed)` is a table.

    Attributes:
        subject: what was measured.
        parameters: how many it has.
        batch: rows at a time.
        limits: what the machine can do.
        paces: one for each task.
    """

    subject: str
    parameters: int
    batch: int
    limits: Limits
    paces: tuple[Pace, ...]

    def share(self, pace: Pace) -> float:
        """The share of the machine's rate of matrix products that a task reaches."""
        return pace.work.flop / pace.seconds / self.limits.gemm

    def waiting(self, pace: Pace) -> float:
        """The share of a task's time that its operations would take if each were the smallest there is."""
        return pace.work.operations * self.limits.dispatch / pace.seconds

    def to_json(self) -> dict[str, Any]:
        """The same as JSON-able data; shares are of 1."""
        tasks = {
            pace.task: {
                "seconds": pace.seconds,
                "low": pace.low,
                "high": pace.high,
                "rows_per_second": self.batch / pace.seconds,
                "flop": pace.work.flop,
                "operations": pace.work.operations,
                "share_of_gemm": self.share(pace),
                "share_of_dispatch": self.waiting(pace),
            }
            for pace in self.paces
        }
        return {
            "subject": self.subject,
            "parameters": self.parameters,
            "batch": self.batch,
            "limits": self.limits.to_json(),
            "tasks": tasks,
        }

    def __str__(self) -> str:
        lines = [f"{self.subject}: {self.parameters:,} parameters, {self.batch} rows at a time"]
        lines.append(f"{'task':20}  {'ms':>9}  {'quartiles':>17}  {'rows/s':>10}  {'of GEMM':>7}  {'dispatch':>8}")
        for pace in self.paces:
            spread = f"{1e3 * pace.low:.3g} to {1e3 * pace.high:.3g}"
            lines.append(
                f"{pace.task:20}  {1e3 * pace.seconds:9.3g}  {spread:>17}  {self.batch / pace.seconds:10,.0f}"
                f"  {self.share(pace):7.1%}  {self.waiting(pace):8.1%}"
            )
        return "\n".join(lines)


def speed(
    flow: Distribution, *, batch: int = 512, seconds: float = 1.0, name: str = "", machine: Limits | None = None
) -> Speed:
    """Measure how fast a distribution trains, scores and samples, and the machine's own limits beside it.

    A copy is measured on the CPU, on events drawn from the distribution's space. "of GEMM" is the share of the
    machine's rate of matrix products, "dispatch" the share of the time that goes to starting operations: where that is
    large, larger batches cost little.

    Args:
        flow: what to measure.
        batch: rows at a time.
        seconds: to spend on each of the four tasks, about.
        name: what to call it; by default its recipe, or its class.
        machine: limits that are known already; by default they are measured.

    Raises:
        ConfigError: when `batch` is below 1.

    Example:
        >>> found = speed(flow("maf", 2, hidden=(8,)), batch=16, seconds=0.01, machine=limits(seconds=0.01))
        >>> [pace.task for pace in found.paces]
        ['train', 'log_prob', 'sample', 'sample_and_log_prob']
    """
    _check.at_least("speed", "batch", batch, 1)
    spec: dict[str, Any] = vars(flow).get("spec") or {}
    subject = name or str(spec.get("recipe", type(flow).__name__))
    machine = limits() if machine is None else machine
    with Randomness(0):
        tasks = _tasks(copy.deepcopy(flow).cpu(), batch)
        paces = tuple(_paced(task, call, seconds) for task, call in tasks.items())
    return Speed(subject, sum(value.numel() for value in flow.parameters()), batch, machine, paces)


def _tasks(flow: Distribution, batch: int) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    like = next(flow.parameters(), torch.empty(0))
    x = flow.space.draw(batch, generator=torch.Generator().manual_seed(0)).to(like.dtype)
    context = None if flow.context_shape is None else like.new_zeros(batch, *flow.context_shape)
    shape = (batch,) if context is None else ()
    params = [value for value in flow.parameters() if value.requires_grad]
    optimiser = torch.optim.Adam(params, lr=1e-4, fused=True) if params else None

    def train() -> None:
        if optimiser is not None:
            optimiser.zero_grad()
            (-flow.log_prob(x, context).mean()).backward()
            optimiser.step()

    def quietly(call: Callable[[], object]) -> Callable[[], object]:
        def called() -> None:
            with torch.no_grad():
                call()

        return called

    return {
        "train": train,
        "log_prob": quietly(lambda: flow.log_prob(x, context)),
        "sample": quietly(lambda: flow.sample(shape, context)),
        "sample_and_log_prob": quietly(lambda: flow.sample_and_log_prob(shape, context)),
    }


def _paced(task: str, call: Callable[[], object], seconds: float) -> Pace:
    """Time a call until the seconds are over, three times at least."""
    call()
    asked = work(call)
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    low, median, high = quantiles(taken, n=4)
    return Pace(task, median, low, high, asked)
