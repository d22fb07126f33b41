"""The fused heavy-tail map equals its reference in torch, value and gradient."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.func import vmap

from twins import Map, error, reference, results
from unwarp import functional, kernels

pytestmark = pytest.mark.skipif(
    set(kernels.status().values()) != {"in use"}, reason="kernels are not built, or switched off"
)
both_ways = pytest.mark.parametrize(
    "tail", [functional.heavy_tail, functional.heavy_tail_inverse], ids=["forward", "inverse"]
)


@both_ways
@pytest.mark.parametrize("weight", [-0.5, 0.0, 1e-9, 1e-6, 0.05, 0.3, 2.0, 50.0])
@pytest.mark.parametrize("shape", [(), (5,), (3, 7), (1003,)])
def test_equals_the_reference(tail: Map, shape: tuple[int, ...], weight: float) -> None:
    """Also beyond the ends of its curved part."""
    generator = torch.Generator().manual_seed(0)
    for span in (1e-6, 0.1, 2.0, 100.0):
        x = span * torch.randn(shape, generator=generator).double()
        params = weight * (0.5 + torch.rand(*shape, 2, generator=generator).double())
        right = results(reference(tail), x, params, torch.float64)
        assert error(results(tail, x, params, torch.float64), right) < 1e-10
        allowed = error(results(reference(tail), x, params, torch.float32), right)
        assert error(results(tail, x, params, torch.float32), right) <= 4 * allowed + 2e-6


@both_ways
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extremes_are_finite(tail: Map, dtype: torch.dtype) -> None:
    x = torch.tensor([s * 10.0**e for e in range(-30, 25, 5) for s in (-1, 1)] + [0.0, -0.0], dtype=dtype)
    for weight in (0.0, 1e-12, 1e-8, 0.5, 1e6):
        params = torch.full((2,), weight, dtype=dtype)
        for found, right in zip(tail(x, params), reference(tail)(x, params), strict=True):
            assert bool(found.isfinite().all())
            assert torch.allclose(found, right, rtol=1e-5, atol=1e-6)
    assert all(
        bool(t.isnan().all()) for t in tail(torch.full((9,), torch.nan, dtype=dtype), torch.ones(2, dtype=dtype))
    )


def test_slope_at_zero_is_one() -> None:
    x = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    y, _ = functional.heavy_tail(x, torch.ones(2, dtype=torch.float64))
    assert torch.autograd.grad(y.sum(), x)[0].tolist() == [1.0, 1.0, 1.0]


@both_ways
def test_shapes_broadcast_and_strides_do_not_matter(tail: Map) -> None:
    x, params = torch.randn(40, 3).double().T, torch.rand(2, 40).double().T
    for found, right in zip(tail(x, params), reference(tail)(x, params), strict=True):
        assert found.shape == (3, 40) and torch.allclose(found, right)


@both_ways
def test_derivatives_of_every_order(tail: Map) -> None:
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    params = torch.rand(4, 3, 2, dtype=torch.float64).requires_grad_()
    assert gradcheck(tail, (x, params), check_forward_ad=True)
    assert gradgradcheck(tail, (x, params))
    for found, right in zip(vmap(tail)(x, params), tail(x, params), strict=True):
        assert torch.allclose(found, right)
