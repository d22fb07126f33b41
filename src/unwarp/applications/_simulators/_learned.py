"""Flows of parameters and simulated data: how they are built, trained and kept in a file."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unwarp import flows
from unwarp._random import Randomness
from unwarp.applications._simulators._prior import Prior, prior_of
from unwarp.distributions import Flow, Mixture
from unwarp.errors import BundleError, ConfigError
from unwarp.training import Objective, Step
from unwarp.training import fit as train
from unwarp.transforms import Embedded, Standardize

__all__ = ["Embedding", "Plan", "build", "learn", "prepare", "read", "write"]

Embedding = Literal["none", "vectors", "sequences", "sets", "images"] | nn.Module
_SUITED = {"nsf": {"layers": 5, "hidden": [50, 50]}}
_PASSES, _FEWEST_STEPS, _MOST_STEPS = 60, 500, 12_000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a fit was asked for; see `NPE`."""

    flow: str
    options: Mapping[str, Any]
    embedding: Embedding = "none"
    summary: int = 32
    members: int = 1
    max_steps: int | None = None
    lr: float | None = None
    random_state: int = 0
    progress: Callable[[Step], object] | None = None
    marginals: Literal["plain", "quantiles"] = "plain"

    @property
    def asked(self) -> dict[str, Any]:
        """Options of the recipe, with what suits simulators where nothing was said."""
        return dict(_SUITED.get(self.flow, {})) | dict(self.options)

    def budget(self, rows: int) -> int:
        """Steps for so many rows: some sixty passes."""
        batch = min(rows, _batch(rows))
        return self.max_steps or max(_FEWEST_STEPS, min(_MOST_STEPS, _PASSES * rows // batch))


def build(plan: Plan, features: int, observed: tuple[int, ...]) -> Mixture:
    """The untrained flows."""
    with Randomness(plan.random_state):
        if not isinstance(plan.embedding, nn.Module):
            options: dict[str, Any] = {"embedding": plan.embedding, "marginals": plan.marginals}
            return flows.amortized(
                features, observed=observed, flow=plan.flow, options=plan.asked, summary=plan.summary,
                members=plan.members, **options,
            )  # fmt: skip
        parts: list[Flow] = []
        for _ in range(plan.members):
            net = copy.deepcopy(plan.embedding)
            width = _width(net, observed)
            inner = flows.flow(plan.flow, features, **plan.asked, context=width)
            chain = Embedded(inner.transform, nn.Sequential(_Scaled(observed[-1]), net), context=observed)
            parts.append(Flow(chain, inner.base))
        return Mixture(parts)


def learn(model: Mixture, plan: Plan, u: Tensor, x: Tensor, objective: Objective) -> None:
    """Train each member on its own split of the rows; what an observation's views are is set from the rows first."""
    for k, part in enumerate(model.parts):
        core, seen = _core(part, x)
        train(
            core, u.float(), objective, context=seen, max_steps=plan.budget(len(u)), batch=_batch(len(u)),
            lr=plan.lr, seed=plan.random_state + k, patience=0.2, baselines=(), progress=plan.progress,
        )  # fmt: skip
    model.eval().requires_grad_(requires_grad=False)


def prepare(model: Mixture, u: Tensor, x: Tensor) -> None:
    """Let views of the data, and what follows the parameters, be set from the rows, as `learn` does before training."""
    for part in model.parts:
        core, seen = _core(part, x)
        core.adapt(u, seen)


def _core(part: Any, x: Tensor) -> tuple[Flow, Tensor]:
    """What is trained of a member, and the context that it sees: views are computed once."""
    embedded = part.transform.parts[0]
    views: Any
    views, net = (embedded.net[0], embedded.net[1]) if isinstance(embedded.net, nn.Sequential) else (embedded.net, None)
    views.adapt(x)
    with torch.no_grad():
        seen = views(x)
    chain = embedded.transform if net is None else Embedded(embedded.transform, net, context=tuple(seen.shape[1:]))
    return Flow(chain, part.base), seen


def write(model: Mixture, path: Any, kind: str, prior: Prior, facts: Mapping[str, Any]) -> None:
    """All in one model file."""
    if model.spec is None:
        raise BundleError(
            "save: expected an embedding by name; got a network of your own, which a file without code can't hold. "
            "Keep its code and model.state_dict()."
        )
    flows.save(model, path, training={"application": kind, "prior": prior.to_json(), **facts})


def read(path: Any, kind: str) -> tuple[Mixture, Prior, dict[str, Any]]:
    """What `write` wrote.

    Raises:
        BundleError: when the file is no such model.
    """
    model, config = flows.load_with_config(path)
    facts = config["training"] or {}
    if facts.get("application") != kind:
        raise BundleError(f"{kind}.load: expected a file that {kind}.save wrote; got another model. Check the path.")
    try:
        return model.requires_grad_(requires_grad=False), prior_of(facts.get("prior"), f"{kind}.load"), facts
    except ConfigError as error:
        raise BundleError(str(error)) from error


def _batch(rows: int) -> int:
    return 128 if rows < 5_000 else 256 if rows < 50_000 else 512


def _width(net: nn.Module, observed: tuple[int, ...]) -> int:
    with torch.no_grad():
        made = copy.deepcopy(net).eval()(torch.zeros(2, *observed))
    if not isinstance(made, Tensor) or made.dim() != 2 or len(made) != 2:
        got = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
        raise ConfigError(f"embedding: expected a vector for each observation, (n, k); got {got}. Flatten its output.")
    return made.shape[1]


class _Scaled(nn.Module):
    """Entries of the last axis, standardised as the training data are."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.units = Standardize(features)

    def forward(self, x: Tensor) -> Tensor:
        return self.units.encode(x)

    def adapt(self, x: Tensor) -> None:
        self.units.adapt(x.reshape(-1, x.shape[-1]))
