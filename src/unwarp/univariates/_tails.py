"""Scalar maps that change the weight of tails."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unwarp import functional
from unwarp.errors import ConfigError
from unwarp.univariates._base import Univariate

__all__ = ["HeavyTail", "LogTail"]


@dataclass(frozen=True, slots=True)
class HeavyTail(Univariate):
    r"""Turns tails like a Student-t's into normal ones, each side with a weight of its own.

    $y = \operatorname{sign}(x)\sqrt{\log(1 + \lambda x^2)/\lambda}$ with $\lambda = \max(\theta, 0)$, one for each sign
    of x. When y is normal, x has tails $|x|^{-(\nu + 1)}$ with $\nu = 1/\lambda$; $\lambda = 0$ is the identity.

    Use it as the layer nearest to the data where tails are heavier than Gaussian: later layers then see light ones.

    Shapes: x `(...)`; params `(..., 2)`, the lower and the upper $\theta$ -> y, ladj `(...)`; ladj in nats.

    Source: after Wallace, *Bounds on normal approximations to Student's and the chi-square distributions*, 1959; the
    place in the flow is that of Hickling and Prangle, *Flexible tails for normalizing flows*, 2024, arXiv:2406.16971.

    Example:
        >>> y, _ = HeavyTail().forward(torch.tensor([-5.0, 1e6]), torch.tensor([[0.0, 0.5], [0.0, 0.5]]))
        >>> y[0].item(), bool(y[1] < 10)
        (-5.0, True)
    """

    @property
    def n_params(self) -> int:
        return 2

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.heavy_tail(x, params)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.heavy_tail_inverse(y, params)

    def guess(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        r"""Tail weights $1/\nu$ by Hill's estimator on the outer 2 % of each side; 0 where tails look light."""
        w = torch.ones_like(x[:, 0]) if weight is None else weight.to(x)
        return torch.stack([_tail_weight(-x, w), _tail_weight(x, w)], -1)


@dataclass(frozen=True, slots=True)
class LogTail(Univariate):
    r"""The identity within $\pm\tau$, logarithms beyond: $\pm(\tau + \log(1 + \kappa(|x| - \tau))/\kappa)$.

    $\kappa = \max(\theta, 0)$, one for each sign of x; 0 is the identity. Where the stretch beyond passes $e^{40}$
    the map goes on as a straight line.

    Use it next to the latent of a flow that is read backwards for sampling (`Inverse`), to keep draws of a deep stack
    from running away; with `threshold=0` it is a soft logarithm for data over many powers of ten.

    Args:
        threshold: $\tau \ge 0$.

    Shapes: x `(...)`; params `(..., 2)`, the lower and the upper $\theta$ -> y, ladj `(...)`; ladj in nats.

    Raises:
        ConfigError: if `threshold` is negative or not finite.

    Source: Andrade, *Stable Training of Normalizing Flows for High-dimensional Variational Inference*, 2024,
    arXiv:2402.16408 (LOFT). Differs: $\kappa$ is learned, there it is 1.

    Example:
        >>> y, _ = LogTail(1.0).forward(torch.tensor([0.5, 1e6]), torch.ones(2, 2))
        >>> y[0].item(), bool((y[1] - 14.8).abs() < 0.1)
        (0.5, True)
    """

    threshold: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < float("inf"):
            raise ConfigError(
                f"LogTail: expected threshold to be finite and >= 0; got {self.threshold!r}. Change threshold."
            )

    @property
    def n_params(self) -> int:
        return 2

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        kappa = torch.where(x < 0, params[..., 0], params[..., 1]).clamp(min=0.0)
        return functional.log_tail(x, kappa, self.threshold)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        kappa = torch.where(y < 0, params[..., 0], params[..., 1]).clamp(min=0.0)
        return functional.log_tail_inverse(y, kappa, self.threshold)


_OUTER, _INNER = 0.002, 0.02  # shares of the rows beyond the two thresholds
_NORMAL_HILL = 0.19  # what Hill's estimator gives for the normal distribution at the inner threshold


def _tail_weight(x: Tensor, w: Tensor) -> Tensor:
    order = x.argsort(0, descending=True)
    value = x.gather(0, order)
    mass = w[order].cumsum(0) / w.sum()
    within = ((mass <= _INNER) & (value > 0)).to(x)
    count = within.sum(0)
    start = (mass <= _INNER).sum(0, keepdim=True).clamp(max=x.shape[0] - 1)
    threshold = value.gather(0, start).squeeze(0).clamp(min=torch.finfo(x.dtype).tiny)
    share = w[order] * within
    excess = (value.clamp(min=threshold) / threshold).log()
    hill = (share * excess).sum(0) / share.sum(0).clamp(min=torch.finfo(x.dtype).tiny)
    surely_heavy = (hill - _NORMAL_HILL) > 2 * hill / count.clamp(min=1).sqrt()
    return torch.where(surely_heavy & (count >= 20), (hill - 0.1).clamp(0.05, 2.0), 0.0)
