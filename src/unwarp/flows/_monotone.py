"""Recipes for vectors out of scalar maps that follow any shape: neural, polynomial, and mixtures."""

from __future__ import annotations

from typing import Unpack

from unwarp.distributions import Flow
from unwarp.flows._ends import Ends, vectors
from unwarp.flows._layers import autoregressive
from unwarp.flows._recipe import Bound, Components, Context, Depth, Features, Floor, Hidden, Layers, recipe
from unwarp.networks import MLP
from unwarp.transforms import Coupling, Elementwise, Householder, Transform
from unwarp.univariates import Bernstein, DeepSigmoid, Integral, MixtureQuantile, SumOfSquares

__all__ = ["bpf", "gf", "naf", "sospf", "unaf"]


@recipe
def naf(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 3,
    units: Components = 16,
    depth: Depth = 1,
    floor: Floor = 1e-2,
    hidden: Hidden = (128, 128),
    **ends: Unpack[Ends],
) -> Flow:
    """Neural autoregressive flow: each feature goes through a network of sigmoids that those before it hand over.

    Use it for smooth densities with several modes, where samples are wanted seldom: each feature's is a search.

    Args:
        features: number of features.
        context: length of the context; 0 for none.
        layers: number of autoregressive layers.
        units: sigmoids in each layer of a feature's network.
        depth: layers of a feature's network: 1 is the deep sigmoidal flow (DSF), more the dense one (DDSF).
        floor: least slope. 0.01 keeps round trips in float32; a smaller one leaves emptier gaps.
        hidden: sizes of the conditioners' hidden layers.
        ends: as for `nice`.

    Source: Huang, Krueger, Lacoste and Courville, 2018, arXiv:1804.00779.
    """
    scalar = DeepSigmoid(units, depth, floor)
    return vectors(features, autoregressive(features, scalar, layers, hidden, context), ends)


@recipe
def unaf(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 3,
    units: Components = 8,
    nodes: Components = 48,
    bound: Bound = 5.0,
    hidden: Hidden = (128, 128),
    **ends: Unpack[Ends],
) -> Flow:
    """Unconstrained monotonic networks: each feature is the integral of a positive network.

    Use it for smooth densities; it costs several times what splines cost.

    Args:
        features: number of features.
        context: length of the context; 0 for none.
        layers: number of autoregressive layers.
        units: hidden units of a feature's network.
        nodes: of the rule for the integral; 48 leave an error below 1e-9 for nearly all parameters, see `Integral`.
        bound: half-width of the box outside which maps are straight, in standard deviations of the data.
        hidden: sizes of the conditioners' hidden layers.
        ends: as for `nice`.

    Source: Wehenkel and Louppe, 2019, arXiv:1908.05164.
    """
    return vectors(features, autoregressive(features, Integral(units, bound, nodes), layers, hidden, context), ends)


@recipe
def sospf(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 3,
    degree: Depth = 3,
    polynomials: Depth = 2,
    bound: Bound = 5.0,
    floor: Floor = 1e-2,
    hidden: Hidden = (128, 128),
    **ends: Unpack[Ends],
) -> Flow:
    """Sum-of-squares polynomial flow: each feature is the integral of a sum of squared polynomials.

    Use it where skewness and a few moments make the difference.

    Args:
        features: number of features.
        context: length of the context; 0 for none.
        layers: number of autoregressive layers.
        degree: of the squared polynomials.
        polynomials: how many are squared and summed.
        bound: half-width of the box outside which maps are straight, in standard deviations of the data.
        floor: least slope.
        hidden: sizes of the conditioners' hidden layers.
        ends: as for `nice`.

    Source: Jaini, Selby and Yu, 2019, arXiv:1905.02325.
    """
    scalar = SumOfSquares(degree, polynomials, bound, floor)
    return vectors(features, autoregressive(features, scalar, layers, hidden, context), ends)


@recipe
def bpf(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 3,
    degree: Depth = 16,
    bound: Bound = 5.0,
    hidden: Hidden = (128, 128),
    **ends: Unpack[Ends],
) -> Flow:
    """Bernstein polynomial flow: each feature goes through an increasing polynomial in Bernstein's form.

    Use it for smooth densities, where small changes of the data should change little.

    Args:
        features: number of features.
        context: length of the context; 0 for none.
        layers: number of autoregressive layers.
        degree: of the polynomials.
        bound: half-width of the box outside which maps are straight, in standard deviations of the data.
        hidden: sizes of the conditioners' hidden layers.
        ends: as for `nice`.

    Source: Ramasinghe, Fernando, Khan and Barnes, 2021, arXiv:2102.03509.
    """
    return vectors(features, autoregressive(features, Bernstein(degree, bound), layers, hidden, context), ends)


@recipe
def gf(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 6,
    units: Components = 8,
    floor: Floor = 1e-2,
    hidden: Hidden = (128, 128),
    **ends: Unpack[Ends],
) -> Flow:
    """Gaussianization flow: rotate, make each feature normal by a mixture of its own, and again.

    Use it for a start that already follows the data: `adapt` sets each layer's mixtures to the quantiles of what
    reaches it, before any training.

    Args:
        features: number of features.
        context: length of the context, on which the mixtures then depend; 0 for none.
        layers: number of rotations, and of layers of mixtures.
        units: components of each mixture.
        floor: least slope.
        hidden: sizes of the hidden layers of the networks that see the context.
        ends: as for `nice`.

    Source: Meng, Song, Song and Ermon, 2020, arXiv:2003.01941. Differs: rotations are products of reflections.
    """
    scalar = MixtureQuantile(units, min_slope=floor)
    parts: list[Transform] = []
    for _ in range(layers):
        parts.append(Householder(features))
        if context:
            net = MLP(0, features * scalar.n_params, hidden=hidden, context=context)
            parts.append(Coupling(features, scalar, net, mask=[False] * features, context=context))
        else:
            parts.append(Elementwise(features, scalar))
    return vectors(features, parts, ends)
