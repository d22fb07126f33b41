"""The fused affine map equals its reference in torch, value and gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import vmap

from twins import Map, error, reference, results
from unwarp import functional, kernels

pytestmark = pytest.mark.skipif(
    set(kernels.status().values()) != {"in use"}, reason="kernels are not built, or switched off"
)
both_ways = pytest.mark.parametrize(
    "affine", [functional.bounded_affine, functional.bounded_affine_inverse], ids=["forward", "inverse"]
)


@both_ways
@pytest.mark.parametrize("scale", [0.0, 1e-6, 0.3, 1.0, 50.0])
@pytest.mark.parametrize("shape", [(), (5,), (3, 7), (1003,)])
def test_equals_the_reference(affine: Map, shape: tuple[int, ...], scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.randn(shape, generator=generator).double()
    params = scale * torch.randn(*shape, 2, generator=generator).double()
    right = results(reference(affine), x, params, torch.float64, limit=2.5)
    assert error(results(affine, x, params, torch.float64, limit=2.5), right) < 1e-11
    allowed = error(results(reference(affine), x, params, torch.float32, limit=2.5), right)
    assert error(results(affine, x, params, torch.float32, limit=2.5), right) <= 4 * allowed + 1e-6


@both_ways
def test_shapes_broadcast_and_strides_do_not_matter(affine: Map) -> None:
    x, params = torch.randn(40, 3).double().T, torch.randn(2, 40).double().T
    for found, right in zip(affine(x, params, limit=1.0), reference(affine)(x, params, limit=1.0), strict=True):
        assert found.shape == (3, 40) and torch.allclose(found, right)


@both_ways
def test_what_is_not_finite(affine: Map) -> None:
    x = torch.tensor([torch.nan, torch.inf, 1.0, 1.0, 1.0, 1.0])
    params = torch.zeros(6, 2)
    params[2, 0], params[3, 1], params[4, 1], params[5, 1] = torch.nan, torch.nan, torch.inf, -torch.inf
    for found, right in zip(affine(x, params, limit=3.0), reference(affine)(x, params, limit=3.0), strict=True):
        assert torch.allclose(found, right, equal_nan=True)


@both_ways
def test_derivatives_of_every_order(affine: Map) -> None:
    x, params = (torch.randn(3, *rest, dtype=torch.float64, requires_grad=True) for rest in ((), (2,)))

    def run(x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return affine(x, params, limit=3.0)

    assert gradcheck(run, (x, params), check_batched_grad=True, check_forward_ad=True)
    assert gradgradcheck(run, (x, params))
    y, ladj = run(x.detach(), params.detach())
    mapped = vmap(run)(x.detach(), params.detach())
    assert torch.allclose(mapped[0], y) and torch.allclose(mapped[1], ladj)
