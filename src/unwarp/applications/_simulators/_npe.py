"""Posteriors of a simulator's parameters, learned from pairs of parameters and data."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from unwarp import _check
from unwarp.applications._posteriors import Draws
from unwarp.applications._simulators._checks import Checks, check
from unwarp.applications._simulators._learned import Embedding, Plan, build, learn, read, write
from unwarp.applications._simulators._prior import Prior
from unwarp.applications._simulators._rounds import Simulator, within_region
from unwarp.applications._simulators._simulations import Simulations, observation, pairs
from unwarp.applications._simulators._strange import Usual
from unwarp.distributions import Mixture
from unwarp.errors import ConfigError
from unwarp.training import Objective, Step, likelihood, matching

__all__ = ["FMPE", "NPE", "Neural", "PosteriorAt"]

Floats = NDArray[np.float64]


class PosteriorAt:
    """The posterior of a simulator's parameters at one observation.

    Attributes:
        names: of the parameters, the columns of draws.
        surprise: the share of training data that are at least as far out as the observation; near 0 the simulator
            does not make such data, and the posterior is an extrapolation.
    """

    def __init__(self, model: Mixture, prior: Prior, x: Tensor, surprise: float) -> None:
        self.names = prior.names
        self.surprise = surprise
        self.prior = prior
        self._model, self._x = model, x

    def sample(self, n: int, *, random_state: int = 0) -> Floats:
        """Draws, `(n, dim)`, all inside the prior's support."""
        u = drawn(self._model, self._x.unsqueeze(0), n, random_state)[:, 0]
        return self.prior.from_normal(u).numpy()

    def log_prob(self, theta: ArrayLike) -> Floats:
        """Log density of parameters `(n, dim)`, nats; minus infinity outside the prior's support."""
        return scored(self._model, self.prior, self.prior.rows(theta), self._x)

    def to_xarray(self, n: int = 4000, *, random_state: int = 0) -> Any:
        """Draws as an `xarray.Dataset` with one chain, as ArviZ takes it.

        Raises:
            ConfigError: when xarray is not installed.
        """
        draws = self.sample(n, random_state=random_state)
        return Draws(draws[None], dict.fromkeys(self.names, ())).to_xarray()


class Neural(ABC):
    """What `NPE` and `FMPE` share: flows of parameters given data.

    Attributes:
        prior: of the parameters.
        dropped: how many simulations were not finite.
        shares: of the prior that each round of `fit_rounds` simulated.
    """

    _kind: ClassVar[str]

    def __init__(
        self,
        prior: Prior,
        *,
        flow: str,
        flow_options: Mapping[str, Any],
        embedding: Embedding = "none",
        summary: int = 32,
        members: int = 3,
        max_steps: int | None = None,
        lr: float | None = None,
        random_state: int = 0,
        progress: Callable[[Step], object] | None = None,
    ) -> None:
        _check.at_least(self._kind, "members", members, 1)
        self.prior = prior
        self._plan = Plan(
            flow=flow, options=flow_options, embedding=embedding, summary=summary, members=members,
            max_steps=max_steps, lr=lr, random_state=random_state, progress=progress,
        )  # fmt: skip
        self._model: Mixture | None = None
        self._usual: Usual | None = None
        self._observed: tuple[int, ...] = ()
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
        at = observation(f"{self._kind}.posterior", x, self._ready._observed)
        return PosteriorAt(self.model, self.prior, at, self.usual.share_beyond(at))

    def sample(self, x: ArrayLike, n: int, *, random_state: int = 0) -> Floats:
        """Draws at many observations at once, `(n, observations, dim)`."""
        data = torch.as_tensor(np.asarray(x, dtype=np.float32)).reshape(-1, *self._ready._observed)
        u = drawn(self.model, data, n, random_state)
        return self.prior.from_normal(u.flatten(0, 1)).unflatten(0, u.shape[:2]).numpy()

    def log_prob(self, theta: ArrayLike, x: ArrayLike) -> Floats:
        """Log density of parameters `(*batch, n, dim)`, each at its own observation `(n, *observed)`, nats."""
        data = torch.as_tensor(np.asarray(x, dtype=np.float32)).reshape(-1, *self._ready._observed)
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
        return check(self._ready, given.theta.numpy(), given.x.numpy(), draws=draws, at=at, random_state=random_state)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all to one model file.

        Raises:
            BundleError: when the embedding is a network of your own, or the file cannot be written.
            ConfigError: before `fit`, or when the prior has a law of your own.
        """
        facts = {"observed": list(self._ready._observed), "usual": self.usual.to_json(), "dropped": self.dropped}
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
        made._model, made._usual = model, Usual.of_json(facts.get("usual"), f"{cls._kind}.load")
        made._observed, made.dropped = tuple(model.context_shape or ()), int(facts.get("dropped") or 0)
        return made

    @property
    def model(self) -> Mixture:
        """The flows, on coordinates in which the prior is a normal law."""
        if self._model is None:
            raise ConfigError(f"{self._kind}: expected a fitted model; got none. Call fit first.")
        return self._model

    @property
    def usual(self) -> Usual:
        """What the training data look like."""
        if self._usual is None:
            raise ConfigError(f"{self._kind}: expected a fitted model; got none. Call fit first.")
        return self._usual

    @property
    def _ready(self) -> Self:
        """Itself, once it is fitted."""
        _ = self.model
        return self

    def _fit(self, given: Simulations) -> None:
        self._observed, self.dropped = tuple(given.x.shape[1:]), given.dropped
        u, _ = self.prior.to_normal(given.theta)
        model = build(self._plan, self.prior.dim, self._observed)
        learn(model, self._plan, u, given.x, self._objective)
        self._model, self._usual = model, Usual.of(given.x)


class NPE(Neural):
    r"""Neural posterior estimation: flows $q(\theta \mid x)$ that are trained on simulated pairs alone.

    One training answers for every observation. Flows live on coordinates in which the prior is a standard normal law,
    so that no draw leaves the prior's support and no rejection is needed.

    Use it where a simulator can be run but its likelihood can't be written, and many observations are to be answered,
    or checked. `FMPE` for many parameters; `NLE` for observations of many independent trials.

    Args:
        prior: `Box`, `Independent`, or another `Prior`.
        flow: a recipe for vectors.
        flow_options: of the recipe.
        embedding: "none" for vectors as they are, a network that is trained along for "vectors", "sequences", "sets" or
            "images", or a module of your own from `(n, *observed)` to `(n, k)`.
        summary: length of what the networks by name make of an observation.
        members: flows, each trained on its own split of the pairs; the posterior is their mean, which is seldom
            overconfident.
        max_steps: of each member's training; by default some sixty passes.
        lr: learning rate.
        random_state: seed of everything random.
        progress: gets each `Step`.

    Raises:
        ConfigError: when `members < 1`.
        RecipeError: in `fit`, when there is no such recipe or option.

    Source: Papamakarios and Murray, *Fast ε-free Inference of Simulation Models*, 2016, arXiv:1605.06376; Greenberg,
    Nonnenmacher and Macke, *Automatic Posterior Transformation*, 2019, arXiv:1905.07488; Lakshminarayanan, Pritzel and
    Blundell, 2017, arXiv:1612.01474, for the members. Differs: parameters are on the normal scale of the prior, and a
    linear regression on the data comes first.

    Example:
        >>> from unwarp.applications import Box
        >>> prior = Box([-1.0], [1.0], names=["shift"])
        >>> theta = prior.sample(500)
        >>> x = theta + 0.1 * np.random.default_rng(0).normal(size=theta.shape)
        >>> posterior = NPE(prior, members=1, max_steps=60).fit(theta, x).posterior([0.5])
        >>> draws = posterior.sample(1000)
        >>> bool(abs(draws.mean() - 0.5) < 0.1), bool(prior.contains(draws).all())
        (True, True)
    """

    _kind = "NPE"

    def __init__(
        self,
        prior: Prior,
        *,
        flow: str = "nsf",
        flow_options: Mapping[str, Any] | None = None,
        embedding: Embedding = "none",
        summary: int = 32,
        members: int = 3,
        max_steps: int | None = None,
        lr: float | None = 2e-2,
        random_state: int = 0,
        progress: Callable[[Step], object] | None = None,
    ) -> None:
        defaults = {"layers": 5, "hidden": [50, 50]} if flow == "nsf" else {}
        super().__init__(
            prior, flow=flow, flow_options=defaults | dict(flow_options or {}), embedding=embedding, summary=summary,
            members=members, max_steps=max_steps, lr=lr, random_state=random_state, progress=progress,
        )  # fmt: skip

    @property
    def _objective(self) -> Objective:
        return likelihood


class FMPE(Neural):
    r"""Flow matching posterior estimation: a vector field moves the prior's normal coordinates to the posterior's.

    Use it for many parameters, or data so rich that a spline flow is slow to learn from them: a training step solves no
    equation. Otherwise as `NPE`, and the density is there too.

    Args: as for `NPE`; `flow_options` are those of `flows.cnf`.

    Source: Dax et al., *Flow Matching for Scalable Simulation-Based Inference*, 2023, arXiv:2305.17161, algorithm 1.

    Example:
        >>> from unwarp.applications import Box
        >>> prior = Box([-1.0], [1.0], names=["shift"])
        >>> theta = prior.sample(500)
        >>> x = theta + 0.1 * np.random.default_rng(0).normal(size=theta.shape)
        >>> posterior = FMPE(prior, members=1, max_steps=100).fit(theta, x).posterior([0.5])
        >>> bool(abs(posterior.sample(1000).mean() - 0.5) < 0.15)
        True
    """

    _kind = "FMPE"

    def __init__(
        self,
        prior: Prior,
        *,
        flow_options: Mapping[str, Any] | None = None,
        embedding: Embedding = "none",
        summary: int = 32,
        members: int = 1,
        max_steps: int | None = None,
        lr: float | None = None,
        random_state: int = 0,
        progress: Callable[[Step], object] | None = None,
    ) -> None:
        options = {"hidden": [128, 128, 128], "time": 4} | dict(flow_options or {})
        super().__init__(
            prior, flow="cnf", flow_options=options, embedding=embedding, summary=summary, members=members,
            max_steps=max_steps, lr=lr, random_state=random_state, progress=progress,
        )  # fmt: skip

    @property
    def _objective(self) -> Objective:
        return matching


def drawn(model: Mixture, x: Tensor, n: int, seed: int) -> Tensor:
    """Draws at each observation of `(m, *observed)`, `(n, m, dim)`: of each member as many as chance gives it."""
    counts = np.random.default_rng(seed).multinomial(n, [1 / len(model.parts)] * len(model.parts))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        groups = [
            part.sample((int(count),), x, generator=generator)
            for part, count in zip(model.parts, counts, strict=True)
            if count
        ]
    return torch.cat(groups)[torch.randperm(n, generator=generator)]


def scored(model: Mixture, prior: Prior, theta: Tensor, x: Tensor) -> Floats:
    """Log density of parameters `(*batch, dim)` at observations that broadcast with them."""
    flat = theta.reshape(-1, theta.shape[-1]).double()
    inside = prior.space.contains(flat)
    u, ladj = prior.to_normal(torch.where(inside.unsqueeze(-1), flat, prior.space.center.to(flat)))
    with torch.no_grad():
        value = model.log_prob(u.float().reshape(theta.shape), x).double() + ladj.reshape(theta.shape[:-1])
    return torch.where(inside.reshape(value.shape), value, -torch.inf).numpy()
