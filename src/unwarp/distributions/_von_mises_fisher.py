"""Directions around a preferred one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from unwarp import _check
from unwarp._manifold import Sphere
from unwarp._space import Space
from unwarp.distributions._base import Distribution
from unwarp.functional import log_bessel

__all__ = ["VonMisesFisher"]


class VonMisesFisher(Distribution):
    r"""Unit vectors around one direction: $\log p(x) = \eta \cdot x - \log Z(|\eta|)$ with a learned $\eta$.

    $Z(\kappa) = (2\pi)^{n/2} I_{n/2-1}(\kappa)\, \kappa^{1-n/2}$. The direction of $\eta$ is the mean's; its length
    $\kappa$ is the concentration: angles to the mean are some $\sqrt{(n - 1) / \kappa}$ where that is small.

    Use it as a base or a part of a `Mixture` for directions with one preferred among them. It starts uniform. Draws
    carry no gradient to $\eta$.

    Args:
        features: entries n of the unit vectors, 3 for the globe.

    Shapes: x `(*batch, n)` -> `(*batch)`, nats by area.

    Raises:
        ConfigError: if `features < 2`.

    Source: Fisher, *Dispersion on a sphere*, 1953; Wood, *Simulation of the von Mises Fisher distribution*, 1994, for
    the draws.

    Example:
        >>> flat = VonMisesFisher(3)
        >>> bool(torch.isclose(flat.log_prob(torch.tensor([0.0, 0.6, 0.8])).exp(), torch.tensor(1 / (4 * torch.pi))))
        True
    """

    def __init__(self, features: int) -> None:
        super().__init__(Space((features,), Sphere(features)))
        self.pull = nn.Parameter(torch.zeros(features))

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = _check.broadcast_event("VonMisesFisher.log_prob", x, self.space.shape, context, self.context_shape)
        n = x.shape[-1]
        log_z = 0.5 * n * math.log(2 * math.pi) + log_bessel(0.5 * n - 1, self.pull.double().square().sum())
        outside = ~(self.space.contains(x) | x.isnan().any(-1))
        return torch.where(outside, -torch.inf, (x * self.pull).sum(-1) - log_z.to(self.pull.dtype))

    def sample_and_log_prob(
        self, shape: Sequence[int] = (), context: Tensor | None = None, *, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            eta = self.pull.double()
            kappa = eta.norm()
            x = _wood(kappa, (*self.batch_shape(shape, context), len(eta)), generator)
            pole = torch.zeros_like(eta)
            pole[0] = 1.0
            w = pole - torch.where(kappa > 0, eta / kappa.clamp(min=1e-300), pole)
            x = x - 2 * (x @ w).unsqueeze(-1) * w / w.square().sum().clamp(min=1e-300)  # the mirror from pole to mean
            x = F.normalize(x.to(self.pull.dtype), dim=-1)
        return x, self.log_prob(x)

    def extra_repr(self) -> str:
        return f"{self.space.shape[0]}"


def _wood(kappa: Tensor, size: tuple[int, ...], generator: Generator | None) -> Tensor:
    """Directions around the first axis, by rejection; two in three or more are kept."""
    m = size[-1] - 1
    b = m / (2 * kappa + (4 * kappa * kappa + m * m).sqrt())
    x0 = (1 - b) / (1 + b)
    x, waiting = kappa.new_zeros(size), torch.ones(size[:-1], dtype=torch.bool, device=kappa.device)
    while bool(waiting.any()):
        even = F.normalize(torch.randn(size, generator=generator, dtype=kappa.dtype, device=kappa.device), dim=-1)
        u = torch.rand(size[:-1], generator=generator, dtype=kappa.dtype, device=kappa.device)
        z = 0.5 * (1 + even[..., 0])  # of a beta distribution, both of its parameters m / 2
        below = 2 * b * z / (1 - (1 - b) * z)  # the height is 1 - below
        excess = m * ((1 - x0 * (1 - below)).log() - (4 * b).log() + 2 * b.log1p()) + kappa * (1 - below - x0)
        keep = waiting & (excess >= u.log())
        side = F.normalize(even[..., 1:], dim=-1) * (below * (2 - below)).clamp(min=0).sqrt().unsqueeze(-1)
        x = torch.where(keep.unsqueeze(-1), torch.cat([(1 - below).unsqueeze(-1), side], -1), x)
        waiting = waiting & ~keep
    return x
