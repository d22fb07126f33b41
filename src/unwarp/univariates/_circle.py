"""Maps of the circle onto itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unwarp import _check, functional
from unwarp._space import CIRCLE, Support
from unwarp.univariates._base import Univariate
from unwarp.univariates._spline import hold_box

__all__ = ["CircularSpline", "Moebius", "Turn"]


@dataclass(frozen=True, slots=True)
class Turn(Univariate):
    r"""$y = x + t$ around the circle.

    Use it between other maps of angles, so that no place on the circle is special.

    Shapes: x `(...)`, angles; params `(..., 1)` -> y, ladj `(...)`; ladj in nats.

    Example:
        >>> y, _ = Turn().forward(torch.tensor([3.0]), torch.tensor([[1.0]]))
        >>> bool(torch.isclose(y, torch.tensor([4.0 - 2 * torch.pi])))
        True
    """

    @property
    def n_params(self) -> int:
        return 1

    @property
    def domain(self) -> Support:
        return CIRCLE

    @property
    def codomain(self) -> Support:
        return CIRCLE

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        y = functional.wrap(x + params[..., 0])
        return y, torch.zeros_like(y)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward(y, -params)


@dataclass(frozen=True, slots=True)
class CircularSpline(Univariate):
    r"""A rational-quadratic spline from $-\pi$ to $\pi$ whose two ends join with one slope, then a rotation.

    Use it for angles with several preferred directions: torsions, phases, times of the day.

    Args:
        bins: number of bins $K \ge 2$.
        min_bin: floor of a bin's share of the circle.
        min_slope: floor of the slope at a knot.

    Shapes: x `(...)`, angles; params `(..., 3K + 1)`, unconstrained -> y, ladj `(...)`; ladj in nats.

    Raises:
        ConfigError: if `bins < 2` or the floors leave no room.

    Source: Rezende et al., *Normalizing Flows on Tori and Spheres*, 2020, arXiv:2002.02428, section 2.1.2.

    Example:
        >>> f = CircularSpline(bins=4)
        >>> y, ladj = f.forward(torch.tensor([-3.0, 3.0]), torch.zeros(2, f.n_params))
        >>> bool((y - torch.tensor([-3.0, 3.0])).abs().max() < 1e-5)
        True
    """

    bins: int = 8
    min_bin: float = 1e-3
    min_slope: float = 1e-3

    def __post_init__(self) -> None:
        hold_box("CircularSpline", self.bins, 1.0, self.min_bin, self.min_slope)

    @property
    def n_params(self) -> int:
        return 3 * self.bins + 1

    @property
    def domain(self) -> Support:
        return CIRCLE

    @property
    def codomain(self) -> Support:
        return CIRCLE

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.circular_spline(x, params, min_bin=self.min_bin, min_slope=self.min_slope)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.circular_spline_inverse(y, params, min_bin=self.min_bin, min_slope=self.min_slope)


@dataclass(frozen=True, slots=True)
class Moebius(Univariate):
    r"""A weighted mean of K Moebius transformations of the circle, then a rotation; infinitely smooth.

    Use it for angles whose density is smooth; its inverse is found as a root and costs some fifty times the map.

    Args:
        components: K.
        limit: bound of $|\omega|$, below 1; slopes lie between $(1 - l)/(1 + l)$ and $(1 + l)/(1 - l)$.

    Shapes: x `(...)`, angles; params `(..., 3K + 1)`, or `(..., 3)` for K = 1, unconstrained -> y, ladj `(...)`; ladj
    in nats.

    Raises:
        ConfigError: if `components < 1` or `limit` is not between 0 and 1.

    Source: Rezende et al., *Normalizing Flows on Tori and Spheres*, 2020, arXiv:2002.02428, section 2.1.1. Differs: the
    transformation is that of the angle, which leaves the direction of each $\omega$ where it is.

    Example:
        >>> f = Moebius(components=2)
        >>> y, ladj = f.forward(torch.ones(3), torch.zeros(3, f.n_params))
        >>> bool((y - 1).abs().max() < 1e-5), bool(ladj.abs().max() < 1e-5)
        (True, True)
    """

    components: int = 4
    limit: float = 0.95

    def __post_init__(self) -> None:
        _check.at_least("Moebius", "components", self.components, 1)
        _check.positive("Moebius", "limit", self.limit)
        _check.positive("Moebius", "1 - limit", 1 - self.limit)

    @property
    def n_params(self) -> int:
        return 3 * self.components + 1 if self.components > 1 else 3

    @property
    def domain(self) -> Support:
        return CIRCLE

    @property
    def codomain(self) -> Support:
        return CIRCLE

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.moebius(x, *self._constrained(params))

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.moebius_inverse(y, *self._constrained(params))

    def _constrained(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        raw = params[..., 1 : 1 + 2 * self.components].unflatten(-1, (self.components, 2))
        omega = self.limit * raw * (1 + raw.square().sum(-1, keepdim=True)).rsqrt()
        share = params[..., 1 + 2 * self.components :]
        weight = share.softmax(-1) if self.components > 1 else torch.ones_like(omega[..., 0])
        return omega, weight, params[..., 0]
