"""Learning a posterior from its log density alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from unwarp import flows
from unwarp.applications._target import Target
from unwarp.distributions import Flow, Gaussian
from unwarp.errors import ConfigError, DataError
from unwarp.training import ImportanceWeighted, ReverseKL, Step
from unwarp.training import fit as train

__all__ = ["learned", "new_flow"]

_RATES = (3e-2, 1e-2, 3e-3)


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

    defaults: dict[str, Any] = (
        {"layers": 10, "hidden": (32, 32)} if recipe in (None, "realnvp") and target.dim > 1 else {}
    )

    def made() -> Flow:
        flow = new_flow(recipe or ("realnvp" if target.dim > 1 else "nsf"), target.dim, defaults | options, seed)
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
    return flow.eval().requires_grad_(requires_grad=False)


def new_flow(recipe: str, dim: int, options: Mapping[str, Any], seed: int) -> Flow:
    """A flow of doubles, its first weights drawn by a seed of their own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return flows.flow(recipe, dim, **options).double()
