"""Posteriors as flows: from a log density, from draws, or from both."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unwarp import flows
from unwarp.applications._draws import Draws
from unwarp.applications._evidence import Evidence
from unwarp.applications._target import Target
from unwarp.applications._weights import effective_size, pareto_smoothed
from unwarp.distributions import Flow, Gaussian
from unwarp.errors import ConfigError, DataError
from unwarp.training import ImportanceWeighted, ReverseKL, Step
from unwarp.training import fit as train

__all__ = ["Diagnosis", "Posterior", "fit_posterior"]

_RATES = (3e-2, 1e-2, 3e-3)
_JUDGED = 4000  # draws by which a fit is judged
_LARGEST_K = 0.7
_LOST = 5.0  # nats by which q may be too low at a mode


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """How well a flow fits the log density that it stands for.

    Attributes:
        elbo: the evidence's lower bound, nats.
        elbo_error: its standard error.
        pareto_k: shape of the importance weights' tail.
        effective: effective sample size of the weights, a share of the draws.
        lost: by how many nats the flow's density is too low at the worst mode that a search found; above 5 one is lost.
        trust: whether k is at most 0.7 and no mode is lost.
    """

    elbo: float
    elbo_error: float
    pareto_k: float
    effective: float
    lost: float
    trust: bool

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def __str__(self) -> str:
        said = [
            f"ELBO {self.elbo:.3f} +- {self.elbo_error:.3f} nats",
            f"importance weights: k {self.pareto_k:.2f}, worth {100 * self.effective:.0f} % of the draws",
            f"at the worst mode found the flow is too low by {max(0.0, self.lost):.1f} nats",
        ]
        verdict = "The fit can be trusted." if self.trust else "The fit can't be trusted as it is: weigh or refit."
        return "; ".join(said) + f". {verdict}"


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
        log_weight = self._ratios(self._draw(_JUDGED, random_state))
        _, k = pareto_smoothed(log_weight)
        lost = self._lost(log_weight, random_state)
        share = effective_size(log_weight) / len(log_weight)
        error = float(log_weight.std() / math.sqrt(len(log_weight)))
        return Diagnosis(float(log_weight.mean()), error, k, share, lost, k <= _LARGEST_K and lost <= _LOST)

    def log_evidence(self, *, draws: int = 20_000, random_state: int = 0) -> Evidence:
        """The log of the density's integral: by importance sampling, and by bridge sampling where there are draws.

        Raises:
            ConfigError: when there is no log density.
        """
        at_draws = None if self._held is None else self._ratios(self._held[0])
        effective = None if self._held is None else self._held[1]
        return Evidence.of(self._ratios(self._draw(draws, random_state)), at_draws, effective)

    def _draw(self, n: int, seed: int) -> Tensor:
        with torch.no_grad():
            return self.flow.sample((n,), generator=torch.Generator().manual_seed(seed))

    def _ratios(self, u: Tensor) -> NDArray[np.float64]:
        """Log of target over flow; where the target is not finite, minus infinity."""
        if not self._known:
            raise ConfigError("Posterior: expected a log density; got draws alone. Give fit_posterior a target too.")
        with torch.no_grad():
            ratio = self.target.log_density(u) - self.flow.log_prob(u)
        return torch.where(ratio.isfinite(), ratio, -torch.inf).numpy()

    def _named(self, u: Tensor) -> dict[str, Any]:
        with torch.no_grad():
            x = self.target.to_constrained(u)[0].numpy()
        widths = [math.prod(shape) for shape in self.target.sizes.values()]
        parts = np.split(x, np.cumsum(widths)[:-1], axis=-1)
        return {n: p.reshape(len(x), *s) for (n, s), p in zip(self.target.sizes.items(), parts, strict=True)}

    def _lost(self, log_weight: NDArray[np.float64], seed: int) -> float:
        """By how much the flow is too low at the highest points found from starts far around it."""
        if not self.target.differentiable:
            return -math.inf
        u = self._draw(64, seed + 1)
        spread = 4 * u.std(0)
        start = u.mean(0) + spread * torch.randn(u.shape, dtype=u.dtype, generator=torch.Generator().manual_seed(seed))
        point = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([point], lr=0.05)
        scale = spread.clamp(min=1e-6) / 4
        for _ in range(300):
            optimizer.zero_grad()
            loss = -self.target.log_density(start + (point - start) * scale)
            loss = torch.where(loss.isfinite(), loss, 0.0).sum()
            loss.backward()
            optimizer.step()
        found = (start + (point - start) * scale).detach()
        gap = self._ratios(found) - (np.logaddexp.reduce(log_weight) - math.log(len(log_weight)))
        return float(np.max(gap))


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
        return _from_density(given, flow, dict(flow_options or {}), objective, draws, max_steps, random_state, progress)
    return _from_draws(Draws.of(given), target, flow, dict(flow_options or {}), max_steps, random_state, progress)


def _from_density(
    target: Target,
    recipe: str | None,
    options: dict[str, Any],
    objective: str,
    draws: int,
    steps: int,
    seed: int,
    progress: Callable[[Step], object] | None,
) -> Posterior:
    if objective not in ("reverse_kl", "importance"):
        raise ConfigError(f'fit_posterior: expected "reverse_kl" or "importance"; got {objective!r}. Choose one.')
    if not target.differentiable:
        raise ConfigError("fit_posterior: expected a target with a gradient; got one without. Give it, or give draws.")
    goal = ReverseKL(target.log_density) if objective == "reverse_kl" else ImportanceWeighted(target.log_density)
    rows = torch.zeros(draws, target.dim, dtype=torch.float64)
    common: dict[str, Any] = {"start": "keep", "validation": 0, "batch": draws, "seed": seed}
    near = Gaussian(target.dim).double()
    value = target.log_density(near.sample((64,), generator=torch.Generator().manual_seed(seed)))
    if not bool(value.isfinite().any()):
        raise DataError("fit_posterior: expected a finite log density near 0; got none. Move or scale the parameters.")
    train(near, rows, ReverseKL(target.log_density), lr=5e-2, max_steps=min(1000, steps), **common)
    with torch.no_grad():
        around = near.eval().sample((4000,), generator=torch.Generator().manual_seed(seed))

    def made() -> Flow:
        flow = _flow(recipe or ("realnvp" if target.dim > 1 else "nsf"), target.dim, options, seed, vi=True)
        flow.adapt(around)
        return flow

    found: list[tuple[float, float]] = []
    for rate in _RATES:
        flow = made()
        train(flow, rows, goal, lr=rate, max_steps=max(50, steps // 15), **common)
        with torch.no_grad():
            u, log_q = flow.eval().sample_and_log_prob((1000,), generator=torch.Generator().manual_seed(seed))
            elbo = float((target.log_density(u) - log_q).mean())
        found.append((elbo if math.isfinite(elbo) else -math.inf, rate))
    flow = made()
    train(flow, rows, goal, lr=max(found)[1], max_steps=steps, progress=progress, **common)
    return Posterior(flow.eval().requires_grad_(requires_grad=False), target, known=True)


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
    flow = _flow(recipe or "nsf", u.shape[1], options, seed, vi=False)
    train(flow, u[kept], max_steps=steps, seed=seed, progress=progress, baselines=())
    effective = max(1.0, draws.effective * count / len(u))
    flow = flow.eval().requires_grad_(requires_grad=False)
    return Posterior(flow, target, known=known, held=(u[held], effective) if known else None)


def _flow(recipe: str, dim: int, options: dict[str, Any], seed: int, *, vi: bool) -> Flow:
    defaults: dict[str, Any] = {"layers": 10, "hidden": (32, 32)} if vi and recipe == "realnvp" else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return flows.flow(recipe, dim, **(defaults | options)).double()
