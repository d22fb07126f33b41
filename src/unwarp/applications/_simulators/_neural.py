"""What posteriors of simulators share: fitting, in rounds too, checks, and a file."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from unwarp import _check
from unwarp.applications._simulators._checks import Checks, check
from unwarp.applications._simulators._learned import Plan, build, learn, read, write
from unwarp.applications._simulators._posterior_at import PosteriorAt, drawn, scored
from unwarp.applications._simulators._prior import Prior
from unwarp.applications._simulators._rounds import Simulator, within_region
from unwarp.applications._simulators._simulations import Simulations, observation, pairs
from unwarp.applications._simulators._strange import Usual
from unwarp.distributions import Mixture
from unwarp.errors import ConfigError
from unwarp.training import Objective

__all__ = ["Neural"]

Floats = NDArray[np.float64]


class Neural(ABC):
    """What `NPE` and `FMPE` share: flows of parameters given data.

    Attributes:
        prior: of the parameters.
        dropped: how many simulations were not finite.
        shares: of the prior that each round of `fit_rounds` simulated.
    """

    _kind: ClassVar[str]

    def __init__(self, prior: Prior, plan: Plan) -> None:
        _check.at_least(self._kind, "members", plan.members, 1)
        self.prior = prior
        self._plan = plan
        self._found: tuple[Mixture, Usual] | None = None
        self.dropped = 0
        self.shares: list[float] = []

    @property
    @abstractmethod
    def _objective(self) -> Objective: ...

    def fit(self, theta: ArrayLike, x: ArrayLike) -> Self:
        """Learn from pairs: parameters that were drawn from the prior, and what the simulator made of them.

        Args:
            theta: `(n, dim)`, numpy or torch.
            x: `(n, *observed)`; a vector of numbers for each pair, or what the embedding takes.

        Raises:
            DataError: when fewer than 20 pairs are finite, or parameters lie outside the prior's support.
            ShapeError: when shapes do not fit.
        """
        self._fit(pairs(f"{self._kind}.fit", self.prior, theta, x))
        return self

    def fit_rounds(self, simulator: Simulator, x: ArrayLike, *, rounds: int = 4, simulations: int = 1000) -> Self:
        """Learn in rounds for one observation: each simulates inside the region where its posterior so far may be.

        The result is right for this observation alone. Parameters outside the last region are never simulated again, so
        that fewer simulations are needed; all rounds are learned from, and no weights are.

        Args:
            simulator: from parameters `(n, dim)` to data `(n, *observed)`.
            x: the observation.
            rounds: how many.
            simulations: in each.

        Raises:
            DataError: as `fit`.

        Source: Deistler, Goncalves and Macke, 2022, arXiv:2210.04815.
        """
        _check.at_least(f"{self._kind}.fit_rounds", "rounds", rounds, 1)
        seed = self._plan.random_state
        theta = self.prior.sample(simulations, random_state=seed)
        given = pairs(f"{self._kind}.fit_rounds", self.prior, theta, simulator(theta))
        self.shares = [1.0]
        for i in range(1, rounds):
            self._fit(given)
            theta, share = within_region(self.posterior(x), self.prior, simulations, random_state=seed + 1000 * i)
            given = given.joined(pairs(f"{self._kind}.fit_rounds", self.prior, theta, simulator(theta)))
            self.shares.append(share)
        self._fit(given)
        return self

    def posterior(self, x: ArrayLike) -> PosteriorAt:
        """The posterior at one observation, without further training.

        Raises:
            ConfigError: before `fit`.
            DataError: when the observation is not finite.
            ShapeError: when it has another shape than the training data.
        """
        at = observation(f"{self._kind}.posterior", x, self._observed)
        return PosteriorAt(self.model, self.prior, at, self.usual.share_beyond(at))

    def sample(self, x: ArrayLike, n: int, *, random_state: int = 0) -> Floats:
        """Draws at many observations at once, `(n, observations, dim)`."""
        data = torch.as_tensor(np.asarray(x, dtype=np.float32)).reshape(-1, *self._observed)
        u = drawn(self.model, data, n, random_state)
        return self.prior.from_normal(u.flatten(0, 1)).unflatten(0, u.shape[:2]).numpy()

    def log_prob(self, theta: ArrayLike, x: ArrayLike) -> Floats:
        """Log density of parameters `(*batch, n, dim)`, each at its own observation `(n, *observed)`, nats."""
        data = torch.as_tensor(np.asarray(x, dtype=np.float32)).reshape(-1, *self._observed)
        return scored(self.model, self.prior, torch.as_tensor(np.asarray(theta, dtype=np.float64)), data)

    def check(
        self,
        theta: ArrayLike,
        x: ArrayLike,
        *,
        at: ArrayLike | None = None,
        draws: int = 200,
        random_state: int = 0,
    ) -> Checks:
        """Judge the posterior by pairs that it was not fitted to.

        Simulation-based calibration, coverage of highest-density regions, TARP; at an observation also a local
        two-sample test, and whether the simulator makes such data at all.

        Args:
            theta: drawn from the prior, `(n, dim)`; some hundreds.
            x: what the simulator made of them.
            at: the observation that matters.
            draws: of the posterior at each pair.
            random_state: seed of everything random.

        Raises:
            DataError: when fewer than 50 pairs are finite.
        """
        given = pairs(f"{self._kind}.check", self.prior, theta, x)
        return check(self, given.theta.numpy(), given.x.numpy(), draws=draws, at=at, random_state=random_state)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all to one model file.

        Raises:
            BundleError: when the embedding is a network of your own, or the file cannot be written.
            ConfigError: before `fit`, or when the prior has a law of your own.
        """
        facts = {"observed": list(self._observed), "usual": self.usual.to_json(), "dropped": self.dropped}
        write(self.model, path, self._kind, self.prior, facts)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote.

        Raises:
            BundleError: when the file is damaged, hostile or of another kind.
        """
        model, prior, facts = read(path, cls._kind)
        make: Any = cls  # whose defaults the subclasses know
        made: Self = make(prior)
        made._found = model, Usual.of_json(facts.get("usual"), f"{cls._kind}.load")
        made.dropped = int(facts.get("dropped") or 0)
        return made

    @property
    def model(self) -> Mixture:
        """The flows, on coordinates in which the prior is a normal law."""
        return self._fitted[0]

    @property
    def usual(self) -> Usual:
        """What the training data look like."""
        return self._fitted[1]

    @property
    def _fitted(self) -> tuple[Mixture, Usual]:
        if self._found is None:
            raise ConfigError(f"{self._kind}: expected a fitted model; got none. Call fit first.")
        return self._found

    @property
    def _observed(self) -> tuple[int, ...]:
        """Shape of an observation."""
        return tuple(self.model.context_shape or ())

    def _fit(self, given: Simulations) -> None:
        u, _ = self.prior.to_normal(given.theta)
        model = build(self._plan, self.prior.dim, tuple(given.x.shape[1:]))
        learn(model, self._plan, u, given.x, self._objective)
        self._found, self.dropped = (model, Usual.of(given.x)), given.dropped
