"""Couplings in one operation equal those in many, value and gradient, and stand back where they must."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, jacrev, vmap

from twins import Run, counted, without
from unwarp.functional import _coupled
from unwarp.kernels import _blas
from unwarp.networks import MLP, MaskedMLP
from unwarp.transforms import LU, Autoregressive, Compose, Coupling, conditioners_in
from unwarp.univariates import Affine, RationalQuadratic, Univariate

pytestmark = pytest.mark.skipif(_coupled.passes is None, reason="kernels are not built, or switched off")

FEATURES = 7
MASKS = {"first": None, "last": [i > 3 for i in range(7)], "mixed": [i in (1, 4, 5) for i in range(7)]}
MAPS: dict[str, Univariate] = {"affine": Affine(1.5), "spline": RationalQuadratic(5, 3.0)}
of_each_map = pytest.mark.parametrize("scalar", MAPS)
of_each_mask = pytest.mark.parametrize("mask", MASKS)


def made(scalar: str, mask: str = "mixed", *, context: int = 0, hidden: tuple[int, ...] = (20, 9)) -> Coupling:
    """A layer shaken out of the identity."""
    torch.manual_seed(0)
    kept = 3
    net = MLP(kept, (FEATURES - kept) * MAPS[scalar].n_params, hidden=hidden, context=context)
    layer = Coupling(FEATURES, MAPS[scalar], net, mask=MASKS[mask], context=context)
    for p in layer.parameters():
        nn.init.normal_(p)
    return layer.double()


@pytest.fixture
def plainly(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a call without couplings in one operation."""
    return without(monkeypatch, _coupled, "passes")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often a coupling was one operation since the test began."""
    return counted(monkeypatch, _coupled, "_values")


def made_in_order(scalar: str, *, context: int = 0, **options: Any) -> Autoregressive:
    """An autoregressive layer shaken out of the identity, of features in an order of their own."""
    torch.manual_seed(0)
    net = MaskedMLP(FEATURES, MAPS[scalar].n_params, hidden=(20, 9), context=context, **options)
    layer = Autoregressive(FEATURES, MAPS[scalar], net, order=[3, 0, 6, 1, 5, 2, 4], context=context)
    for p in layer.parameters():
        nn.init.normal_(p)
    return layer.double()


@of_each_map
@of_each_mask
@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_equals_single_operations(
    scalar: str, mask: str, context: int, direction: str, plainly: Run, calls: list[int]
) -> None:
    layer = made(scalar, mask, context=context)
    run = getattr(layer, direction)
    x = (2 * torch.randn(3, 70, FEATURES, dtype=torch.float64)).requires_grad_()
    with torch.no_grad():
        x[0, :4] = torch.tensor([0.0, 1e-30, 1e6, -1e6]).unsqueeze(-1)
    given = torch.randn(70, 2, dtype=torch.float64, requires_grad=True) if context else None
    wanted = [x, *layer.parameters(), *([] if given is None else [given])]

    def results() -> list[Tensor]:
        y, ladj = run(x, given)
        weights = [torch.linspace(-1, 2, t.numel(), dtype=t.dtype).reshape(t.shape) for t in (y, ladj)]
        return [y, ladj, *torch.autograd.grad((y, ladj), wanted, weights)]

    found, right = results(), plainly(results)
    assert calls
    for a, b in zip(found, right, strict=True):
        assert a.shape == b.shape
        assert float(((a - b).abs() / (1 + b.abs())).detach().max()) < 1e-9
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(run(x, given), found[:2], strict=True))


def test_a_layer_that_is_there_twice_counts_twice(plainly: Run, calls: list[int]) -> None:
    layer = made("affine", hidden=(9, 9, 9))
    net = layer.net
    assert isinstance(net, MLP)
    net.hidden[2] = net.hidden[1]
    x = torch.randn(50, FEATURES, dtype=torch.float64)

    def results() -> list[Tensor]:
        y, ladj = layer(x)
        return [y, ladj, *torch.autograd.grad(y.sin().sum() + ladj.sum(), list(layer.parameters()))]

    found, right = results(), plainly(results)
    assert calls
    for a, b in zip(found, right, strict=True):
        torch.testing.assert_close(a, b)


@of_each_map
def test_as_right_in_float32(scalar: str, plainly: Run) -> None:
    """Against float64, one operation is at most a few times as far off as many."""
    layer = made(scalar)
    x = 2 * torch.randn(600, FEATURES, generator=torch.Generator().manual_seed(0))

    def results(dtype: torch.dtype) -> list[Tensor]:
        z, ladj = layer.to(dtype)(x.to(dtype))
        grads = torch.autograd.grad(z.sin().sum() + ladj.sum(), list(layer.parameters()))
        return [t.detach().double() for t in (z, ladj, *grads)]

    right, allowed, found = results(torch.float64), plainly(results, torch.float32), results(torch.float32)
    for a, b, c in zip(right, allowed, found, strict=True):
        size = 1 + a.abs()
        assert float(((c - a).abs() / size).max()) <= 4 * float(((b - a).abs() / size).max()) + 1e-5


def carried(chain: Compose, z: Tensor, score: Tensor, context: Tensor | None = None) -> list[Tensor]:
    """What `carry` gives, and gradients of its point and ladj."""
    x, ladj, score = chain.carry(z, score, context)
    assert not score.requires_grad
    return [x, ladj, score, *torch.autograd.grad(x.sin().sum() + ladj.square().sum(), list(chain.parameters()))]


def by_going_back(chain: Compose, z: Tensor, score: Tensor, context: Tensor | None = None) -> list[Tensor]:
    """The same by two passes."""
    x, ladj = chain.inverse(z, context)
    grads = torch.autograd.grad(x.sin().sum() + ladj.square().sum(), list(chain.parameters()))
    at = x.detach().requires_grad_()
    z, back = chain.forward(at, context)
    return [x, ladj, torch.autograd.grad((z * score).sum() + back.sum(), at)[0], *grads]


@of_each_map
@of_each_mask
@pytest.mark.parametrize("context", [0, 2])
def test_score_carried_is_that_of_two_passes(scalar: str, mask: str, context: int, plainly: Run) -> None:
    """Some couplings in a row, another map, and some more; the context's batch is the wider one."""
    one, other = (made(scalar, mask, context=context) for _ in range(2))
    chain = Compose([one, other, LU(FEATURES).double(), one])
    z, score = (torch.randn(70, FEATURES, dtype=torch.float64) for _ in range(2))
    given = torch.randn(3, 70, 2, dtype=torch.float64) if context else None
    right = by_going_back(chain, z, score, given)
    for found in (carried(chain, z, score, given), plainly(carried, chain, z, score, given)):
        for a, b in zip(found, right, strict=True):
            assert a.shape == b.shape
            assert float(((a - b).abs() / (1 + b.abs())).detach().max()) < 1e-9
    with torch.no_grad():
        again = chain.carry(z, score, given)
    assert all(torch.equal(a, b) for a, b in zip(again, carried(chain, z, score, given), strict=False))


@of_each_map
def test_score_carried_is_as_right_in_float32(scalar: str, plainly: Run) -> None:
    """Against float64, it is at most a few times as far off as by two passes."""
    chain = Compose([made(scalar), made(scalar, "first")])
    z, score = (torch.randn(600, FEATURES, generator=torch.Generator().manual_seed(i)) for i in range(2))

    def worst(found: list[Tensor]) -> float:
        return max(float(((a - b).abs() / (1 + b.abs())).detach().max()) for a, b in zip(found, right, strict=True))

    right = by_going_back(chain.double(), z.double(), score.double())
    chain = chain.float()
    allowed = 4 * worst(by_going_back(chain, z, score)) + 1e-5
    assert worst(carried(chain, z, score)) <= allowed
    assert worst(plainly(carried, chain, z, score)) <= allowed


@pytest.mark.parametrize("batch", [(), (0,), (1,), (3, 2), (129,)])
def test_any_batch_and_stride(batch: tuple[int, ...], plainly: Run) -> None:
    layer = made("spline")
    x = torch.randn(FEATURES, *batch, dtype=torch.float64).movedim(0, -1)
    for a, b in zip(layer(x), plainly(layer, x), strict=True):
        assert a.shape == b.shape and torch.allclose(a, b)


@of_each_map
def test_gradients_that_are_differentiated(scalar: str, plainly: Run) -> None:
    """Also where one network serves two layers, so that a layer's input depends on its own weights."""
    layer = made(scalar, context=2)
    twice = Compose([layer, layer])
    x = torch.randn(4, FEATURES, dtype=torch.float64, requires_grad=True)
    context = torch.randn(2, dtype=torch.float64, requires_grad=True)
    wanted = [x, context, *layer.parameters()]

    def gradients(*, again: bool) -> list[Tensor]:
        z, ladj = twice(x, context)
        return list(torch.autograd.grad(z.sin().sum() + ladj.square().sum(), wanted, create_graph=again))

    right = plainly(lambda: gradients(again=False))
    for found in (gradients(again=False), gradients(again=True)):
        assert all(torch.allclose(a, b, rtol=1e-7, atol=1e-9) for a, b in zip(found, right, strict=True))


def test_derivatives_of_every_order() -> None:
    layer = made("affine", hidden=(3,))
    x = torch.randn(2, FEATURES, dtype=torch.float64, requires_grad=True)
    assert gradcheck(layer, (x,), check_batched_grad=True, check_forward_ad=True)
    assert gradgradcheck(layer, (x,))


def test_what_needs_no_gradient_gets_none() -> None:
    layer = made("affine")
    first, *others = layer.parameters()
    first.requires_grad = False
    x = torch.randn(5, FEATURES, dtype=torch.float64)
    layer(x)[1].sum().backward()
    assert x.grad is None and first.grad is None
    assert all(p.grad is not None for p in others)


def test_stands_back(calls: list[int]) -> None:
    """Where it is compiled, mapped or in another precision, and where the network is not what it was built as."""

    class Doubled(MLP):
        def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
            return 2 * super().forward(x, context)

    layer = made("affine")
    x = torch.randn(5, FEATURES, dtype=torch.float64)
    right = layer(x)[0].detach()
    calls.clear()
    assert torch.allclose(vmap(layer.encode)(x), right)
    assert jacrev(layer.encode)(x[0]).shape == (FEATURES, FEATURES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer.float()(x.float())
    with conditioners_in(torch.bfloat16):
        layer(x.float())
    with layer.net.register_forward_hook(_nothing):
        assert torch.equal(layer(x.float())[0], x.float())
    layer.bfloat16()(x.bfloat16())
    Coupling(FEATURES, Affine(), Doubled(3, 8))(x.float())
    Coupling(FEATURES, Affine(), MLP(3, 8, angles=[0]))(x.float())
    Coupling(1, Affine(), MLP(0, 2))(x[:, :1].float())
    assert calls == []


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_layers_in_a_row_are_one_operation(direction: str, plainly: Run, calls: list[int]) -> None:
    """Also where only some of the networks see the context."""
    chain = Compose([made("spline", "first", context=2), made("affine", "mixed"), made("spline", "last", context=2)])
    x = torch.randn(3, 70, FEATURES, dtype=torch.float64, requires_grad=True)
    context = torch.randn(70, 2, dtype=torch.float64, requires_grad=True)
    run, wanted = getattr(chain, direction), [x, context, *chain.parameters()]

    def results() -> list[Tensor]:
        y, ladj = run(x, context)
        return [y, ladj, *torch.autograd.grad(y.sin().sum() + ladj.square().sum(), wanted)]

    found = results()
    assert len(calls) == 1
    for a, b in zip(found, plainly(results), strict=True):
        assert torch.allclose(a, b, rtol=1e-8, atol=1e-8)
    with torch.no_grad():  # memory is used again from layer to layer
        assert all(torch.equal(a, b) for a, b in zip(run(x, context), found[:2], strict=True))
        calls.clear()
        assert torch.equal({"forward": chain.encode, "inverse": chain.decode}[direction](x, context), found[0])
        assert len(calls) == 1


@of_each_map
@pytest.mark.parametrize("options", [{}, {"passes": 2}, {"adjacency": [(0, 5), (3, 0), (6, 2), (6, 3)]}])
def test_autoregressive_layers_and_couplings_are_one_operation(
    scalar: str, options: dict[str, Any], plainly: Run, calls: list[int]
) -> None:
    """Where a masked network sees all that it moves, in whatever order."""
    chain = Compose([made_in_order(scalar, **options), made(scalar), made_in_order(scalar)])
    x = torch.randn(70, FEATURES, dtype=torch.float64, requires_grad=True)

    def results() -> list[Tensor]:
        z, ladj = chain(x)
        return [z, ladj, *torch.autograd.grad(z.sin().sum() + ladj.square().sum(), [x, *chain.parameters()])]

    found = results()
    assert len(calls) == 1
    for a, b in zip(found, plainly(results), strict=True):
        assert torch.allclose(a, b, rtol=1e-8, atol=1e-8)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(chain(x), found[:2], strict=True))
        assert torch.allclose(chain.decode(found[0]), x, atol=1e-8)


def test_autoregressive_layers_stand_back(calls: list[int]) -> None:
    x = torch.randn(5, FEATURES, dtype=torch.float64)
    layer = made_in_order("affine", context=2)
    layer(x, x[:, :2])
    layer = made_in_order("affine")
    assert gradgradcheck(layer, (x[:1].requires_grad_(),))
    calls.clear()
    vmap(layer.encode)(x)
    with conditioners_in(torch.bfloat16):
        layer(x)
    with layer.net.register_forward_hook(_nothing):
        assert torch.equal(layer(x)[0], x)
    assert calls == []


def test_points_that_are_too_short_are_refused() -> None:
    x = torch.randn(5, FEATURES - 1, dtype=torch.float64)
    for layer in (made("affine"), made("affine", "last"), made_in_order("affine")):
        with pytest.raises((RuntimeError, IndexError)):
            layer(x)


def test_weights_of_another_precision_than_the_masks(plainly: Run) -> None:
    layer = made_in_order("affine").float()
    weights = {name: p.double() for name, p in layer.named_parameters()}
    x = torch.randn(5, FEATURES, dtype=torch.float64)
    for a, b in zip(functional_call(layer, weights, x), plainly(functional_call, layer, weights, x), strict=True):
        assert torch.allclose(a, b)


def test_weights_that_moved_before_the_way_back(plainly: Run) -> None:
    """Gradients are those at the weights that there are then, as ever."""
    x = torch.randn(5, FEATURES, dtype=torch.float64)

    def found() -> list[Tensor]:
        layer = made("affine")
        loss = layer(x)[1].sum()
        for p in layer.parameters():
            p.data = p.detach().clone()
        return list(torch.autograd.grad(loss, list(layer.parameters())))

    for a, b in zip(found(), plainly(found), strict=True):
        assert torch.allclose(a, b)


def test_a_layer_that_stands_back_leaves_the_others_in_one_operation(plainly: Run, calls: list[int]) -> None:
    chain = Compose([made("affine"), Coupling(FEATURES, Affine(), MLP(3, 8, angles=[0])).double(), made("spline")])
    x = torch.randn(5, FEATURES, dtype=torch.float64)
    found = chain(x)
    assert len(calls) == 2
    for a, b in zip(found, plainly(chain, x), strict=True):
        assert torch.allclose(a, b)


def test_without_matrix_products_of_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__file__", "nowhere/torch/__init__.py")
    assert _blas.blas() == {}
    assert _blas.blas_threads() == 0


def test_what_is_not_finite(plainly: Run) -> None:
    layer = made("affine")
    x = torch.zeros(3, FEATURES, dtype=torch.float64)
    x[0, 2], x[1, 3], x[2, 1] = torch.nan, torch.inf, torch.nan
    for a, b in zip(layer(x), plainly(layer, x), strict=True):
        assert torch.allclose(a, b, equal_nan=True)


@pytest.mark.parametrize("rows", [1, 257, 1000])
@pytest.mark.parametrize("what", ["couplings", "autoregressive", "inverse", "context", "carried", "frozen"])
def test_rows_in_parts_on_threads_change_nothing(what: str, rows: int) -> None:
    """But rounding: products of fewer rows are other ones, and gradients are sums of the parts'."""
    context = 2 if what in ("context", "carried") else 0
    parts = [made("spline", mask, context=context) for mask in MASKS]
    if what == "autoregressive":
        parts = [made_in_order(scalar) for scalar in MAPS]
    chain = Compose(parts)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, FEATURES, dtype=torch.float64, generator=generator, requires_grad=True)
    given = (
        torch.randn(rows, context, dtype=torch.float64, generator=generator, requires_grad=True) if context else None
    )
    if what == "frozen":
        for p in list(chain.parameters())[::2]:
            p.requires_grad_(False)
    wanted = [t for t in (x, given, *chain.parameters()) if t is not None and t.requires_grad]

    def results() -> list[Tensor]:
        if what == "carried":
            return carried(chain, x, x.detach().cos(), given)
        z, ladj = chain.inverse(x, given) if what == "inverse" else chain(x, given)
        with torch.no_grad():
            again = chain.inverse(x, given) if what == "inverse" else chain(x, given)
        assert torch.equal(again[0], z)
        return [z, ladj, *torch.autograd.grad(z.sin().sum() - ladj.square().mean(), wanted)]

    one = results()
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        three = results()
        again = results()
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(one, three, rtol=1e-9, atol=1e-9)
    assert all(torch.equal(a, b) for a, b in zip(three, again, strict=True))


@pytest.mark.skipif(not _blas.blas_threads(), reason="products are not MKL's")
def test_products_take_as_many_threads_as_before() -> None:
    """What a part says of its products holds for its own thread, and no longer than for the call."""
    set_threads = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(_blas.blas_threads())  # gives what was set before
    layer, x = made("affine"), torch.randn(1000, FEATURES, dtype=torch.float64)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        layer(x)
        assert set_threads(2) == 2
    finally:
        torch.set_num_threads(before)


def test_narrow_products_are_the_same() -> None:
    """Of many rows they are computed transposed, of few they are not."""
    layer = made("affine", hidden=(64,))
    x = torch.randn(700, FEATURES, dtype=torch.float64, requires_grad=True)
    wanted = [x, *layer.parameters()]
    found = torch.autograd.grad(layer(x)[1].sum(), wanted)
    right = [torch.zeros_like(t) for t in wanted]
    for part in x.split(100):
        for total, t in zip(right, torch.autograd.grad(layer(part)[1].sum(), wanted), strict=True):
            total.add_(t)
    assert all(torch.allclose(a, b) for a, b in zip(found, right, strict=True))


def _nothing(net: nn.Module, args: tuple[Tensor, ...], params: Tensor) -> Tensor:
    return 0 * params
