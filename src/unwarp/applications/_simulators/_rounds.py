"""Rounds of simulations, each where the posterior of one observation may still be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unwarp.applications._simulators._prior import Prior

__all__ = ["Simulator", "within_region"]

Floats = NDArray[np.float64]
Simulator = Callable[[Floats], Any]
_CUT = 1e-4  # of the posterior's mass that its region may leave out
_DRAWS = 10_000
_POOL = 20_000
_TRIES = 25


def within_region(posterior: Any, prior: Prior, n: int, *, random_state: int) -> tuple[Floats, float]:
    """Draws of the prior inside the highest-density region of a posterior, and the share of the prior that it is.

    By rejection; where the region is so small that this would take long, by resampling draws of the posterior with
    weights prior over posterior.

    Source: Deistler, Goncalves and Macke, *Truncated proposals for scalable and hassle-free simulation-based
    inference*, 2022, arXiv:2210.04815, algorithm 1 and section 3.3.
    """
    own = posterior.sample(_DRAWS, random_state=random_state)
    log_own = posterior.log_prob(own)
    least = np.quantile(log_own, _CUT)
    kept: list[Floats] = []
    tried = found = 0
    for i in range(_TRIES):
        some = prior.sample(_POOL, random_state=random_state + 1 + i)
        inside = some[posterior.log_prob(some) >= least]
        kept.append(inside)
        tried, found = tried + _POOL, found + len(inside)
        if found >= n:
            break
    if found >= n:
        return np.concatenate(kept)[:n], found / tried
    rng = np.random.default_rng(random_state)
    own = posterior.sample(max(_DRAWS, 10 * n), random_state=random_state + 100)
    log_own = posterior.log_prob(own)
    weight = np.where(log_own >= least, prior.log_prob(own) - log_own, -np.inf)
    share = torch.from_numpy(weight).softmax(0).numpy()
    place = rng.choice(len(own), n, p=share, replace=int((share > 0).sum()) < n)
    return own[place], found / tried
