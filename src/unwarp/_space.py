"""Where events live: a static shape, and the support of each entry or of each vector or matrix."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from unwarp.errors import ConfigError

__all__ = [
    "CIRCLE",
    "POSITIVE",
    "REAL",
    "UNIT",
    "Circle",
    "Integers",
    "Interval",
    "Manifold",
    "Positive",
    "Real",
    "Space",
    "Support",
]


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

    @property
    def special(self) -> tuple[float, ...]:
        """Members at which formulas break most easily, besides those that every set is tried with."""
        return ()

    def difference(self, a: Tensor, b: Tensor) -> Tensor:
        """How far `a` is from `b`, with a sign."""
        return a - b


class Manifold(ABC):
    """A set of vectors or matrices that is no product of supports, with coordinates and a measure of volume.

    Densities on it are with respect to that measure, which each set's docstring names. Coordinates are numbers that
    tell its points apart, save for a set without volume; they are for tests, checks and fixed maps.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Of one member: `(n,)` or `(n, n)`."""

    @property
    @abstractmethod
    def center(self) -> Tensor:
        """A member well inside the set, `(*shape)`."""

    @property
    @abstractmethod
    def special(self) -> Tensor:
        """Members at which formulas break most easily, `(k, *shape)`."""

    @property
    @abstractmethod
    def coordinates(self) -> tuple[Support, ...]:
        """Where each of the d coordinates lives."""

    @abstractmethod
    def contains(self, x: Tensor) -> Tensor:
        """Does each member lie in the set, but for roundings? `x: (*batch, *shape)` -> bool `(*batch)`."""

    @abstractmethod
    def draw(
        self, batch: Sequence[int], *, generator: Generator | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Typical members, `(*batch, *shape)`, for tests and checks."""

    @abstractmethod
    def to_coordinates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates `(*batch, d)` of `x: (*batch, *shape)`, and the log of their volume by the set's, `(*batch)`."""

    @abstractmethod
    def from_coordinates(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """The member with coordinates u, and the log of the set's volume by theirs."""


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


@dataclass(frozen=True, slots=True, repr=False)
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

    @property
    def special(self) -> tuple[float, ...]:
        return tuple(self.low + (self.high - self.low) * share for share in (1e-6, 1 / 8, 1 / 2, 7 / 8, 1 - 1e-6))

    def __repr__(self) -> str:
        return f"Interval({self.low:g}, {self.high:g})"


@dataclass(frozen=True, slots=True)
class Circle(Support):
    r"""Angles in radians, from $-\pi$ to $\pi$, whose two ends are one point."""

    @property
    def center(self) -> float:
        return 0.0

    def contains(self, x: Tensor) -> Tensor:
        return (x >= -math.pi) & (x <= math.pi)

    def draw(
        self, shape: Sequence[int], *, generator: Generator | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        return math.pi * (2 * torch.rand(tuple(shape), generator=generator, dtype=dtype) - 1)

    @property
    def special(self) -> tuple[float, ...]:
        return (-math.pi, math.pi, -math.pi / 2, math.pi / 2, 1e-6 - math.pi, math.pi - 1e-6)

    def difference(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.remainder(a - b + math.pi, 2 * math.pi) - math.pi

    def __repr__(self) -> str:
        return "CIRCLE"


@dataclass(frozen=True, slots=True)
class Integers(Support):
    """The whole numbers from `low` to `high`, both included, as floating-point numbers.

    A distribution over them has a probability for each event where others have a density.

    Raises:
        ConfigError: unless `low < high`, both within 2^24, beyond which float32 has gaps.
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        if not (-(2**24) <= self.low < self.high <= 2**24):
            raise ConfigError(
                f"Integers: expected low < high, both within 2^24; got ({self.low}, {self.high}). Swap or fix the ends."
            )

    @property
    def center(self) -> float:
        return float((self.low + self.high) // 2)

    def contains(self, x: Tensor) -> Tensor:
        return (x >= self.low) & (x <= self.high) & (x == x.floor())

    def draw(
        self, shape: Sequence[int], *, generator: Generator | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        whole = torch.randint(self.low, self.high + 1, tuple(shape), generator=generator)
        return whole.to(torch.get_default_dtype() if dtype is None else dtype)


REAL = Real()
POSITIVE = Positive()
CIRCLE = Circle()
UNIT = Interval(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Space:
    """A set of events; maps compose where their spaces are equal.

    Args:
        shape: event shape, such as `(3,)` for rows of three features.
        support: one `Support` for all entries; a `Manifold` that takes the last axes; or a tuple of both kinds, side by
            side along the last axis.

    Raises:
        ConfigError: when the tuple, or the manifold, does not fill the last axes.

    Example:
        >>> space = Space((2,), (REAL, POSITIVE))
        >>> space.contains(torch.tensor([[0.0, 1.0], [0.0, -1.0]]))
        tensor([ True, False])
    """

    shape: tuple[int, ...]
    support: Support | Manifold | tuple[Support | Manifold, ...] = REAL

    def __post_init__(self) -> None:
        if isinstance(self.support, tuple):
            if not self.shape or any(len(s.shape) > 1 for s in self.support if isinstance(s, Manifold)):
                raise ConfigError(
                    f"Space: expected vectors to put side by side; got {self.support} for {self.shape}. "
                    "Give one support for all."
                )
            if sum(self.widths) != self.shape[-1]:
                raise ConfigError(
                    f"Space: expected one support for each of the last axis' entries of {self.shape}; "
                    f"got {sum(self.widths)}. Give one support, or as many as entries."
                )
            alone = len(self.support) == 1 or not any(isinstance(s, Manifold) for s in self.support)
            if len(set(self.support)) == 1 and alone:
                object.__setattr__(self, "support", self.support[0])
        elif isinstance(self.support, Manifold) and self.shape[-len(self.support.shape) :] != self.support.shape:
            raise ConfigError(
                f"Space: expected events that end in {self.support.shape} for {self.support}; got {self.shape}. "
                "Change the shape."
            )

    @property
    def supports(self) -> tuple[Support | Manifold, ...]:
        """What lies side by side along the last axis: one for each number, one for each vector (or matrix)."""
        if isinstance(self.support, tuple):
            return self.support
        if isinstance(self.support, Manifold):
            return (self.support,)
        return (self.support,) * (self.shape[-1] if self.shape else 1)

    @property
    def widths(self) -> tuple[int, ...]:
        """How many entries of the last axis each of `supports` takes."""
        return tuple(s.shape[-1] if isinstance(s, Manifold) else 1 for s in self.supports)

    @property
    def entries(self) -> int:
        """How many numbers an event has."""
        return math.prod(self.shape)

    @property
    def center(self) -> Tensor:
        """An event well inside, `(*shape)`."""
        if not any(isinstance(s, Manifold) for s in self.supports):
            centers = torch.tensor([s.center for s in self.supports])
            return centers.expand(self.shape) if self.shape else centers[0]
        parts = [s.center if isinstance(s, Manifold) else torch.tensor([s.center]) for s in self.supports]
        return torch.cat(parts, -1).expand(self.shape)

    @property
    def flat(self) -> Space:
        """Where the coordinates of events live: vectors of numbers, each with its own support."""
        row = [c for s in self.supports for c in (s.coordinates if isinstance(s, Manifold) else (s,))]
        each = tuple(row) * math.prod(self._before)
        return Space((len(each),), each)

    def contains(self, x: Tensor) -> Tensor:
        """Does each event lie in the space? `x: (*batch, *shape)` -> bool `(*batch)`."""
        if isinstance(self.support, tuple):
            inside = torch.stack([s.contains(part) for s, part in self._split(x)], -1)
        else:
            inside = self.support.contains(x)
        batch = x.dim() - len(self.shape)
        return inside.flatten(batch).all(-1) if inside.dim() > batch else inside

    def draw(self, n: int, *, generator: Generator | None = None, dtype: torch.dtype | None = None) -> Tensor:
        """`n` typical events, `(n, *shape)`: for tests and checks, not a distribution to rely on."""
        batch = (n, *self._before)
        if not isinstance(self.support, tuple):
            batch = batch if isinstance(self.support, Manifold) else (n, *self.shape)
            return self.support.draw(batch, generator=generator, dtype=dtype)
        parts = [s.draw(batch, generator=generator, dtype=dtype) for s in self.support]
        pairs = zip(self.support, parts, strict=True)
        return torch.cat([p if isinstance(s, Manifold) else p.unsqueeze(-1) for s, p in pairs], -1)

    def difference(self, a: Tensor, b: Tensor) -> Tensor:
        """How far each entry of `a` is from that of `b`: around the circle for angles, else `a - b`."""
        if CIRCLE not in self.supports:
            return a - b
        angles = [s == CIRCLE for s, width in zip(self.supports, self.widths, strict=True) for _ in range(width)]
        return torch.where(torch.tensor(angles, device=a.device), CIRCLE.difference(a, b), a - b)

    def to_coordinates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates `(*batch, d)` of events, which live in `flat`, and the log of their volume by the event's."""
        return self._chart(x, len(self.shape), to=True)

    def from_coordinates(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Events with the coordinates `u: (*batch, d)`, and the log of their volume by the coordinates'."""
        x, ladj = self._chart(u.unflatten(-1, (*self._before, -1)), 1 + len(self._before), to=False)
        return x.reshape(*u.shape[:-1], *self.shape), ladj

    @property
    def _before(self) -> tuple[int, ...]:
        """The axes before those that `supports` lie along."""
        last = len(self.support.shape) if isinstance(self.support, Manifold) else 1
        return self.shape[:-last]

    def _split(self, x: Tensor, widths: Sequence[int] | None = None) -> list[tuple[Support | Manifold, Tensor]]:
        """Each support with its part of x; a number's without the last axis."""
        parts = x.split(list(widths or self.widths), -1)
        return [(s, p if isinstance(s, Manifold) else p.squeeze(-1)) for s, p in zip(self.supports, parts, strict=True)]

    def _chart(self, x: Tensor, axes: int, *, to: bool) -> tuple[Tensor, Tensor]:
        if isinstance(self.support, Manifold) and not self._before:
            return self.support.to_coordinates(x) if to else self.support.from_coordinates(x)
        batch = x.dim() - axes
        ladj = x.new_zeros(x.shape[:batch])
        if not any(isinstance(s, Manifold) for s in self.supports):
            return x.flatten(batch) if self.shape else x.unsqueeze(-1), ladj
        widths = self.widths if to else [len(s.coordinates) if isinstance(s, Manifold) else 1 for s in self.supports]
        pieces: list[Tensor] = []
        for s, part in self._split(x, widths):
            if isinstance(s, Manifold):
                piece, step = s.to_coordinates(part) if to else s.from_coordinates(part)
                ladj = ladj + (step.flatten(batch).sum(-1) if step.dim() > batch else step)
                pieces.append(piece)
            else:
                pieces.append(part.unsqueeze(-1))
        joined = torch.cat(pieces, -1)
        return joined.flatten(batch) if to else joined, ladj
