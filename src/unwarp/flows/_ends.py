"""What all recipes for vectors share: what is before their layers and what is after them."""

# pyright: reportTypedDictNotRequiredAccess=false
# A caller may leave options out; `recipe` fills them in before a recipe sees them.

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Annotated, Literal, TypedDict

from pydantic import Field

from unwarp._space import POSITIVE, REAL, Interval, Space, Support
from unwarp.distributions import Distribution, Flow, GaussianMixture, Normal, StudentT
from unwarp.errors import RecipeError
from unwarp.flows._recipe import Components, Marginals, OneSupport, Supports
from unwarp.transforms import LU, Compose, Elementwise, Householder, Standardize, Transform, Unconstrain, Whiten
from unwarp.univariates import HeavyTail, RationalQuadratic

__all__ = ["Ends", "HeavyEnds", "opening", "vectors"]

Base = Literal["normal", "student", "mixture"]
Tails = Literal["light", "heavy"]
Mixing = Literal["none", "whiten", "prewhiten", "lu", "householder"]


class Ends(TypedDict, total=False):
    """The options that all recipes for vectors have.

    Attributes:
        support: where features live: "real", "positive" or ("interval", low, high), one for all or one each.
        tails: "heavy" adds a learned map next to the data, which `adapt` sets: the identity where tails are light.
        marginals: bins of a learned spline for each feature next to the data, which `adapt` starts; 0 for none.
        mixing: "whiten" adds a fixed triangular map after the first layer, which `adapt` sets so that its output is
            uncorrelated: edges and gaps along the axes are the first layer's, narrow ridges across them the others'.
            "prewhiten" has that map before all layers, for features so correlated that no layer should see them.
            "lu" and "householder" add a learned mix or rotation after every layer but the last.
        base: "normal", "student" or "mixture", the latent's distribution.
        components: largest number of the mixture's components.
    """

    support: Annotated[Supports, Field(default="real")]
    tails: Annotated[Tails, Field(default="light")]
    marginals: Annotated[Marginals, Field(default=0)]
    mixing: Annotated[Mixing, Field(default="none")]
    base: Annotated[Base, Field(default="normal")]
    components: Annotated[Components, Field(default=8)]


class HeavyEnds(Ends, total=False):
    """`Ends` of recipes that rows far outside would break."""

    tails: Annotated[Tails, Field(default="heavy")]


def vectors(features: int, parts: Sequence[Transform], ends: Ends) -> Flow:
    """Supports, scales and tails, then the layers `parts`, then the base: the flow of a recipe for vectors."""
    front = opening(features, ends["support"])
    if ends["mixing"] == "prewhiten":
        front.append(Whiten(features))
    if ends["tails"] == "heavy":
        front.append(Elementwise(features, HeavyTail()))
    if ends["marginals"]:
        front.append(Elementwise(features, RationalQuadratic(max(2, ends["marginals"]))))
    bases: dict[Base, Callable[[], Distribution]] = {
        "normal": lambda: Normal(features),
        "student": lambda: StudentT(features),
        "mixture": lambda: GaussianMixture(features, ends["components"]),
    }
    return Flow(Compose([*front, *_mixed(features, parts, ends["mixing"])]), bases[ends["base"]]())


def opening(features: int, support: OneSupport | list[OneSupport]) -> list[Transform]:
    """From the data's own supports and units to standardised features on the real line."""
    space = Space((features,), _supports(features, support))
    return [*([] if space.support == REAL else [Unconstrain(space)]), Standardize(features)]


def _mixed(features: int, parts: Sequence[Transform], mixing: Mixing) -> list[Transform]:
    """The layers, with a fixed mix after the first, or a learned one after each but the last."""
    if mixing in ("none", "prewhiten"):
        return list(parts)
    kinds = {"whiten": Whiten, "lu": LU, "householder": Householder}
    mixes = 1 if mixing == "whiten" else max(1, len(parts) - 1)
    pairs = [[part, kinds[mixing](features)] for part in parts[:mixes]]
    return [*chain.from_iterable(pairs), *parts[mixes:]]


def _supports(features: int, support: OneSupport | list[OneSupport]) -> Support | tuple[Support, ...]:
    if not isinstance(support, list):
        return _one(support)
    if len(support) != features:
        raise RecipeError(
            f"support: expected one for each of {features} features; got {len(support)}. Give one, or {features}."
        )
    return tuple(_one(entry) for entry in support)


def _one(support: OneSupport) -> Support:
    if isinstance(support, tuple):
        return Interval(support[1], support[2])
    return POSITIVE if support == "positive" else REAL
