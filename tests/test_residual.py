"""Rank-one, Sylvester, residual and convex-potential maps: what the laws do not see."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from unwarp import flows
from unwarp.distributions import Flow, Normal
from unwarp.errors import ConfigError, RecipeError, ShapeError
from unwarp.networks import MLP
from unwarp.transforms import Inverse, Planar, Radial, Sylvester, Transform

MAKERS: dict[str, Callable[[], Transform]] = {
    "Planar": lambda: Planar(3),
    "Radial": lambda: Radial(3),
    "Sylvester(orthogonal)": lambda: Sylvester(3, rank=2),
    "Sylvester(householder)": lambda: Sylvester(3, basis="householder"),
    "Sylvester(triangular)": lambda: Sylvester(3, basis="triangular"),
}


def wild(make: Callable[[], Transform], scale: float, seed: int = 0) -> Transform:
    """A map in float64 with parameters far from their start."""
    generator = torch.Generator().manual_seed(seed)
    f = make().double()
    for p in f.parameters():
        torch.nn.init.normal_(p, std=scale, generator=generator)
    return f


@pytest.mark.parametrize("name", MAKERS)
def test_no_parameters_are_singular(name: str) -> None:
    """With any parameters points come back, however far out they are."""
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for seed in range(20):
        f = wild(MAKERS[name], 4.0, seed)
        with torch.no_grad():
            for size in (1.0, 1e6, 1e12):
                z, ladj = f.forward(size * x)
                back, ladj_back = f.inverse(z)
                assert float((back - size * x).abs().max()) <= 1e-9 * size
                assert float((ladj + ladj_back).abs().max()) <= 1e-4 if size == 1 else bool(ladj_back.isfinite().all())


@pytest.mark.parametrize("name", MAKERS)
def test_numbers_of_any_size_stay_finite_in_float32(name: str) -> None:
    f = wild(MAKERS[name], 1.0).float()
    x = torch.tensor([[1e30, -1e30, 1.0], [0.0, 0.0, 0.0], [1e-30, 1e18, -1e18]], requires_grad=True)
    for run in (f.forward, f.inverse):
        moved, ladj = run(x)
        (slope,) = torch.autograd.grad((moved / 1e30).sum() + ladj.sum(), x)
        assert bool(moved.isfinite().all()) and bool(ladj.isfinite().all()) and bool(slope.isfinite().all())


def test_both_directions_serve_as_densities() -> None:
    """A latent-to-data planar flow, as in variational inference, has a density that integrates to one."""
    for f in (wild(lambda: Planar(1), 2.0), wild(lambda: Radial(1), 2.0)):
        for part in (f, Inverse(f)):
            x = torch.linspace(-60, 60, 60_001, dtype=torch.float64).unsqueeze(-1)
            with torch.no_grad():
                mass = float(Flow(part, Normal(1).double()).log_prob(x).exp().sum()) * 120 / 60_000
            assert abs(mass - 1) < 1e-3


def test_planar_is_the_formula_of_the_paper() -> None:
    f = Planar(2)
    with torch.no_grad():
        f.params.own.copy_(torch.tensor([1.0, 0.5, 2.0, -1.0, 0.3]))  # u, w, b with w.u > 0: no correction
    x = torch.tensor([[0.2, -0.4]])
    t = math.tanh(2 * 0.2 + 0.4 + 0.3)
    z, ladj = f.forward(x)
    assert torch.allclose(z, torch.tensor([[0.2 + t, -0.4 + 0.5 * t]]))
    assert float(ladj.detach()) == pytest.approx(math.log(1 + 1.5 * (1 - t * t)), abs=1e-6)


def test_sylvester_of_rank_one_is_planar() -> None:
    one, other = Sylvester(2, rank=1).double(), Planar(2).double()
    along, p, b = torch.tensor([0.6, 0.8]), 0.7, -0.2
    with torch.no_grad():
        one.params.own.copy_(torch.tensor([*along, 0.0, p, b]))
        q = torch.linalg.qr(along.unsqueeze(-1)).Q.squeeze(-1)  # along, but for its sign
        other.params.own.copy_(torch.tensor([*(p * q), *q, b]))
    x = torch.randn(10, 2, dtype=torch.float64)
    for found, expected in zip(one.forward(x), other.forward(x), strict=True):
        assert torch.allclose(found, expected, atol=1e-6)


ERRORS: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "no features": (lambda: Planar(0), ConfigError, "features"),
    "context without net": (lambda: Planar(2, context=3), ConfigError, "net"),
    "net without context": (lambda: Radial(2, net=MLP(0, 4)), ConfigError, "context"),
    "net too short": (lambda: Planar(2, net=MLP(0, 4, context=1), context=1), ShapeError, "5 numbers"),
    "rank too high": (lambda: Sylvester(2, rank=3), ConfigError, "rank <= 2"),
    "rank without choice": (lambda: Sylvester(3, rank=2, basis="triangular"), ConfigError, "rank == 3"),
    "unknown basis": (lambda: Sylvester(3, basis="square"), ConfigError, "basis"),  # type: ignore[arg-type]
    "unknown direction": (lambda: flows.flow("planar", 2, explicit="both"), RecipeError, "explicit"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_impossible_options(case: str) -> None:
    make, error, word = ERRORS[case]
    with pytest.raises(error, match=word):
        make()
