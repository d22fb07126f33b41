"""Posteriors as flows: from a log density, from draws, or from both."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unwarp._space import Support
from unwarp.applications._posteriors import _posterior_file
from unwarp.applications._posteriors._diagnosis import Diagnosis, diagnosed, drawn, log_ratios
from unwarp.applications._posteriors._draws import Draws, named
from unwarp.applications._posteriors._evidence import Evidence
from unwarp.applications._posteriors._from_draws import likeliest, unconstrained, without_density
from unwarp.applications._posteriors._marginals import Marginals
from unwarp.applications._posteriors._modes import lost_mode
from unwarp.applications._posteriors._target import Target
from unwarp.applications._posteriors._variational import learned
from unwarp.applications._posteriors._weights import pareto_smoothed
from unwarp.distributions import Flow
from unwarp.errors import BundleError, ConfigError, DataError
from unwarp.training import History, Step

__all__ = ["Posterior", "fit_posterior"]


class Posterior:
    """A posterior as a flow over unconstrained coordinates; `fit_posterior` makes it.

    Args:
        flow: the density of unconstrained coordinates, float64.
        target: the log density that it stands for, and the map to parameters.
        known: whether `target.log_density` is real, or draws were all there was.
        draws: what it was learned from, if from draws.
        held: of these, the last so many of each chain took no part in the fit.
        history: the account of the training.

    Attributes:
        flow: as above.
        target: as above.
        known: as above.
        draws: as above.
        history: as above; None from a log density.
        dims: names of the parameters' dimensions.
        coords: labels along these.
    """

    def __init__(
        self,
        flow: Flow,
        target: Target,
        *,
        known: bool,
        draws: Draws | None = None,
        held: int = 0,
        history: History | None = None,
    ) -> None:
        self.flow = flow
        self.target = target
        self.draws = draws
        self.history = history
        self.dims: dict[str, tuple[str, ...]] = {} if draws is None else draws.dims
        self.coords: dict[str, NDArray[Any]] = {} if draws is None else draws.coords
        self.known = known
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
            return named(self._constrained(self._draw(n, random_state)), self.target.sizes)
        u = self._draw(10 * n, random_state)
        log_weight, _ = pareto_smoothed(self._ratios(u))
        place = np.random.default_rng(random_state).choice(len(u), n, p=np.exp(log_weight), replace=False)
        return named(self._constrained(u[torch.from_numpy(place)]), self.target.sizes)

    def draw(self, n: int = 4000, *, chains: int = 1, random_state: int = 0) -> Draws:
        """The same as `Draws`: with names for each number, dimensions and coordinates, in so many chains.

        The draws are independent; chains are there for what compares them, and each gets as many.
        """
        x = self._constrained(self._draw(-(-n // chains) * chains, random_state))
        return Draws(x.reshape(chains, -1, x.shape[-1]), dict(self.target.sizes), self.dims, self.coords)

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

    def marginals(self, *names: str, n: int = 10_000, random_state: int = 0) -> Marginals:
        """Mean, standard deviation and quantiles of each number, of all parameters or those named.

        Raises:
            ConfigError: when a name is unknown.
        """
        return Marginals.of(self.draw(n, random_state=random_state), names=names)

    def to_xarray(self, n: int = 4000, *, chains: int = 4, random_state: int = 0) -> Any:
        """Draws as an `xarray.Dataset`, with the dimensions and coordinates of the draws that it was learned from.

        Draws are independent; chains are there for what compares them.

        Raises:
            ConfigError: when xarray is not installed.
        """
        return self.draw(n, chains=chains, random_state=random_state).to_xarray()

    def to_arviz(self, n: int = 4000, *, chains: int = 4, random_state: int = 0) -> Any:
        """Draws as ArviZ's own container, with a group `posterior`: `InferenceData` up to 0.23, `DataTree` from 1.0.

        Raises:
            ConfigError: when neither ArviZ nor an xarray with trees is installed.
        """
        return self.draw(n, chains=chains, random_state=random_state).to_arviz()

    def diagnose(self, *, random_state: int = 0) -> Diagnosis:
        """Importance weights, the evidence's lower bound, and a search for lost modes.

        Raises:
            ConfigError: when there is no log density.
        """
        self._density()
        return diagnosed(self.flow, self.target, random_state)

    def log_evidence(self, *, draws: int = 20_000, random_state: int = 0) -> Evidence:
        """The log of the density's integral: by importance sampling, and by bridge sampling where there are draws.

        Trusted only if both agree, the weights' tail is light, chains agree, held-out draws are enough and a search
        from far around finds no mode that the flow lacks.

        Raises:
            ConfigError: when there is no log density.
        """
        ratios = self._ratios(self._draw(draws, random_state))
        against: list[str] = []
        at_draws = effective = None
        if self.draws is not None and self._held:
            last = Draws(self.draws.values[:, -self._held :], self.draws.sizes)
            at_draws, effective = self._ratios(unconstrained(last, self.target).flatten(0, 1)), last.effective
            if self.draws.disagreement is not None:
                against.append(f"the chains disagree: {self.draws.disagreement}")
        whole = float(np.logaddexp.reduce(ratios)) - math.log(len(ratios))
        lost = lost_mode(self.flow, self.target, whole, seed=random_state) if math.isfinite(whole) else 0.0
        if lost:
            against.append(f"a search found a mode where the flow is too low by {lost:.0f} nats")
        return Evidence.of(ratios, at_draws, effective, against=against)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write flow, names, shapes, bounds, dimensions and coordinates to one `.safetensors` file; `load` reads it.

        Raises:
            BundleError: when the parameters' map is a model's own code, as of PyMC, or the file can't be written.
        """
        if self.target.space is None:
            raise BundleError(
                f"save({os.fspath(path)}): expected parameters with bounds of their own; got a model's map, which is "
                "code. Save posterior.flow, and make Posterior(flow, target, known=True) from it later."
            )
        _posterior_file.write(
            path, self.flow, self.target.space, sizes=dict(self.target.sizes), dims=self.dims, coords=self.coords,
            history=self.history,
        )  # fmt: skip

    @classmethod
    def load(cls, path: str | os.PathLike[str], target: Target | None = None) -> Posterior:
        """The posterior in a file that `save` or `unwarp posterior` wrote.

        Args:
            path: the file.
            target: its log density, if there is to be one: files hold none.

        Raises:
            BundleError: when the file is no model file, is damaged, or holds no posterior.
            ConfigError: when the target has other parameters.
        """
        flow, own = _posterior_file.read(path)
        known = target is not None
        if target is None:
            target = without_density(own.sizes, None, space=own.space)
        elif dict(target.sizes) != own.sizes:
            raise ConfigError(
                f"load: expected a target of {own.sizes}; got one of {dict(target.sizes)}. Name its parameters so."
            )
        found = cls(flow, target, known=known)
        found.dims = {name: tuple(value) for name, value in own.dims.items()}
        found.coords = {name: np.array(labels) for name, labels in own.coords.items()}
        return found

    def _draw(self, n: int, seed: int) -> Tensor:
        return drawn(self.flow, n, seed)

    def _constrained(self, u: Tensor) -> NDArray[np.float64]:
        with torch.no_grad():
            return self.target.to_constrained(u)[0].numpy()

    def _ratios(self, u: Tensor) -> NDArray[np.float64]:
        self._density()
        return log_ratios(self.flow, self.target, u)

    def _density(self) -> None:
        if not self.known:
            raise ConfigError("Posterior: expected a log density; got draws alone. Give fit_posterior a target too.")


def fit_posterior(
    given: Target | Any,
    target: Target | None = None,
    *,
    support: Mapping[str, Support] | None = None,
    flow: str | None = None,
    flow_options: Mapping[str, Any] | None = None,
    objective: Literal["auto", "reverse_kl", "importance", "alpha", "tempered", "bootstrap"] = "auto",
    draws: int = 256,
    max_steps: int = 3000,
    max_seconds: float | None = None,
    random_state: int = 0,
    progress: Callable[[Step], object] | None = None,
) -> Posterior:
    """A posterior as a flow: learned from a log density, or from draws.

    From a `Target` alone: variational inference. Its modes are looked for first, in whatever units, and a normal law
    near to it sets the flow's place, scales and correlations. With one mode, short runs choose the learning rate and
    rounds of training follow until the evidence's bound is nearer to the evidence than its own error. With several,
    draws are brought down from a wide law over all of them, and then the flow learns from its own annealed draws.

    From draws (ArviZ, xarray, dict, data frame or array), with or without a `Target`: maximum likelihood on the first
    half of each chain with a target, so that the other half can judge, otherwise on all.

    Args:
        given: a target, or draws of the parameters.
        target: of the draws: their log density and bounds; of the draws' parameters, those that it names are taken.
        support: of draws without a target, where their parameters live, by name: real if not said.
        flow: a recipe; by default `realnvp` for a target, `nsf` where it has several modes, and for draws what suits
            their number.
        flow_options: of the recipe.
        objective: "auto" takes "reverse_kl", ended by "importance" where weights are uneven, or "bootstrap" where
            there are several modes; "alpha" is between the first two, "tempered" cools the density from hot to its
            own temperature.
        draws: of the flow in one step.
        max_steps: of training.
        max_seconds: of training on draws.
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
    if target is not None and support is not None:
        raise ConfigError("fit_posterior: expected bounds from the target; got support too. Leave support out.")
    draws_ = Draws.of(given, names=None if target is None else tuple(target.sizes))
    known = target is not None
    if target is None:
        target = without_density(draws_.sizes, support)
    elif dict(target.sizes) != draws_.sizes:
        raise DataError(
            f"fit_posterior: expected draws of {dict(target.sizes)}; got {draws_.sizes}. Give the target these shapes."
        )
    u = unconstrained(draws_, target)
    held = u.shape[1] // 2 if known else 0
    found, history = likeliest(
        u[:, : u.shape[1] - held].flatten(0, 1), flow, dict(flow_options or {}), steps=max_steps, seconds=max_seconds,
        seed=random_state, progress=progress,
    )  # fmt: skip
    return Posterior(found, target, known=known, draws=draws_, held=held, history=history)
