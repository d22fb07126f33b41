"""The synthetic densities: normalised, and their draws follow them."""

import itertools
import math

import pytest
import torch

from unwarp.data import toy, toys
from unwarp.errors import ConfigError

TWO = {"rings": 4.0, "moons": 3.0, "checkerboard": 5.0}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", toys())
def test_draws_follow_the_density(name):
    density = toy(name)
    x = density.sample(10_000, generator=generator())
    assert x.shape == (10_000, density.features)
    assert x.dtype == torch.float64
    log_prob = density.log_prob(x)
    assert log_prob.shape == (10_000,)
    assert bool(log_prob.isfinite().all())
    assert torch.equal(x[:5], density.sample(10_000, generator=generator())[:5])
    if density.entropy is not None:
        error = float(log_prob.std()) / math.sqrt(10_000)
        assert abs(float(log_prob.mean()) + density.entropy) <= 5 * error + 1e-12


@pytest.mark.parametrize("name", [name for name in toys() if name not in {"checkerboard", "rings"}])
def test_mass_is_one_by_a_scaled_proposal(name):
    """The mean of p(y) s^D / p(x) over y = c + s (x - c), for draws x, is the mass of p where p(x) > 0.

    The supports of the two that are left out move with the scaling; the integral on a grid covers them.
    """
    density = toy(name)
    x = density.sample(40_000, generator=generator(1))
    if name in {"bounded", "lognormal"}:
        y, ladj = x.pow(1.02), (1.02 * x.pow(0.02)).log().sum(-1)
    else:
        y, ladj = 1.01 * (x - x.median(0).values) + x.median(0).values, density.features * math.log(1.01)
    ratio = (density.log_prob(y) + ladj - density.log_prob(x)).exp()
    assert abs(float(ratio.mean()) - 1) <= 5 * float(ratio.std()) / math.sqrt(len(x)) + 1e-9


@pytest.mark.parametrize("name", TWO)
def test_mass_is_one_on_a_grid(name):
    density, half = toy(name), TWO[name]
    axis = ((torch.arange(300, dtype=torch.float64) + 0.5) / 150 - 1) * half
    mass = density.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * (half / 150) ** 2
    assert abs(float(mass) - 1) < 1e-3


def test_cells_hold_their_share_of_the_draws():
    density = toy("bounded")
    x = density.sample(100_000, generator=generator(2))
    axis = (torch.arange(40, dtype=torch.float64) + 0.5) / 40
    p = density.log_prob(torch.cartesian_prod(axis, axis, axis)).exp().reshape(40, 40, 40) / 40**3
    for i, j, k in itertools.product((0, 1), repeat=3):
        cell = p[20 * i : 20 * i + 20, 20 * j : 20 * j + 20, 20 * k : 20 * k + 20].sum()
        inside = ((x > 0.5).long() == torch.tensor([i, j, k])).all(-1).double().mean()
        assert abs(float(cell - inside)) < 0.01


def test_nothing_lies_outside():
    assert toy("lognormal").log_prob(torch.tensor([-1.0, 1.0, 1.0])) == -math.inf
    assert toy("bounded").log_prob(torch.tensor([0.5, 1.5, 0.5])) == -math.inf
    assert toy("checkerboard").log_prob(torch.tensor([[5.0, 0.0], [-1.0, 1.0]])).tolist() == [-math.inf] * 2


def test_unknown_name():
    with pytest.raises(ConfigError, match='Did you mean "moons"'):
        toy("moon")
