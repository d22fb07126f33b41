"""Monotone scalar maps, the parts that couplings, autoregressive layers and elementwise layers are made of."""

from unwarp.univariates._affine import Affine, Shift
from unwarp.univariates._base import Univariate
from unwarp.univariates._circle import Moebius, Turn
from unwarp.univariates._interval import IntervalSpline
from unwarp.univariates._piecewise import Cubic, LinearRational, PiecewiseLinear, Quadratic
from unwarp.univariates._spline import RationalQuadratic
from unwarp.univariates._support import Exp, Rescale, Sigmoid, Softplus
from unwarp.univariates._tails import HeavyTail

__all__ = [
    "Affine",
    "Cubic",
    "Exp",
    "HeavyTail",
    "IntervalSpline",
    "LinearRational",
    "Moebius",
    "PiecewiseLinear",
    "Quadratic",
    "RationalQuadratic",
    "Rescale",
    "Shift",
    "Sigmoid",
    "Softplus",
    "Turn",
    "Univariate",
]
