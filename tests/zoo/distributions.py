"""Distributions that are put together by hand."""

from collections.abc import Callable

from unwarp._space import UNIT, Interval
from unwarp.distributions import Distribution, Flow, GaussianMixture, Normal, StudentT, Uniform
from unwarp.transforms import Compose, Elementwise
from unwarp.univariates import Rescale, Sigmoid
from zoo.structures import SPLINE, coupling

__all__ = ["ROWS"]

ROWS: dict[str, Callable[[], Distribution]] = {
    "Normal": lambda: Normal(2),
    "Normal(1 x 2 x 1)": lambda: Normal((1, 2, 1)),
    "StudentT": lambda: StudentT(2, freedom=4.0),
    "StudentT(2 x 2)": lambda: StudentT((2, 2), freedom=4.0),
    "Uniform": lambda: Uniform(2, low=-1.0, high=2.0),
    "Uniform(2 x 1)": lambda: Uniform((2, 1), low=-1.0, high=2.0),
    "GaussianMixture": lambda: GaussianMixture(2, 3),
    "Flow(Uniform)": lambda: Flow(
        Compose([coupling(2, SPLINE), Elementwise(2, Sigmoid()), Elementwise(2, Rescale(UNIT, Interval(-1.0, 1.0)))]),
        Uniform(2, low=-1.0, high=1.0),
    ),
}
