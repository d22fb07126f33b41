"""Recipes whose layers add something small to a point, or are the gradient of something convex."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Unpack

from torch import nn

from unwarp.distributions import Flow
from unwarp.flows._ends import Ends, vectors
from unwarp.flows._recipe import Context, Features, Hidden, Layers, Lipschitz, Rank, recipe
from unwarp.networks import MLP, ConvexNet, LipschitzNet
from unwarp.transforms import (
    LU,
    ActNorm,
    ConvexPotential,
    Inverse,
    Permute,
    Planar,
    Radial,
    Residual,
    Sylvester,
    Transform,
)

__all__ = ["cpflow", "freeform", "planar", "radial", "resflow", "sylvester"]

Explicit = Literal["density", "sampling"]


@recipe
def cpflow(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 4,
    hidden: Hidden = (64, 64),
    **ends: Unpack[Ends],
) -> Flow:
    """Convex-potential flow: each layer is the gradient of a strongly convex network.

    Use it for smooth densities of few features, and where the map should move mass no more than it has to.

    Args:
        features: number of features.
        context: length of the context; 0 for none.
        layers: number of gradient maps, each followed by a learned scale; one alone is an optimal transport map.
        hidden: sizes of the networks' hidden layers.
        ends: as for `planar`.

    Source: Huang, Chen, Tsirigotis and Courville, 2021, arXiv:2012.05942.
    """
    parts: list[Transform] = []
    for _ in range(layers):
        parts += [ConvexPotential(features, ConvexNet(features, hidden=hidden, context=context)), ActNorm(features)]
    return vectors(features, parts, ends)


@recipe
def freeform(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 8,
    hidden: Hidden = (64, 64),
    lipschitz: Lipschitz = 0.9,
    **ends: Unpack[Ends],
) -> Flow:
    """Free-form flow: plain networks with skip connections and any linear map between them, trained without Jacobians.

    Use it with `training.FreeForm` where features are many; `likelihood`, which `fit` takes unless told otherwise, is
    for few. Skipping networks that bring points closer, and linear maps, have inverses; so the density is exact.

    Args:
        features: number of features.
        context: length of the context; 0 for none.
        layers: number of networks, each followed by a learned linear map.
        hidden: sizes of the networks' hidden layers.
        lipschitz: bound of the networks' Lipschitz constants, below 1.
        ends: as for `planar`.

    Source: Draxler, Sorrenson, Zimmermann, Rousselot and Köthe, 2024, arXiv:2310.16624.
    """
    parts: list[Transform] = []
    for _ in range(layers):
        net = LipschitzNet(features, hidden=hidden, lipschitz=lipschitz, context=context)
        parts += [Residual(features, net), LU(features)]
    return vectors(features, parts, ends)


@recipe
def planar(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 10,
    hidden: Hidden = (64,),
    explicit: Explicit = "density",
    **ends: Unpack[Ends],
) -> Flow:
    """Planar flow: each layer squeezes or stretches space across one hyperplane.

    Use it for variational posteriors of few parameters, and to see what a flow does.

    Args:
        features: number of features.
        context: length of the context; 0 for none.
        layers: number of planar maps.
        hidden: sizes of the hidden layers of the networks that see the context.
        explicit: which direction is a formula, "density" or "sampling"; the other solves a scalar equation a layer.
        ends: what is before and after the layers, see `Ends`.

    Source: Rezende and Mohamed, 2015, arXiv:1505.05770.
    """
    parts = [
        Planar(features, net=_amortised(2 * features + 1, hidden, context), context=context) for _ in range(layers)
    ]
    return vectors(features, _directed(features, parts, explicit), ends)


@recipe
def radial(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 10,
    hidden: Hidden = (64,),
    explicit: Explicit = "density",
    **ends: Unpack[Ends],
) -> Flow:
    """Radial flow: each layer pulls points towards a centre or pushes them away.

    Use it where posteriors are round and off-centre; both directions are formulas.

    Args: as for `planar`.

    Source: Rezende and Mohamed, 2015, arXiv:1505.05770.
    """
    parts = [Radial(features, net=_amortised(features + 2, hidden, context), context=context) for _ in range(layers)]
    return vectors(features, _directed(features, parts, explicit), ends)


@recipe
def resflow(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 8,
    hidden: Hidden = (64, 64),
    lipschitz: Lipschitz = 0.9,
    ladj: Literal["exact", "roulette"] = "exact",
    **ends: Unpack[Ends],
) -> Flow:
    """Residual flow: each layer adds to a point the output of a network that brings points closer together.

    Use it where densities are smooth and no feature is special: nothing is split, ordered or binned.

    Args:
        features: number of features.
        context: length of the context; 0 for none.
        layers: number of residual maps, each followed by a learned scale.
        hidden: sizes of the networks' hidden layers.
        lipschitz: bound of the networks' Lipschitz constants, below 1; a map stretches by at most 1 plus this.
        ladj: "exact", at the cost of one pass a feature, or "roulette", an unbiased estimate for many features.
        ends: as for `planar`.

    Source: Chen, Behrmann, Duvenaud and Jacobsen, 2019, arXiv:1906.02735; Behrmann, Grathwohl, Chen, Duvenaud and
    Jacobsen, 2019, arXiv:1811.00995.
    """
    parts: list[Transform] = []
    for _ in range(layers):
        net = LipschitzNet(features, hidden=hidden, lipschitz=lipschitz, context=context)
        parts += [Residual(features, net, ladj=ladj), ActNorm(features)]
    return vectors(features, parts, ends)


@recipe
def sylvester(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 4,
    rank: Rank = 16,
    basis: Literal["orthogonal", "householder", "triangular"] = "orthogonal",
    reflections: Layers = 4,
    hidden: Hidden = (64,),
    explicit: Explicit = "density",
    **ends: Unpack[Ends],
) -> Flow:
    """Sylvester flow: each layer adds the output of a small network whose Jacobian stays triangular.

    Use it for variational posteriors, where planar maps would have to be very many.

    Args:
        features: number of features.
        context: length of the context; 0 for none.
        layers: number of layers.
        rank: hidden units of each layer, at most one a feature; "orthogonal" alone has a choice.
        basis: how a layer's orthonormal directions are made: "orthogonal", "householder" or "triangular".
        reflections: Householder reflections of a layer, for that basis.
        hidden: sizes of the hidden layers of the networks that see the context.
        explicit: which direction is a formula, "density" or "sampling"; the other solves `rank` scalar equations.
        ends: as for `planar`.

    Source: van den Berg, Hasenclever, Tomczak and Welling, 2018, arXiv:1803.05649.
    """
    rank = min(rank, features) if basis == "orthogonal" else features
    n_params = Sylvester.n_params(features, rank=rank, basis=basis, reflections=reflections)
    parts: list[Transform] = []
    for layer in range(layers):
        if layer and basis == "triangular":
            parts.append(Permute(range(features - 1, -1, -1)))
        net = _amortised(n_params, hidden, context)
        parts.append(
            Sylvester(features, rank=rank, basis=basis, reflections=reflections, net=net, context=context),
        )
    return vectors(features, _directed(features, parts, explicit), ends)


def _amortised(n_params: int, hidden: Hidden, context: int) -> nn.Module | None:
    """The network that gives a map its parameters; none without a context."""
    return MLP(0, n_params, hidden=hidden, context=context) if context else None


def _directed(features: int, parts: Sequence[Transform], explicit: Explicit) -> list[Transform]:
    """The parts, read backwards where sampling is to be the explicit direction, and a last scale for each feature."""
    return [*(parts if explicit == "density" else map(Inverse, parts)), ActNorm(features)]
