"""Gradients from a chain's ends: equal to the ordinary ones, in memory that does not grow, or refused."""

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import torch
from torch import nn

from unwarp import flow
from unwarp.distributions import Flow, Normal
from unwarp.errors import ConfigError, UnwarpError
from unwarp.networks import MLP
from unwarp.training import fit
from unwarp.transforms import LU, ActNorm, BatchNorm, Compose, Coupling, Inverse, Permute, Transform, reversible
from unwarp.univariates import Affine

DOUBLE = torch.float64
M = TypeVar("M", bound=nn.Module)


def shaken(module: M) -> M:
    generator = torch.Generator().manual_seed(0)
    module.to(DOUBLE)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.1 * torch.randn(p.shape, dtype=DOUBLE, generator=generator))
    return module


def deep(layers: int, features: int = 4) -> Compose:
    parts: list[Transform] = []
    for _ in range(layers):
        parts += [ActNorm(features), LU(features), Permute.reverse(features)]
        parts.append(Coupling(features, Affine(), MLP(features // 2, features, hidden=(16,))))
    return Compose(parts)


def gradients(module: nn.Module, inputs: list[torch.Tensor], *, apart: bool) -> list[torch.Tensor]:
    """The value, and the gradients to inputs and weights; in evaluation, where a row's noise is always the same."""
    inputs = [t.clone().requires_grad_() for t in inputs]
    wanted = [*inputs, *module.parameters()]
    with reversible(module.eval()) if apart else contextlib.nullcontext():
        outputs = module(*inputs)
    value = torch.stack([v.sin().sum() for v in ([outputs] if isinstance(outputs, torch.Tensor) else outputs)]).sum()
    found = torch.autograd.grad(value, wanted, allow_unused=True)
    return [
        value.detach(),
        *(torch.zeros(()) if g is None else g for g in found),  # pyright: ignore[reportUnnecessaryComparison]
    ]


@pytest.mark.parametrize(
    ("name", "features", "options"),
    [
        ("realnvp", 4, {"context": 2, "hidden": (8,)}),
        ("nsf", 4, {"mixing": "lu", "hidden": (8,)}),
        ("maf", 3, {"hidden": (8,)}),
        ("resflow", 2, {"layers": 2, "hidden": (8,)}),
        ("glow", (1, 8, 8), {"layers": 2, "hidden": (8,)}),
    ],
)
def test_gradients_are_the_ordinary_ones(name: str, features: int, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = shaken(flow(name, features, **options))
    x = model.space.draw(5, generator=torch.Generator().manual_seed(1)).to(DOUBLE)
    inputs = [x, torch.linspace(-1, 1, 10, dtype=DOUBLE).reshape(5, 2)] if "context" in options else [x]
    for true, found in zip(gradients(model, inputs, apart=False), gradients(model, inputs, apart=True), strict=True):
        assert torch.allclose(true, found, rtol=1e-9, atol=1e-9)


def test_the_way_back_has_the_same_gradients() -> None:
    chain = Inverse(shaken(deep(3)))
    z = torch.linspace(-2, 2, 20, dtype=DOUBLE).reshape(5, 4)
    for true, found in zip(gradients(chain, [z], apart=False), gradients(chain, [z], apart=True), strict=True):
        assert torch.allclose(true, found, rtol=1e-9, atol=1e-9)


def stored_bytes(chain: Compose, *, apart: bool) -> int:
    """Bytes that a call keeps for its way back, the weights left out."""
    kept: dict[int, int] = {}
    weights = {t.untyped_storage().data_ptr() for t in chain.state_dict().values()}

    def keep(t: torch.Tensor) -> torch.Tensor:
        storage = t.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return t

    x = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t)
    with hooks, reversible(chain) if apart else contextlib.nullcontext():
        held = chain(x)
    assert held[0].requires_grad
    return sum(kept.values())


def test_memory_is_constant_in_depth() -> None:
    few, many = deep(8), deep(64)
    assert stored_bytes(few, apart=True) == stored_bytes(many, apart=True) <= 4 * 256 * (4 + 4 + 1)
    assert stored_bytes(many, apart=False) > 7 * stored_bytes(few, apart=False) > 0


class Loose(Transform):
    """A shift whose inverse misses by one part in a thousand."""

    def __init__(self) -> None:
        inner = ActNorm(2)
        super().__init__(inner.domain)
        self.inner = inner

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inner.forward(x)

    def inverse(self, z: torch.Tensor, context: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        x, ladj = self.inner.inverse(z)
        return x * 1.01, ladj


@pytest.mark.parametrize("part", [Loose, lambda: BatchNorm(2)])
def test_drift_is_refused(part: Callable[[], Transform]) -> None:
    chain = Compose([ActNorm(2), part(), ActNorm(2)])
    with reversible(chain):
        z, _ = chain(torch.tensor([[3.0, 1.0], [0.0, 2.0]]))
    with pytest.raises(UnwarpError, match="undone within"):
        z.sum().backward()


def test_contraction_is_refused_where_the_first_points_hide_it() -> None:
    """The middle points are lost to rounding, then hidden by a stretch: the log-determinants still tell."""
    wide, narrow = ActNorm(2), ActNorm(2)
    coupling = Coupling(2, Affine(), MLP(1, 2))
    nn.init.constant_(coupling.net.out.weight, 1.0)  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    nn.init.constant_(wide.log_scale, 12.0)
    nn.init.constant_(narrow.log_scale, -12.0)
    nn.init.constant_(narrow.shift, 100.0)
    chain = Compose([wide, coupling, narrow])
    with reversible(chain):
        z, _ = chain(1e-5 * torch.tensor([[0.3, 0.1], [0.7, -0.2]]))
    with pytest.raises(UnwarpError, match="drift"):
        z.sum().backward()


def test_rows_that_are_not_finite_are_left_to_the_guard_of_training() -> None:
    first = ActNorm(2)
    chain = Compose([first, ActNorm(2)])
    with reversible(chain):
        z, _ = chain(torch.tensor([[torch.nan, 1.0], [1.0, 2.0]]))
    z.sum().backward()
    assert first.log_scale.grad is not None
    assert first.log_scale.grad.isnan().tolist() == [True, False]


def test_training_is_the_same() -> None:
    x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    found = []
    for memory in ("stored", "reversible"):
        torch.manual_seed(0)
        model = Flow(deep(2), Normal(4)).double()
        history = fit(model, x, max_steps=10, seed=0, memory=memory, baselines=())
        assert model.transform.memory == "stored"
        found.append(history.held_out)
    assert abs(found[0] - found[1]) < 1e-8


def test_a_wrong_word_is_refused() -> None:
    with pytest.raises(ConfigError, match='expected memory to be "stored" or "reversible"'):
        fit(Flow(deep(1), Normal(4)), torch.zeros(3, 4), memory="none")  # pyright: ignore[reportArgumentType]
