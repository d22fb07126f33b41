"""Posteriors of a simulator's parameters, learned from pairs of parameters and data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from unwarp.applications._simulators._learned import Embedding, Plan
from unwarp.applications._simulators._neural import Neural
from unwarp.applications._simulators._prior import Prior
from unwarp.training import Objective, Step, likelihood, matching

__all__ = ["FMPE", "NPE"]


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
        >>> import numpy as np
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
        plan = Plan(
            flow=flow, options=dict(flow_options or {}), embedding=embedding, summary=summary, members=members,
            max_steps=max_steps, lr=lr, random_state=random_state, progress=progress,
        )  # fmt: skip
        super().__init__(prior, plan)

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
        >>> import numpy as np
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
        plan = Plan(
            flow="cnf", options={"hidden": [128, 128, 128], "time": 4} | dict(flow_options or {}), embedding=embedding,
            summary=summary, members=members, max_steps=max_steps, lr=lr, random_state=random_state, progress=progress,
        )  # fmt: skip
        super().__init__(prior, plan)

    @property
    def _objective(self) -> Objective:
        return matching
