"""Layers in one operation equal the same layers in many, value and gradient, and stand back where they must."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import jacrev, vmap

from unwarp.functional import _perceptron, squash
from unwarp.networks import MLP, MaskedMLP

Net = Callable[[], nn.Module]
NETS: dict[str, Net] = {
    "plain": lambda: MLP(3, 4, hidden=(8, 6)),
    "no hidden layer": lambda: MLP(3, 4, hidden=()),
    "context": lambda: MLP(3, 4, hidden=(8,), context=2),
    "angles": lambda: MLP(3, 4, hidden=(8,), context=2, angles=[1]),
    "masked": lambda: MaskedMLP(3, 2, hidden=(8, 8)),
    "masked, context": lambda: MaskedMLP(3, 2, hidden=(8, 8), context=2),
    "masked, graph": lambda: MaskedMLP(3, 2, hidden=(8, 8), adjacency=[(0, 2), (1, 2)]),
    "stairs": lambda: MaskedMLP(130, 2, hidden=(300, 260), context=2),
}
each = pytest.mark.parametrize("name", NETS)


def made(name: str) -> tuple[nn.Module, Tensor, Tensor | None]:
    """A network shaken out of zero, inputs of two batch axes, and a context of one."""
    torch.manual_seed(0)
    net = NETS[name]().double()
    size = 130 if name == "stairs" else 3
    for p in net.parameters():
        nn.init.normal_(p)
    context = torch.randn(5, 2, dtype=torch.float64) if net.context else None
    return net, torch.randn(2, 5, size, dtype=torch.float64).requires_grad_(), context


@pytest.fixture
def plainly(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], object]:
    """Run a call with every network computed by single operations."""

    def run(call: Callable[[], object]) -> object:
        with monkeypatch.context() as patch:
            patch.setattr(_perceptron, "is_ordinary", _never)
            return call()

    return run


@each
def test_equals_single_operations(name: str, plainly: Callable[..., list[Tensor]]) -> None:
    net, x, context = made(name)
    context = None if context is None else context.requires_grad_()
    inputs = [x, *net.parameters(), *([] if context is None else [context])]
    weights = torch.linspace(-1, 1, net(x, context).numel(), dtype=torch.float64).reshape(net(x, context).shape)

    def results() -> list[Tensor]:
        y = net(x, context)
        return [y, *torch.autograd.grad(y, inputs, weights)]

    for found, right in zip(results(), plainly(results), strict=True):
        assert torch.allclose(found, right, rtol=1e-11, atol=1e-11)
    with torch.no_grad():
        untaped = net(x, context)
    assert torch.equal(untaped, net(x, context))


@pytest.mark.parametrize("name", ["context", "masked, context"])
def test_derivatives_of_every_order(name: str) -> None:
    net, x, context = made(name)
    for p in net.parameters():
        p.data.abs_().add_(0.1)  # far from the corners of rectifiers
    x = x.detach()[:, :1].abs().add_(0.1).requires_grad_()
    context = None if context is None else context[:1].abs().add_(0.1).requires_grad_()
    assert context is not None
    assert gradcheck(net, (x, context), check_batched_grad=True, check_forward_ad=True)
    assert gradgradcheck(net, (x, context))


def test_gradients_to_be_differentiated_where_weights_follow_from_inputs() -> None:
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)

    def total() -> Tensor:
        layer = _perceptron.Affinity(x[:3].sin(), x[0].cos(), 0.5, ((0, 3, 3),))
        return _perceptron.perceptron(x, [layer, layer], squashed=True).sum()

    (found,) = torch.autograd.grad(total(), x, create_graph=True)
    assert torch.allclose(found, torch.autograd.grad(total(), x)[0])


@each
def test_stands_back_from_transformations(name: str) -> None:
    net, x, context = made(name)
    rows, first = x.detach()[0], None if context is None else context[0]
    right = net(rows, context).detach()

    def one(x: Tensor) -> Tensor:
        return net(x, first)

    assert torch.allclose(vmap(one)(rows)[0], right[0])
    assert jacrev(one)(rows[0]).shape == (*right.shape[1:], rows.shape[1])
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(rows, torch.ones_like(rows))
        assert forward_ad.unpack_dual(net(dual, context)).tangent is not None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert net.float()(rows.float(), None if context is None else context.float()).dtype == torch.bfloat16


def test_layers_that_were_exchanged_or_have_hooks_are_called() -> None:
    net = MLP(3, 4, hidden=(8,))
    nn.init.normal_(net.out.weight)
    first = next(iter(net.hidden))
    with first.register_forward_hook(_double):
        doubled = net(torch.ones(2, 3))
    assert torch.allclose(doubled, net.out((2 * first(squash(torch.ones(2, 3)))).relu()))
    net.out = nn.Linear(8, 5)  # pyright: ignore[reportAttributeAccessIssue]
    assert net(torch.ones(2, 3)).shape == (2, 5)


def test_what_needs_no_gradient_gets_none() -> None:
    net, x, _ = made("plain")
    first, *others = net.parameters()
    first.requires_grad = False
    net(x.detach()).sum().backward()
    assert x.grad is None and first.grad is None
    assert all(p.grad is not None for p in others)


def _never(*_: Tensor) -> bool:
    return False


def _double(layer: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> Tensor:
    return 2 * y
