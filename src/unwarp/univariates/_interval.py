"""Maps of an interval onto itself."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unwarp import _check, functional
from unwarp._space import UNIT, Interval, Support
from unwarp.errors import ConfigError
from unwarp.univariates._base import Univariate

__all__ = ["IntervalSpline"]


@dataclass(frozen=True, slots=True)
class IntervalSpline(Univariate):
    r"""Monotone rational-quadratic spline of an interval onto itself, with slope 1 at both ends.

    Use it on bounded features that should stay so, before a uniform base: probabilities, or heights on a sphere, whose
    poles the ends are.

    Args:
        interval: the interval.
        bins: number of bins $K \ge 2$.
        min_bin: floor of a bin's share of the interval.
        min_slope: floor of the slope at a knot.

    Shapes: x `(...)`; params `(..., 3K - 1)`, unconstrained -> y, ladj `(...)`; ladj in nats.

    Raises:
        ConfigError: if `bins < 2` or the floors leave no room.

    Source: Durkan et al., *Neural Spline Flows*, 2019, arXiv:1906.04032, section 3.1.

    Example:
        >>> f = IntervalSpline(Interval(0.0, 2.0), bins=4)
        >>> y, _ = f.forward(torch.tensor([0.5]), torch.zeros(1, f.n_params))
        >>> bool(torch.isclose(y, torch.tensor([0.5])))
        True
    """

    interval: Interval = UNIT
    bins: int = 8
    min_bin: float = 1e-3
    min_slope: float = 1e-3

    def __post_init__(self) -> None:
        _check.at_least("IntervalSpline", "bins", self.bins, 2)
        if not (0 < self.min_bin * self.bins < 1 and 0 < self.min_slope < 1):
            raise ConfigError(
                f"IntervalSpline: expected 0 < min_bin < 1/bins and 0 < min_slope < 1; got min_bin={self.min_bin}, "
                f"min_slope={self.min_slope} with {self.bins} bins. Use fewer bins or lower floors."
            )

    @property
    def n_params(self) -> int:
        return 3 * self.bins - 1

    @property
    def domain(self) -> Support:
        return self.interval

    @property
    def codomain(self) -> Support:
        return self.interval

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        y, ladj = functional.rational_quadratic(
            self._to_box(x), params, bound=1.0, min_bin=self.min_bin, min_slope=self.min_slope
        )
        return self._from_box(y), ladj

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        x, ladj = functional.rational_quadratic_inverse(
            self._to_box(y), params, bound=1.0, min_bin=self.min_bin, min_slope=self.min_slope
        )
        return self._from_box(x), ladj

    def _to_box(self, x: Tensor) -> Tensor:
        return functional.rescale(x, (self.interval.low, self.interval.high), (-1.0, 1.0))[0]

    def _from_box(self, x: Tensor) -> Tensor:
        return functional.rescale(x, (-1.0, 1.0), (self.interval.low, self.interval.high))[0]
