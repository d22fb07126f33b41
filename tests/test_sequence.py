"""Inverses of autoregressive layers by compiled code equal those step by step, value and gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import vmap

from twins import Run, without
from unwarp.functional import _sequence
from unwarp.networks import MaskedMLP
from unwarp.transforms import Autoregressive, Compose
from unwarp.univariates import Affine, RationalQuadratic, Univariate

pytestmark = pytest.mark.skipif(_sequence.in_order is None, reason="kernels are not built, or switched off")

NETS: dict[str, dict[str, Any]] = {
    "plain": {"hidden": (33, 20)},
    "one hidden layer": {"hidden": (40,)},
    "narrow": {"hidden": (1, 2)},
    "context": {"hidden": (33, 20), "context": 3},
    "passes": {"hidden": (33, 20), "passes": 3},
    "graph": {"hidden": (33, 20), "adjacency": [(0, 5), (1, 0), (6, 0)]},
}
MAPS: dict[str, Univariate] = {"affine": Affine(1.5), "spline": RationalQuadratic(5, 3.0)}
each = pytest.mark.parametrize("name", NETS)
of_each_map = pytest.mark.parametrize("scalar", MAPS)


def made(name: str, scalar: str, features: int = 7) -> tuple[Autoregressive, Tensor | None]:
    """A layer shaken out of the identity, in an order of its own, and a context of two batch axes."""
    torch.manual_seed(0)
    net = MaskedMLP(features, MAPS[scalar].n_params, **NETS[name])
    layer = Autoregressive(features, MAPS[scalar], net, order=torch.randperm(features).tolist(), context=net.context)
    for p in layer.parameters():
        nn.init.normal_(p)
    return layer.double(), torch.randn(4, 1, 3, dtype=torch.float64) if net.context else None


@pytest.fixture
def step_by_step(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a call without compiled code."""
    return without(monkeypatch, _sequence, "in_order")


@each
@of_each_map
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_steps(name: str, scalar: str, dtype: torch.dtype, step_by_step: Run) -> None:
    layer, context = made(name, scalar)
    layer, context = layer.to(dtype), None if context is None else context.to(dtype)
    z = 2 * torch.randn(4, 150, 7, dtype=torch.float64).to(dtype)
    z[0, :4] = torch.tensor([0.0, 1e-30, 1e6, -1e6]).unsqueeze(-1)
    with torch.no_grad():
        found, right = layer.inverse(z, context), step_by_step(layer.inverse, z, context)
    for a, b in zip(found, right, strict=True):
        assert a.shape == b.shape and a.dtype == dtype
        assert float(((a - b).abs() / (1 + b.abs())).max()) < (1e-9 if dtype == torch.float64 else 1e-3)


@pytest.mark.parametrize("batch", [(), (0,), (1,), (3, 2), (129,)])
def test_any_batch(batch: tuple[int, ...], step_by_step: Run) -> None:
    layer, _ = made("plain", "spline")
    z = torch.randn(*batch, 7, dtype=torch.float64)
    for a, b in zip(layer.inverse(z), step_by_step(layer.inverse, z), strict=True):
        assert a.shape == b.shape and torch.allclose(a, b)


@of_each_map
def test_gradients(scalar: str, step_by_step: Run) -> None:
    """Also where one network serves two layers, so that a layer's input depends on its own weights."""
    layer, context = made("context", scalar)
    twice = Compose([layer, layer])
    z = torch.randn(4, 2, 7, dtype=torch.float64, requires_grad=True)
    assert context is not None
    wanted = [z, context.requires_grad_(), *layer.parameters()]

    def gradients(*, again: bool) -> list[Tensor]:
        x, ladj = twice.inverse(z, context)
        return list(torch.autograd.grad(x.sin().sum() + ladj.square().sum(), wanted, create_graph=again))

    right = step_by_step(lambda: gradients(again=False))
    for found in (gradients(again=False), gradients(again=True)):
        assert all(torch.allclose(a, b, rtol=1e-7, atol=1e-9) for a, b in zip(found, right, strict=True))


def test_derivatives_of_every_order() -> None:
    layer, _ = made("narrow", "affine", features=3)
    z = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(layer.inverse, (z,), check_batched_grad=True, check_forward_ad=True)
    assert gradgradcheck(layer.inverse, (z,))


def test_stands_back(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, _ = made("plain", "affine")
    z = torch.randn(5, 7, dtype=torch.float64)
    right = layer.inverse(z)[0]
    calls: list[int] = []

    def called(*_: object) -> None:
        calls.append(1)

    monkeypatch.setattr(_sequence, "_values", called)
    assert torch.allclose(vmap(layer.decode)(z), right)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer.inverse(z)
    layer.bfloat16().inverse(z.bfloat16())
    net = MaskedMLP(7, 2, hidden=(8,), angles=[0])
    Autoregressive(7, Affine(), net).inverse(z.float())
    Autoregressive(7, Affine(), MaskedMLP(7, 2, hidden=())).inverse(z.float())
    assert calls == []


def test_what_is_not_finite(step_by_step: Run) -> None:
    layer, _ = made("plain", "affine")
    z = torch.zeros(3, 7, dtype=torch.float64)
    z[0, 2], z[1, 3] = torch.nan, torch.inf
    for a, b in zip(layer.inverse(z), step_by_step(layer.inverse, z), strict=True):
        assert torch.allclose(a, b, equal_nan=True)


def test_threads_change_nothing() -> None:
    layer, _ = made("plain", "spline")
    z = torch.randn(300, 7, dtype=torch.float64)
    one = layer.inverse(z)[0]
    torch.set_num_threads(3)
    try:
        three = layer.inverse(z)[0]
    finally:
        torch.set_num_threads(1)
    assert torch.equal(one, three)
