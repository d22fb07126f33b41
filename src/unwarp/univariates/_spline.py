"""Monotone splines."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unwarp import _check, functional
from unwarp.errors import ConfigError
from unwarp.univariates._base import Univariate

__all__ = ["RationalQuadratic", "hold_box"]


@dataclass(frozen=True, slots=True)
class RationalQuadratic(Univariate):
    r"""Monotone rational-quadratic spline on $[-B, B]$, the identity outside.

    In bin $k$, with $\xi = (x - x_k)/w_k$ and $s_k = h_k / w_k$ (Durkan et al., eq. 4):

    $$ y = y_k + \frac{h_k\,[s_k \xi^2 + d_k\,\xi(1-\xi)]}{s_k + (d_k + d_{k+1} - 2 s_k)\,\xi(1-\xi)} $$

    Use it when densities are multi-modal or have sharp edges; for smooth, nearly Gaussian data `Affine` is faster.

    Args:
        bins: number of bins $K \ge 2$.
        bound: half-width $B > 0$, in the units of x; standardise first.
        min_bin: floor of a bin's share of the box's width and height.
        min_slope: floor of the slope at a knot.

    Shapes: x `(...)`; params `(..., 3K - 1)`, unconstrained -> y, ladj `(...)`; ladj in nats.

    Raises:
        ConfigError: if `bins < 2`, `bound <= 0`, or the floors leave no room.

    Source: Durkan et al., *Neural Spline Flows*, 2019, arXiv:1906.04032, section 3.1. Differs: zero params are the
    identity, and the inverse clamps its discriminant.

    Example:
        >>> f = RationalQuadratic(bins=4)
        >>> y, ladj = f.forward(torch.zeros(3), torch.zeros(3, f.n_params))
        >>> y.shape, bool(ladj.abs().max() < 1e-5)
        (torch.Size([3]), True)
    """

    bins: int = 8
    bound: float = 5.0
    min_bin: float = 1e-3
    min_slope: float = 1e-3

    def __post_init__(self) -> None:
        hold_box("RationalQuadratic", self.bins, self.bound, self.min_bin, self.min_slope)

    @property
    def n_params(self) -> int:
        return 3 * self.bins - 1

    @property
    def by_kernel(self) -> functional.ScalarMap:
        return functional.ScalarMap(self.bins, self.bound, self.min_bin, self.min_slope)

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.rational_quadratic(
            x, params, bound=self.bound, min_bin=self.min_bin, min_slope=self.min_slope
        )

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.rational_quadratic_inverse(
            y, params, bound=self.bound, min_bin=self.min_bin, min_slope=self.min_slope
        )


def hold_box(where: str, bins: int, bound: float, min_bin: float, min_slope: float = 0.5, *, least: int = 2) -> None:
    """Refuse a spline's sizes that leave no room."""
    _check.at_least(where, "bins", bins, least)
    _check.positive(where, "bound", bound)
    if not (0 < min_bin * bins < 1 and 0 < min_slope < 1):
        raise ConfigError(
            f"{where}: expected 0 < min_bin < 1/bins and 0 < min_slope < 1; got min_bin={min_bin}, "
            f"min_slope={min_slope} with {bins} bins. Use fewer bins or lower floors."
        )
