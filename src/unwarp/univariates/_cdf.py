"""Distribution functions as maps onto the unit interval."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unwarp import functional
from unwarp._space import POSITIVE, UNIT, Support
from unwarp.univariates._base import Univariate

__all__ = ["Gumbel", "Kumaraswamy", "NormalCDF", "Weibull"]


@dataclass(frozen=True, slots=True)
class NormalCDF(Univariate):
    r"""$y = \Phi(x)$, from the real line onto (0, 1): the normal distribution becomes the uniform one.

    Use it to make copulas; after `MixtureQuantile` it is the distribution function of a mixture of normals.

    Shapes: x `(...)`, params `(..., 0)` -> y, ladj `(...)`; ladj in nats.

    Example:
        >>> y, _ = NormalCDF().forward(torch.tensor([0.0, 1.96]), torch.zeros(2, 0))
        >>> y[0].item(), bool((y[1] - 0.975).abs() < 1e-4)
        (0.5, True)
    """

    @property
    def n_params(self) -> int:
        return 0

    @property
    def codomain(self) -> Support:
        return UNIT

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.normal_cdf(x)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.normal_cdf_inverse(y)


@dataclass(frozen=True, slots=True)
class Gumbel(Univariate):
    r"""$y = \exp(-e^{-(x - \mu)/\beta})$, from the real line onto (0, 1): the law of largest values.

    $\beta = e^s$ with the log scale bounded by 3.

    Use it on maxima, such as a year's highest flood.

    Shapes: x `(...)`, params `(..., 2)`: $\mu$ and raw s -> y, ladj `(...)`; ladj in nats.

    Source: Gumbel, *Statistics of Extremes*, 1958.

    Example:
        >>> y, _ = Gumbel().forward(torch.zeros(1), torch.zeros(1, 2))
        >>> bool((y.log() + 1).abs() < 1e-6)
        True
    """

    @property
    def n_params(self) -> int:
        return 2

    @property
    def codomain(self) -> Support:
        return UNIT

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.gumbel(x, params[..., 0], functional.soft_clip(params[..., 1], 3.0))

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.gumbel_inverse(y, params[..., 0], functional.soft_clip(params[..., 1], 3.0))


@dataclass(frozen=True, slots=True)
class Weibull(Univariate):
    r"""$y = 1 - \exp(-(x/\lambda)^k)$, from the positive numbers onto (0, 1): the law of life times.

    $\lambda = e^t$ and $k = e^s$ with $|s| \le 2$; k = 1 is the exponential distribution.

    Use it on waiting times, strengths and wind speeds.

    Shapes: x `(...)`, params `(..., 2)`: t and raw s -> y, ladj `(...)`; ladj in nats.

    Source: Weibull, *A statistical distribution function of wide applicability*, 1951.

    Example:
        >>> y, _ = Weibull().forward(torch.ones(1), torch.zeros(1, 2))
        >>> bool(((1 - y).log() + 1).abs() < 1e-6)
        True
    """

    @property
    def n_params(self) -> int:
        return 2

    @property
    def domain(self) -> Support:
        return POSITIVE

    @property
    def codomain(self) -> Support:
        return UNIT

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.weibull(x, params[..., 0], functional.soft_clip(params[..., 1], 2.0))

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.weibull_inverse(y, params[..., 0], functional.soft_clip(params[..., 1], 2.0))


@dataclass(frozen=True, slots=True)
class Kumaraswamy(Univariate):
    r"""$y = 1 - (1 - x^a)^b$ on (0, 1), with $a = e^s$, $b = e^t$ and both log powers bounded by 2.

    Use it where features are bounded and pile up at an end or in the middle: a beta distribution with closed formulas.

    Shapes: x `(...)`, params `(..., 2)`, unconstrained -> y, ladj `(...)`; ladj in nats.

    Source: Kumaraswamy, *A generalized probability density function for double-bounded random processes*, 1980.

    Example:
        >>> y, _ = Kumaraswamy().forward(torch.tensor([0.3]), torch.zeros(1, 2))
        >>> bool((y - 0.3).abs() < 1e-6)
        True
    """

    @property
    def n_params(self) -> int:
        return 2

    @property
    def domain(self) -> Support:
        return UNIT

    @property
    def codomain(self) -> Support:
        return UNIT

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.kumaraswamy(x, *functional.soft_clip(params, 2.0).unbind(-1))

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.kumaraswamy_inverse(y, *functional.soft_clip(params, 2.0).unbind(-1))
