"""Structures that take a scalar map and a network, and chains."""

from collections.abc import Callable

from unwarp._space import POSITIVE, REAL, Interval, Space
from unwarp.networks import MLP, MaskedMLP
from unwarp.transforms import (
    LU,
    Autoregressive,
    Compose,
    Coupling,
    Elementwise,
    Inverse,
    Permute,
    Transform,
    Unconstrain,
)
from unwarp.univariates import Affine, Exp, HeavyTail, RationalQuadratic, Shift, Univariate

__all__ = ["ROWS", "SPLINE", "autoregressive", "coupling"]

SPLINE = RationalQuadratic(bins=4)


def coupling(features: int, univariate: Univariate, context: int = 0) -> Coupling:
    kept = features // 2
    net = MLP(kept, (features - kept) * univariate.n_params, hidden=(8,), context=context)
    return Coupling(features, univariate, net, context=context)


def autoregressive(
    features: int, univariate: Univariate, context: int = 0, order: list[int] | None = None
) -> Autoregressive:
    net = MaskedMLP(features, univariate.n_params, hidden=(8, 8), context=context)
    return Autoregressive(features, univariate, net, order=order, context=context)


ROWS: dict[str, Callable[[], Transform]] = {
    "Coupling(Affine)": lambda: coupling(3, Affine()),
    "Coupling(Shift)": lambda: coupling(2, Shift()),
    "Coupling(RationalQuadratic)": lambda: coupling(3, SPLINE),
    "Coupling(RationalQuadratic, context)": lambda: coupling(2, SPLINE, context=2),
    "Coupling(Affine, 1 feature, context)": lambda: coupling(1, Affine(), context=1),
    "Coupling(RationalQuadratic, 1 feature)": lambda: coupling(1, SPLINE),
    "Autoregressive(Affine)": lambda: autoregressive(3, Affine()),
    "Autoregressive(RationalQuadratic)": lambda: autoregressive(3, SPLINE),
    "Autoregressive(RationalQuadratic, context)": lambda: autoregressive(2, SPLINE, context=2),
    "Autoregressive(Affine, order)": lambda: autoregressive(4, Affine(), order=[2, 0, 3, 1]),
    "Autoregressive(RationalQuadratic, 1 feature)": lambda: autoregressive(1, SPLINE),
    "Elementwise(RationalQuadratic)": lambda: Elementwise(2, SPLINE),
    "Elementwise(HeavyTail)": lambda: Elementwise(2, HeavyTail()),
    "Elementwise(Exp)": lambda: Elementwise(2, Exp()),
    "Unconstrain": lambda: Unconstrain(Space((3,), (POSITIVE, REAL, Interval(-1.0, 2.0)))),
    "Inverse(Autoregressive)": lambda: Inverse(autoregressive(3, Affine(), context=1)),
    "Compose": lambda: Compose([LU(3), coupling(3, SPLINE), Permute([1, 2, 0]), autoregressive(3, Affine())]),
}
