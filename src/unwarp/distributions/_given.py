"""A distribution given its context, in the clothes of torch.distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from unwarp import _check
from unwarp._manifold import CholeskyFactor, CorrelationFactor, Simplex
from unwarp._space import Circle, Integers, Interval, Manifold, Positive, Space
from unwarp.distributions._base import Distribution

__all__ = ["Given"]


class Given(torch.distributions.Distribution):
    """`p(. | context)` as a torch distribution, made by `Distribution.given`.

    Draws are reparametrised where the distribution's are; nothing is cached between calls.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # pyright: ignore[reportIncompatibleMethodOverride] # noqa: RUF012
    has_rsample = True

    def __init__(
        self, distribution: Distribution, context: Tensor | None = None, batch: Sequence[int] | None = None
    ) -> None:
        own = _check.context_batch("given", context, distribution.context_shape)
        shape = torch.Size(own if batch is None else batch)
        self.distribution = distribution
        self.context = context
        if context is not None and shape != own:
            self.context = context.expand(*shape, *context.shape[len(own) :])
        super().__init__(shape, torch.Size(distribution.space.shape), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        return _constraint(self.distribution.space)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Given:
        return Given(self.distribution, self.context, tuple(batch_shape))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.distribution.sample(self._draw_shape(sample_shape), self.context)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            return self.rsample(sample_shape)

    def rsample_and_log_prob(self, sample_shape: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
        """Draws and their log density in one pass."""
        return self.distribution.sample_and_log_prob(self._draw_shape(sample_shape), self.context)

    def log_prob(self, value: Tensor) -> Tensor:
        log_prob = self.distribution.log_prob(value, self.context)
        batch = torch.broadcast_shapes(log_prob.shape, self.batch_shape)
        return log_prob.expand(batch)

    def _draw_shape(self, sample_shape: Sequence[int]) -> tuple[int, ...]:
        return (*sample_shape, *(self.batch_shape if self.context is None else ()))


def _constraint(space: Space) -> constraints.Constraint:
    if any(isinstance(support, Manifold) for support in space.supports):
        return _whole_constraint(space)
    columns = [_scalar_constraint(support) for support in space.supports]
    if len(set(space.supports)) == 1:
        return constraints.independent(columns[0], len(space.shape))
    return constraints.cat([constraints.independent(c, len(space.shape) - 1) for c in columns], -1, [1] * len(columns))


def _whole_constraint(space: Space) -> constraints.Constraint:
    """That of a manifold, where torch has one; else real events, of which the manifold is a part."""
    known: dict[type[Manifold], constraints.Constraint] = {
        Simplex: constraints.simplex,
        CholeskyFactor: constraints.lower_cholesky,
        CorrelationFactor: constraints.corr_cholesky,
    }
    support = space.support
    if isinstance(support, Manifold) and type(support) in known:
        return constraints.independent(known[type(support)], len(space.shape) - len(support.shape))
    return constraints.independent(constraints.real, len(space.shape))


def _scalar_constraint(support: object) -> constraints.Constraint:
    if isinstance(support, Interval):
        return constraints.interval(support.low, support.high)
    if isinstance(support, Circle):
        return constraints.interval(-math.pi, math.pi)
    if isinstance(support, Integers):
        return constraints.integer_interval(support.low, support.high)
    return constraints.positive if isinstance(support, Positive) else constraints.real
