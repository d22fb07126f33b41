"""Learning a posterior from its draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unwarp import flows
from unwarp._random import Randomness
from unwarp._space import REAL, Space, Support
from unwarp.applications._posteriors._draws import Draws
from unwarp.applications._posteriors._target import Target
from unwarp.distributions import Flow
from unwarp.errors import ConfigError, DataError
from unwarp.training import History, Step
from unwarp.training import fit as train

__all__ = ["likeliest", "unconstrained", "without_density"]

_TIED = 1e-9  # of the variance, below which a coordinate follows from the others


def without_density(
    sizes: Mapping[str, tuple[int, ...]], support: Mapping[str, Support] | None, *, space: Space | None = None
) -> Target:
    """A target of parameters of which draws are all there is: their names, shapes and bounds."""
    known = dict(support or {})
    absent = [name for name in known if name not in sizes]
    if absent:
        raise ConfigError(f"fit_posterior: expected support of {sorted(sizes)}; got that of {absent}. Name parameters.")
    each = [known.get(name, REAL) for name, shape in sizes.items() for _ in range(int(np.prod(shape)))]
    space = space or Space((len(each),), REAL if all(one == REAL for one in each) else tuple(each))
    return Target.from_torch(lambda x: x.new_full(x.shape[:-1], torch.nan), space, names=sizes)


def unconstrained(draws: Draws, target: Target) -> Tensor:
    """Coordinates of draws, `(chains, draws, dim)`.

    Raises:
        DataError: when a draw lies outside, or a coordinate follows from the others, so that there is no density.
    """
    u = target.to_unconstrained(torch.from_numpy(draws.rows))[0]
    bad = ~u.isfinite().all(-1)
    if bool(bad.any()):
        place = int(bad.int().argmax())
        raise DataError(
            f"fit_posterior: expected draws inside the parameters' bounds; got draw {place} outside: "
            f"{np.array2string(draws.rows[place], precision=4, threshold=6)}. Check names and support."
        )
    if u.shape[-1] > 1:
        spread = u - u.mean(0)
        least = torch.linalg.eigvalsh(torch.corrcoef(spread.mT))
        if float(least[0]) < _TIED:
            raise DataError(
                f"fit_posterior: expected {u.shape[-1]} free coordinates; got some that follow from the others. "
                "Leave out what is computed from other parameters."
            )
    return u.reshape(*draws.values.shape[:2], -1)


def likeliest(
    u: Tensor,
    recipe: str | None,
    options: Mapping[str, Any],
    *,
    steps: int | None,
    seconds: float | None,
    seed: int,
    progress: Callable[[Step], object] | None,
) -> tuple[Flow, History]:
    """The flow that gives held-out draws the highest density: of those that suit so many rows, or of one recipe.

    Args:
        u: rows `(n, dim)`.
        recipe: its name, or None for those that suit.
        options: of the recipe.
        steps: budget of all in steps.
        seconds: budget of all in seconds.
        seed: of the split, the first weights and the order of rows.
        progress: gets each `Step`.
    """
    order = torch.from_numpy(np.random.default_rng([seed, 1]).permutation(len(u)))
    held, kept = order.split([max(1, len(u) // 10), len(u) - max(1, len(u) // 10)])
    found = flows.suited(len(kept), u.shape[-1], seconds)
    if recipe is not None:
        settings = {key: value for key, value in found[-1].settings.items() if key != "lr"}
        found = (flows.Candidate(recipe, {}, settings),)
    best: tuple[Flow, History] | None = None
    total = sum(candidate.share for candidate in found)
    for candidate in found:
        with Randomness(seed):
            flow = flows.flow(candidate.recipe, u.shape[-1], **(candidate.options | dict(options)))
        share, own = candidate.share / total, dict(candidate.settings)
        if steps is not None:
            own["max_steps"] = min(own.get("max_steps") or steps, max(1, round(share * steps)))
        if seconds is not None:
            own |= {"max_seconds": share * seconds} | ({"max_steps": None} if steps is None else {})
        history = train(
            flow, u[kept], validation=u[held], seed=seed, progress=progress, baselines=("gaussian",), **own
        )  # fmt: skip
        if history.interrupted:
            raise KeyboardInterrupt
        if best is None or _score(history) > _score(best[1]):
            best = flow, history
    if best is None:
        raise ConfigError(f"fit_posterior: expected a flow for {len(u)} draws; got none. Give flow='nsf'.")
    return best[0].double().eval().requires_grad_(requires_grad=False), best[1]


def _score(history: History) -> float:
    return -np.inf if history.held_out is None else float(history.held_out)
