"""Bases with learned location and scale."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from unwarp import _check
from unwarp._space import Space
from unwarp.distributions._base import Distribution
from unwarp.errors import ConfigError, ShapeError
from unwarp.functional import soft_clip

__all__ = ["ConditionalNormal", "Gaussian", "Logistic"]

_LOG_2PI = math.log(2 * math.pi)
_WIDEST = 5.0  # bound of what a network may say of the logarithm of a scale


class Gaussian(Distribution):
    r"""$\mathcal N(\mu, \Sigma)$ with learned mean and $\Sigma = \operatorname{diag}(s^2) + U U^\top$ of given rank.

    Use it as a base whose place and scale are to be learned, `rank=0` for independent features. Full covariances are
    `GaussianMixture(features, 1)`. `adapt` sets mean and scales from data; factors start small.

    Args:
        features: number of features D.
        rank: columns of U.

    Shapes: x `(*batch, D)` -> `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1` or `rank` is not between 0 and D.

    Source: the determinant and inverse of a low-rank change, Woodbury, *Inverting modified matrices*, 1950.

    Example:
        >>> bool(torch.isclose(Gaussian(1).log_prob(torch.zeros(1)), torch.tensor(-0.9189385)))
        True
    """

    def __init__(self, features: int, *, rank: int = 0) -> None:
        super().__init__(Space((_check.at_least("Gaussian", "features", features, 1),)))
        if _check.at_least("Gaussian", "rank", rank, 0) > features:
            raise ConfigError(f"Gaussian: expected rank at most {features}; got {rank}. Lower it.")
        self.mean = nn.Parameter(torch.zeros(features))
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.factor = nn.Parameter(0.01 * torch.randn(features, rank)) if rank else None

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = _check.broadcast_event("Gaussian.log_prob", x, self.space.shape, context, self.context_shape)
        white = (x - self.mean) * (-self.log_scale).exp()
        square, log_det = white.square().sum(-1), 2 * self.log_scale.sum()
        if self.factor is not None:
            v = self.factor * (-self.log_scale).exp().unsqueeze(-1)
            eye = torch.eye(v.shape[-1], dtype=v.dtype, device=v.device)
            lower = torch.linalg.cholesky(eye + v.mT @ v)
            within = torch.linalg.solve_triangular(lower, v.mT, upper=False)
            square = square - (white @ within.mT).square().sum(-1)
            log_det = log_det + 2 * lower.diagonal().log().sum()
        return -0.5 * (square + log_det + x.shape[-1] * _LOG_2PI)

    def sample_and_log_prob(
        self, shape: Sequence[int] = (), context: Tensor | None = None, *, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        batch = self.batch_shape(shape, context)
        x = self.mean + self.log_scale.exp() * _randn((*batch, *self.space.shape), self.mean, generator)
        if self.factor is not None:
            x = x + _randn((*batch, self.factor.shape[-1]), self.mean, generator) @ self.factor.mT
        return x, self.log_prob(x)

    def adapt(self, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None) -> None:
        with torch.no_grad():
            share = torch.ones_like(x[:, 0]) if weight is None else weight.to(x)
            share = (share / share.sum()).unsqueeze(-1)
            mean = (share * x).sum(0)
            self.mean.copy_(mean)
            self.log_scale.copy_(0.5 * (share * (x - mean).square()).sum(0).clamp(min=1e-12).log())

    def extra_repr(self) -> str:
        return f"{self.space.shape[0]}" + (f", rank={self.factor.shape[-1]}" if self.factor is not None else "")


class Logistic(Distribution):
    r"""Independent standard logistic features: $\log p(x) = \sum_i \log\sigma(x_i) + \log\sigma(-x_i)$.

    Use it as the base where tails are a little heavier than normal; NICE and flows built from sigmoids end in it.

    Args:
        features: number of features D, or the event's shape.

    Shapes: x `(*batch, *event)` -> `(*batch)`, nats.

    Raises:
        ConfigError: if a size is below 1.

    Example:
        >>> bool(torch.isclose(Logistic(1).log_prob(torch.zeros(1)).exp(), torch.tensor(0.25)))
        True
    """

    anchor: Tensor

    def __init__(self, features: int | Sequence[int]) -> None:
        super().__init__(Space(_check.event("Logistic", features)))
        self.register_buffer("anchor", torch.zeros(()), persistent=False)  # tells dtype and device

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = _check.broadcast_event("Logistic.log_prob", x, self.space.shape, context, self.context_shape)
        return (F.logsigmoid(x) + F.logsigmoid(-x)).sum(tuple(range(-len(self.space.shape), 0)))

    def sample_and_log_prob(
        self, shape: Sequence[int] = (), context: Tensor | None = None, *, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        size = self.batch_shape(shape, context) + self.space.shape
        u = torch.rand(size, generator=generator, dtype=self.anchor.dtype, device=self.anchor.device)
        x = u.clamp(torch.finfo(u.dtype).tiny, 1 - torch.finfo(u.dtype).eps).logit()
        return x, self.log_prob(x)

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.space.shape))


class ConditionalNormal(Distribution):
    r"""$\mathcal N(\mu(c), \operatorname{diag}(s(c)^2))$, mean and scale from a network that sees the context c.

    Use it as the base of a conditional flow, or for classes with one-hot context: each class then has a latent of its
    own, and a flow that shares the rest separates them. Scales are bounded by $e^{\pm 5}$.

    Args:
        features: number of features D.
        net: network from the context to 2 D numbers, called as `net(x, context)` with x of no entries, such as
            `networks.MLP(0, 2 * features, context=context)`.
        context: length of the context.

    Shapes: x `(*batch, D)`, context `(*batch, context)` -> `(*batch)`, nats.

    Raises:
        ConfigError: if a size is below 1.
        ShapeError: when the network's output has another length.

    Source: Izmailov et al., *Semi-Supervised Learning with Normalizing Flows*, 2020, arXiv:1912.13025, for classes.

    Example:
        >>> base = ConditionalNormal(2, MLP(0, 4, context=3), context=3)
        >>> one_hot = torch.eye(3)
        >>> base.log_prob(torch.zeros(3, 2), one_hot).shape
        torch.Size([3])
    """

    def __init__(self, features: int, net: nn.Module, *, context: int) -> None:
        length = (_check.at_least("ConditionalNormal", "context", context, 1),)
        super().__init__(Space((_check.at_least("ConditionalNormal", "features", features, 1),)), context_shape=length)
        self.net = net
        with torch.no_grad():
            got = self.net(torch.zeros(1, 0), torch.zeros(1, context)).shape[-1]
        if got != 2 * features:
            raise ShapeError(
                f"ConditionalNormal: expected net to give {2 * features} numbers; got {got}. "
                f"Build it with 0 inputs, a context of {context} and {2 * features} outputs."
            )

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = _check.broadcast_event("ConditionalNormal.log_prob", x, self.space.shape, context, self.context_shape)
        mean, log_scale = self._moments(context)
        white = (x - mean) * (-log_scale).exp()
        return _log_normal(white) - log_scale.sum(-1)

    def sample_and_log_prob(
        self, shape: Sequence[int] = (), context: Tensor | None = None, *, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        batch = self.batch_shape(shape, context)
        mean, log_scale = self._moments(context)
        white = _randn((*batch, *self.space.shape), mean, generator)
        return mean + log_scale.exp() * white, _log_normal(white) - log_scale.sum(-1)

    def _moments(self, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Of each context, however many events share it."""
        nothing = torch.zeros(0) if context is None else context[..., :0]
        mean, log_scale = self.net(nothing, context).chunk(2, -1)
        return mean, soft_clip(log_scale, _WIDEST)

    def extra_repr(self) -> str:
        return f"{self.space.shape[0]}"


def _log_normal(white: Tensor) -> Tensor:
    return -0.5 * (white.square() + _LOG_2PI).sum(-1)


def _randn(shape: Sequence[int], like: Tensor, generator: Generator | None) -> Tensor:
    return torch.randn(tuple(shape), generator=generator, dtype=like.dtype, device=like.device)
