"""What the machine itself can do, measured: the yardstick of every speed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

__all__ = ["Limits", "limits"]

_SIDE = 512  # of the matrices that are multiplied
_LARGE = 1 << 24  # numbers to copy: more than caches hold
_TRIES = 10  # a busy machine interrupts some
_MANY = 1 << 16  # numbers to exponentiate: as many as caches hold


@dataclass(frozen=True, slots=True)
class Limits:
    """How fast a machine is at the four things that flows are made of, in float32 and with torch's threads.

    Attributes:
        gemm: floating-point operations a second in products of 512 x 512 matrices.
        copy: bytes a second, read and written, in a copy that no cache holds.
        exp: exponentials a second.
        dispatch: seconds that the smallest operation takes, which is what torch itself costs.
        threads: that torch uses.
    """

    gemm: float
    copy: float
    exp: float
    dispatch: float
    threads: int

    def to_json(self) -> dict[str, Any]:
        """The limits as JSON-able data."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.gemm / 1e9:.0f} GFLOP/s in matrix products, {self.copy / 1e9:.1f} GB/s copied, "
            f"{self.exp / 1e9:.2f} billion exponentials a second, {self.dispatch * 1e6:.1f} us an operation; "
            f"{self.threads} thread{'s' * (self.threads > 1)}"
        )


def limits(*, seconds: float = 0.2) -> Limits:
    """Measure what this machine can do on the CPU, now and with torch's present number of threads.

    Each figure is the best of many short tries, so other work on the machine disturbs it little. Use it beside timings:
    a share of the machine's own limit says more than milliseconds do.

    Args:
        seconds: to spend on each figure.

    Example:
        >>> machine = limits(seconds=0.01)
        >>> machine.gemm > 1e8, machine.dispatch < 1e-3
        (True, True)
    """
    a, b, product = (torch.randn(_SIDE, _SIDE, generator=torch.Generator().manual_seed(i)) for i in range(3))
    large, out = torch.zeros(_LARGE), torch.zeros(_LARGE)
    many, small = torch.linspace(-4, 4, _MANY), torch.zeros(1)
    raised = torch.empty_like(many)

    def dispatch() -> None:
        for _ in range(100):
            small.neg()

    with torch.no_grad():
        return Limits(
            gemm=2 * _SIDE**3 / best(lambda: torch.mm(a, b, out=product), seconds),
            copy=8 * _LARGE / best(lambda: out.copy_(large), seconds),
            exp=_MANY / best(lambda: torch.exp(many, out=raised), seconds),
            dispatch=best(dispatch, seconds) / 100,
            threads=torch.get_num_threads(),
        )


def best(call: Callable[[], object], seconds: float) -> float:
    """The fewest seconds that a call took, of as many tries as fit and `_TRIES` at least."""
    call()
    least, tries, end = float("inf"), 0, time.perf_counter() + seconds
    while (start := time.perf_counter()) < end or tries < _TRIES:
        call()
        least = min(least, time.perf_counter() - start)
        tries += 1
    return least
