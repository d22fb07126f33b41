"""A search for modes of a log density that a flow lacks, weighed by how much of the mass they hold."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unwarp.applications._posteriors._target import Target
from unwarp.distributions import Flow

__all__ = ["lost_mode"]

_STARTS = 64
_STEPS = 300
_GAP = 5.0  # nats by which the flow may be too low at a mode
_SHARE = 0.01  # of the whole mass, below which a mode does not matter
_BESIDE = 0.1  # of a mode that the flow has, above which another one matters
_LEFT = 0.5  # nats below the summit at most, for a climb that has ended
_WEIGHED = 16  # modes whose mass is looked at
_WIDEST = 50  # coordinates up to which curvatures are taken from values alone


def lost_mode(flow: Flow, target: Target, log_evidence: float, *, seed: int = 0) -> float:
    """By how many nats the flow is too low at the worst mode that it lacks; 0 where the search finds none.

    64 points climb from places far around the flow. A summit counts if the mass of its normal approximation is at
    least 1 % of the whole, or a tenth of a mode's that the flow has: the pole of a funnel has density without mass.
    Without a gradient they climb by trial, which finds less.

    Args:
        flow: of unconstrained coordinates.
        target: what it stands for.
        log_evidence: the evidence by the flow's own weights.
        seed: of the starts.
    """
    start, scale = _starts(flow, seed)
    found = _climbed(target, start, scale) if target.differentiable else _tried(target, start, scale, seed)
    with torch.no_grad():
        height = target.log_density(found)
        gap = height - flow.log_prob(found) - log_evidence
    gap = torch.where(height.isfinite(), gap, -torch.inf)
    height = torch.where(height.isfinite(), height, -torch.inf)
    far = [int(i) for i in height.argsort(descending=True) if gap[i] > _GAP][:_WEIGHED]
    if not far:
        return 0.0
    near = [int(i) for i in height.argsort(descending=True) if gap[i] <= _GAP][:1]
    beside = max((_log_mass(target, found[i], scale) for i in near), default=-math.inf)
    least = log_evidence + math.log(_SHARE)
    if beside > -math.inf:
        least = min(least, beside + math.log(_BESIDE))
    return max((float(gap[i]) for i in far if _log_mass(target, found[i], scale) > least), default=0.0)


def _starts(flow: Flow, seed: int) -> tuple[Tensor, Tensor]:
    """Points far around the flow's draws, in all directions and along single coordinates; and the draws' scale."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        u = flow.sample((512,), generator=generator)
    center = u.median(0).values
    scale = ((u.quantile(0.84, 0) - u.quantile(0.16, 0)) / 2).clamp(min=1e-6)
    normal = torch.randn(_STARTS, u.shape[-1], generator=generator, dtype=u.dtype)
    reach = torch.tensor([2.0, 4.0, 8.0, 16.0], dtype=u.dtype).repeat(_STARTS // 4).unsqueeze(-1)
    axis = torch.zeros_like(normal)
    axis[torch.arange(_STARTS), torch.randint(u.shape[-1], (_STARTS,), generator=generator)] = 1.0
    alone = torch.arange(_STARTS).unsqueeze(-1) >= _STARTS // 2
    return center + scale * torch.where(
        alone, normal * (1 - axis) + reach * normal.sign() * axis, reach * normal
    ), scale


def _climbed(target: Target, start: Tensor, scale: Tensor) -> Tensor:
    """Where gradients lead; the steps shrink to nothing, so that narrow summits are met."""
    step = torch.zeros_like(start, requires_grad=True)
    optimizer = torch.optim.Adam([step], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS, eta_min=1e-5)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        value = target.log_density(start + step * scale)
        torch.where(value.isfinite(), -value, 0.0).sum().backward()
        if step.grad is not None:
            step.grad.nan_to_num_(0.0, 0.0, 0.0)
        optimizer.step()
        schedule.step()
    return (start + step * scale).detach()


def _tried(target: Target, start: Tensor, scale: Tensor, seed: int) -> Tensor:
    """Where steps lead that are kept if they go up."""
    generator = torch.Generator().manual_seed(seed)
    point, value = start, target.log_density(start).nan_to_num(-torch.inf, -torch.inf, -torch.inf)
    reach = torch.ones(len(start), 1, dtype=start.dtype)
    for _ in range(_STEPS):
        other = point + reach * scale * torch.randn(start.shape, generator=generator, dtype=start.dtype)
        height = target.log_density(other).nan_to_num(-torch.inf, -torch.inf, -torch.inf)
        better = (height > value).unsqueeze(-1)
        point, value = torch.where(better, other, point), torch.maximum(height, value)
        reach = torch.where(better, 1.5 * reach, 0.85 * reach).clamp(1e-4, 30.0)
    return point


def _log_mass(target: Target, point: Tensor, scale: Tensor) -> float:
    """Log mass of the normal approximation about a summit near `point`; minus infinity where there is no summit."""
    dim = len(point)
    if target.differentiable:
        value, slope, bend = _by_gradients(target, point, scale)
    elif dim <= _WIDEST:
        value, slope, bend = _by_values(target, point, scale)
    else:
        return math.inf  # not known: the summit counts
    factor, failed = torch.linalg.cholesky_ex(-bend)
    if int(failed) or not bool(factor.isfinite().all()):
        return -math.inf
    rise = torch.linalg.solve_triangular(factor, slope.unsqueeze(-1), upper=False).square().sum() / 2
    volume = scale.log().sum() + dim / 2 * math.log(2 * math.pi) - factor.diagonal().log().sum()
    return float(value + volume + rise) if rise < _LEFT else -math.inf


def _by_gradients(target: Target, point: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Value, slope and curvature at a point, in units of `scale`."""
    shift = 1e-4 * torch.eye(len(point), dtype=point.dtype)
    around = (point + scale * torch.cat([torch.zeros_like(point)[None], shift, -shift])).requires_grad_()
    values = target.log_density(around)
    slopes = torch.autograd.grad(values.sum(), around)[0] * scale
    up, down = slopes[1:].split(len(point))
    bend = (up - down) / 2e-4
    return values[0].detach(), slopes[0], (bend + bend.mT) / 2


def _by_values(target: Target, point: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same by differences of values."""
    step, dim = 1e-3, len(point)
    eye = step * torch.eye(dim, dtype=point.dtype)
    pairs = (eye.unsqueeze(0) + eye.unsqueeze(1)).reshape(-1, dim)
    offsets = torch.cat([torch.zeros(1, dim, dtype=point.dtype), eye, -eye, pairs, -pairs])
    values = target.log_density(point + scale * offsets)
    middle, up, down, plus, minus = values.split([1, dim, dim, dim * dim, dim * dim])
    sides = up + down
    bend = ((plus + minus).reshape(dim, dim) - sides - sides.unsqueeze(-1) + 2 * middle) / (2 * step**2)
    return middle[0], (up - down) / (2 * step), bend
