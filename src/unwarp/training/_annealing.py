"""From one density to another by small steps: weights that say how far, and moves that keep up."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["Moves", "annealed"]

Scored = Callable[[Tensor], tuple[Tensor, Tensor]]
_WANTED = 0.8  # share of proposals to accept
_WORTH = 0.8  # effective share of particles after one stage
_STAGES = 200  # at most


class Moves:
    """Hamiltonian Monte Carlo of many points at once, whose step follows the share of moves that are accepted.

    Args:
        scale: of each coordinate, `(dim,)`.
        leaps: leapfrog steps of a move.

    Source: Duane, Kennedy, Pendleton and Roweth, *Hybrid Monte Carlo*, 1987.
    """

    def __init__(self, scale: Tensor, *, leaps: int = 5) -> None:
        self.scale = scale
        self.leaps = leaps
        self.step = 0.5 / len(scale) ** 0.25

    def move(self, x: Tensor, log_density: Callable[[Tensor], Tensor]) -> Tensor:
        """The points after one move each, with density `(n,)` left as it was."""
        value, slope = scored(log_density, x)
        momentum = torch.randn_like(x)
        start = value - 0.5 * momentum.square().sum(-1)
        length = self.step * (0.8 + 0.4 * torch.rand(()).item())
        at, new, bend = x, value, slope
        for _ in range(self.leaps):
            momentum = momentum + 0.5 * length * self.scale * bend
            at = at + length * self.scale * momentum
            new, bend = scored(log_density, at)
            momentum = momentum + 0.5 * length * self.scale * bend
        chance = (new - 0.5 * momentum.square().sum(-1) - start).clamp(max=0.0).exp().nan_to_num(nan=0.0)
        chance = torch.where(new.isfinite() & at.isfinite().all(-1), chance, 0.0)
        self.step *= 1.1 if float(chance.mean()) > _WANTED else 0.85
        taken = torch.rand_like(chance) < chance
        return torch.where(taken.unsqueeze(-1), at, x)


def scored(log_density: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """A log density and its gradient; 0 in place of slopes that are not finite."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = log_density(x)
        (slope,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), slope.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def annealed(
    x: Tensor,
    log_start: Callable[[Tensor], Tensor],
    log_end: Callable[[Tensor], Tensor],
    *,
    moves: int = 2,
    leaps: int = 5,
) -> Tensor:
    r"""Draws of one density turned into draws of another, by a bridge $p_0^{1-\beta} p_1^\beta$ in stages.

    A stage goes as far as leaves the weights worth 80 % of the draws; then they are drawn anew by weight and moved.
    Use it to find modes and to have draws from which a flow can start. Randomness is torch's own.

    Args:
        x: draws of the start, `(n, dim)`.
        log_start: its log density, `(n, dim) -> (n,)`.
        log_end: log of the other density, up to a constant.
        moves: a stage.
        leaps: leapfrog steps of a move.

    Source: Del Moral, Doucet and Jasra, *Sequential Monte Carlo Samplers*, 2006.

    Example:
        >>> from unwarp.distributions import Normal
        >>> base, _ = Normal(2), torch.manual_seed(0)
        >>> x = annealed(base.sample((500,)), base.log_prob, lambda at: base.log_prob(at - 5.0))
        >>> bool((x.mean(0) - 5.0).abs().max() < 0.5)
        True
    """
    beta, hmc = 0.0, Moves(x.std(0).clamp(min=1e-12), leaps=leaps)
    for _ in range(_STAGES):
        with torch.no_grad():
            gain = log_end(x) - log_start(x)
        gain = torch.where(gain.isfinite(), gain, -torch.inf)
        ahead = _next(beta, gain)
        share = ((ahead - beta) * gain).softmax(0)
        x = x[_drawn(share)]
        beta = ahead
        hmc.scale = x.std(0).clamp(min=1e-12)
        for _ in range(moves):
            x = hmc.move(x, lambda at, b=beta: (1 - b) * log_start(at) + b * log_end(at))
        if beta >= 1.0:
            break
    for _ in range(5 * moves):
        x = hmc.move(x, log_end)
    return x


def _next(beta: float, gain: Tensor) -> float:
    """How far the bridge can go at once."""

    def worth(ahead: float) -> float:
        share = ((ahead - beta) * gain).softmax(0)
        return 1 / float(share.square().sum()) / len(gain)

    if worth(1.0) >= _WORTH:
        return 1.0
    low, high = beta, 1.0
    for _ in range(30):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if worth(middle) >= _WORTH else (low, middle)
    return max(low, beta + 1e-6)


def _drawn(share: Tensor) -> Tensor:
    """Indices by their shares, evenly spaced along their sum."""
    place = (torch.rand(()).to(share) + torch.arange(len(share)).to(share)) / len(share)
    return torch.searchsorted(share.cumsum(0), place).clamp(max=len(share) - 1)
