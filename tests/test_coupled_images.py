"""Couplings on images in one operation equal those in many, value and gradient, and stand back where they must."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import jacrev, vmap

from twins import Run, counted, without
from unwarp.functional import _coupled_images
from unwarp.networks import ConvNet
from unwarp.transforms import Coupling, conditioners_in
from unwarp.univariates import Affine, RationalQuadratic, Univariate

pytestmark = pytest.mark.skipif(_coupled_images.images is None, reason="kernels are not built, or switched off")

SHAPE = (5, 6, 4)
MAPS: dict[str, Univariate] = {"affine": Affine(1.5), "spline": RationalQuadratic(4, 3.0)}
NETS: dict[str, dict[str, Any]] = {
    "glow": {"hidden": (20, 20), "inner": 1},
    "residual": {"hidden": (9, 9, 9), "inner": 3},
    "wide windows": {"hidden": (3, 20), "kernel": 5},
    "pixels alone": {"hidden": (8,), "kernel": 1},
    "nothing hidden": {"hidden": ()},
}
MASKS = {"first": None, "mixed": [i in (1, 4) for i in range(5)]}
of_each_map = pytest.mark.parametrize("scalar", MAPS)
of_each_net = pytest.mark.parametrize("net", NETS)


def made(
    scalar: str, net: str = "glow", mask: str = "mixed", *, context: int = 0, shape: tuple[int, int, int] = SHAPE
) -> Coupling:
    """A layer shaken out of the identity."""
    torch.manual_seed(0)
    outputs = (shape[0] - 2) * MAPS[scalar].n_params
    layer = Coupling(
        shape, MAPS[scalar], ConvNet(2, outputs, context=context, **NETS[net]), mask=MASKS[mask], context=context
    )
    for p in layer.parameters():
        nn.init.normal_(p)
    return layer.double()


@pytest.fixture
def plainly(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a call without couplings in one operation."""
    return without(monkeypatch, _coupled_images, "images")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often a coupling was one operation since the test began."""
    return counted(monkeypatch, _coupled_images, "_pixels")


@of_each_map
@of_each_net
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_equals_single_operations(
    scalar: str, net: str, mask: str, direction: str, plainly: Run, calls: list[int]
) -> None:
    """Of more images than pass at a time."""
    layer = made(scalar, net, mask)
    run = getattr(layer, direction)
    x = (2 * torch.randn(3, 9, *SHAPE, dtype=torch.float64)).requires_grad_()
    with torch.no_grad():
        x[0, :4, :, 2, 1] = torch.tensor([0.0, 1e-30, 1e6, -1e6]).unsqueeze(-1)
    wanted = [x, *layer.parameters()]

    def results() -> list[Tensor]:
        y, ladj = run(x)
        weights = [torch.linspace(-1, 2, t.numel(), dtype=t.dtype).reshape(t.shape) for t in (y, ladj)]
        return [y, ladj, *torch.autograd.grad((y, ladj), wanted, weights)]

    found, right = results(), plainly(results)
    assert calls
    for a, b in zip(found, right, strict=True):
        assert a.shape == b.shape
        assert float(((a - b).abs() / (1 + b.abs())).detach().max()) < 1e-9
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(run(x), found[:2], strict=True))


@of_each_map
@of_each_net
def test_as_right_in_float32(scalar: str, net: str, plainly: Run) -> None:
    """Against float64, one operation is as a rule at most a few times as far off as many.

    Points next to a knot may be on its other side in either, so that a single draw tells nothing.
    """
    layer = made(scalar, net)

    def results(x: Tensor, dtype: torch.dtype) -> list[Tensor]:
        z, ladj = layer.to(dtype)(x.to(dtype))
        grads = torch.autograd.grad(z.sin().sum() + ladj.sum(), list(layer.parameters()))
        return [t.detach().double() for t in (z, ladj, *grads)]

    def worse(seed: int) -> list[float]:
        x = 2 * torch.randn(50, *SHAPE, generator=torch.Generator().manual_seed(seed))
        right, found = results(x, torch.float64), results(x, torch.float32)
        allowed = plainly(results, x, torch.float32)
        off = [
            [float(((t - a).abs() / (1 + a.abs())).max()) for t, a in zip(some, right, strict=True)]
            for some in (found, allowed)
        ]
        return [a / (4 * b + 1e-5) for a, b in zip(*off, strict=True)]

    ratios = torch.tensor([worse(seed) for seed in range(7)])
    assert float(ratios.median(0).values.max()) <= 1


@pytest.mark.parametrize("batch", [(), (0,), (1,), (3, 2), (65,)])
def test_any_batch_and_stride(batch: tuple[int, ...], plainly: Run) -> None:
    layer = made("spline", "residual")
    x = torch.randn(*batch, *SHAPE[::-1], dtype=torch.float64).movedim((-1, -3), (-3, -1))
    for a, b in zip(layer(x), plainly(layer, x), strict=True):
        assert a.shape == b.shape and torch.allclose(a, b)


@of_each_map
def test_derivatives_of_every_order(scalar: str, plainly: Run) -> None:
    layer = made(scalar, shape=(5, 2, 1))
    x = torch.randn(1, 5, 2, 1, dtype=torch.float64, requires_grad=True)
    assert gradcheck(layer, (x,), check_batched_grad=True, check_forward_ad=True)
    assert scalar == "spline" or gradgradcheck(layer, (x,))
    wanted = [x, *layer.parameters()]

    def gradients(*, again: bool) -> list[Tensor]:
        z, ladj = layer(layer(x)[0])
        return list(torch.autograd.grad(z.sin().sum() + ladj.square().sum(), wanted, create_graph=again))

    right = plainly(lambda: gradients(again=False))
    for found in (gradients(again=False), gradients(again=True)):
        assert all(torch.allclose(a, b, rtol=1e-7, atol=1e-9) for a, b in zip(found, right, strict=True))


def test_what_needs_no_gradient_gets_none() -> None:
    layer = made("affine")
    first, *others = layer.parameters()
    first.requires_grad = False
    x = torch.randn(5, *SHAPE, dtype=torch.float64)
    layer(x)[1].sum().backward()
    assert x.grad is None and first.grad is None
    assert all(p.grad is not None for p in others)


def test_stands_back(calls: list[int]) -> None:
    """Where it is mapped or in another precision, and where the network is not what it was built as."""

    class Doubled(ConvNet):
        def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
            return 2 * super().forward(x, context)

    layer = made("affine")
    x = torch.randn(3, *SHAPE, dtype=torch.float64)
    right = layer(x)[0].detach()
    calls.clear()
    assert torch.allclose(vmap(layer.encode)(x), right)
    assert jacrev(layer.encode)(x[0]).shape == (*SHAPE, *SHAPE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer.float()(x.float())
    with conditioners_in(torch.bfloat16):
        layer(x.float())
    net = layer.get_submodule("net")
    for module in (net, net.get_submodule("out")):
        with module.register_forward_hook(_nothing):
            assert torch.equal(layer(x.float())[0], x.float())
    layer.bfloat16()(x.bfloat16())
    made("affine", context=1)(x, torch.ones(3, 1, dtype=torch.float64))
    Coupling(SHAPE, Affine(), Doubled(2, 6))(x.float())
    assert calls == []


def _nothing(module: nn.Module, given: object, found: Tensor) -> Tensor:
    return torch.zeros_like(found)
