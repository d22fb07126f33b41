"""The flow of a vector field: events move for one unit of time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol, Self, cast, get_args, runtime_checkable

import torch
from torch import Tensor, nn

from unwarp import _check
from unwarp._space import Space
from unwarp.errors import ConfigError, ShapeError
from unwarp.functional import (
    TABLEAUS,
    Stage,
    Tableau,
    directional,
    integrate_adaptively,
    jacobian,
    runge_kutta,
    solve_nearby,
)
from unwarp.transforms._base import Transform
from unwarp.transforms._noise import Noise

__all__ = ["Continuous", "Cost", "Field", "Transport"]

Solver = Literal["euler", "midpoint", "rk4", "bosh3", "dopri5", "dopri8"]
Cost = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

_NEWTON = 3  # steps of the search for a step's start; two more carry the derivatives
_CORRECTIONS = 8


class Field(Protocol):
    """A velocity at a place, a time and a context (see `networks.VectorField`)."""

    def __call__(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor: ...


@runtime_checkable
class LinearizedField(Protocol):
    """A field that knows its own slope, faster than by automatic differentiation."""

    def linearize(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]: ...


@runtime_checkable
class PushingField(Protocol):
    """A field that knows its own derivative along directions, faster than by automatic differentiation."""

    def push(self, x: Tensor, t: Tensor, context: Tensor | None, ways: Tensor) -> tuple[Tensor, Tensor]: ...


class Transport(NamedTuple):
    """What `Continuous.transport` found on the way.

    Attributes:
        z: where the events end, `(*batch, D)`.
        ladj: log-determinant of the way, `(*batch)`, nats.
        cost: integrals of what was asked for, `(*batch, M)`; M = 0 when nothing was.
    """

    z: Tensor
    ladj: Tensor
    cost: Tensor


class Continuous(Transform):
    r"""$z = x(1)$ where $dx/dt = v(x, t, \text{context})$ and $x(0)$ is the data; v is any smooth network.

    A solver of fixed steps is itself a map, $x_{n+1} = s_n(x_n)$, and with `trace="exact"` it is this map whose density
    is computed: $\text{ladj} = \sum_n \log|\det \partial s_n/\partial x_n|$, and the inverse undoes every step by
    Newton's method. So density and samples belong together to the last digits *whatever the number of steps*; more
    steps bring the map closer to the equation's solution, and nothing else. Steps are one to one where they change
    positions by less than they are apart, which holds for fields of slope below the number of steps; nothing forces a
    trained field to keep to it, and `doctor.audit` tells row by row whether it does.

    With `trace="hutchinson"`, ladj is an unbiased estimate, by one random direction a row, of the solver's own value of
    $\int \operatorname{tr}(\partial v/\partial x)\,dt$. That differs from the solver's own log-determinant by its error
    ($h^4$ for "rk4" of step h), and its cost does not grow with D. `distributions.estimate` gives its standard error.
    The adaptive solvers "bosh3", "dopri5", "dopri8" come from torchdiffeq; there point, inverse and ladj are
    right to about `tolerance` times the slopes, rows of a batch share their steps, and `torch.compile` and vmap don't
    apply.

    Use it where a free network should move the data: smooth densities, flow matching (`training.matching`), physics.
    A density costs `steps` times 1, 2 or 4 (for "euler", "midpoint", "rk4") evaluations of v with D derivatives,
    and sampling about six times that; exchange the two with `Inverse`.

    Args:
        features: number of features D.
        field: the velocity v, such as `networks.VectorField`.
        context: length of the context; 0 for none.
        solver: how to go along v.
        steps: number of steps of a solver of fixed steps.
        tolerance: relative and absolute error of a step of an adaptive solver.
        trace: "exact" or "hutchinson".
        gradients: "direct" goes back through the solver's steps; "adjoint", for adaptive solvers, solves a second
            equation backwards in constant memory, to the tolerance, and once differentiable.

    Shapes: x, z `(*batch, D)`; context `(*batch, context)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: when an option has no meaning.
        ShapeError: when the field's output does not fit.
        NotConvergedError: in a call, when an adaptive solver gets stuck.

    Source: Chen, Rubanova, Bettencourt and Duvenaud, *Neural Ordinary Differential Equations*, 2018, arXiv:1806.07366;
    Grathwohl et al., *FFJORD*, 2019, arXiv:1810.01367. Differs: with fixed steps the density is that of the discrete
    map, not an integral beside it.

    Example:
        >>> layer = Continuous(2, VectorField(2, hidden=(16,)), steps=4)
        >>> z, ladj = layer(torch.ones(5, 2))
        >>> bool((z == 1).all()), ladj.shape
        (True, torch.Size([5]))
    """

    def __init__(
        self,
        features: int,
        field: nn.Module,
        *,
        context: int = 0,
        solver: Solver = "rk4",
        steps: int = 8,
        tolerance: float = 1e-6,
        trace: Literal["exact", "hutchinson"] = "exact",
        gradients: Literal["direct", "adjoint"] = "direct",
    ) -> None:
        space = Space((_check.at_least("Continuous", "features", features, 1),))
        super().__init__(space, context=context, kind="exact" if trace == "exact" else "estimate")
        _one_of("trace", trace, ("exact", "hutchinson"))
        _one_of("gradients", gradients, ("direct", "adjoint"))
        self.field = field
        self._linearized = isinstance(field, LinearizedField)
        self._pushing = isinstance(field, PushingField)
        self.noise = Noise() if trace == "hutchinson" else None
        self.gradients: Literal["direct", "adjoint"] = gradients
        self._choose(solver, steps, tolerance)
        with torch.no_grad():
            got = self._field(torch.zeros(1, features), torch.zeros(()), torch.zeros(1, context) if context else None)
        if got.shape != (1, features):
            raise ShapeError(
                f"Continuous: expected field to give {features} numbers a row; got {tuple(got.shape[1:])}. "
                f"Build it as VectorField({features})."
            )

    def with_solver(
        self, *, solver: Solver | None = None, steps: int | None = None, tolerance: float | None = None
    ) -> Self:
        """The same field, its weights shared, under another solver: few steps for fast draws, many for the equation."""
        other = copy.copy(self)
        other._choose(solver or self.solver, steps or self.steps, tolerance or self.tolerance)
        return other

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.tableau is None:
            return self._adaptive(x, context, (0.0, 1.0))
        return self.transport(x, context)[:2]

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.noise is not None:  # the random directions belong to the data
            x = self.decode(z, context)
            return x, -self.forward(x, context)[1]
        if self.tableau is None:
            return self._adaptive(z, context, (1.0, 0.0))
        x = _widened(z, context)
        ladj = x.new_zeros(x.shape[:-1])
        for n in reversed(range(self.steps)):
            x = self._undone(x, n, context)
            ladj = ladj - torch.linalg.slogdet(self._linear(x, n, context)[1]).logabsdet
        return x, ladj

    def encode(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = _widened(x, context)
        if self.tableau is None:
            return self._solved((x,), context, (0.0, 1.0))[0]
        for n in range(self.steps):
            x = self._step(x, n, context)
        return x

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        x = _widened(z, context)
        if self.tableau is None:
            return self._solved((x,), context, (1.0, 0.0))[0]
        for n in reversed(range(self.steps)):
            x = self._undone(x, n, context)
        return x

    def transport(self, x: Tensor, context: Tensor | None = None, cost: Cost | None = None) -> Transport:
        r"""`forward`, with integrals of what `cost` says of each point of the way.

        Args:
            x: events, `(*batch, D)`.
            context: their contexts.
            cost: from points `(*batch, D)`, times `()`, velocities `(*batch, D)` and roughness
                $\|\partial v/\partial x\|_F^2$ `(*batch)` (estimated where ladj is) to M numbers `(*batch, M)`.

        Raises:
            ConfigError: with an adaptive solver, whose steps are not ours to look into.
        """
        if self.tableau is None:
            raise ConfigError(f'Continuous: expected a solver of fixed steps; got "{self.solver}". Use with_solver.')
        x = _widened(x, context)
        d = x.shape[-1]
        probe = None if self.noise is None else self.noise.sign(x, x.shape[-1:])
        ladj, total = x.new_zeros(x.shape[:-1]), x.new_zeros(*x.shape[:-1], 0) if cost is None else torch.zeros(())
        for n in range(self.steps):
            if probe is None:
                x, slope, stages = self._linear(x, n, context)
                ladj = ladj + torch.linalg.slogdet(slope).logabsdet
            else:
                x, gain, stages = self._estimated(x, n, context, probe)
                ladj = ladj + gain
            if cost is not None:
                for share, t, point, rates in stages:
                    total = total + share * cost(point[..., :d], t, rates[..., :d], rates[..., -1])
        return Transport(x, ladj, total)

    def extra_repr(self) -> str:
        how = f"steps={self.steps}" if self.tableau else f"tolerance={self.tolerance:g}"
        return f"{self.domain.shape[0]}, solver={self.solver}, {how}" + (", trace=hutchinson" if self.noise else "")

    def _choose(self, solver: Solver, steps: int, tolerance: float) -> None:
        _one_of("solver", solver, get_args(Solver))
        self.solver: Solver = solver
        self.tableau = TABLEAUS.get(solver)
        self.steps = _check.at_least("Continuous", "steps", steps, 1)
        self.tolerance = _check.positive("Continuous", "tolerance", tolerance)
        if self.tableau is not None and self.gradients == "adjoint":
            raise ConfigError(
                f'Continuous: expected an adaptive solver for gradients="adjoint"; got "{solver}". '
                'Use solver="dopri5", or gradients="direct".'
            )

    @property
    def _field(self) -> Field:
        return cast("Field", self.field)

    def _step(self, x: Tensor, n: int, context: Tensor | None, *, back: bool = False) -> Tensor:
        """The n-th step, or the equation solved backwards from its end, which undoes it but for the solver's error."""
        t, h = ((n + 1) / self.steps, -1 / self.steps) if back else (n / self.steps, 1 / self.steps)
        return runge_kutta(lambda x, t: self._field(x, t, context), x, t, h, cast("Tableau", self.tableau))[0]

    def _linear(self, x: Tensor, n: int, context: Tensor | None) -> tuple[Tensor, Tensor, list[Stage]]:
        """The n-th step and its Jacobian: the derivative obeys an equation of its own, solved beside the other."""
        d = x.shape[-1]

        def rate(state: Tensor, t: Tensor) -> Tensor:
            v, slope = self._slope(state[..., :d], t, context)
            moved = slope @ state[..., d:-1].unflatten(-1, (d, d))
            return torch.cat([v, moved.flatten(-2), slope.square().sum((-1, -2)).unsqueeze(-1)], -1)

        start = torch.eye(d, dtype=x.dtype, device=x.device).flatten().expand(*x.shape[:-1], -1)
        state = torch.cat([x, start, x.new_zeros(*x.shape[:-1], 1)], -1)
        end, stages = runge_kutta(rate, state, n / self.steps, 1 / self.steps, cast("Tableau", self.tableau))
        return end[..., :d], end[..., d:-1].unflatten(-1, (d, d)), stages

    def _estimated(
        self, x: Tensor, n: int, context: Tensor | None, probe: Tensor
    ) -> tuple[Tensor, Tensor, list[Stage]]:
        """The n-th step and what it adds to the estimate of ladj."""
        d = x.shape[-1]

        def rate(state: Tensor, t: Tensor) -> Tensor:
            v, along = self._along(state[..., :d], t, context, probe)
            return torch.cat([v, torch.stack([(probe * along).sum(-1), along.square().sum(-1)], -1)], -1)

        state = torch.cat([x, x.new_zeros(*x.shape[:-1], 2)], -1)
        end, stages = runge_kutta(rate, state, n / self.steps, 1 / self.steps, cast("Tableau", self.tableau))
        return end[..., :d], end[..., d], stages

    def _slope(self, x: Tensor, t: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """The velocity and its Jacobian."""
        if self._linearized:
            return cast("LinearizedField", self.field).linearize(x, t, context)
        return jacobian(lambda x: self._field(x, t, context), x)

    def _along(self, x: Tensor, t: Tensor, context: Tensor | None, way: Tensor) -> tuple[Tensor, Tensor]:
        """The velocity and its derivative along one direction."""
        if self._pushing:
            v, along = cast("PushingField", self.field).push(x, t, context, way.unsqueeze(-2))
            return v, along.squeeze(-2)
        return directional(lambda x: self._field(x, t, context), x, way)

    def _undone(self, x: Tensor, n: int, context: Tensor | None) -> Tensor:
        """Where the n-th step came from."""
        if self.noise is None:
            with torch.no_grad():
                start = self._step(x, n, context, back=True)
            return solve_nearby(lambda x: self._linear(x, n, context)[:2], x, start, steps=_NEWTON)
        start = end = self._step(x, n, context, back=True)
        for _ in range(_CORRECTIONS):  # each shrinks the error by what the solver misses on a step there and back
            end = end + start - self._step(self._step(end, n, context), n, context, back=True)
        return end

    def _adaptive(self, x: Tensor, context: Tensor | None, times: tuple[float, float]) -> tuple[Tensor, Tensor]:
        x = _widened(x, context)
        probe = None if self.noise is None else self.noise.sign(x, x.shape[-1:])
        z, ladj = self._solved((x, x.new_zeros(x.shape[:-1])), context, times, probe)
        return z, ladj

    def _solved(
        self, state: tuple[Tensor, ...], context: Tensor | None, times: tuple[float, float], probe: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """The state, x alone or with its ladj, at the second time; the context rides along for the adjoint's sake."""
        given = () if context is None else (context,)

        def rate(t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            here, still = state[-1] if given else None, tuple(torch.zeros_like(c) for c in given)
            if len(state) - len(given) == 1:
                return self._field(state[0], t, here), *still
            if probe is None:
                v, slope = self._slope(state[0], t, here)
                return v, slope.diagonal(dim1=-2, dim2=-1).sum(-1), *still
            v, along = self._along(state[0], t, here, probe)
            return v, (probe * along).sum(-1), *still

        end = integrate_adaptively(
            rate, state + given, times, solver=self.solver, tolerance=self.tolerance, gradients=self.gradients,
            params=list(self.field.parameters()),
        )  # fmt: skip
        return end[: len(state)]


def _widened(x: Tensor, context: Tensor | None) -> Tensor:
    """x over the batch that it and the context span."""
    if context is None:
        return x
    return x.expand(*torch.broadcast_shapes(x.shape[:-1], context.shape[:-1]), -1)


def _one_of(name: str, value: str, words: tuple[str, ...]) -> None:
    if value not in words:
        choices = ", ".join(f'"{word}"' for word in words)
        raise ConfigError(f"Continuous: expected {name} among {choices}; got {value!r}. Change {name}.")
