"""Posteriors as flows: from a log density, from draws, or from both."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unwarp.applications._diagnosis import Diagnosis, diagnosed, drawn, log_ratios
from unwarp.applications._draws import Draws
from unwarp.applications._evidence import Evidence
from unwarp.applications._target import Target
from unwarp.applications._variational import learned, new_flow
from unwarp.applications._weights import pareto_smoothed
from unwarp.distributions import Flow
from unwarp.errors import ConfigError, DataError
from unwarp.training import Step
from unwarp.training import fit as train

__all__ = ["Posterior", "fit_posterior"]


class Posterior:
    """A posterior as a flow over unconstrained coordinates; `fit_posterior` makes it.

    Args:
        flow: the density of unconstrained coordinates, float64.
        target: the log density that it stands for, and the map to parameters.
        known: whether `target.log_density` is real, or draws were all there was.
        held: unconstrained draws that the flow was not fitted to, and how many independent ones they are worth.
    """

    def __init__(self, flow: Flow, target: Target, *, known: bool, held: tuple[Tensor, float] | None = None) -> None:
        self.flow = flow
        self.target = target
        self._known = known
        self._held = held

    def sample(self, n: int, *, random_state: int = 0, weigh: Literal["no", "resample"] = "no") -> dict[str, Any]:
        """Draws by name, each `(n, *shape)`.

        Args:
            n: how many.
            random_state: seed of the draws.
            weigh: "resample" draws by smoothed importance weights from ten times as many, which mends what the flow
                gets slightly wrong.

        Raises:
            ConfigError: when weights are asked for and there is no log density.
        """
        if weigh == "no":
            return self._named(self._draw(n, random_state))
        u = self._draw(10 * n, random_state)
        log_weight, _ = pareto_smoothed(self._ratios(u))
        place = np.random.default_rng(random_state).choice(len(u), n, p=np.exp(log_weight), replace=False)
        return self._named(u[torch.from_numpy(place)])

    def log_prob(self, values: Mapping[str, Any]) -> NDArray[np.float64]:
        """Log density of parameters given by name, each `(n, *shape)`, nats: normalised, in their own units."""
        missing = [name for name in self.target.sizes if name not in values]
        if missing:
            raise DataError(f"log_prob: expected the parameters {missing}; got {sorted(values)}. Name them all.")
        parts = [np.asarray(values[name], dtype=np.float64) for name in self.target.sizes]
        x = torch.from_numpy(np.concatenate([part.reshape(len(part), -1) for part in parts], -1))
        with torch.no_grad():
            u, ladj = self.target.to_unconstrained(x)
            return (self.flow.log_prob(u) + ladj).numpy()

    def to_xarray(self, n: int = 4000, *, random_state: int = 0) -> Any:
        """Draws as an `xarray.Dataset` with one chain, as ArviZ takes it.

        Raises:
            ConfigError: when xarray is not installed.
        """
        try:
            import xarray  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ConfigError("to_xarray: expected xarray; got none. Install unwarp[bayes].") from error
        made = {}
        for name, value in self.sample(n, random_state=random_state).items():
            axes = [f"{name}_dim_{i}" for i in range(value.ndim - 1)]
            made[name] = (("chain", "draw", *axes), value[None])
        return xarray.Dataset(made)

    def diagnose(self, *, random_state: int = 0) -> Diagnosis:
        """Importance weights, the evidence's lower bound, and a search for lost modes.

        Raises:
            ConfigError: when there is no log density.
        """
        self._density()
        return diagnosed(self.flow, self.target, random_state)

    def log_evidence(self, *, draws: int = 20_000, random_state: int = 0) -> Evidence:
        """The log of the density's integral: by importance sampling, and by bridge sampling where there are draws.

        Raises:
            ConfigError: when there is no log density.
        """
        at_draws = None if self._held is None else self._ratios(self._held[0])
        effective = None if self._held is None else self._held[1]
        return Evidence.of(self._ratios(self._draw(draws, random_state)), at_draws, effective)

    def _draw(self, n: int, seed: int) -> Tensor:
        return drawn(self.flow, n, seed)

    def _ratios(self, u: Tensor) -> NDArray[np.float64]:
        self._density()
        return log_ratios(self.flow, self.target, u)

    def _density(self) -> None:
        if not self._known:
            raise ConfigError("Posterior: expected a log density; got draws alone. Give fit_posterior a target too.")

    def _named(self, u: Tensor) -> dict[str, Any]:
        with torch.no_grad():
            x = self.target.to_constrained(u)[0].numpy()
        widths = [math.prod(shape) for shape in self.target.sizes.values()]
        parts = np.split(x, np.cumsum(widths)[:-1], axis=-1)
        return {n: p.reshape(len(x), *s) for (n, s), p in zip(self.target.sizes.items(), parts, strict=True)}


def fit_posterior(
    given: Target | Any,
    target: Target | None = None,
    *,
    flow: str | None = None,
    flow_options: Mapping[str, Any] | None = None,
    objective: Literal["reverse_kl", "importance"] = "reverse_kl",
    draws: int = 256,
    max_steps: int = 3000,
    random_state: int = 0,
    progress: Callable[[Step], object] | None = None,
) -> Posterior:
    """A posterior as a flow: learned from a log density, or from draws.

    From a `Target` alone: variational inference. A Gaussian is brought near to it first and sets the flow's place and
    scale; then short runs choose the learning rate, and a long one minimises the divergence with gradients along the
    path of the draws.

    From draws (ArviZ, xarray, dict, data frame or array), with or without a `Target`: maximum likelihood on half of
    them with a target, so that the other half can judge, otherwise on all.

    Args:
        given: a target, or draws of the parameters.
        target: of the draws: their log density and constraints; without one they are taken as unconstrained.
        flow: a recipe; by default `realnvp` of ten layers for a target, `nsf` for draws.
        flow_options: of the recipe.
        objective: "reverse_kl", or "importance" for wider tails.
        draws: of the flow in one step.
        max_steps: of training.
        random_state: seed of everything random.
        progress: gets each `Step`.

    Raises:
        ConfigError: when an argument is another word, or the target has no gradient.
        DataError: when the log density is not finite where the flow begins, or draws are unusable.

    Example:
        >>> wanted = torch.distributions.Normal(3.0, 0.5)
        >>> target = Target.from_torch(lambda x: wanted.log_prob(x).sum(-1), 2, names=["a", "b"])
        >>> q = fit_posterior(target, max_steps=300)
        >>> bool(abs(q.sample(2000)["a"].mean() - 3.0) < 0.2), q.log_evidence().trust
        (True, True)
    """
    if isinstance(given, Target):
        found = learned(given, flow, dict(flow_options or {}), objective, draws, max_steps, random_state, progress)
        return Posterior(found, given, known=True)
    return _from_draws(Draws.of(given), target, flow, dict(flow_options or {}), max_steps, random_state, progress)


def _from_draws(
    draws: Draws,
    target: Target | None,
    recipe: str | None,
    options: dict[str, Any],
    steps: int,
    seed: int,
    progress: Callable[[Step], object] | None,
) -> Posterior:
    known = target is not None
    if target is None:
        target = Target.from_torch(
            lambda x: x.new_full(x.shape[:-1], torch.nan), draws.rows.shape[1], names=draws.sizes
        )
    elif target.sizes != draws.sizes:
        raise DataError(
            f"fit_posterior: expected draws of {dict(target.sizes)}; got {draws.sizes}. Give the target these names."
        )
    u = target.to_unconstrained(torch.from_numpy(draws.rows))[0]
    if not bool(u.isfinite().all()):
        raise DataError("fit_posterior: expected draws inside the target's space; got others. Check names and bounds.")
    order = torch.from_numpy(np.random.default_rng([seed, 3]).permutation(len(u)))
    count = len(u) // 2 if known else 0
    held, kept = order[:count], order[count:]
    flow = new_flow(recipe or "nsf", u.shape[1], options, seed)
    train(flow, u[kept], max_steps=steps, seed=seed, progress=progress, baselines=())
    effective = max(1.0, draws.effective * count / len(u))
    flow = flow.eval().requires_grad_(requires_grad=False)
    return Posterior(flow, target, known=known, held=(u[held], effective) if known else None)
