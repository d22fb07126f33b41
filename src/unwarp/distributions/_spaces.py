"""Distributions on circles, spheres and other spaces that are no real lines."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from unwarp import _check
from unwarp._manifold import Simplex, Sphere
from unwarp._space import CIRCLE, Circle, Interval, Manifold, Space, Support
from unwarp.distributions._base import Distribution
from unwarp.errors import SpaceError
from unwarp.functional import wrap

__all__ = ["UniformOn", "VonMises"]


class UniformOn(Distribution):
    r"""Uniform on a space of finite volume: $\log p(x) = -\log \mathrm{vol}$ inside, minus infinity outside.

    Use it as the base of flows on circles, spheres and simplices, or on any of these side by side.

    Args:
        space: of circles, spheres, simplices and intervals.

    Shapes: x `(*batch, *space.shape)` -> `(*batch)`, nats by the space's own measure of volume.

    Raises:
        SpaceError: when a part of the space has no finite volume.

    Example:
        >>> flat = UniformOn(Space((3,), Sphere(3)))
        >>> bool(torch.isclose(flat.log_prob(torch.tensor([0.0, 0.6, 0.8])).exp(), torch.tensor(1 / (4 * torch.pi))))
        True
    """

    anchor: Tensor

    def __init__(self, space: Space) -> None:
        super().__init__(space)
        self._times = space.entries // sum(space.widths) if not isinstance(space.support, Manifold) else 1
        if isinstance(space.support, Manifold):
            self._times = space.entries // math.prod(space.support.shape)
        self.log_volume = self._times * sum(_log_volume(s) for s in space.supports)
        self.register_buffer("anchor", torch.zeros(()), persistent=False)  # tells dtype and device

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = _check.broadcast_event("UniformOn.log_prob", x, self.space.shape, context, self.context_shape)
        axes = tuple(range(-len(self.space.shape), 0))
        outside = ~(self.space.contains(x) | x.isnan().any(axes))
        return torch.where(outside, -torch.inf, x.sum(axes) * 0 - self.log_volume)

    def sample_and_log_prob(
        self, shape: Sequence[int] = (), context: Tensor | None = None, *, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        batch = self.batch_shape(shape, context)
        rows = [_draw(s, (*batch, self._times), self.anchor, generator) for s in self.space.supports]
        x = torch.cat(rows, -1).reshape(*batch, *self.space.shape)
        return x, self.log_prob(x)

    def extra_repr(self) -> str:
        return f"{self.space.shape}, {self.space.support}"


class VonMises(Distribution):
    r"""Independent angles: $\log p(x) = a \cos x + b \sin x - \log 2\pi I_0(\sqrt{a^2 + b^2})$ with learned a and b.

    Use it as the base for angles with one preferred direction. It starts uniform. Draws carry no gradient to a and b.

    Args:
        features: number of angles D.

    Shapes: x `(*batch, D)`, radians -> `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1`.

    Source: sampling is that of Best and Fisher, *Efficient simulation of the von Mises distribution*, 1979.

    Example:
        >>> bool(torch.isclose(VonMises(1).log_prob(torch.zeros(1)).exp(), torch.tensor(0.5 / torch.pi)))
        True
    """

    def __init__(self, features: int) -> None:
        super().__init__(Space((_check.at_least("VonMises", "features", features, 1),), CIRCLE))
        self.pull = nn.Parameter(torch.zeros(features, 2))

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = _check.broadcast_event("VonMises.log_prob", x, self.space.shape, context, self.context_shape)
        a, b = self.pull.unbind(-1)
        kappa = (a * a + b * b + 1e-12).sqrt()
        log_bessel = torch.special.i0e(kappa).log() + kappa
        log_prob = (a * x.cos() + b * x.sin() - log_bessel - math.log(2 * math.pi)).sum(-1)
        outside = ((x < -math.pi) | (x > math.pi)).any(-1)
        return torch.where(outside, -torch.inf, log_prob)

    def sample_and_log_prob(
        self, shape: Sequence[int] = (), context: Tensor | None = None, *, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        size = self.batch_shape(shape, context) + self.space.shape
        with torch.no_grad():
            a, b = self.pull.double().unbind(-1)
            x = wrap(_best_fisher((a * a + b * b).sqrt().expand(size), generator) + torch.atan2(b, a)).to(self.pull)
            x = x.clamp(-math.pi, math.pi)
        return x, self.log_prob(x)

    def extra_repr(self) -> str:
        return f"{self.space.shape[0]}"


def _best_fisher(kappa: Tensor, generator: Generator | None) -> Tensor:
    """Von Mises angles around zero, by rejection from a wrapped Cauchy distribution; about two in three are kept."""
    kappa = kappa.clamp(min=1e-6)
    tau = 1 + (1 + 4 * kappa * kappa).sqrt()
    rho = (tau - (2 * tau).sqrt()) / (2 * kappa)
    r = torch.where(kappa < 1e-4, 1 / kappa + kappa, (1 + rho * rho) / (2 * rho))
    x, waiting = torch.zeros_like(kappa), torch.ones_like(kappa, dtype=torch.bool)
    while bool(waiting.any()):
        u = torch.rand((3, *kappa.shape), generator=generator, dtype=kappa.dtype, device=kappa.device)
        z = (math.pi * u[0]).cos()
        f = (1 + r * z) / (r + z)
        c = kappa * (r - f)
        keep = waiting & ((c * (2 - c) > u[1]) | ((c / u[1]).log() + 1 >= c))
        x = torch.where(keep, (u[2] - 0.5).sign() * f.clamp(-1, 1).acos(), x)
        waiting = waiting & ~keep
    return x


def _log_volume(support: Support | Manifold) -> float:
    if isinstance(support, Circle):
        return math.log(2 * math.pi)
    if isinstance(support, Interval):
        return math.log(support.high - support.low)
    if isinstance(support, Sphere):
        return math.log(2) + 0.5 * support.features * math.log(math.pi) - math.lgamma(0.5 * support.features)
    if isinstance(support, Simplex):
        return -math.lgamma(support.features)
    raise SpaceError(
        f"UniformOn: expected circles, spheres, simplices or intervals; got {support}. Choose a normal distribution."
    )


def _draw(support: Support | Manifold, batch: Sequence[int], like: Tensor, generator: Generator | None) -> Tensor:
    """Uniform members, `(*batch, width)`."""
    width = support.shape[0] if isinstance(support, Manifold) else 1
    if isinstance(support, Sphere):
        normal = torch.randn((*batch, width), generator=generator, dtype=like.dtype, device=like.device)
        return F.normalize(normal, dim=-1)
    u = torch.rand((*batch, width), generator=generator, dtype=like.dtype, device=like.device)
    if isinstance(support, Simplex):
        steps = (-u.clamp(min=torch.finfo(u.dtype).tiny).log()).clamp(min=torch.finfo(u.dtype).eps)
        return steps / steps.sum(-1, keepdim=True)
    low, high = (support.low, support.high) if isinstance(support, Interval) else (-math.pi, math.pi)
    return low + (high - low) * u
