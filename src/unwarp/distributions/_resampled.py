"""A base that learns which of its draws to keep."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.quasirandom import SobolEngine

from unwarp import _check
from unwarp.distributions._base import Distribution
from unwarp.distributions._simple import Normal
from unwarp.errors import ShapeError

__all__ = ["Resampled"]


class Resampled(Distribution):
    r"""Normal draws of which a network keeps some: $p(x) = (1 - \alpha)\,\frac{a(x)\,\phi(x)}{Z} + \alpha\,\phi(x)$.

    Here a is the probability of keeping x, $Z = \int a\,\phi$, and $\alpha = (1 - Z)^{T-1}$ that of giving up after
    T - 1 draws and keeping the T-th as it is.

    Use it as the base where the data have holes or several pieces, which a continuous map of one normal would join by
    thin bridges. Z is a mean over fixed quasi-random points, so that the density is exact up to that mean's error: some
    0.001 of Z in two dimensions with 1024 points, more in many. Gradients flow through Z. Draws carry none.

    Args:
        features: number of features D.
        net: network from x to one number, the log-odds of keeping x; called as `net(x, None)`.
        truncation: T, the most draws for one sample.
        points: how many points Z is a mean over.

    Shapes: x `(*batch, D)` -> `(*batch)`, nats.

    Raises:
        ConfigError: if a size is below 1 (`truncation` and `points` below 2).
        ShapeError: when the network gives another number than one.

    Source: Bauer and Mnih, *Resampled Priors for Variational Autoencoders*, 2019, arXiv:1810.11428, eq. 5; Stimper,
    Schoelkopf and Hernandez-Lobato, *Resampling Base Distributions of Normalizing Flows*, 2022, arXiv:2110.15828.
    Differs: Z is a sum over fixed points that any call repeats, not a running mean of random ones.

    Example:
        >>> base = Resampled(2, MLP(2, 1, hidden=(16,)))
        >>> bool(torch.isclose(base.log_prob(torch.zeros(2)), Normal(2).log_prob(torch.zeros(2)), atol=1e-5))
        True
    """

    nodes: Tensor

    def __init__(self, features: int, net: nn.Module, *, truncation: int = 100, points: int = 1024) -> None:
        normal = Normal(_check.at_least("Resampled", "features", features, 1))
        super().__init__(normal.space)
        self.normal = normal
        self.net = net
        self.truncation = _check.at_least("Resampled", "truncation", truncation, 2)
        u = SobolEngine(features, scramble=True, seed=0).draw(_check.at_least("Resampled", "points", points, 2))
        self.register_buffer("nodes", torch.special.ndtri(u.double().clamp(1e-9, 1 - 1e-9)).float(), persistent=False)
        got = tuple(net(torch.zeros(1, features), None).shape)
        if got != (1, 1):
            raise ShapeError(f"Resampled: expected net to give 1 number; got {got[-1]}. Build it with one output.")

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = _check.broadcast_event("Resampled.log_prob", x, self.space.shape, context, self.context_shape)
        log_kept = F.logsigmoid(self.net(x, None).squeeze(-1))
        log_z, log_left = self._log_normaliser()
        kept = (-log_left.expm1()).log() + log_kept - log_z
        return torch.logaddexp(kept, log_left) + self.normal.log_prob(x)

    def sample_and_log_prob(
        self, shape: Sequence[int] = (), context: Tensor | None = None, *, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        batch = self.batch_shape(shape, context)
        with torch.no_grad():
            x = self.normal.sample(batch, generator=generator)
            waiting = torch.ones(batch, dtype=torch.bool, device=x.device)
            for _ in range(1, self.truncation):
                chance = self.net(x, None).squeeze(-1).sigmoid()
                u = torch.rand(batch, generator=generator, dtype=x.dtype, device=x.device)
                waiting = waiting & (u >= chance)
                if not bool(waiting.any()):
                    break
                x = torch.where(waiting.unsqueeze(-1), self.normal.sample(batch, generator=generator), x)
        return x, self.log_prob(x)

    def _log_normaliser(self) -> tuple[Tensor, Tensor]:
        """log Z and log alpha."""
        raw = self.net(self.nodes, None).squeeze(-1)
        log_z, log_lost = (F.logsigmoid(side).logsumexp(0) - math.log(len(raw)) for side in (raw, -raw))
        return log_z, (self.truncation - 1) * log_lost

    def extra_repr(self) -> str:
        return f"{self.space.shape[0]}, truncation={self.truncation}, points={len(self.nodes)}"
