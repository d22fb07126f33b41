"""Likelihoods of a simulator, learned from pairs of parameters and data."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from unwarp import _check
from unwarp.applications._simulators._learned import Plan, build, learn, read, write
from unwarp.applications._simulators._prior import Prior, coordinates
from unwarp.applications._simulators._simulations import Simulations, pairs, steps_of
from unwarp.applications._simulators._tempered import Crowd, tempered
from unwarp.distributions import Mixture
from unwarp.errors import ConfigError, DataError, ShapeError
from unwarp.training import Step, likelihood

__all__ = ["NLE", "SampledPosterior"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SampledPosterior:
    """The posterior of a simulator's parameters by its learned likelihood.

    Attributes:
        prior: of the parameters.
        log_evidence: log of the mean likelihood under the prior, nats.
        effective: independent draws that the crowd of particles is worth.
        accepted: share of the last moves that were taken; below 0.02 the crowd hardly moves, and `trust` is False.
        trust: whether the crowd moved and is worth at least 100 draws.
    """

    prior: Prior
    log_evidence: float
    effective: float
    accepted: float
    _crowd: Crowd
    _log_like: Callable[[Tensor], Tensor]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters, the columns of draws."""
        return self.prior.names

    @property
    def trust(self) -> bool:
        """Whether the sampler did its work; the likelihood's own quality is another matter."""
        return self.accepted >= 0.02 and self.effective >= 100

    def sample(self, n: int, *, random_state: int = 0) -> Floats:
        """Draws, `(n, dim)`: of the particles, each at most once while they last."""
        rng, size = np.random.default_rng(random_state), len(self._crowd.u)
        place = rng.choice(size, n, replace=n > size)
        return self.prior.from_normal(self._crowd.u[torch.from_numpy(place)]).numpy()

    def log_prob(self, theta: ArrayLike) -> Floats:
        """Log density of parameters `(n, dim)`, normalised by the estimated evidence, nats."""
        u, ladj, inside = coordinates(self.prior, self.prior.rows(theta))
        value = self._log_like(u) + self.prior.log_normal(u) + ladj - self.log_evidence
        return torch.where(inside, value, -torch.inf).numpy()


class NLE:
    r"""Neural likelihood estimation: a flow $q(x \mid \theta)$, and posteriors by sampling prior times likelihood.

    Data are put on the scale of their own quantiles first, so that heavy tails stay inside the splines' box; columns of
    whole numbers, or of any even grid, get noise of one step.

    Use it where an observation is many independent trials of one simulator (their log-likelihoods add up), or to change
    the prior later. Data of more than some ten numbers are easier for `NPE`.

    Args: as for `NPE`, without an embedding; `members` are flows of which the likelihood is the mean.

    Raises:
        ConfigError: when `members < 1`.

    Source: Papamakarios, Sterratt and Murray, *Sequential Neural Likelihood*, 2019, arXiv:1805.07226, without its
    rounds. Differs: the posterior is sampled by tempered particles, `tempered`.

    Example:
        >>> from unwarp.applications import Box
        >>> prior = Box([-1.0], [1.0], names=["shift"])
        >>> theta = prior.sample(500)
        >>> x = theta + 0.3 * np.random.default_rng(0).normal(size=theta.shape)
        >>> likelihood = NLE(prior, members=1, max_steps=60).fit(theta, x)
        >>> posterior = likelihood.posterior([[0.5], [0.6], [0.4], [0.5]], particles=500)  # four trials
        >>> bool(abs(posterior.sample(500).mean() - 0.5) < 0.15), posterior.trust
        (True, True)
    """

    def __init__(
        self,
        prior: Prior,
        *,
        flow: str = "nsf",
        flow_options: Mapping[str, Any] | None = None,
        members: int = 1,
        max_steps: int | None = None,
        lr: float | None = 1e-2,
        random_state: int = 0,
        progress: Callable[[Step], object] | None = None,
    ) -> None:
        _check.at_least("NLE", "members", members, 1)
        self.prior = prior
        self._plan = Plan(
            flow=flow, options=dict(flow_options or {}), marginals="quantiles", members=members, max_steps=max_steps,
            lr=lr, random_state=random_state, progress=progress,
        )  # fmt: skip
        self._model: Mixture | None = None
        self._steps = torch.zeros(0)
        self.dropped = 0

    def fit(self, theta: ArrayLike, x: ArrayLike) -> Self:
        """Learn from pairs; parameters may come from any law on the prior's support.

        Args:
            theta: `(n, dim)`, numpy or torch.
            x: one trial each, `(n, k)`.

        Raises:
            DataError: when fewer than 20 pairs are finite, or parameters lie outside the prior's support.
            ShapeError: when shapes do not fit.
        """
        given: Simulations = pairs("NLE.fit", self.prior, theta, x)
        if given.x.dim() != 2:
            raise ShapeError(f"NLE.fit: expected vectors of data; got {tuple(given.x.shape)}. Summarise, or use NPE.")
        self.dropped, self._steps = given.dropped, steps_of(given.x)
        u, _ = self.prior.to_normal(given.theta)
        generator = torch.Generator().manual_seed(self._plan.random_state)
        noise = torch.rand(given.x.shape, generator=generator) - 0.5
        model = build(self._plan, given.x.shape[1], (self.prior.dim,))
        learn(model, self._plan, given.x + noise * self._steps, u.float(), likelihood)
        self._model = model
        return self

    def posterior(self, x: ArrayLike, *, particles: int = 2000, random_state: int = 0) -> SampledPosterior:
        """The posterior of one observation, or of independent trials of the same parameters.

        Args:
            x: one trial `(k,)`, or several `(trials, k)`.
            particles: of the sampler.
            random_state: seed of the sampler.

        Raises:
            DataError: when the observation is not finite, or impossible under the learned likelihood.
            ShapeError: when it has another length than the training data.
        """
        data = np.atleast_1d(np.asarray(x, dtype=np.float32))
        data = data[None] if data.ndim == 1 else data
        if data.ndim != 2 or data.shape[1] != self.model.space.shape[0]:
            raise ShapeError(
                f"NLE.posterior: expected (k,) or (trials, k) with k = {self.model.space.shape[0]}; got {data.shape}. "
                "Give what one simulation gives."
            )
        if not np.isfinite(data).all():
            raise DataError(
                "NLE.posterior: expected a finite observation; got NaN or infinity. Leave out those trials."
            )
        trials = torch.from_numpy(data)

        def log_like(u: Tensor) -> Tensor:
            with torch.no_grad():
                each = self.model.log_prob(trials.unsqueeze(1), u.float())
            return each.double().sum(0)

        start, _ = self.prior.to_normal(torch.from_numpy(self.prior.sample(particles, random_state=random_state)))
        generator = torch.Generator().manual_seed(random_state)
        crowd = tempered(log_like, self.prior.log_normal, start, generator)
        if crowd.steps == 0:
            raise DataError("NLE.posterior: expected a possible observation; got one of likelihood 0. Check its units.")
        return SampledPosterior(self.prior, crowd.log_evidence, crowd.effective, crowd.accepted, crowd, log_like)

    def log_prob(self, x: ArrayLike, theta: ArrayLike) -> Floats:
        """Log-likelihood of data `(n, k)` given parameters `(n, dim)`, nats; a density also of whole numbers."""
        u, _ = self.prior.to_normal(self.prior.rows(theta))
        with torch.no_grad():
            return self.model.log_prob(torch.as_tensor(np.asarray(x, dtype=np.float32)), u.float()).double().numpy()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all to one model file.

        Raises:
            BundleError: when the file cannot be written.
            ConfigError: before `fit`, or when the prior has a law of your own.
        """
        write(self.model, path, "NLE", self.prior, {"dropped": self.dropped})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote.

        Raises:
            BundleError: when the file is damaged, hostile or of another kind.
        """
        model, prior, facts = read(path, "NLE")
        made = cls(prior)
        made._model, made.dropped = model, int(facts.get("dropped") or 0)
        return made

    @property
    def model(self) -> Mixture:
        """The flows."""
        if self._model is None:
            raise ConfigError("NLE: expected a fitted model; got none. Call fit first.")
        return self._model
