"""Any distribution of torch as a base."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor
from torch.distributions import constraints

from unwarp import _check
from unwarp._manifold import CholeskyFactor, CorrelationFactor, Simplex
from unwarp._random import Randomness
from unwarp._space import POSITIVE, REAL, Interval, Manifold, Space, Support
from unwarp.distributions._base import Distribution
from unwarp.errors import SpaceError

__all__ = ["From"]


class From(Distribution):
    """A distribution of `torch.distributions` with fixed parameters; its batch and event together are the event.

    Use it for a base that is not here: Laplace, Gumbel, Gamma, Dirichlet, a mixture of torch's. The parameters move and
    are saved with the module.

    Args:
        make: the class, or a function that builds the distribution.
        parameters: what to build it with.

    Shapes: x `(*batch, *event)` -> `(*batch)`, nats.

    Raises:
        SpaceError: when the distribution's support is none of the spaces here, such as whole numbers.

    Example:
        >>> base = From(torch.distributions.Laplace, loc=torch.zeros(2), scale=torch.ones(2))
        >>> bool(torch.isclose(base.log_prob(torch.zeros(2)).exp(), torch.tensor(0.25)))
        True
    """

    def __init__(self, make: Callable[..., torch.distributions.Distribution], **parameters: Tensor) -> None:
        made = make(**parameters)
        shape = tuple(made.batch_shape + made.event_shape)
        super().__init__(Space(shape, _support(made.support, shape)))
        self._make = make
        self._names = tuple(parameters)
        for name, value in parameters.items():
            self.register_buffer(name, torch.as_tensor(value))

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = _check.broadcast_event("From.log_prob", x, self.space.shape, context, self.context_shape)
        log_prob = self._made().log_prob(x)
        batch = x.dim() - len(self.space.shape)
        return log_prob.flatten(batch).sum(-1) if log_prob.dim() > batch else log_prob

    def sample_and_log_prob(
        self, shape: Sequence[int] = (), context: Tensor | None = None, *, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        made, batch = self._made(), torch.Size(self.batch_shape(shape, context))
        if generator is None:
            x = made.sample(batch)
        else:  # torch's distributions take no generator: its next number seeds a copy of the global state
            seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
            with Randomness(seed, self.get_buffer(self._names[0]).device):
                x = made.sample(batch)
        return x, self.log_prob(x)

    def _made(self) -> torch.distributions.Distribution:
        return self._make(**{name: getattr(self, name) for name in self._names}, validate_args=False)

    def extra_repr(self) -> str:
        return f"{self._make.__name__}, {', '.join(self._names)}"


def _support(constraint: object, shape: tuple[int, ...]) -> Support | Manifold:
    while isinstance(constraint, constraints.independent):
        constraint = constraint.base_constraint
    if isinstance(constraint, type(constraints.real)) or constraint is constraints.real_vector:
        return REAL
    if constraint in (constraints.positive, constraints.nonnegative):
        return POSITIVE
    if isinstance(constraint, (constraints.interval, constraints.half_open_interval)):
        return Interval(float(constraint.lower_bound), float(constraint.upper_bound))
    whole: dict[object, Callable[[int], Manifold]] = {
        constraints.simplex: Simplex,
        constraints.lower_cholesky: CholeskyFactor,
        constraints.corr_cholesky: CorrelationFactor,
    }
    if constraint in whole:
        return whole[constraint](shape[-1])
    raise SpaceError(f"From: expected a continuous distribution; got support {constraint}. Choose another base.")
