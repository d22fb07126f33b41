"""Where a density is: its modes by Newton's method, and a Gaussian near to it, whatever the scales are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from unwarp.applications._posteriors._target import Target

__all__ = ["Normal", "climb", "distinct", "matched", "spread", "starts"]

_LOG_2PI = math.log(2 * math.pi)
_STEP = 1e-3  # of finite differences, in units of the present scale
_CLIMBS = 60
_STILL = 1e-3  # a gradient, in units of the present scale, at which a climb has arrived
_CHANGE = 1e3  # by how much a scale may change in one step
_LENGTHS = (4.0, 2.0, 1.0, 0.5, 0.2, 0.05, 0.01, 1e-3, 1e-5)  # of a Newton step that are tried
_APART = 3.0  # standard deviations between two modes


@dataclass(frozen=True)
class Normal:
    """A normal law by its mean and a factor of its covariance; `log_mass` is the target's integral near it, nats."""

    mean: Tensor
    factor: Tensor
    log_mass: float = math.nan

    def draw(self, n: int, generator: Generator) -> Tensor:
        """Draws `(n, dim)`."""
        noise = torch.randn(n, len(self.mean), dtype=self.mean.dtype, generator=generator)
        return self.mean + noise @ self.factor.mT

    def white(self, u: Tensor) -> Tensor:
        """In units of the law."""
        return torch.linalg.solve(self.factor, (u - self.mean).mT).mT

    def log_prob(self, u: Tensor) -> Tensor:
        """Log density, nats."""
        square = self.white(u).square().sum(-1)
        return -0.5 * (square + len(self.mean) * _LOG_2PI) - torch.linalg.slogdet(self.factor)[1]

    def wider(self, times: float) -> Normal:
        """The same law with its deviations multiplied."""
        return Normal(self.mean, times * self.factor)


def starts(dim: int, n: int, generator: Generator) -> Tensor:
    """Points around 0 from which to look for modes, near ones and far ones by turns; the first is 0."""
    scale = torch.tensor([1.0, 5.0], dtype=torch.float64).repeat(n)[:n, None]
    made = scale * torch.randn(n, dim, dtype=torch.float64, generator=generator)
    made[0] = 0.0
    return made


def climb(target: Target, start: Tensor, factor: Tensor | None = None, *, rounds: int = _CLIMBS) -> list[Normal]:
    """The modes that are reached from each start, with the normal law of the curvature there.

    Newton's method by differences of gradients, taken along axes that follow the curvature, so that the units of
    parameters and their correlations don't matter. Directions of the wrong curvature are turned round, and of several
    lengths of a step the best is taken. Climbs that don't arrive are left out.
    """
    n, dim = start.shape
    u, axes = start.clone(), torch.eye(dim, dtype=start.dtype).expand(n, dim, dim).clone()
    if factor is not None:
        axes = factor.expand(n, dim, dim).clone()
    height = _finite(target.log_density(u).detach())
    arrived = torch.zeros(n, dtype=torch.bool)
    for _ in range(rounds):
        going = (~arrived & height.isfinite()).nonzero().flatten()
        if not len(going):
            break
        slope, curvature = _local(target, u[going], axes[going])
        ok = slope.isfinite().all(-1) & curvature.isfinite().all(-1).all(-1)
        going, slope, curvature = going[ok], slope[ok], curvature[ok]
        if not len(going):
            break
        values, vectors = torch.linalg.eigh(-curvature)
        strength = values.abs().clamp(_CHANGE**-2, _CHANGE**2)
        step = (vectors @ ((vectors.mT @ slope.unsqueeze(-1)) / strength.unsqueeze(-1))).squeeze(-1)
        move = (axes[going] @ step.unsqueeze(-1)).squeeze(-1)
        axes[going] = axes[going] @ (vectors / strength.sqrt().unsqueeze(-2))
        lengths = torch.tensor(_LENGTHS, dtype=u.dtype)
        tried = u[going, None] + lengths[:, None] * move[:, None]
        found = _finite(target.log_density(tried.flatten(0, 1)).detach()).reshape(len(going), -1)
        best, place = found.max(-1)
        better = best >= height[going]
        power = (step * slope).sum(-1)
        arrived[going] = (
            (power < _STILL) & (values > 0).all(-1) & (strength < _CHANGE).all(-1) & (strength > 1 / _CHANGE).all(-1)
        )
        height[going] = torch.where(better, best, height[going])
        u[going] = torch.where(better[:, None], tried[torch.arange(len(going)), place], u[going])
        height[going[~better & ~arrived[going]]] = -torch.inf
    return [Normal(u[i], axes[i]) for i in arrived.nonzero().flatten().tolist()]


def distinct(target: Target, found: list[Normal], generator: Generator) -> list[Normal]:
    """Modes that are apart, heaviest first, each with the density's integral near it by importance sampling."""
    kept: list[Normal] = []
    for one in found:
        if any(float(other.white(one.mean[None]).norm()) < _APART for other in kept):
            continue
        wide = one.wider(1.2)
        u = wide.draw(200, generator)
        ratio = _finite(target.log_density(u).detach() - wide.log_prob(u))
        kept.append(Normal(one.mean, one.factor, float(ratio.logsumexp(0)) - math.log(200)))
    return sorted((one for one in kept if math.isfinite(one.log_mass)), key=lambda one: -one.log_mass)


def matched(target: Target, near: Normal, generator: Generator, *, rounds: int = 100) -> tuple[Normal, float]:
    r"""A normal law whose scores are like the target's, and its evidence's lower bound; never worse than `near`.

    Source: Cai et al., *Batch and Match: Black-Box Variational Inference with a Score-Based Divergence*, 2024,
    arXiv:2402.14758, algorithm 1. Differs: the best law by its bound is kept, not the last.
    """
    dim = len(near.mean)
    count = max(64, 4 * dim)
    best, bound = near, _bound(target, near, generator)
    law = near
    for t in range(rounds):
        u = law.draw(count, generator)
        value, score = _slopes(target, u)
        fine = value.isfinite() & score.isfinite().all(-1)
        if int(fine.sum()) <= dim:
            break
        law = _step_to_match(law, u[fine], score[fine], count * dim / (t + 1))
        if law is None:
            break
        if t % 5 == 4:
            found = _bound(target, law, generator)
            if found > bound:
                best, bound = law, found
    return best, bound


def spread(found: list[Normal]) -> Normal:
    """One wide normal law over several: the shrunk covariance of their means, and their own on average."""
    from sklearn.covariance import ledoit_wolf

    means = torch.stack([one.mean for one in found])
    between = torch.from_numpy(ledoit_wolf(means.numpy())[0]).to(means) if len(found) > 1 else 0.0
    within = torch.stack([one.factor @ one.factor.mT for one in found]).mean(0)
    return Normal(means.mean(0), torch.linalg.cholesky(between + within))


def _step_to_match(law: Normal, u: Tensor, score: Tensor, step: float) -> Normal | None:
    """One proximal step, in the law's own units."""
    eye = torch.eye(len(law.mean), dtype=u.dtype)
    y, g = law.white(u), score @ law.factor
    y_mean, g_mean = y.mean(0), g.mean(0)
    share = step / (1 + step)
    a = step * (g - g_mean).mT @ (g - g_mean) / len(y) + share * torch.outer(g_mean, g_mean)
    b = eye + step * (y - y_mean).mT @ (y - y_mean) / len(y) + share * torch.outer(y_mean, y_mean)
    root = torch.linalg.cholesky(b)
    values, vectors = torch.linalg.eigh(eye + 4 * root.mT @ a @ root)
    inner = vectors @ torch.diag(2 / (1 + values.clamp(min=1.0).sqrt())) @ vectors.mT
    covariance = root @ inner @ root.mT  # solves S A S + S = B
    factor, failed = torch.linalg.cholesky_ex(0.5 * (covariance + covariance.mT))
    mean = share * (covariance @ g_mean + y_mean)
    if int(failed) or not bool(factor.isfinite().all() & mean.isfinite().all()):
        return None
    return Normal(law.mean + law.factor @ mean, torch.linalg.cholesky(_gram(law.factor @ factor)))


def _gram(factor: Tensor) -> Tensor:
    return factor @ factor.mT


def _bound(target: Target, law: Normal, generator: Generator) -> float:
    u = law.draw(1000, generator)
    value = float((target.log_density(u).detach() - law.log_prob(u)).mean())
    return value if math.isfinite(value) else -math.inf


def _slopes(target: Target, u: Tensor) -> tuple[Tensor, Tensor]:
    """Log density and its gradient."""
    with torch.enable_grad():
        u = u.detach().requires_grad_()
        value = target.log_density(u)
        (slope,) = torch.autograd.grad(value.sum(), u)
    return value.detach(), slope


def _local(target: Target, u: Tensor, axes: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient and second derivatives along axes, `(n, dim)` and `(n, dim, dim)`, by central differences."""
    n, dim = u.shape
    away = _STEP * axes.mT  # rows are the axes
    points = torch.stack([u[:, None] + away, u[:, None] - away], 1)
    slopes = _slopes(target, points.reshape(-1, dim))[1].reshape(n, 2, dim, dim) @ axes.unsqueeze(1)
    curvature = (slopes[:, 0] - slopes[:, 1]) / (2 * _STEP)
    return slopes.mean((1, 2)), 0.5 * (curvature + curvature.mT)


def _finite(value: Tensor) -> Tensor:
    return torch.where(value.isfinite(), value, -torch.inf)
