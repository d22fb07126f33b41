"""Monotone splines of other pieces than rational quadratics."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unwarp import functional
from unwarp.univariates._base import Univariate
from unwarp.univariates._spline import hold_box

__all__ = ["Cubic", "LinearRational", "PiecewiseLinear", "Quadratic"]


@dataclass(frozen=True, slots=True)
class PiecewiseLinear(Univariate):
    r"""Straight pieces on $[-B, B]$, the identity outside: a histogram as a map.

    In bin $k$: $y = y_k + h_k\,(x - x_k)/w_k$.

    Use it where speed counts most, or as the plainest of splines: slopes jump at the knots, and so do densities.

    Args:
        bins: number of bins $K \ge 2$.
        bound: half-width $B > 0$, in the units of x; standardise first.
        min_bin: floor of a bin's share of the box's width and height.

    Shapes: x `(...)`; params `(..., 2K)`, unconstrained -> y, ladj `(...)`; ladj in nats.

    Raises:
        ConfigError: if `bins < 2`, `bound <= 0`, or the floor leaves no room.

    Source: Müller et al., *Neural Importance Sampling*, 2019, arXiv:1808.03856, section 4.1. Differs: widths are
    learned too.

    Example:
        >>> f = PiecewiseLinear(bins=4)
        >>> y, ladj = f.forward(torch.ones(3), torch.zeros(3, f.n_params))
        >>> bool((y - 1).abs().max() < 1e-5), bool(ladj.abs().max() < 1e-5)
        (True, True)
    """

    bins: int = 8
    bound: float = 5.0
    min_bin: float = 1e-3

    def __post_init__(self) -> None:
        hold_box("PiecewiseLinear", self.bins, self.bound, self.min_bin)

    @property
    def n_params(self) -> int:
        return 2 * self.bins

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.piecewise_linear(x, params, 0, bound=self.bound, min_bin=self.min_bin)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.piecewise_linear(y, params, 1, bound=self.bound, min_bin=self.min_bin)


@dataclass(frozen=True, slots=True)
class LinearRational(Univariate):
    r"""Spline of two linear-rational (Möbius) pieces a bin on $[-B, B]$, the identity outside.

    A piece from $(x_0, y_0)$ to $(x_1, y_1)$ with weights $\omega_0, \omega_1$ and $t = (x - x_0)/(x_1 - x_0)$ is
    $y = y_0 + (y_1 - y_0)\,\omega_1 t / (\omega_0 (1 - t) + \omega_1 t)$.

    Use it as `RationalQuadratic`; its inverse costs what its forward costs and takes no root.

    Args:
        bins: number of bins $K \ge 2$.
        bound: half-width $B > 0$, in the units of x; standardise first.
        min_bin: floor of a bin's share of the box's width and height.
        min_slope: floor of the slope at a knot.

    Shapes: x `(...)`; params `(..., 4K - 1)`, unconstrained -> y, ladj `(...)`; ladj in nats.

    Raises:
        ConfigError: if `bins < 2`, `bound <= 0`, or the floors leave no room.

    Source: Dolatabadi, Erfani and Leckie, *Invertible Generative Modeling using Linear Rational Splines*, 2020,
    arXiv:2001.05168, algorithm 1. Differs: zero params are the identity.

    Example:
        >>> f = LinearRational(bins=4)
        >>> y, ladj = f.forward(torch.ones(3), torch.zeros(3, f.n_params))
        >>> bool((y - 1).abs().max() < 1e-5), bool(ladj.abs().max() < 1e-5)
        (True, True)
    """

    bins: int = 8
    bound: float = 5.0
    min_bin: float = 1e-3
    min_slope: float = 1e-3

    def __post_init__(self) -> None:
        hold_box("LinearRational", self.bins, self.bound, self.min_bin, self.min_slope)

    @property
    def n_params(self) -> int:
        return 4 * self.bins - 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.linear_rational(
            x, params, 0, bound=self.bound, min_bin=self.min_bin, min_slope=self.min_slope
        )

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.linear_rational(
            y, params, 1, bound=self.bound, min_bin=self.min_bin, min_slope=self.min_slope
        )


@dataclass(frozen=True, slots=True)
class Quadratic(Univariate):
    r"""Spline of parabolas on $[-B, B]$, the identity outside: its slope has straight pieces and no jump.

    In bin $k$, with $\xi = (x - x_k)/w_k$: $y = y_k + w_k\,(d_k \xi + \tfrac12 (d_{k+1} - d_k) \xi^2)$.

    Use it where few parameters should do: one slope a knot, heights follow.

    Args:
        bins: number of bins $K \ge 3$.
        bound: half-width $B > 0$, in the units of x; standardise first.
        min_bin: floor of a bin's share of the box's width.
        min_slope: floor of the slope.

    Shapes: x `(...)`; params `(..., 2K - 1)`, unconstrained -> y, ladj `(...)`; ladj in nats.

    Raises:
        ConfigError: if `bins < 3`, `bound <= 0`, or the floors leave no room.

    Source: Müller et al., *Neural Importance Sampling*, 2019, arXiv:1808.03856, section 4.2. Differs: slopes at the
    ends of the box are 1, so that the identity outside continues them.

    Example:
        >>> f = Quadratic(bins=4)
        >>> y, ladj = f.forward(torch.ones(3), torch.zeros(3, f.n_params))
        >>> bool((y - 1).abs().max() < 1e-5), bool(ladj.abs().max() < 1e-5)
        (True, True)
    """

    bins: int = 8
    bound: float = 5.0
    min_bin: float = 1e-3
    min_slope: float = 1e-3

    def __post_init__(self) -> None:
        hold_box("Quadratic", self.bins, self.bound, self.min_bin, self.min_slope, least=3)

    @property
    def n_params(self) -> int:
        return 2 * self.bins - 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.quadratic(x, params, bound=self.bound, min_bin=self.min_bin, min_slope=self.min_slope)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.quadratic_inverse(y, params, bound=self.bound, min_bin=self.min_bin, min_slope=self.min_slope)


@dataclass(frozen=True, slots=True)
class Cubic(Univariate):
    r"""Spline of monotone cubics on $[-B, B]$, the identity outside.

    With $\xi = (x - x_k)/w_k$, secants $s_k = h_k/w_k$, $\alpha = d_k/s_k$ and $\beta = d_{k+1}/s_k$:

    $$ y = y_k + h_k\,[\alpha\,\xi(1-\xi)^2 + \xi^2(3 - 2\xi) - \beta\,\xi^2(1-\xi)] $$

    Use it where the ladj should have no kinks inside a bin and be a plain polynomial; its inverse is a search.

    Args:
        bins: number of bins $K \ge 2$.
        bound: half-width $B > 0$, in the units of x; standardise first.
        min_bin: floor of a bin's share of the box's width and height.
        min_slope: floor of the slope at a knot, of the smaller of its two secants.

    Shapes: x `(...)`; params `(..., 3K - 1)`, unconstrained -> y, ladj `(...)`; ladj in nats.

    Raises:
        ConfigError: if `bins < 2`, `bound <= 0`, or the floors leave no room.

    Source: Durkan et al., *Cubic-Spline Flows*, 2019, arXiv:1906.02145, section 3. Differs: each slope is learned,
    up to 2.5 times the smaller secant (Fritsch and Carlson, *Monotone piecewise cubic interpolation*, 1980).

    Example:
        >>> f = Cubic(bins=4)
        >>> y, ladj = f.forward(torch.ones(3), torch.zeros(3, f.n_params))
        >>> bool((y - 1).abs().max() < 1e-5), bool(ladj.abs().max() < 1e-5)
        (True, True)
    """

    bins: int = 8
    bound: float = 5.0
    min_bin: float = 1e-3
    min_slope: float = 1e-3

    def __post_init__(self) -> None:
        hold_box("Cubic", self.bins, self.bound, self.min_bin, self.min_slope)

    @property
    def n_params(self) -> int:
        return 3 * self.bins - 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.cubic(x, params, bound=self.bound, min_bin=self.min_bin, min_slope=self.min_slope)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.cubic_inverse(y, params, bound=self.bound, min_bin=self.min_bin, min_slope=self.min_slope)
