"""Scales and shifts that follow the data."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unwarp import _check
from unwarp._space import Space
from unwarp.errors import ConfigError
from unwarp.functional import LinearStep, fit_gaussian_mixture, soft_clip
from unwarp.transforms._base import Transform

__all__ = ["ActNorm", "BatchNorm", "Standardize", "Whiten"]


class Standardize(Transform):
    r"""$z = (x - m)/s$ with fixed centre and scale; $\text{ladj} = -\sum_i \log s_i$.

    Use it as the first layer on tables: splines then see their box filled, and densities stay in the data's units. The
    identity until `adapt` sets m and s from data: mean and standard deviation, or median and scaled interquartile range
    for a feature whose tails make the standard deviation meaningless.

    Args:
        features: number of features D.

    Shapes: x, z `(*batch, D)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1`.

    Example:
        >>> layer = Standardize(1)
        >>> layer.adapt(torch.tensor([[1.0], [3.0]]))
        >>> layer.encode(torch.tensor([[1.0], [3.0]])).flatten().tolist()
        [-1.0, 1.0]
    """

    center: Tensor
    scale: Tensor

    def __init__(self, features: int) -> None:
        super().__init__(Space((_check.at_least("Standardize", "features", features, 1),)))
        self.register_buffer("center", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (x - self.center) / self.scale, -self.scale.log().sum().expand(x.shape[:-1])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z * self.scale + self.center, self.scale.log().sum().expand(z.shape[:-1])

    def adapt(self, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None) -> None:
        with torch.no_grad():
            center, scale = _center_and_scale(x.double(), None if weight is None else weight.double())
            self.center.copy_(center)
            self.scale.copy_(scale)

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}"


class ActNorm(Transform):
    r"""$z = x e^s + t$ with learned scale and shift for each feature; $\text{ladj} = \sum_i s_i$.

    Use it inside deep stacks to keep activations in a spline's box. `adapt` starts it so that z has mean 0 and
    variance 1.

    Args:
        features: number of features D.

    Shapes: x, z `(*batch, D)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1`.

    Source: Kingma and Dhariwal, *Glow*, 2018, arXiv:1807.03039, section 3.1. Differs: the start is set by `adapt`, not
    by the first batch that happens to pass.

    Example:
        >>> layer = ActNorm(1)
        >>> layer.adapt(torch.tensor([[1.0], [3.0]]))
        >>> bool(torch.allclose(layer.encode(torch.tensor([[1.0], [3.0]])), torch.tensor([[-1.0], [1.0]])))
        True
    """

    def __init__(self, features: int) -> None:
        super().__init__(Space((_check.at_least("ActNorm", "features", features, 1),)))
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.shift = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x * self.log_scale.exp() + self.shift, self.log_scale.sum().expand(x.shape[:-1])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (z - self.shift) * (-self.log_scale).exp(), -self.log_scale.sum().expand(z.shape[:-1])

    def adapt(self, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None) -> None:
        with torch.no_grad():
            center, scale = _mean_and_deviation(x.double(), _shares(x, weight))
            self.log_scale.copy_(-scale.log())
            self.shift.copy_(-center / scale)

    def linear_step(self) -> LinearStep:
        return LinearStep(self.log_scale, self.shift)

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}"


class BatchNorm(Transform):
    r"""$z = (x - m) e^\gamma / \sqrt v + t$ with m, v of the data; $\text{ladj} = \sum_i (\gamma_i - \log v_i / 2)$.

    Use it between the layers of deep stacks whose activations drift. In training, forward takes mean and variance of
    the batch, so rows see each other and ladj is that of the batch's map, and moves the running ones towards them. The
    inverse, evaluation, and batches of a single row use the running ones, where the map is one for all rows. `adapt`
    sets them from data; $|\gamma| < 5$.

    Args:
        features: number of features D.
        momentum: how far the running statistics go towards a batch's, in (0, 1].

    Shapes: x, z `(*batch, D)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1`, or momentum is out of its range.

    Source: Dinh, Sohl-Dickstein and Bengio, *Density estimation using Real NVP*, 2017, arXiv:1605.08803, section 3.7;
    Papamakarios, Pavlakou and Murray, *Masked Autoregressive Flow for Density Estimation*, 2017, arXiv:1705.07057.
    Differs: the variance has a floor of 1e-5 rather than that added, so the start is the identity.

    Example:
        >>> layer = BatchNorm(1)
        >>> z = layer.encode(torch.tensor([[1.0], [3.0]]))
        >>> bool(torch.allclose(z, torch.tensor([[-1.0], [1.0]])))
        True
        >>> layer.mean.item(), layer.eval().encode(torch.tensor([0.2])).item()
        (0.20000000298023224, 0.0)
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, features: int, *, momentum: float = 0.1) -> None:
        super().__init__(Space((_check.at_least("BatchNorm", "features", features, 1),)))
        self.momentum = _check.positive("BatchNorm", "momentum", momentum)
        if momentum > 1:
            raise ConfigError(f"BatchNorm: expected momentum <= 1; got {momentum}. Take 0.1.")
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.shift = nn.Parameter(torch.zeros(features))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("variance", torch.ones(features))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        rows = x.reshape(-1, x.shape[-1])
        mean, variance = self._observed(rows) if self.training and len(rows) > 1 else (self.mean, self.variance)
        log_scale = self._log_scale(variance)
        return (x - mean) * log_scale.exp() + self.shift, log_scale.sum().expand(x.shape[:-1])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_scale = self._log_scale(self.variance)
        return (z - self.shift) * (-log_scale).exp() + self.mean, -log_scale.sum().expand(z.shape[:-1])

    def adapt(self, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None) -> None:
        with torch.no_grad():
            center, scale = _mean_and_deviation(x.double(), _shares(x, weight))
            self.mean.copy_(center)
            self.variance.copy_(scale.square())

    def _observed(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the batch, after a step of the running ones towards them."""
        variance, mean = torch.var_mean(rows, 0, correction=0)
        with torch.no_grad():
            self.mean.lerp_(mean.to(self.mean), self.momentum)
            self.variance.lerp_(variance.to(self.variance), self.momentum)
        return mean, variance

    def _log_scale(self, variance: Tensor) -> Tensor:
        return soft_clip(self.log_scale, 5.0) - 0.5 * variance.clamp(min=1e-5).log()

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}, momentum={self.momentum}"


class Whiten(Transform):
    r"""$z = A x - b$ with a fixed lower-triangular $A$; $\text{ladj} = \sum_i \log A_{ii}$.

    Use it after `Standardize` where features are strongly correlated: layers and base then see directions of equal
    scale. The identity until `adapt` sets A to the inverse Cholesky factor of the covariance and b so that z is white
    around 0.

    Args:
        features: number of features D.

    Shapes: x, z `(*batch, D)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1`.

    Example:
        >>> layer = Whiten(2)
        >>> x = torch.tensor([[1.0, 2.0], [2.0, 1.0], [3.0, 6.0], [0.0, 3.0]])
        >>> layer.adapt(x)
        >>> bool(torch.allclose(layer.encode(x).T.cov(correction=0), torch.eye(2), atol=1e-5))
        True
    """

    offset: Tensor
    matrix: Tensor

    def __init__(self, features: int) -> None:
        super().__init__(Space((_check.at_least("Whiten", "features", features, 1),)))
        self.register_buffer("offset", torch.zeros(features))
        self.register_buffer("matrix", torch.eye(features))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x @ self.matrix.mT - self.offset, self._ladj().expand(x.shape[:-1])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        rows = (z + self.offset).reshape(-1, z.shape[-1])
        x = torch.linalg.solve_triangular(self.matrix.mT, rows, upper=True, left=False).reshape(z.shape)
        return x, -self._ladj().expand(z.shape[:-1])

    def adapt(self, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None) -> None:
        with torch.no_grad():
            fit = fit_gaussian_mixture(x.double(), 1, weight=weight)
            self.offset.copy_(fit.offset[0])
            self.matrix.copy_(fit.whitener[0])

    def _ladj(self) -> Tensor:
        return self.matrix.diagonal().log().sum()

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}"


def _shares(x: Tensor, weight: Tensor | None) -> Tensor:
    w = torch.ones(x.shape[0], dtype=torch.float64, device=x.device) if weight is None else weight.double()
    return w / w.sum()


def _mean_and_deviation(x: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and standard deviation of each column; 1 where a column is constant."""
    mean = share @ x
    deviation = (share @ (x - mean).square()).sqrt()
    still = deviation <= 1e-12 * mean.abs().clamp(min=1e-300)
    return mean, torch.where(still | ~deviation.isfinite(), 1.0, deviation)


def _center_and_scale(x: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and deviation, but median and interquartile range / 1.349 where the deviation is over 3 times that."""
    share = _shares(x, weight)
    mean, deviation = _mean_and_deviation(x, share)
    order = x.argsort(0)
    value = x.gather(0, order)
    mass = share[order].cumsum(0)
    low, median, high = (_quantile(value, mass, q) for q in (0.25, 0.5, 0.75))
    spread = (high - low) / 1.349
    robust = (spread > 0) & (deviation > 3 * spread)
    return torch.where(robust, median, mean), torch.where(robust, spread, deviation)


def _quantile(value: Tensor, mass: Tensor, q: float) -> Tensor:
    """The smallest value of each column at which the sorted cumulative mass reaches q."""
    at = (mass < q - 1e-9).sum(0, keepdim=True).clamp(max=value.shape[0] - 1)
    return value.gather(0, at).squeeze(0)
