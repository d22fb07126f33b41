"""The recipe of flows that answer for any observation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field, JsonValue
from torch import nn

from unwarp.distributions import Flow, Mixture
from unwarp.errors import RecipeError
from unwarp.flows._recipe import Components, Features, build, recipe
from unwarp.flows._summaries import GridSummary, SetSummary, VectorSummary, Views
from unwarp.transforms import Compose, Embedded, Quantiles, Regression, Transform

__all__ = ["amortized", "conditional"]

Observed = Annotated[tuple[Features, ...], Field(min_length=1, max_length=3)]
Inner = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Embedding = Literal["none", "vectors", "sequences", "sets", "images"]

_RANK: dict[Embedding, int] = {"none": 1, "vectors": 1, "sequences": 2, "sets": 2, "images": 3}


@recipe
def amortized(
    features: Features,
    *,
    observed: Observed,
    flow: Inner = "nsf",
    options: Annotated[dict[str, JsonValue], Field(max_length=50)],
    embedding: Embedding = "none",
    summary: Features = 32,
    marginals: Literal["plain", "quantiles"] = "plain",
    members: Components = 1,
) -> Mixture:
    """Flows of parameters given an observation (or the other way round), of which the density is the mean.

    Use it through `applications.NPE`, `NLE` and `FMPE`, which also train it.

    Args:
        features: number of features.
        observed: event shape of what is given: `(length,)`, `(times, channels)`, `(members, features)` of a set, or
            `(channels, height, width)`.
        flow: recipe of each flow.
        options: of that recipe, without `context`.
        embedding: what summarises the observation: "none" for a vector as it is, or a network for "vectors",
            "sequences", "sets" or "images".
        summary: length of the network's summary.
        marginals: "quantiles" puts features on the scale of their own quantiles first.
        members: how many flows, trained one by one.
    """
    if len(observed) != _RANK[embedding]:
        raise RecipeError(
            f"amortized: expected observations of {_RANK[embedding]} axes for embedding {embedding!r}; got shape "
            f"{observed}. Take another embedding, or reshape."
        )
    if "context" in options or flow == "amortized":
        raise RecipeError("amortized: expected a recipe for vectors without its context; got one. Leave it out.")
    width = 2 * (observed[0] if embedding == "images" else observed[-1])
    parts: list[Flow] = []
    for _ in range(members):
        net = None if embedding == "none" else _summary(embedding, width, summary)
        views = Views(width // 2, axis=-3 if embedding == "images" else -1)
        parts.append(conditional(features, observed, flow, dict(options), views, net, summary, marginals))
    return Mixture(parts)


def conditional(
    features: int,
    observed: tuple[int, ...],
    flow: str,
    options: dict[str, JsonValue],
    views: nn.Module,
    net: nn.Module | None,
    summary: int,
    marginals: Literal["plain", "quantiles"],
) -> Flow:
    """One flow whose context goes through its views, then through a network or a linear regression."""
    context = 2 * observed[-1] if net is None else summary
    inner = build({"recipe": flow, "features": features, "options": options | {"context": context}})
    if not isinstance(inner, Flow) or inner.transform.context_shape is None or inner.base.context_shape is not None:
        raise RecipeError(f"amortized: expected a recipe of flows with a context; got {flow!r}. Take nsf, maf or cnf.")
    front: list[Transform] = [] if marginals == "plain" else [Quantiles(features)]
    front += [Regression(features, context=context)] if net is None else []
    chain = Compose([*front, *inner.transform.parts])
    seen = views if net is None else nn.Sequential(views, net)
    return Flow(Embedded(chain, seen, context=observed), inner.base)


def _summary(embedding: Embedding, width: int, out: int) -> nn.Module:
    nets: dict[Embedding, Callable[[int, int], nn.Module]] = {
        "vectors": VectorSummary,
        "images": partial(GridSummary, axis=-3),
        "sequences": partial(GridSummary, axis=-1),
        "sets": SetSummary,
    }
    with torch.device("cpu"):
        return nets[embedding](width, out)
