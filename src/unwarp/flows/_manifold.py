"""Recipes for angles, with or without other features, and for directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from unwarp._manifold import Sphere
from unwarp._space import CIRCLE, POSITIVE, REAL, Interval, Space, Support
from unwarp.distributions import Distribution, Flow, Normal, Product, UniformOn
from unwarp.errors import RecipeError
from unwarp.flows._recipe import Bins, Context, Features, Hidden, Layers, OneSupport, recipe
from unwarp.networks import MLP
from unwarp.transforms import (
    Chart,
    Compose,
    Conformal,
    Coupling,
    Elementwise,
    Inverse,
    Parallel,
    Spin,
    Standardize,
    Transform,
    Unconstrain,
)
from unwarp.univariates import CircularSpline, IntervalSpline, Moebius, RationalQuadratic, Turn, Univariate

__all__ = ["circular", "sphere"]

Around = Literal["circle"] | OneSupport
Arounds = Around | Annotated[list[Around], Field(max_length=100_000)]

_FLOOR = 3e-2  # least slope, and least share of a bin where it leaves room


@recipe
def circular(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 6,
    bins: Bins = 8,
    hidden: Hidden = (128, 128),
    support: Arounds = "circle",
    univariate: Literal["spline", "moebius"] = "spline",
) -> Flow:
    r"""Couplings of angles, in radians from $-\pi$ to $\pi$, and of other features beside them.

    Use it for torsion angles, phases, wind directions, times of the day; alone or among ordinary columns.

    Args:
        features: number of features.
        context: length of the context; 0 for none.
        layers: number of couplings of each kind.
        bins: bins of each spline.
        hidden: sizes of the conditioners' hidden layers.
        support: "circle", "real", "positive" or ("interval", low, high), one for all or one each.
        univariate: how angles move: "spline", or "moebius", which is smooth and slower to sample.

    Source: Rezende et al., 2020, arXiv:2002.02428.
    """
    around: list[Around] = support if isinstance(support, list) else [support] * features
    if len(around) != features:
        raise RecipeError(
            f"support: expected one for each of {features} features; got {len(around)}. Give one, or {features}."
        )
    supports = [_support(entry) for entry in around]
    angles = [i for i, s in enumerate(supports) if s == CIRCLE]
    lines = [i for i in range(features) if i not in angles]
    fronts: list[Transform] = [Elementwise(len(angles), Turn())] if angles else []
    bases: list[Distribution] = [UniformOn(Space((len(angles),), CIRCLE))] if angles else []
    if lines:
        space = Space((len(lines),), tuple(supports[i] for i in lines))
        free: list[Transform] = [] if space.support == REAL else [Unconstrain(space)]
        fronts.append(Compose([*free, Standardize(len(lines))]))
        bases.append(Normal(len(lines)))
    groups = [group for group in (angles, lines) if group]
    turning = CircularSpline(bins, min(_FLOOR, 0.5 / bins), _FLOOR) if univariate == "spline" else Moebius(bins)
    moving = RationalQuadratic(bins, 5.0, min(_FLOOR, 0.5 / bins), _FLOOR)
    parts: list[Transform] = [Parallel(fronts, features=groups)]
    space = parts[0].codomain
    bits = max(1, (features - 1).bit_length())
    for layer in range(layers):
        moved = [i for i in range(features) if features == 1 or (i >> (layer // 2 % bits)) % 2 != layer % 2]
        for kind, map_ in ((angles, turning), (lines, moving)):
            own = [i for i in moved if i in kind]
            if own:
                parts.append(_coupling(space, own, map_, hidden, context))
    return Flow(Compose(parts), Product(bases, features=groups))


@recipe
def sphere(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 6,
    bins: Bins = 32,
    hidden: Hidden = (64, 64),
) -> Flow:
    """Unit vectors: layers in cylindrical coordinates, whose poles lie elsewhere each time.

    Use it for directions: places on the globe, orientations of an axis; four entries are rotations as quaternions.

    Args:
        features: entries of the unit vectors, 3 for the globe.
        context: length of the context; 0 for none.
        layers: number of layers.
        bins: bins of each spline.
        hidden: sizes of the conditioners' hidden layers.

    Source: Rezende et al., 2020, arXiv:2002.02428, section 2.3.
    """
    if features < 2:
        raise RecipeError(f"sphere: expected features >= 2; got {features}. A unit vector has at least two entries.")
    space = Space((features,), Sphere(features))
    turning = CircularSpline(bins, min(_FLOOR, 0.5 / bins), _FLOOR)
    rising = IntervalSpline(Interval(-1.0, 1.0), bins, min(_FLOOR, 0.5 / bins), _FLOOR)
    heights = list(range(1, features - 1))
    order = [*range(1, features), 0]
    parts: list[Transform] = [Conformal(features)]
    for layer in range(layers):
        parts += [Spin(features, order=order)] * (layer > 0) + [Chart(space)]
        for own, map_ in (([0], turning), (heights[::2], rising), (heights[1::2], rising)):
            if own:
                parts.append(_coupling(space.flat, own, map_, hidden, context))
        parts.append(Inverse(Chart(space)))
    return Flow(Compose(parts), UniformOn(space))


def _coupling(
    space: Space, moved: Sequence[int], univariate: Univariate, hidden: Sequence[int], context: int
) -> Coupling:
    """A coupling that moves the features `moved`, told by all others; it sees angles as such."""
    mask = [i not in moved for i in range(space.shape[0])]
    kept = [s for s, keep in zip(space.supports, mask, strict=True) if keep]
    net = MLP(
        len(kept),
        len(moved) * univariate.n_params,
        hidden=hidden,
        context=context,
        angles=[i for i, s in enumerate(kept) if s == CIRCLE],
    )
    return Coupling(space.shape[0], univariate, net, space=space, mask=mask, context=context)


def _support(support: Around) -> Support:
    if isinstance(support, tuple):
        return Interval(support[1], support[2])
    return {"circle": CIRCLE, "positive": POSITIVE, "real": REAL}[support]
