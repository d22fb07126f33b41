"""Structures that take a scalar map and a network, and chains."""

from collections.abc import Callable
from typing import Any, Literal

from torch import nn

from unwarp._space import POSITIVE, REAL, Interval, Space
from unwarp.networks import MLP, CausalTransformer, MaskedMLP, Transformer
from unwarp.transforms import (
    LU,
    Autoregressive,
    BlockNeural,
    Compose,
    Coupling,
    Elementwise,
    Embedded,
    Inverse,
    Patches,
    Permute,
    Transform,
    Unconstrain,
)
from unwarp.univariates import Affine, Exp, HeavyTail, LinearRational, RationalQuadratic, Shift, SinhArcsinh, Univariate

__all__ = ["ROWS", "SPLINE", "autoregressive", "coupling"]

SPLINE = RationalQuadratic(bins=4)


def coupling(features: int, univariate: Univariate, context: int = 0) -> Coupling:
    kept = features // 2
    net = MLP(kept, (features - kept) * univariate.n_params, hidden=(8,), context=context)
    return Coupling(features, univariate, net, context=context)


def autoregressive(
    features: int, univariate: Univariate, context: int = 0, order: list[int] | None = None, **masks: Any
) -> Autoregressive:
    net = MaskedMLP(features, univariate.n_params, hidden=(8, 8), context=context, **masks)
    return Autoregressive(features, univariate, net, order=order, context=context)


def tokens(
    shape: tuple[int, int], univariate: Univariate, context: int = 0, inverse: Literal["cached", "jacobi"] = "cached"
) -> Autoregressive:
    net = CausalTransformer(shape, univariate.n_params, width=4, depth=1, heads=2, context=context)
    order = range(shape[0] - 1, -1, -1)
    return Autoregressive(shape, univariate, net, order=order, context=context, inverse=inverse)


def tokens_in_halves(kept: tuple[int, int], moved: tuple[int, int], context: int = 0) -> Coupling:
    """A coupling over tokens laid out as a vector, whose first tokens stay."""
    net = Transformer(kept, (moved[0], 2 * moved[1]), width=4, depth=1, heads=2, context=context)
    features, first = kept[0] * kept[1] + moved[0] * moved[1], kept[0] * kept[1]
    return Coupling(features, Affine(), net, mask=[i < first for i in range(features)], context=context)


ROWS: dict[str, Callable[[], Transform]] = {
    "Coupling(Affine)": lambda: coupling(3, Affine()),
    "Coupling(Shift)": lambda: coupling(2, Shift()),
    "Coupling(RationalQuadratic)": lambda: coupling(3, SPLINE),
    "Coupling(RationalQuadratic, context)": lambda: coupling(2, SPLINE, context=2),
    "Coupling(Affine, 1 feature, context)": lambda: coupling(1, Affine(), context=1),
    "Coupling(RationalQuadratic, 1 feature)": lambda: coupling(1, SPLINE),
    "Coupling(LinearRational, context)": lambda: coupling(2, LinearRational(bins=3), context=1),
    "Coupling(SinhArcsinh)": lambda: coupling(3, SinhArcsinh()),
    "Autoregressive(Affine)": lambda: autoregressive(3, Affine()),
    "Autoregressive(RationalQuadratic)": lambda: autoregressive(3, SPLINE),
    "Autoregressive(RationalQuadratic, context)": lambda: autoregressive(2, SPLINE, context=2),
    "Autoregressive(Affine, order)": lambda: autoregressive(4, Affine(), order=[2, 0, 3, 1]),
    "Autoregressive(RationalQuadratic, 1 feature)": lambda: autoregressive(1, SPLINE),
    "Autoregressive(Affine, passes)": lambda: autoregressive(5, Affine(), order=[2, 0, 4, 3, 1], passes=2),
    "Autoregressive(RationalQuadratic, graph, context)": lambda: autoregressive(
        4, SPLINE, context=1, adjacency=[(0, 3), (1, 0), (1, 2)]
    ),
    "Autoregressive(Affine, tokens)": lambda: tokens((3, 2), Affine()),
    "Autoregressive(RationalQuadratic, tokens, context)": lambda: tokens((2, 1), SPLINE, context=2),
    "Autoregressive(Affine, 1 token)": lambda: tokens((1, 2), Affine()),
    "Autoregressive(Affine, tokens, jacobi)": lambda: tokens((3, 2), Affine(), context=1, inverse="jacobi"),
    "Coupling(Affine, tokens)": lambda: tokens_in_halves((1, 2), (2, 2)),
    "Coupling(Affine, tokens, context)": lambda: tokens_in_halves((0, 1), (2, 1), context=2),
    "Patches": lambda: Patches((2, 2, 4), 2),
    "Embedded": lambda: Embedded(
        coupling(2, SPLINE, context=2), nn.Sequential(nn.Flatten(), nn.Linear(6, 2), nn.Tanh()), context=(2, 3)
    ),
    "BlockNeural": lambda: BlockNeural(2, hidden=(4,), context=2),
    "BlockNeural(deep)": lambda: BlockNeural(3, hidden=(4, 3)),
    "Elementwise(RationalQuadratic)": lambda: Elementwise(2, SPLINE),
    "Elementwise(HeavyTail)": lambda: Elementwise(2, HeavyTail()),
    "Elementwise(Affine, context)": lambda: Elementwise(2, Affine(), net=MLP(0, 4, hidden=(4,), context=1), context=1),
    "Elementwise(Exp)": lambda: Elementwise(2, Exp()),
    "Unconstrain": lambda: Unconstrain(Space((3,), (POSITIVE, REAL, Interval(-1.0, 2.0)))),
    "Inverse(Autoregressive)": lambda: Inverse(autoregressive(3, Affine(), context=1)),
    "Compose": lambda: Compose([LU(3), coupling(3, SPLINE), Permute([1, 2, 0]), autoregressive(3, Affine())]),
}
