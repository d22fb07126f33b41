"""Scalar maps against closed forms, far out, at their starts, and their errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from unwarp import flows
from unwarp.errors import ConfigError
from unwarp.functional import normal_quantile
from unwarp.transforms import Elementwise
from unwarp.univariates import (
    Bernstein,
    Cubic,
    DeepSigmoid,
    DualPower,
    Gumbel,
    Integral,
    LeakyReLU,
    LinearRational,
    LogTail,
    MixtureQuantile,
    PiecewiseLinear,
    Power,
    Quadratic,
    SinhArcsinh,
    SumOfSquares,
    Univariate,
    Weibull,
    YeoJohnson,
)

LEARNED: list[Univariate] = [
    Bernstein(6),
    DeepSigmoid(4),
    DeepSigmoid(3, 2),
    Integral(4),
    MixtureQuantile(4),
    MixtureQuantile(4, "logistic"),
    SumOfSquares(2),
]


def drawn(f: Univariate, rows: int, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return scale * torch.randn(rows, f.n_params, generator=generator, dtype=dtype)


@pytest.mark.parametrize("f", LEARNED, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_far_out_they_are_finite_and_come_back(f: Univariate, dtype: torch.dtype) -> None:
    x = torch.tensor([s * 10.0**e for e in (0, 3, 6, 12) for s in (-1, 1)], dtype=dtype).repeat(20)
    params = drawn(f, len(x), dtype=dtype)
    y, ladj = f.forward(x, params)
    back, _ = f.inverse(y, params)
    assert bool(y.isfinite().all()) and bool(ladj.isfinite().all())
    assert float(((back - x) / (1 + x.abs())).abs().max()) < (2e-2 if dtype == torch.float32 else 1e-9)
    huge, _ = f.forward(torch.tensor([-1e30, 1e30], dtype=dtype), params[:2])
    assert bool(huge.isfinite().all())


def test_normal_quantiles_reach_the_smallest_probabilities() -> None:
    log_p = -torch.logspace(-0.15, 6, 60, dtype=torch.float64)
    z = normal_quantile(log_p)
    torch.testing.assert_close(torch.special.log_ndtr(z), log_p, rtol=1e-12, atol=1e-12)


def test_mixture_equals_its_definition_where_that_has_digits() -> None:
    f = MixtureQuantile(3, min_slope=1e-9)
    params = drawn(f, 1, 0.5)[0]
    params[:2] = 0
    x = torch.linspace(-3, 3, 41, dtype=torch.float64)
    mean = params[2:5] * 3 * (2 * (torch.arange(3) + 0.75) / 3 - 1)
    scale, weight = (3 * (params[5:8] / 3).tanh()).exp(), params[8:].softmax(-1)
    cdf = (weight * torch.special.ndtr((x.unsqueeze(-1) - mean) / scale)).sum(-1)
    torch.testing.assert_close(f.forward(x, params.expand(41, -1))[0], torch.special.ndtri(cdf), rtol=1e-6, atol=1e-6)


def test_guessed_mixtures_make_marginals_normal() -> None:
    generator = torch.Generator().manual_seed(0)
    left = torch.rand(4000, generator=generator, dtype=torch.float64) < 0.3
    x = 0.3 * torch.randn(4000, generator=generator, dtype=torch.float64) + torch.where(left, -1.5, 0.65)
    for family in ("normal", "logistic"):
        layer = Elementwise(1, MixtureQuantile(8, family)).double()
        layer.adapt(x.unsqueeze(-1))
        z = layer.encode(x.unsqueeze(-1)).squeeze(-1).detach()
        at = torch.tensor([0.1, 0.3, 0.5, 0.9], dtype=torch.float64)
        assert float((z.quantile(at) - torch.special.ndtri(at)).abs().max()) < 0.3
        assert float((z.mean()).abs()) < 0.1


def test_guessed_yeo_johnson_takes_the_skewness_away() -> None:
    x = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64).exp() - 1
    layer = Elementwise(1, YeoJohnson()).double()
    layer.adapt(x)
    z = layer.encode(x).detach()
    z = (z - z.mean()) / z.std()
    x = (x - x.mean()) / x.std()
    assert float(x.pow(3).mean()) > 3
    assert abs(float(z.pow(3).mean())) < 1


def test_two_components_part_from_an_equal_start() -> None:
    """Units that start equal do not stay equal."""
    for f in (DeepSigmoid(2), DeepSigmoid(2, 2), MixtureQuantile(2), SumOfSquares(1)):
        params = torch.zeros(f.n_params, dtype=torch.float64, requires_grad=True)
        x = torch.tensor([-1.5, -1.4, 1.0, 1.3, 2.0], dtype=torch.float64)
        for _ in range(3):
            y, ladj = f.forward(x, params.expand(len(x), -1))
            (slope,) = torch.autograd.grad((0.5 * y.square() - ladj).sum(), params)
            params = (params - 0.05 * slope).detach().requires_grad_()
        values = params.detach()[torch.isfinite(params) & (params != 0)]
        assert len(values.unique()) >= f.n_params // 2


def test_integral_is_as_exact_as_it_says() -> None:
    """At the steepest weights that the map allows."""
    f = Integral(4)
    params = torch.cat([torch.zeros(2), torch.tensor([9.0, -9.0, 9.0, -9.0]), torch.full((4,), 9.0), torch.zeros(4)])
    x = torch.linspace(-5, 5, 201, dtype=torch.float64, requires_grad=True)
    y, ladj = f.forward(x, params.double().expand(201, -1))
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert float((slope.log() - ladj.detach()).abs().max()) < 1e-5


def test_log_tail_and_leaky_relu_leave_the_middle_alone() -> None:
    x = torch.linspace(-2, 2, 9)
    assert torch.equal(LogTail(2.0).forward(x, torch.ones(9, 2))[0], x)
    assert torch.equal(LeakyReLU().forward(x.abs(), torch.ones(9, 1))[0], x.abs())


def test_powers_and_distribution_functions_at_known_points() -> None:
    x = torch.tensor([0.5, 1.0, 4.0], dtype=torch.float64)
    params = torch.full((3, 1), 0.3, dtype=torch.float64)
    power = torch.tensor(0.3, dtype=torch.float64).tanh().exp()
    torch.testing.assert_close(Power().forward(x, params)[0], x**power)
    lam = 0.02 + 0.98 * torch.tensor(0.6, dtype=torch.float64).sigmoid()
    torch.testing.assert_close(DualPower().forward(x, params)[0], (x**lam - x**-lam) / (2 * lam))
    ends = torch.zeros(3, 2, dtype=torch.float64)
    torch.testing.assert_close(Gumbel().forward(x, ends)[0], (-(-x).exp()).exp())
    torch.testing.assert_close(Weibull().forward(x, ends)[0], 1 - (-x).exp())
    both = torch.tensor([[0.5, 0.2]], dtype=torch.float64)
    epsilon, tau = both.tanh().unbind(-1)
    torch.testing.assert_close(SinhArcsinh().forward(x, both)[0], (tau.exp() * x.asinh() + epsilon).sinh())


@pytest.mark.parametrize("make", [PiecewiseLinear, LinearRational, Quadratic, Cubic])
def test_splines_meet_the_identity_at_the_box(make: Callable[..., Univariate]) -> None:
    f = make(bins=5, bound=2.0)
    params = drawn(f, 4)
    x = torch.tensor([-2.0 + 1e-12, 2.0 - 1e-12, -7.0, 7.0], dtype=torch.float64)
    torch.testing.assert_close(f.forward(x, params)[0], x, rtol=0, atol=1e-9)


ERRORS: list[tuple[Callable[[], object], str]] = [
    (lambda: Quadratic(bins=2), "bins to be a whole number >= 3"),
    (lambda: Cubic(bins=4, min_bin=0.3), "min_bin < 1/bins"),
    (lambda: PiecewiseLinear(bound=-1.0), "bound to be finite and > 0"),
    (lambda: DeepSigmoid(units=0), "units to be a whole number >= 1"),
    (lambda: DeepSigmoid(min_slope=1.0), "0 < min_slope < 1"),
    (lambda: MixtureQuantile(3, "cauchy"), 'family "normal" or "logistic"'),  # pyright: ignore[reportArgumentType]
    (lambda: SumOfSquares(polynomials=0), "polynomials to be a whole number >= 1"),
    (lambda: Bernstein(degree=0), "degree to be a whole number >= 1"),
    (lambda: Integral(nodes=0), "nodes to be a whole number >= 1"),
    (lambda: LogTail(-1.0), "threshold to be finite and >= 0"),
    (lambda: SinhArcsinh(limit=0.0), "limit to be finite and > 0"),
]


@pytest.mark.parametrize(("make", "says"), ERRORS, ids=[says for _, says in ERRORS])
def test_impossible_sizes_are_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make()


def test_gaussianization_starts_at_the_data() -> None:
    """`adapt` alone, without training, beats the normal distribution on two moons of one feature each."""
    generator = torch.Generator().manual_seed(0)
    sign = torch.randint(0, 2, (2000, 2), generator=generator) * 2.0 - 1
    x = (sign + 0.2 * torch.randn(2000, 2, generator=generator)).double()
    model = flows.gf(2, layers=2, units=8).double()
    plain = flows.nice(2, layers=1, hidden=(4,)).double()
    for flow in (model, plain):
        flow.adapt(x)
    with torch.no_grad():
        assert float((model.log_prob(x) - plain.log_prob(x)).mean()) > 1.0
