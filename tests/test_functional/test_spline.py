"""The rational-quadratic spline against its definition, evaluated in another way."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unwarp.functional import rational_quadratic, rational_quadratic_inverse
from unwarp.univariates import RationalQuadratic

BOX = {"bound": 3.0, "min_bin": 1e-3, "min_slope": 1e-3}


def _params(bins: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(3 * bins - 1, generator=generator, dtype=torch.float64)


def _by_definition(x: float, params: np.ndarray, bins: int) -> float:
    """Eq. 4 of the paper with explicit loops over bins, in numpy."""
    share = [np.exp(part) / np.exp(part).sum() for part in (params[:bins], params[bins : 2 * bins])]
    size = [2 * 3.0 * (1e-3 + (1 - 1e-3 * bins) * s) for s in share]
    knots = [np.concatenate([[-3.0], -3.0 + np.cumsum(s)]) for s in size]
    slopes = np.concatenate([[1.0], 1e-3 + np.log1p(np.exp(params[2 * bins :] + np.log(np.expm1(1 - 1e-3)))), [1.0]])
    k = min(int(np.searchsorted(knots[0], x, side="right")) - 1, bins - 1)
    w, h = size[0][k], size[1][k]
    s, xi = h / w, (x - knots[0][k]) / w
    above = h * (s * xi**2 + slopes[k] * xi * (1 - xi))
    return float(knots[1][k] + above / (s + (slopes[k + 1] + slopes[k] - 2 * s) * xi * (1 - xi)))


@pytest.mark.parametrize("bins", [2, 5, 16])
def test_equals_the_papers_equation(bins: int) -> None:
    params = _params(bins, seed=bins)
    x = torch.linspace(-2.99, 2.99, 57, dtype=torch.float64)
    y, _ = rational_quadratic(x, params.expand(57, -1), **BOX)
    expected = [_by_definition(float(v), params.numpy(), bins) for v in x]
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(bins=st.integers(2, 32), seed=st.integers(0, 10_000), scale=st.floats(1e-3, 5.0))
def test_round_trip_and_slope_for_any_parameters(bins: int, seed: int, scale: float) -> None:
    params = _params(bins, seed, scale)
    x = torch.linspace(-4, 4, 101, dtype=torch.float64)
    y, ladj = rational_quadratic(x, params.expand(101, -1), **BOX)
    back, inverse_ladj = rational_quadratic_inverse(y, params.expand(101, -1), **BOX)
    assert bool((y.diff() > 0).all())
    # the inverse loses what the flattest bin compresses: slopes go down to 1e-3 and bins to 6e-3
    assert float((back - x).abs().max()) < 1e-7
    assert float((ladj + inverse_ladj).abs().max()) < 1e-4


def test_outside_the_box_it_is_the_identity() -> None:
    x = torch.tensor([-1e6, -3.0, 3.0, 1e6])
    y, ladj = rational_quadratic(x, torch.randn(4, 11), **BOX)
    assert torch.equal(x, y)
    assert torch.equal(ladj, torch.zeros(4))


def test_enormous_parameters_stay_finite_and_monotone() -> None:
    x = torch.linspace(-2.999, 2.999, 1001)
    params = torch.tensor([1e4, -1e4, 1e4, -1e4, 1e4, -1e4, 1e4, -1e4, 50.0, -50.0, 50.0]).expand(1001, -1)
    y, ladj = rational_quadratic(x, params, **BOX)
    assert bool(torch.isfinite(y).all()) and bool(torch.isfinite(ladj).all())
    assert bool((y.diff() >= 0).all())


def test_continuous_across_knots() -> None:
    params = _params(6, seed=3)
    f = RationalQuadratic(6, 3.0)
    share = params[:6].softmax(-1)
    knots = -3.0 + (6.0 * (1e-3 + (1 - 6e-3) * share)).cumsum(-1)[:-1]
    for shift in (-1e-12, 0.0, 1e-12):
        y, ladj = f.forward(knots + shift, params.expand(5, -1))
        y0, ladj0 = f.forward(knots, params.expand(5, -1))
        assert float((y - y0).abs().max()) < 1e-10
        assert float((ladj - ladj0).abs().max()) < 1e-8
