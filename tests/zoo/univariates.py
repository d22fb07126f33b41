"""Scalar maps."""

from collections.abc import Callable

from unwarp._space import UNIT, Interval
from unwarp.univariates import (
    Affine,
    Cubic,
    Exp,
    HeavyTail,
    LinearRational,
    PiecewiseLinear,
    Quadratic,
    RationalQuadratic,
    Rescale,
    Shift,
    Sigmoid,
    Softplus,
    Univariate,
)

__all__ = ["ROWS"]

ROWS: dict[str, Callable[[], Univariate]] = {
    "Affine": Affine,
    "Shift": Shift,
    "RationalQuadratic": lambda: RationalQuadratic(bins=4),
    "PiecewiseLinear": lambda: PiecewiseLinear(bins=4),
    "LinearRational": lambda: LinearRational(bins=4),
    "Quadratic": lambda: Quadratic(bins=4),
    "Cubic": lambda: Cubic(bins=4),
    "HeavyTail": HeavyTail,
    "Exp": Exp,
    "Softplus": Softplus,
    "Sigmoid": Sigmoid,
    "Sigmoid(-2, 3)": lambda: Sigmoid(Interval(-2.0, 3.0)),
    "Rescale": lambda: Rescale(UNIT, Interval(-1.0, 3.0)),
}
