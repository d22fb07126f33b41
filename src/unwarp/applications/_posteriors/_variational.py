"""Learning a posterior from its log density alone."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from unwarp import flows
from unwarp._random import Randomness
from unwarp.applications._posteriors._diagnosis import drawn, log_ratios
from unwarp.applications._posteriors._start import Normal, climb, distinct, matched, spread, starts
from unwarp.applications._posteriors._target import Target
from unwarp.applications._posteriors._weights import effective_size, pareto_smoothed
from unwarp.distributions import Flow
from unwarp.errors import ConfigError, DataError
from unwarp.training import (
    AlphaDivergence,
    Bootstrap,
    ImportanceWeighted,
    Objective,
    ReverseKL,
    Step,
    annealed,
    likelihood,
)
from unwarp.training import fit as train
from unwarp.transforms import Elementwise, Standardize, Whiten
from unwarp.univariates import HeavyTail

__all__ = ["OBJECTIVES", "learned", "new_flow"]

Floats = NDArray[np.float64]
OBJECTIVES = ("auto", "reverse_kl", "importance", "alpha", "tempered", "bootstrap")
_RATES = (1e-2, 3e-3, 1e-3)
_LOOKED = 32  # starts of the search for modes
_SCOUTS = 512  # draws that come down from far around
_LIGHT = 11.5  # nats by which a mode may be lighter than the heaviest and still count
_PARTICLES = 4000
_HOT = (8.0, 4.0, 2.0)
_FARTHEST = 1e12
_EVEN = 0.5, 0.9  # effective shares of the weights that are uneven, and nearly even
_STRONG = 0.5  # correlation
_LONG = 0.5  # shape of the weights' tail from which it is long
_TAIL = 0.05  # 1 / degrees of freedom that tails have at least
_TRIED = 100  # draws at which a density is tried first


@dataclass
class _Learning:
    """What is asked for, and how often the density was not finite."""

    target: Target
    recipe: str | None
    options: dict[str, Any]
    draws: int
    steps: int
    seed: int
    progress: Callable[[Step], object] | None
    mends: bool = False
    seen: int = 0
    broken: int = 0

    def log_density(self, u: Tensor) -> Tensor:
        """The target's, whose gradient is 0 where it is not finite."""
        if not (torch.is_grad_enabled() and u.requires_grad):
            return self.target.log_density(u)
        with torch.enable_grad():
            at = u.detach().requires_grad_()
            value = self.target.log_density(at)
            (slope,) = torch.autograd.grad(value.sum(), at)
        value = value.detach()
        fine = value.isfinite() & slope.isfinite().all(-1)
        self.seen += len(u)
        self.broken += int((~fine).sum())
        floor = torch.where(fine, value, torch.inf).min()
        value = torch.where(fine, value, floor.nan_to_num(posinf=0.0))
        return value + ((u - at.detach()) * torch.where(fine.unsqueeze(-1), slope, 0.0)).sum(-1)

    def train(self, flow: Flow, goal: Objective, lr: float, steps: int, rows: Tensor | None = None) -> None:
        """Some steps from the flow as it is."""
        given = torch.zeros(self.draws, self.target.dim, dtype=torch.float64) if rows is None else rows
        train(
            flow, given, goal, start="keep", validation=0, batch=self.draws, lr=lr, max_steps=max(1, steps),
            weight_decay=0.0, seed=self.seed, progress=self.progress, baselines=(),
        )  # fmt: skip

    def flow(self, around: Tensor, *, several: bool) -> Flow:
        """A new flow that is near to draws: by their mean and covariance, then each feature by its own law."""
        chosen = self.recipe or ("nsf" if several or self.target.dim == 1 else "realnvp")
        correlated = self.target.dim > 1 and (not several or _correlated(around))
        defaults: dict[str, Any] = {"mixing": "prewhiten"} if correlated else {}
        if chosen == "nsf":
            defaults |= {"layers": 4, "hidden": (32, 32), "marginals": 16}
        elif chosen == "realnvp":
            defaults |= {"layers": 8, "hidden": (32, 32), "tails": "heavy"}
        flow = new_flow(chosen, self.target.dim, defaults | self.options, self.seed)
        _place(flow, around, self.seed)
        return flow


def learned(
    target: Target,
    recipe: str | None,
    options: dict[str, Any],
    objective: str,
    draws: int,
    steps: int,
    seed: int,
    progress: Callable[[Step], object] | None,
) -> Flow:
    """A flow brought near to a log density."""
    if objective not in OBJECTIVES:
        words = ", ".join(f'"{word}"' for word in OBJECTIVES)
        raise ConfigError(f"fit_posterior: expected an objective of {words}; got {objective!r}. Choose one.")
    task = _Learning(target, recipe, options, draws, steps, seed, progress)
    generator = Generator().manual_seed(seed)
    _try(target, generator)
    with Randomness(seed):
        modes = _modes(target, generator)
        if objective == "auto":
            task.mends = True
            objective = "bootstrap" if len(modes) > 1 else "reverse_kl"
        learn = {"bootstrap": _bootstrapped, "tempered": _tempered}.get(objective)
        flow = _direct(task, modes, objective, generator) if learn is None else learn(task, modes, generator)
    if task.broken > 0.001 * task.seen:
        warnings.warn(
            f"fit_posterior: expected a finite log density; got {100 * task.broken / task.seen:.1f} % of "
            f"{task.seen:,} draws where it or its gradient is not. They were left out: see that the density is right "
            "there.",
            UserWarning,
            stacklevel=3,
        )
    return flow.eval().requires_grad_(requires_grad=False)


def new_flow(recipe: str, dim: int, options: Mapping[str, Any], seed: int) -> Flow:
    """A flow of doubles, its first weights drawn by a seed of their own."""
    with Randomness(seed):
        return flows.flow(recipe, dim, **options).double()


def _try(target: Target, generator: Generator) -> None:
    """See that the density has values and a gradient where one begins."""
    u = starts(target.dim, _TRIED, generator).requires_grad_()
    value = target.log_density(u)
    if not bool(value.isfinite().any()):
        what = "NaN" if bool(value.isnan().any()) else "infinite values alone"
        raise DataError(
            f"fit_posterior: expected a finite log density near 0; got {what}. Move or scale the parameters."
        )
    if not target.differentiable or not value.requires_grad:
        raise ConfigError("fit_posterior: expected a target with a gradient; got one without. Give it, or give draws.")


def _modes(target: Target, generator: Generator) -> list[Normal]:
    """The modes that count, the heaviest first: from starts around 0, and from draws that come down from far around.

    The first find what is far off, the second narrow modes beside wide ones, which few starts are near to.
    """
    found = distinct(target, climb(target, starts(target.dim, _LOOKED, generator)), generator)
    unit = Normal(torch.zeros(target.dim, dtype=torch.float64), 5 * torch.eye(target.dim, dtype=torch.float64))
    wide = spread(found).wider(3.0) if found else unit
    rows = annealed(wide.draw(_SCOUTS, generator), wide.log_prob, target.log_density, moves=1)
    found = distinct(target, [*found, *climb(target, rows[:: _SCOUTS // _LOOKED])], generator)
    return [one for one in found if one.log_mass > found[0].log_mass - _LIGHT]


def _near(target: Target, modes: list[Normal], generator: Generator) -> Normal:
    """The normal law that is nearest to the density: from its mode, or from the standard one where that is better."""
    unit = Normal(torch.zeros(target.dim, dtype=torch.float64), torch.eye(target.dim, dtype=torch.float64))
    found = [matched(target, law, generator) for law in [*modes[:1], unit]]
    law = max(found, key=lambda pair: pair[1])[0]
    if float(law.factor.abs().max()) > _FARTHEST or float(law.mean.abs().max()) > _FARTHEST:
        raise DataError(
            "fit_posterior: expected a density with a finite integral; got one that doesn't fall off as far as "
            f"{_FARTHEST:.0e}. Give the parameters priors or bounds."
        )
    return law


def _direct(task: _Learning, modes: list[Normal], objective: str, generator: Generator) -> Flow:
    """By draws of the flow, from a normal law on: a search for the rate, then rounds until nothing is to be gained."""
    around = _near(task.target, modes, generator).draw(_PARTICLES, generator)
    goals: dict[str, Callable[[], Objective]] = {
        "reverse_kl": lambda: ReverseKL(task.log_density),
        "importance": lambda: ImportanceWeighted(task.log_density),
        "alpha": lambda: AlphaDivergence(task.log_density),
    }
    goal = goals[objective]()
    start = task.flow(around, several=False)
    if _is_done(task, start):
        return start
    _thicken(start)
    tried: list[tuple[float, float]] = []
    for rate in _RATES:
        flow = copy.deepcopy(start)
        task.train(flow, goal, rate, task.steps // 20)
        tried.append((_elbo(task, flow), rate))
    return _in_rounds(task, start, goal, max(tried)[1], task.steps)


def _in_rounds(task: _Learning, flow: Flow, goal: Objective, rate: float, steps: int) -> Flow:
    """Two rounds, and a last one of smaller steps unless nothing is left to gain.

    What comes last follows from the weights by then: nearly even ones want tails a little heavier than a normal law's,
    and uneven or long-tailed ones an objective that covers what the reverse divergence leaves out.
    """
    for _ in range(2):
        task.train(flow, goal, rate, steps // 4)
        if _is_done(task, flow):
            return flow
    log_weight = _weights(task, flow)
    share, k = effective_size(log_weight) / _PARTICLES, pareto_smoothed(log_weight)[1]
    if share > _EVEN[1]:
        _thicken(flow, hold="yes")
    if task.mends and (share < _EVEN[0] or k > _LONG):
        goal = ImportanceWeighted(task.log_density)
    task.train(flow, goal, 0.5 * rate, steps // 2)
    return flow


def _thicken(flow: Flow, *, hold: Literal["no", "yes"] = "no") -> None:
    """Tails at least a little heavier than a normal law's; held so from here on if asked for."""
    for part in flow.transform.parts:
        if isinstance(part, Elementwise) and isinstance(part.univariate, HeavyTail):
            part.params.data.clamp_(min=_TAIL)
            part.params.requires_grad = hold == "no"


def _tempered(task: _Learning, modes: list[Normal], generator: Generator) -> Flow:
    """By draws of the flow at falling temperatures."""
    hot = replace(task.target, log_density=lambda u: task.target.log_density(u) / _HOT[0])
    around = _near(hot, _modes(hot, generator), generator).draw(_PARTICLES, generator)
    flow = task.flow(around, several=len(modes) > 1)
    for temperature in _HOT:
        task.train(flow, ReverseKL(task.log_density, temperature=temperature), _RATES[0], task.steps // 6)
    return _in_rounds(task, flow, ReverseKL(task.log_density), _RATES[1], task.steps // 2)


def _bootstrapped(task: _Learning, modes: list[Normal], generator: Generator) -> Flow:
    """By draws that come down from a wide normal law over all modes, then by those that the flow itself finds."""
    wide = spread(modes) if len(modes) > 1 else _near(task.target, modes, generator).wider(1.5)
    rows = annealed(wide.draw(2 * _PARTICLES, generator), wide.log_prob, task.target.log_density)
    flow = task.flow(rows, several=len(modes) > 1)
    task.train(flow, likelihood, _RATES[1], task.steps // 2, rows)
    task.train(flow, Bootstrap(task.log_density), _RATES[1], task.steps // 3)
    return flow


def _elbo(task: _Learning, flow: Flow) -> float:
    value = float(log_ratios(flow.eval(), task.target, drawn(flow, 1000, task.seed)).mean())
    return value if math.isfinite(value) else -math.inf


def _weights(task: _Learning, flow: Flow) -> Floats:
    return log_ratios(flow.eval(), task.target, drawn(flow, _PARTICLES, task.seed + 1))


def _is_done(task: _Learning, flow: Flow) -> bool:
    """Is the bound nearer to the evidence than its own standard error?"""
    log_weight = _weights(task, flow)
    if not math.isfinite(float(log_weight.min())):
        return False
    top = float(log_weight.max())
    gap = top + math.log(float(torch.from_numpy(log_weight - top).exp().mean())) - float(log_weight.mean())
    error = float(log_weight.std()) / math.sqrt(len(log_weight))
    return gap < error + 1e-12 and pareto_smoothed(log_weight)[1] < 0.5


def _correlated(rows: Tensor) -> bool:
    """Is any correlation so strong that no layer should see it?"""
    found = torch.corrcoef(rows.mT) - torch.eye(rows.shape[1], dtype=rows.dtype)
    return bool(found.abs().max() > _STRONG)


def _place(flow: Flow, rows: Tensor, seed: int) -> None:
    """Set the maps before the layers: scales by mean and covariance, marginal laws by the rows themselves.

    Scales follow rows of the very same moments but no tails, lest a second mode be taken for one.
    """
    noise = torch.randn(rows.shape, dtype=rows.dtype, generator=Generator().manual_seed(seed))
    noise = noise - noise.mean(0)
    root = torch.linalg.cholesky(noise.mT @ noise)
    noise = torch.linalg.solve_triangular(root, noise.mT, upper=False).mT * math.sqrt(len(rows))
    middle = rows.mean(0)
    scale = (rows - middle).square().mean(0).sqrt().clamp(min=1e-300)
    apart = (rows - middle) / scale
    plain = middle + scale * (
        noise
        @ torch.linalg.cholesky(apart.mT @ apart / len(rows) + 1e-12 * torch.eye(rows.shape[1], dtype=rows.dtype)).mT
    )
    for part in flow.transform.parts:
        if isinstance(part, Standardize | Whiten):
            part.adapt(plain)
        elif isinstance(part, Elementwise):
            part.adapt(rows)
        else:
            break
        with torch.no_grad():
            rows, plain = part.encode(rows), part.encode(plain)
