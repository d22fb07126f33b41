"""One law of a prior: its coordinates on the normal scale, and its saved form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributions
from torch.distributions import Distribution as Law
from torch.distributions import constraints

from unwarp._space import POSITIVE, REAL, UNIT, Interval, Space, Support
from unwarp.errors import ConfigError, SpaceError
from unwarp.transforms import Unconstrain

__all__ = ["Piece", "piece", "read_law", "within", "written"]

_KNOWN = (
    "Beta", "Cauchy", "Exponential", "Gamma", "Gumbel", "HalfCauchy", "HalfNormal", "Kumaraswamy", "Laplace",
    "LogNormal", "Logistic", "LogitNormal", "MultivariateNormal", "Normal", "Pareto", "StudentT", "Uniform", "Weibull",
)  # fmt: skip
_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)
_FAR = 8.2  # beyond it the normal distribution function is 1 in float64


def within(interval: Interval) -> Law:
    """The uniform law on an interval."""
    ends = (torch.tensor(end, dtype=torch.float64) for end in (interval.low, interval.high))
    return distributions.Uniform(*ends, validate_args=False)


def piece(name: str, law: Any, declared: Support | None) -> Piece:
    """A law with the support that was declared for it.

    Raises:
        ConfigError: when it is no law of numbers, or has another support.
    """
    if not isinstance(law, Law):
        raise ConfigError(
            f"Independent: expected a torch distribution or an Interval for {name!r}; got {law!r}. Give one."
        )
    law = _double(law)
    shape = law.batch_shape + law.event_shape
    if len(shape) > 1 or (law.batch_shape and law.event_shape):
        raise ConfigError(f"Independent: expected numbers or a vector for {name!r}; got {tuple(shape)}. Flatten it.")
    width = shape[0] if shape else None
    try:
        space = Space((width or 1,), _support(law.support))
    except SpaceError as error:
        raise ConfigError(f"Independent: expected a continuous law for {name!r}; got {law}. Take another.") from error
    if declared is not None and space.support != declared:
        raise ConfigError(
            f"Independent: expected {name!r} to have its declared support {declared!r}; got {space.support!r}. "
            "Give a law on it, such as an Interval for a uniform one."
        )
    return Piece(law, width, space)


@dataclass(frozen=True)
class Piece:
    """A law of a number or of a vector.

    By its distribution function and quantiles where torch knows both, by whitening for a normal vector, otherwise by
    the support's own coordinates, whose law then isn't normal.

    Args:
        law: in float64.
        width: length of the vector; None for a number.
        space: of vectors, of length 1 for a number.
    """

    law: Law
    width: int | None
    space: Space

    @property
    def supports(self) -> tuple[Support, ...]:
        """One for each number."""
        return tuple(s for s in self.space.supports if isinstance(s, Support))

    @cached_property
    def way(self) -> str:
        """How numbers become normal: "normal", "quantiles" or "support"."""
        if isinstance(self.law, (distributions.Normal, distributions.MultivariateNormal, distributions.LogNormal)):
            return "normal"
        try:
            probe = torch.full(self.law.batch_shape, 0.3, dtype=torch.float64)
            return "quantiles" if bool(torch.allclose(self.law.cdf(self.law.icdf(probe)), probe)) else "support"
        except NotImplementedError:
            return "support"

    def sample(self, n: int) -> Tensor:
        return self._inside(self.law.sample(torch.Size((n,))).reshape(n, -1))

    def to_normal(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        theta = theta.double()
        match self.way:
            case "normal":
                x = theta.log() if isinstance(self.law, distributions.LogNormal) else theta
                u = torch.linalg.solve_triangular(self._factor, (x - self._mean).mT, upper=False).mT
                more = theta.log().sum(-1) if isinstance(self.law, distributions.LogNormal) else 0.0
                return u, -self._factor.diagonal().log().sum() - more + u.new_zeros(len(u))
            case "quantiles":
                u = torch.special.ndtri(self.law.cdf(self._own(theta))).reshape(len(theta), -1).clamp(-_FAR, _FAR)
                return u, (self._density(theta) + 0.5 * u.square() + _HALF_LOG_TAU).sum(-1)
            case _:
                return self._chart(theta)

    def from_normal(self, u: Tensor) -> Tensor:
        u = u.double()
        match self.way:
            case "normal":
                x = u @ self._factor.mT + self._mean
                return self._inside(x.exp() if isinstance(self.law, distributions.LogNormal) else x)
            case "quantiles":
                share = torch.special.ndtr(u.clamp(-_FAR, _FAR)).clamp(1e-300, 1 - 2**-53)
                return self._inside(self.law.icdf(self._own(share)).reshape(len(u), -1))
            case _:
                if self.space.support == REAL:
                    return u
                return self._inside(Unconstrain(self.space).double().inverse(u)[0])

    def log_normal(self, u: Tensor) -> Tensor:
        u = u.double()
        if self.way != "support":
            return (-0.5 * u.square() - _HALF_LOG_TAU).sum(-1)
        theta = self.from_normal(u)
        return self._density(theta).sum(-1) - self._chart(theta)[1]

    def _density(self, theta: Tensor) -> Tensor:
        """Log density, `(n, 1)` or a column each."""
        return self.law.log_prob(self._own(theta)).reshape(len(theta), -1)

    def _own(self, theta: Tensor) -> Tensor:
        return theta if self.width is not None else theta.squeeze(-1)

    def _chart(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        if self.space.support == REAL:
            return theta, theta.new_zeros(len(theta))
        return Unconstrain(self.space).double().forward(theta)

    def _inside(self, theta: Tensor) -> Tensor:
        """Strictly inside the support also after rounding."""
        for i, support in enumerate(self.supports):
            low, high = {POSITIVE: (0.0, np.inf), REAL: (-np.inf, np.inf)}.get(support, (-np.inf, np.inf))  # pyright: ignore[reportCallIssue, reportArgumentType]
            if isinstance(support, Interval):
                low, high = support.low, support.high
            theta[:, i].clamp_(float(np.nextafter(low, np.inf)), float(np.nextafter(high, -np.inf)))
        return theta

    @property
    def _mean(self) -> Tensor:
        law: Any = self.law
        return torch.as_tensor(law.mean if isinstance(law, distributions.MultivariateNormal) else law.loc).reshape(-1)

    @property
    def _factor(self) -> Tensor:
        law: Any = self.law
        if isinstance(law, distributions.MultivariateNormal):
            return law.scale_tril
        return torch.as_tensor(law.scale).reshape(-1).diag()


def written(name: str, law: Law | Interval) -> dict[str, Any]:
    """A law as plain data.

    Raises:
        ConfigError: when it is not one of those that can be read again.
    """
    if isinstance(law, Interval):
        return {"law": "Interval", "low": law.low, "high": law.high}
    kind = type(law).__name__
    if kind not in _KNOWN or type(law) is not getattr(distributions, kind, None):
        raise ConfigError(f"save: expected a law among {', '.join(_KNOWN)} for {name!r}; got {kind}. Keep its code.")
    names = ("loc", "scale_tril") if kind == "MultivariateNormal" else tuple(sorted(law.arg_constraints))
    return {"law": kind} | {n: torch.as_tensor(getattr(law, n)).tolist() for n in names}


def read_law(spec: Any, where: str) -> Law | Interval:
    """The law that `written` wrote.

    Raises:
        ConfigError: when the data describe none.
    """
    try:
        fields = dict(spec)
        kind = fields.pop("law")
        if kind == "Interval":
            return Interval(float(fields["low"]), float(fields["high"]))
        if kind not in _KNOWN:
            raise KeyError(kind)
        made = getattr(distributions, kind)
        return made(**{str(n): torch.tensor(v, dtype=torch.float64) for n, v in fields.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{where}: expected a law of a prior; got {str(spec)[:80]}. Fit and save anew.") from error


def _support(constraint: Any) -> Support:
    """The support of each number of a law."""
    while isinstance(constraint, constraints.independent):
        constraint = constraint.base_constraint
    if constraint in (constraints.positive, constraints.nonnegative):
        return POSITIVE
    if constraint is constraints.unit_interval:
        return UNIT
    if isinstance(constraint, (constraints.interval, constraints.half_open_interval)):
        return Interval(float(constraint.lower_bound), float(constraint.upper_bound))
    if constraint is constraints.real or constraint is constraints.real_vector:
        return REAL
    raise SpaceError(f"Independent: expected a continuous law of numbers; got support {constraint}. Take another.")


def _double(law: Law) -> Law:
    """The law with parameters in float64, where its class tells how it is made."""
    kind: Any = type(law)
    names = ("loc", "scale_tril") if kind is distributions.MultivariateNormal else tuple(law.arg_constraints)
    if kind is not getattr(distributions, kind.__name__, None) or kind.__name__ not in _KNOWN:
        return law
    values = {name: torch.as_tensor(getattr(law, name)).double() for name in names}
    return kind(**values, validate_args=False)
