"""Random numbers of one's own, with the caller's left as they were."""

from __future__ import annotations

import secrets
from types import TracebackType

import torch
from torch import Generator, Tensor

__all__ = ["Randomness", "fresh_seed", "mixed"]

_CPU = torch.device("cpu")


class Randomness:
    """Within `with`, torch's global streams are one's own; then the caller's go on as if nothing had been drawn.

    Weights are drawn from the global streams, and so is dropout, so these are exchanged rather than handed a generator.
    `torch.manual_seed` in their place would seed every GPU too. Entered again, the streams go on.

    Args:
        seed: start of the streams.
        device: the device that draws, besides the CPU.
    """

    def __init__(self, seed: int, device: torch.device = _CPU) -> None:
        self._device = device if device.type == "cuda" else None
        self._outer: list[Tensor] = []
        self.states = [Generator().manual_seed(seed).get_state()]
        if self._device is not None:
            self.states.append(Generator(self._device).manual_seed(seed).get_state())

    def __enter__(self) -> None:
        self._outer = self._exchange(self.states)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.states = self._exchange(self._outer)

    def _exchange(self, states: list[Tensor]) -> list[Tensor]:
        before = [torch.get_rng_state()]
        torch.set_rng_state(states[0])
        if self._device is not None:
            before.append(torch.cuda.get_rng_state(self._device))
            torch.cuda.set_rng_state(states[1], self._device)
        return before


def fresh_seed() -> int:
    """A seed that nobody chose."""
    return secrets.randbits(31)


def mixed(seed: int, number: int) -> int:
    """A seed for stream `number` of `seed`: streams differ from each other and from the neighbours' streams."""
    return (seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**63
