"""Draws of a density by a crowd of particles that goes from the prior to the posterior in steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

__all__ = ["Crowd", "tempered"]

_KEPT = 0.5  # share of the effective size that a step may leave
_MOVES = 12  # a step
_MOST = 100  # steps
_NOISE = 0.05  # of a move, in standard deviations of the crowd


@dataclass(frozen=True)
class Crowd:
    """Particles at the posterior.

    Attributes:
        u: `(n, d)`.
        log_evidence: log of the mean likelihood under the prior, nats.
        steps: temperatures that were gone through.
        accepted: share of the moves at the end that were taken.
        effective: independent draws that the particles are worth, from the last resampling and the moves after it.
    """

    u: Tensor
    log_evidence: float
    steps: int
    accepted: float
    effective: float


def tempered(
    log_like: Callable[[Tensor], Tensor], log_prior: Callable[[Tensor], Tensor], start: Tensor, generator: Generator
) -> Crowd:
    r"""From draws of the prior to draws of $p(u)\,L(u)$, through $p(u)\,L(u)^t$ with t from 0 to 1.

    Each step raises t as far as leaves half the effective size, resamples, and moves every particle by Metropolis
    steps along differences of two others, whose law is the crowd's own: scales, correlations and modes are its own too.

    Args:
        log_like: $\log L$, `(n, d) -> (n,)`; what is not finite counts as impossible.
        log_prior: $\log p$.
        start: draws of p, `(n, d)`.
        generator: of everything random.

    Source: Del Moral, Doucet and Jasra, *Sequential Monte Carlo samplers*, 2006; ter Braak, *A Markov Chain Monte Carlo
    version of the genetic algorithm Differential Evolution*, 2006, eq. 2, for the moves, with the others' places of
    before the moves, so that each is an ordinary Metropolis step.
    """
    u, n = start.clone(), len(start)

    def likely(at: Tensor) -> Tensor:
        value = log_like(at)
        return torch.where(value.isfinite(), value, -torch.inf)

    like, prior = likely(u), log_prior(u)
    t, evidence, steps, accepted, worth = 0.0, 0.0, 0, math.nan, float(n)
    while t < 1.0 and steps < _MOST and bool(like.isfinite().any()):
        step = _step(like, 1.0 - t)
        t, steps = min(1.0, t + step), steps + 1
        weight = step * like
        evidence += float(weight.logsumexp(0)) - math.log(n)
        place = _systematic(weight.softmax(0), generator)
        u, like, prior = u[place], like[place], prior[place]
        families = len(place.unique())
        u, like, prior, accepted = _moved(u, like, prior, t, likely, log_prior, generator)
        worth = families + (n - families) * (1 - (1 - accepted) ** _MOVES)
    return Crowd(u, evidence, steps, accepted, worth)


def _step(like: Tensor, most: float) -> float:
    """How far the temperature may go, by bisection."""

    def enough(step: float) -> bool:
        share = (step * like).softmax(0)
        return float(1 / share.square().sum()) >= _KEPT * len(like)

    if enough(most):
        return most
    low, high = 0.0, most
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if enough(middle) else (low, middle)
    return max(low, 1e-8 * most) if low else high


def _systematic(share: Tensor, generator: Generator) -> Tensor:
    n = len(share)
    points = (torch.arange(n) + torch.rand((), generator=generator)) / n
    return torch.searchsorted(share.cumsum(0).clamp(max=1.0), points.to(share)).clamp(max=n - 1)


def _moved(
    u: Tensor,
    like: Tensor,
    prior: Tensor,
    t: float,
    likely: Callable[[Tensor], Tensor],
    log_prior: Callable[[Tensor], Tensor],
    generator: Generator,
) -> tuple[Tensor, Tensor, Tensor, float]:
    n, d = u.shape
    others, spread, taken = u.clone(), u.std(0), 0.0
    reach = 2.38 / math.sqrt(2 * d)
    for _ in range(_MOVES):
        a, b = torch.randint(n, (2, n), generator=generator)
        pace = torch.rand((n, 1), generator=generator, dtype=u.dtype)
        jump = torch.where(pace < 0.15, 1.0, reach * (0.2 + pace))  # a whole difference goes from mode to mode
        noise = torch.randn(u.shape, generator=generator, dtype=u.dtype)
        near = u + jump * (others[a] - others[b]) + _NOISE * (0.02 + pace) * spread * noise
        other_like, other_prior = likely(near), log_prior(near)
        ratio = t * (other_like - like) + other_prior - prior
        go = torch.rand(n, generator=generator, dtype=u.dtype).log() < ratio.nan_to_num(nan=-torch.inf)
        u = torch.where(go.unsqueeze(-1), near, u)
        like, prior = torch.where(go, other_like, like), torch.where(go, other_prior, prior)
        taken += float(go.double().mean()) / _MOVES
    return u, like, prior, taken
