"""The heavy-tail map: limits, slopes and extremes."""

import math

import pytest
import torch
from torch.distributions import Normal as TorchNormal

from unwarp.functional import lighten, lighten_inverse
from unwarp.univariates import HeavyTail


@pytest.mark.parametrize("lam", [0.0, 1e-9, 1e-3, 0.5, 2.0, 50.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_round_trip_from_the_smallest_to_the_largest(lam: float, dtype: torch.dtype) -> None:
    top = 30 if dtype == torch.float32 else 150
    t = torch.tensor([s * 10.0**e for e in range(-30, top, 3) for s in (-1, 1)] + [0.0], dtype=dtype)
    weight = torch.full_like(t, lam)
    z, ladj = lighten(t, weight)
    back, inverse_ladj = lighten_inverse(z, weight)
    assert bool(torch.isfinite(z).all()) and bool(torch.isfinite(ladj).all())
    tolerance = 2e-4 if dtype == torch.float32 else 1e-11
    # far out a float of z stands for a range of t: allow what the slope makes of one rounding of z
    spacing = torch.finfo(dtype).eps * z.abs() * inverse_ladj.exp()
    assert bool(((back - t).abs() <= tolerance * t.abs() + 4 * spacing).all())


def test_zero_weight_is_the_identity() -> None:
    t = torch.linspace(-50, 50, 101)
    z, ladj = lighten(t, torch.zeros_like(t))
    assert torch.equal(z, t)
    assert torch.equal(ladj, torch.zeros_like(t))


def test_a_normal_latent_has_student_tails() -> None:
    nu = 2.0
    t = torch.tensor([1e2, 1e3, 1e4, 1e5, 1e6], dtype=torch.float64)
    z, ladj = lighten(t, torch.full_like(t, 1 / nu))
    log_p = TorchNormal(0.0, 1.0).log_prob(z) + ladj
    slope = log_p.diff() / t.log().diff()
    assert bool(((slope + nu + 1).abs() < 0.15 * (nu + 1)).all())


def test_guess_finds_heavy_tails_and_leaves_light_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(20_000, generator=generator, dtype=torch.float64)
    gamma = torch._standard_gamma(torch.full((20_000,), 1.0, dtype=torch.float64), generator)
    student = torch.randn(20_000, generator=generator, dtype=torch.float64) / gamma.sqrt()  # nu = 2
    guess = HeavyTail().guess(torch.stack([normal, student], -1))
    assert torch.equal(guess[0], torch.zeros(2, dtype=torch.float64))
    assert bool(((guess[1] > 0.3) & (guess[1] < 0.7)).all())


def test_slope_at_the_seam_is_one_number() -> None:
    lam = torch.tensor(0.5, dtype=torch.float64)
    edge = math.sqrt(math.expm1(60.0) / 0.5)
    t = torch.tensor([edge * (1 - 1e-9), edge * (1 + 1e-9)], dtype=torch.float64)
    _, ladj = lighten(t, lam.expand(2))
    assert abs(float(ladj[0] - ladj[1])) < 1e-6
