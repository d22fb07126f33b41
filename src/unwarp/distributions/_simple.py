"""Bases without structure: every feature on its own, all alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from unwarp import _check
from unwarp._space import Interval, Space
from unwarp.distributions._base import Distribution

__all__ = ["Normal", "StudentT", "Uniform"]


class Normal(Distribution):
    r"""Standard normal: $\log p(x) = -\tfrac12 \lVert x\rVert^2 - \tfrac D2 \log 2\pi$.

    Use it as the base unless the data say otherwise.

    Args:
        features: number of features D, or the event's shape, such as (channels, height, width), of D entries.

    Shapes: x `(*batch, *event)` -> `(*batch)`, nats.

    Raises:
        ConfigError: if a size is below 1.

    Example:
        >>> bool(torch.isclose(Normal(1).log_prob(torch.zeros(1)), torch.tensor(-0.9189385)))
        True
    """

    anchor: Tensor

    def __init__(self, features: int | Sequence[int]) -> None:
        super().__init__(Space(_check.event("Normal", features)))
        self.register_buffer("anchor", torch.zeros(()), persistent=False)  # tells dtype and device

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = _check.broadcast_event("Normal.log_prob", x, self.space.shape, context, self.context_shape)
        return -0.5 * (_sum(x.square(), self.space) + self.space.entries * math.log(2 * math.pi))

    def sample(
        self, shape: Sequence[int] = (), context: Tensor | None = None, *, generator: Generator | None = None
    ) -> Tensor:
        return _randn(self.batch_shape(shape, context) + self.space.shape, self.anchor, generator)

    def sample_and_log_prob(
        self, shape: Sequence[int] = (), context: Tensor | None = None, *, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        x = self.sample(shape, context, generator=generator)
        return x, self.log_prob(x)

    def extra_repr(self) -> str:
        return f"{_size(self.space)}"


class StudentT(Distribution):
    r"""Independent Student-t features with learned degrees of freedom $\nu_i > 1/2$.

    Use it as the base where tails are heavy and alike in every direction; else prefer heavy tails at the data's side.

    Args:
        features: number of features D, or the event's shape, such as (channels, height, width), of D entries.
        freedom: degrees of freedom at the start.

    Shapes: x `(*batch, *event)` -> `(*batch)`, nats.

    Raises:
        ConfigError: if a size is below 1 or `freedom` is not above 1/2.

    Example:
        >>> cauchy = StudentT(1, freedom=1.0)
        >>> bool(torch.isclose(cauchy.log_prob(torch.zeros(1)), torch.tensor(-1.1447299)))
        True
    """

    def __init__(self, features: int | Sequence[int], *, freedom: float = 5.0) -> None:
        super().__init__(Space(_check.event("StudentT", features)))
        above = _check.positive("StudentT", "freedom - 1/2", freedom - 0.5)
        self.raw_freedom = nn.Parameter(torch.full(self.space.shape, above + math.log(-math.expm1(-above))))

    @property
    def freedom(self) -> Tensor:
        """Degrees of freedom of each feature, `(*event)`."""
        return 0.5 + F.softplus(self.raw_freedom)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = _check.broadcast_event("StudentT.log_prob", x, self.space.shape, context, self.context_shape)
        nu = self.freedom
        constant = torch.lgamma((nu + 1) / 2) - torch.lgamma(nu / 2) - 0.5 * (nu * math.pi).log()
        return _sum(constant - (nu + 1) / 2 * _log1p_square(x, nu), self.space)

    def sample_and_log_prob(
        self, shape: Sequence[int] = (), context: Tensor | None = None, *, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        nu = self.freedom
        normal = _randn(self.batch_shape(shape, context) + self.space.shape, nu, generator)
        gamma = torch._standard_gamma(  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
            (nu / 2).expand(normal.shape), generator
        )  # the one gamma sampler of torch that takes a generator
        x = normal * (nu / (2 * gamma.clamp(min=torch.finfo(nu.dtype).tiny))).sqrt()
        return x, self.log_prob(x)

    def extra_repr(self) -> str:
        return f"{_size(self.space)}"


class Uniform(Distribution):
    r"""Uniform on a box: $\log p(x) = -D \log(b - a)$ inside, minus infinity outside.

    Use it as the base of flows that end in the unit cube, such as those built from distribution functions.

    Args:
        features: number of features D, or the event's shape, such as (channels, height, width), of D entries.
        low: lower end $a$ of every feature.
        high: upper end $b$.

    Shapes: x `(*batch, *event)` -> `(*batch)`, nats.

    Raises:
        ConfigError: if a size is below 1 or not `low < high`.

    Example:
        >>> Uniform(2).log_prob(torch.tensor([[0.5, 0.5], [0.5, 2.0]])).tolist()
        [0.0, -inf]
    """

    anchor: Tensor

    def __init__(self, features: int | Sequence[int], *, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__(Space(_check.event("Uniform", features), Interval(low, high)))
        self.low = low
        self.high = high
        self.register_buffer("anchor", torch.zeros(()), persistent=False)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = _check.broadcast_event("Uniform.log_prob", x, self.space.shape, context, self.context_shape)
        outside = ((x < self.low) | (x > self.high)).flatten(x.dim() - len(self.space.shape)).any(-1)
        flat = _sum(x, self.space) * 0 - self.space.entries * math.log(self.high - self.low)
        return torch.where(outside, -torch.inf, flat)

    def sample_and_log_prob(
        self, shape: Sequence[int] = (), context: Tensor | None = None, *, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        shape = self.batch_shape(shape, context) + self.space.shape
        u = torch.rand(shape, generator=generator, dtype=self.anchor.dtype, device=self.anchor.device)
        x = self.low + (self.high - self.low) * u
        return x, self.log_prob(x)

    def extra_repr(self) -> str:
        return f"{_size(self.space)}, low={self.low}, high={self.high}"


def _sum(x: Tensor, space: Space) -> Tensor:
    """The sum over each event's entries, `(*batch)`."""
    return x.sum(tuple(range(-len(space.shape), 0)))


def _size(space: Space) -> int | tuple[int, ...]:
    return space.shape[0] if len(space.shape) == 1 else space.shape


def _randn(shape: Sequence[int], like: Tensor, generator: Generator | None) -> Tensor:
    return torch.randn(tuple(shape), generator=generator, dtype=like.dtype, device=like.device)


def _log1p_square(x: Tensor, nu: Tensor) -> Tensor:
    """log(1 + x^2 / nu) without overflow of the square."""
    a = x.abs() / nu.sqrt()
    big = a > 1e3
    small = torch.where(big, 0.0, a)
    large = torch.where(big, a, 1.0)
    return torch.where(big, 2 * large.log() + (1 / large).square(), small.square().log1p())
