"""Where events live: a static shape and the support of each entry."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from unwarp.errors import ConfigError

__all__ = ["POSITIVE", "REAL", "UNIT", "Interval", "Positive", "Real", "Space", "Support"]


class Support(ABC):
    """A set of scalars."""

    @property
    @abstractmethod
    def center(self) -> float:
        """A member well inside the set."""

    @abstractmethod
    def contains(self, x: Tensor) -> Tensor:
        """Elementwise: does `x` lie in the set? NaN never does."""

    @abstractmethod
    def draw(
        self, shape: Sequence[int], *, generator: Generator | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Typical members of the set, for tests and checks; of given shape."""


@dataclass(frozen=True, slots=True)
class Real(Support):
    """The real line."""

    @property
    def center(self) -> float:
        return 0.0

    def contains(self, x: Tensor) -> Tensor:
        return torch.isfinite(x)

    def draw(
        self, shape: Sequence[int], *, generator: Generator | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        return 1.5 * torch.randn(tuple(shape), generator=generator, dtype=dtype)

    def __repr__(self) -> str:
        return "REAL"


@dataclass(frozen=True, slots=True)
class Positive(Support):
    """The positive half line, zero excluded."""

    @property
    def center(self) -> float:
        return 1.0

    def contains(self, x: Tensor) -> Tensor:
        return torch.isfinite(x) & (x > 0)

    def draw(
        self, shape: Sequence[int], *, generator: Generator | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        return torch.randn(tuple(shape), generator=generator, dtype=dtype).exp()

    def __repr__(self) -> str:
        return "POSITIVE"


@dataclass(frozen=True, slots=True)
class Interval(Support):
    """The open interval from `low` to `high`.

    Raises:
        ConfigError: unless both ends are finite and `low < high`.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ConfigError(
                f"Interval: expected finite low < high; got ({self.low}, {self.high}). Swap or fix the ends."
            )

    @property
    def center(self) -> float:
        return 0.5 * (self.low + self.high)

    def contains(self, x: Tensor) -> Tensor:
        return (x > self.low) & (x < self.high)

    def draw(
        self, shape: Sequence[int], *, generator: Generator | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        u = torch.rand(tuple(shape), generator=generator, dtype=dtype)
        return self.low + (self.high - self.low) * (0.01 + 0.98 * u)


REAL = Real()
POSITIVE = Positive()
UNIT = Interval(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Space:
    """A set of events; maps compose where their spaces are equal.

    Args:
        shape: event shape, such as `(3,)` for rows of three features.
        support: one `Support` for all entries, or a tuple with one for each index of the last axis.

    Raises:
        ConfigError: when the tuple's length is not the last axis' length.

    Example:
        >>> space = Space((2,), (REAL, POSITIVE))
        >>> space.contains(torch.tensor([[0.0, 1.0], [0.0, -1.0]]))
        tensor([ True, False])
    """

    shape: tuple[int, ...]
    support: Support | tuple[Support, ...] = REAL

    def __post_init__(self) -> None:
        if isinstance(self.support, tuple):
            if not self.shape or len(self.support) != self.shape[-1]:
                raise ConfigError(
                    f"Space: expected one support for each of the last axis' entries of {self.shape}; "
                    f"got {len(self.support)}. Give one support, or as many as entries."
                )
            if len(set(self.support)) == 1:
                object.__setattr__(self, "support", self.support[0])

    @property
    def supports(self) -> tuple[Support, ...]:
        """The support of each index of the last axis (one entry for a scalar event)."""
        if isinstance(self.support, tuple):
            return self.support
        return (self.support,) * (self.shape[-1] if self.shape else 1)

    @property
    def entries(self) -> int:
        """How many numbers an event has."""
        return math.prod(self.shape)

    @property
    def center(self) -> Tensor:
        """An event well inside, `(*shape)`."""
        if not self.shape:
            return torch.tensor(self.supports[0].center)
        return torch.tensor([support.center for support in self.supports]).expand(self.shape)

    def contains(self, x: Tensor) -> Tensor:
        """Does each event lie in the space? `x: (*batch, *shape)` -> bool `(*batch)`."""
        inside = self._by_support(x)
        return inside.flatten(x.dim() - len(self.shape)).all(-1) if self.shape else inside

    def draw(self, n: int, *, generator: Generator | None = None, dtype: torch.dtype | None = None) -> Tensor:
        """`n` typical events, `(n, *shape)`: for tests and checks, not a distribution to rely on."""
        if not isinstance(self.support, tuple):
            return self.support.draw((n, *self.shape), generator=generator, dtype=dtype)
        columns = [s.draw((n, *self.shape[:-1]), generator=generator, dtype=dtype) for s in self.support]
        return torch.stack(columns, -1)

    def _by_support(self, x: Tensor) -> Tensor:
        if not isinstance(self.support, tuple):
            return self.support.contains(x)
        return torch.stack([s.contains(column) for s, column in zip(self.support, x.unbind(-1), strict=True)], -1)
