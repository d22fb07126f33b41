"""Maps with one or two parameters that skew and bend tails."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unwarp import _check, functional
from unwarp._space import POSITIVE, Support
from unwarp.univariates._base import Univariate

__all__ = ["DualPower", "LeakyReLU", "Power", "SinhArcsinh", "YeoJohnson"]


@dataclass(frozen=True, slots=True)
class Power(Univariate):
    r"""$y = x^p$ on the positive numbers, $p = e^s$ with the log power bounded, $s = c \tanh(\theta / c)$.

    Use it on positive features before `Exp` or `DualPower` takes them to the real line. On the real line
    `SinhArcsinh` does the same without a corner at 0.

    Args:
        max_log_power: the bound c.

    Shapes: x `(...)`, params `(..., 1)` -> y, ladj `(...)`; ladj in nats.

    Raises:
        ConfigError: if `max_log_power` is not finite and positive.

    Example:
        >>> y, _ = Power().forward(torch.tensor([3.0]), torch.zeros(1, 1))
        >>> abs(y.item() - 3) < 1e-5
        True
    """

    max_log_power: float = 1.0

    def __post_init__(self) -> None:
        _check.positive("Power", "max_log_power", self.max_log_power)

    @property
    def n_params(self) -> int:
        return 1

    @property
    def domain(self) -> Support:
        return POSITIVE

    @property
    def codomain(self) -> Support:
        return POSITIVE

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.power(x, functional.soft_clip(params[..., 0], self.max_log_power))

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.power(y, -functional.soft_clip(params[..., 0], self.max_log_power))


@dataclass(frozen=True, slots=True)
class DualPower(Univariate):
    r"""$y = (x^\lambda - x^{-\lambda})/(2\lambda)$, from the positive numbers onto the real line.

    Use it in place of the Box-Cox transformation $(x^\lambda - 1)/\lambda$, which is not onto: no normal latent can
    fill what it leaves out. Both are $\log x$ in the limit, and alike for large x.

    Args:
        max_power: the bound c of $\lambda$, which is between 0.02 c and c.

    Shapes: x `(...)`, params `(..., 1)` -> y, ladj `(...)`; ladj in nats.

    Raises:
        ConfigError: if `max_power` is not finite and positive.

    Source: Yang, *A modified family of power transformations*, 2006, equation 2; for Box and Cox, *An analysis of
    transformations*, 1964.

    Example:
        >>> y, _ = DualPower().forward(torch.tensor([1.0, 0.5, 2.0]), torch.zeros(3, 1))
        >>> y[0].item(), bool((y[1] + y[2]).abs() < 1e-6)
        (0.0, True)
    """

    max_power: float = 1.0

    def __post_init__(self) -> None:
        _check.positive("DualPower", "max_power", self.max_power)

    @property
    def n_params(self) -> int:
        return 1

    @property
    def domain(self) -> Support:
        return POSITIVE

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.dual_power(x, self._power(params))

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.dual_power_inverse(y, self._power(params))

    def _power(self, params: Tensor) -> Tensor:
        return self.max_power * (0.02 + 0.98 * (2 * params[..., 0]).sigmoid())


@dataclass(frozen=True, slots=True)
class YeoJohnson(Univariate):
    r"""$y = ((1 + x)^\lambda - 1)/\lambda$ for $x \ge 0$, $-((1 - x)^{2 - \lambda} - 1)/(2 - \lambda)$ below.

    $\lambda = 1 + 0.95 \tanh\theta$, so that the map is onto the real line; $\lambda = 1$ is the identity. Straight
    beyond $10^8$.

    Use it to make a skewed feature symmetric; `adapt` of an `Elementwise` starts it at the likeliest $\lambda$.

    Shapes: x `(...)`, params `(..., 1)` -> y, ladj `(...)`; ladj in nats.

    Source: Yeo and Johnson, *A new family of power transformations to improve normality or symmetry*, 2000, equation
    2.1. Differs: $\lambda$ stays between 0.05 and 1.95.

    Example:
        >>> y, _ = YeoJohnson().forward(torch.tensor([7.0, -7.0]), torch.full((2, 1), 50.0))
        >>> bool(y[0] > 20), bool(y[1] > -3)
        (True, True)
    """

    @property
    def n_params(self) -> int:
        return 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.yeo_johnson(x, _bend(params[..., 0]))

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.yeo_johnson_inverse(y, _bend(params[..., 0]))

    def guess(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        r"""The $\theta$ of a grid under which a normal distribution of y makes x likeliest, `(features, 1)`."""
        share = torch.full_like(x[:, 0], 1 / len(x)) if weight is None else weight.to(x) / weight.sum()
        grid = torch.linspace(-1.5, 1.5, 61, dtype=x.dtype, device=x.device)
        best = x.new_full((x.shape[1],), -torch.inf)
        theta = torch.zeros_like(best)
        for candidate in grid:
            y, ladj = functional.yeo_johnson(x, _bend(candidate).expand_as(x))
            variance = share @ (y - share @ y).square()
            score = share @ ladj - 0.5 * variance.clamp(min=torch.finfo(x.dtype).tiny).log()
            theta = torch.where(score > best, candidate, theta)
            best = torch.maximum(best, score)
        return theta.unsqueeze(-1)


def _bend(theta: Tensor) -> Tensor:
    return 1 + 0.95 * theta.tanh()


@dataclass(frozen=True, slots=True)
class SinhArcsinh(Univariate):
    r"""$y = \sinh(e^\tau \operatorname{arcsinh} x + \epsilon)$: skews, and makes tails heavier or lighter.

    Use it where features are skewed with one mode, and as a power of either sign that is smooth at 0; splines are for
    more. Straight beyond $10^8$.

    Args:
        limit: bound of $|\tau|$ and of $|\epsilon|$.

    Shapes: x `(...)`; params `(..., 2)`, unconstrained: $\epsilon$, $\tau$ -> y, ladj `(...)`, ladj in nats.

    Raises:
        ConfigError: if `limit` is not finite and positive.

    Source: Jones and Pewsey, *Sinh-arcsinh distributions*, 2009, equation 2. Differs: both parameters are bounded.

    Example:
        >>> y, ladj = SinhArcsinh().forward(torch.tensor([3.0]), torch.zeros(1, 2))
        >>> bool((y - 3).abs() < 1e-5), bool(ladj.abs() < 1e-5)
        (True, True)
    """

    limit: float = 1.0

    def __post_init__(self) -> None:
        _check.positive("SinhArcsinh", "limit", self.limit)

    @property
    def n_params(self) -> int:
        return 2

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.sinh_arcsinh(x, *functional.soft_clip(params, self.limit).unbind(-1))

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.sinh_arcsinh_inverse(y, *functional.soft_clip(params, self.limit).unbind(-1))


@dataclass(frozen=True, slots=True)
class LeakyReLU(Univariate):
    r"""$y = x$ for $x \ge 0$ and $e^s x$ below, the log slope bounded, $s = c \tanh(\theta / c)$.

    Use it between linear layers as the plainest of nonlinearities; densities jump where it bends.

    Args:
        max_log_slope: the bound c.

    Shapes: x `(...)`, params `(..., 1)` -> y, ladj `(...)`; ladj in nats.

    Raises:
        ConfigError: if `max_log_slope` is not finite and positive.

    Example:
        >>> y, _ = LeakyReLU().forward(torch.tensor([-1.0, 2.0]), torch.full((2, 1), -0.5))
        >>> bool(-1 < y[0] < -0.5), y[1].item()
        (True, 2.0)
    """

    max_log_slope: float = 3.0

    def __post_init__(self) -> None:
        _check.positive("LeakyReLU", "max_log_slope", self.max_log_slope)

    @property
    def n_params(self) -> int:
        return 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        s = functional.soft_clip(params[..., 0], self.max_log_slope)
        return functional.affine(x, torch.zeros_like(x), torch.where(x < 0, s, 0.0))

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        s = functional.soft_clip(params[..., 0], self.max_log_slope)
        return functional.affine_inverse(y, torch.zeros_like(y), torch.where(y < 0, s, 0.0))
