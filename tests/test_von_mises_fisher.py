"""The von Mises-Fisher distribution against closed forms, quadrature and its own draws."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import special, stats

from unwarp.distributions import VonMises, VonMisesFisher
from unwarp.errors import ConfigError
from unwarp.functional import log_bessel


def around(features: int, kappa: float) -> VonMisesFisher:
    """One with a given concentration, its direction slanted."""
    made = VonMisesFisher(features).double()
    way = torch.linspace(-1, 2, features, dtype=torch.float64)
    with torch.no_grad():
        made.pull.copy_(kappa * way / way.norm())
    return made


@pytest.mark.parametrize("nu", [0.0, 0.5, 1.0, 4.0, 31.0])
def test_bessel_function_of_any_size(nu):
    kappa = torch.tensor([1e-3, 0.1, 1.0, 20.0, 100.0, 1e3, 1e5], dtype=torch.float64)
    truth = torch.as_tensor(special.ive(nu, kappa.numpy())).log() + kappa - nu * kappa.log()
    keep = truth.isfinite()
    assert torch.allclose(log_bessel(nu, kappa.square())[keep], truth[keep], atol=1e-10, rtol=1e-14)


@pytest.mark.parametrize("nu", [0.0, 1.5, 200.0])
def test_bessel_function_at_zero_is_smooth(nu):
    """At zero it is the first term of the series, and its slope the second's."""
    square = torch.zeros((), dtype=torch.float64, requires_grad=True)
    value = log_bessel(nu, square)
    (slope,) = torch.autograd.grad(value, square)
    assert float(value.detach()) == pytest.approx(-nu * math.log(2) - math.lgamma(nu + 1), rel=1e-12, abs=1e-11)
    assert float(slope) == pytest.approx(0.25 / (nu + 1), rel=1e-9)


def test_on_the_circle_it_is_von_mises():
    plane, angles = around(2, 3.0), VonMises(1).double()
    with torch.no_grad():
        angles.pull.copy_(plane.pull)
        x = torch.linspace(-3, 3, 9, dtype=torch.float64).unsqueeze(-1)
        found = plane.log_prob(torch.cat([x.cos(), x.sin()], -1))
    assert torch.allclose(found, angles.log_prob(x).detach(), atol=1e-10)


@pytest.mark.parametrize("kappa", [0.0, 1e-6, 2.0, 50.0, 1e5])
@pytest.mark.parametrize("features", [2, 3, 10])
def test_draws_have_the_right_heights(features, kappa):
    """Scores of draws along the mean: a chi-square over equally likely bins found by quadrature."""
    made = around(features, kappa)
    x = made.sample((4000,), generator=torch.Generator().manual_seed(0))
    assert torch.allclose(x.norm(dim=-1), torch.ones(()).double())
    mean = around(features, 1.0).pull.detach()
    below = (1 - x @ mean).clamp(min=0).sqrt()
    grid = torch.linspace(0, min(math.sqrt(2), 12 * math.sqrt(features / max(kappa, 1e-9))), 200_001).double()
    mid = 0.5 * (grid[1:] + grid[:-1])
    log = -kappa * mid.square() + (features - 2) * mid.log() + 0.5 * (features - 3) * (2 - mid.square()).log()
    share = (log - log.max()).exp().cumsum(0)
    edges = grid[1:][torch.searchsorted(share / share[-1], torch.arange(1, 10).double() / 10)]
    counts = torch.bincount(torch.bucketize(below, edges), minlength=10)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4


def test_draws_turn_around_the_mean():
    """Across the mean no side is preferred, and the mean's length is the ratio of Bessel functions."""
    made = around(4, 5.0)
    mean = made.sample((20_000,), generator=torch.Generator().manual_seed(1)).mean(0)
    ratio = special.ive(2, 5.0) / special.ive(1, 5.0)
    assert torch.allclose(mean, ratio * made.pull.detach() / 5.0, atol=0.02)


def test_likelihood_finds_direction_and_concentration():
    truth, found = around(3, 8.0), VonMisesFisher(3).double()
    x = truth.sample((5000,), generator=torch.Generator().manual_seed(2))
    optimiser = torch.optim.LBFGS(found.parameters(), max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = -found.log_prob(x).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    assert torch.allclose(found.pull.detach(), truth.pull.detach(), atol=0.4)


def test_no_directions_on_a_line():
    with pytest.raises(ConfigError, match="features"):
        VonMisesFisher(1)
