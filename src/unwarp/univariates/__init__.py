"""Monotone scalar maps, the parts that couplings, autoregressive layers and elementwise layers are made of."""

from unwarp.univariates._affine import Affine, Shift
from unwarp.univariates._base import Univariate
from unwarp.univariates._cdf import Gumbel, Kumaraswamy, NormalCDF, Weibull
from unwarp.univariates._circle import CircularSpline, Moebius, Turn
from unwarp.univariates._histogram import Histogram
from unwarp.univariates._interval import IntervalSpline
from unwarp.univariates._neural import DeepSigmoid, MixtureQuantile
from unwarp.univariates._piecewise import Cubic, LinearRational, PiecewiseLinear, Quadratic
from unwarp.univariates._polynomial import Bernstein, Integral, SumOfSquares
from unwarp.univariates._power import DualPower, LeakyReLU, Power, SinhArcsinh, YeoJohnson
from unwarp.univariates._spline import RationalQuadratic
from unwarp.univariates._support import Exp, Rescale, Sigmoid, Softplus, Tanh
from unwarp.univariates._tails import HeavyTail, LogTail

__all__ = [
    "Affine",
    "Bernstein",
    "CircularSpline",
    "Cubic",
    "DeepSigmoid",
    "DualPower",
    "Exp",
    "Gumbel",
    "HeavyTail",
    "Histogram",
    "Integral",
    "IntervalSpline",
    "Kumaraswamy",
    "LeakyReLU",
    "LinearRational",
    "LogTail",
    "MixtureQuantile",
    "Moebius",
    "NormalCDF",
    "PiecewiseLinear",
    "Power",
    "Quadratic",
    "RationalQuadratic",
    "Rescale",
    "Shift",
    "Sigmoid",
    "SinhArcsinh",
    "Softplus",
    "SumOfSquares",
    "Tanh",
    "Turn",
    "Univariate",
    "Weibull",
    "YeoJohnson",
]
