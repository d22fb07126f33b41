"""Linear maps of pixels that follow one another are one product: the same numbers and gradients as one by one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import jacrev, vmap

from unwarp.functional import _folded
from unwarp.transforms import LU, ActNorm, Compose, Permute, Pixelwise, Transform

RUNS: dict[str, Callable[[], list[Transform]]] = {
    "glow": lambda: [ActNorm(5), Permute([3, 0, 4, 1, 2]), LU(5)],
    "twice": lambda: [LU(5), ActNorm(5), Permute([3, 0, 4, 1, 2]), LU(5), ActNorm(5)],
    "orders": lambda: [Permute([3, 0, 4, 1, 2]), Permute([1, 2, 3, 4, 0])],
}
of_each_run = pytest.mark.parametrize("run", RUNS)
of_each_direction = pytest.mark.parametrize("direction", ["forward", "inverse"])
needs_kernels = pytest.mark.skipif(_folded.kernel is None, reason="kernels are not built, or switched off")


def made(run: str) -> Compose:
    """Layers shaken out of the identity."""
    torch.manual_seed(0)
    chain = Compose([Pixelwise(part, 2, 3) for part in RUNS[run]()])
    for p in chain.parameters():
        nn.init.normal_(p, std=0.5)
    return chain.double()


def one_by_one(chain: Compose, x: Tensor, *, inverse: bool) -> tuple[Tensor, Tensor]:
    total = x.new_zeros(())
    for part in reversed(chain.parts) if inverse else chain.parts:
        x, ladj = part.inverse(x) if inverse else part.forward(x)
        total = total + ladj
    return x, total


def results(call: Callable[..., tuple[Tensor, Tensor]], chain: Compose, x: Tensor) -> list[Tensor]:
    y, ladj = call(x)
    weights = [torch.linspace(-1, 2, t.numel(), dtype=t.dtype).reshape(t.shape) for t in (y, ladj)]
    total = (y * weights[0]).sum() + (ladj * weights[1]).sum()
    return [y, ladj, *torch.autograd.grad(total, [x, *chain.parameters()])]


@of_each_run
@of_each_direction
@pytest.mark.parametrize("kernels", ["compiled", "reference"])
def test_equals_one_by_one(run: str, direction: str, kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kernels == "reference":
        monkeypatch.setattr(_folded, "kernel", None)
    chain = made(run)
    x = torch.randn(3, 70, 5, 2, 3, dtype=torch.float64, requires_grad=True)
    found = results(getattr(chain, direction), chain, x)
    right = results(partial(one_by_one, chain, inverse=direction == "inverse"), chain, x)
    for a, b in zip(found, right, strict=True):
        assert a.shape == b.shape
        assert float(((a - b).abs() / (1 + b.abs())).detach().max()) < 1e-10
    with torch.no_grad():
        again = getattr(chain, direction)(x)
    assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-10) for a, b in zip(again, found, strict=False))


@of_each_direction
@torch.no_grad()
def test_as_right_in_float32(direction: str) -> None:
    """Against float64, one product is at most a few times as far off as many."""
    chain = made("glow")
    x = torch.randn(600, 5, 2, 3, generator=torch.Generator().manual_seed(0))
    right = getattr(chain, direction)(x.double())
    chain = chain.float()
    found, allowed = getattr(chain, direction)(x), one_by_one(chain, x, inverse=direction == "inverse")
    for a, b, c in zip(right, allowed, found, strict=True):
        assert float((c - a).abs().max()) <= 4 * float((b - a).abs().max()) + 1e-5


@needs_kernels
@pytest.mark.parametrize("batch", [(), (0,), (1,), (3, 2)])
def test_any_batch(batch: tuple[int, ...]) -> None:
    chain = made("glow")
    x = torch.randn(*batch, 5, 2, 3, dtype=torch.float64)
    for a, b in zip(chain(x), one_by_one(chain, x, inverse=False), strict=True):
        assert a.shape == b.shape and torch.allclose(a, b)


@needs_kernels
def test_derivatives_of_every_order() -> None:
    chain = made("glow")
    x = torch.randn(1, 5, 2, 3, dtype=torch.float64, requires_grad=True)
    tensors = [p.detach().clone().requires_grad_() for p in chain.parameters()]
    names = [name for name, _ in chain.named_parameters()]

    def of(x: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        return torch.func.functional_call(chain, dict(zip(names, tensors, strict=True)), x)

    assert gradcheck(of, (x, *tensors))
    assert gradgradcheck(of, (x[:, :, :1, :1].detach().expand(1, 5, 2, 3).clone().requires_grad_(), *tensors))
    assert torch.allclose(vmap(chain.encode)(x), chain.encode(x))
    assert jacrev(chain.encode)(x[0]).shape == (5, 2, 3, 5, 2, 3)


@needs_kernels
def test_what_needs_no_gradient_gets_none() -> None:
    chain = made("glow")
    first, *others = chain.parameters()
    first.requires_grad = False
    x = torch.randn(5, 5, 2, 3, dtype=torch.float64)
    z, ladj = chain(x)
    (z.sum() + ladj.sum()).backward()
    assert x.grad is None and first.grad is None
    assert all(p.grad is not None for p in others)
