"""A step of training in compiled code does what torch's AdamW with the guard and the average does."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from twins import counted, without
from unwarp import flow, kernels, save
from unwarp.functional import _descent
from unwarp.training import fit, steps
from unwarp.training._flat import Flat
from unwarp.training._learner import Learner

compiled = pytest.mark.skipif(_descent.descent is None, reason="kernels are not built, or switched off")


class Odd(nn.Module):
    """Parameters that fill no vector, one over several pieces, one without numbers, one that no gradient reaches."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(0)
        shapes = {"weight": (67, 129), "bias": (67,), "single": (), "none": (0,), "idle": (5, 3), "a_weight": (3, 2, 3)}
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.randn(shape, dtype=dtype)))


def gradients(module: nn.Module, step: int) -> Tensor:
    """Leaves gradients that grow, jump and break, some of them not laid out in rows; gives the loss."""
    generator = torch.Generator().manual_seed(step)
    scale = {7: 1e3, 20: math.nan, 23: math.inf, 26: 4.0, 31: 0.0}.get(step, 1 + 0.01 * step)
    for name, p in module.named_parameters():
        if name != "idle":
            turned = scale * torch.randn(p.shape[::-1], generator=generator, dtype=p.dtype)
            p.grad = turned.permute(tuple(reversed(range(p.dim()))))
    return torch.tensor(math.nan if step == 33 else math.cos(step), dtype=torch.float32)


def learned(dtype: torch.dtype, count: int, **options: float) -> tuple[dict[str, Tensor], list[tuple[float, int, int]]]:
    """All that steps change, after so many; and what the guard counted along the way."""
    module, seen = Odd(dtype), []
    learner = Learner(module, **options)
    for step in range(count):
        learner.update(gradients(module, step), 1e-2 * (1 + step % 3), step)
        seen.append(learner.guard.read())
        assert all(p.grad is None for p in module.parameters())
    return learner.snapshot(), seen


@compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.3}, {"average": 0.0}])
def test_it_is_the_step_of_torch(dtype, options, monkeypatch):
    alone = without(monkeypatch, _descent, "descent")
    calls = counted(monkeypatch, _descent, "descent")
    fused, counts = learned(dtype, 120, **options)
    assert len(calls) == 120
    plain, others = alone(lambda: learned(dtype, 120, **options))
    assert len(calls) == 120
    assert counts[-1][1:] == others[-1][1:] == (120 - 4, 3)  # accepted; not finite
    torch.testing.assert_close(torch.tensor(counts), torch.tensor(others), rtol=1e-5, atol=1e-6, equal_nan=True)
    assert fused.keys() == plain.keys()
    close = {"rtol": 2e-5, "atol": 2e-6} if dtype is torch.float32 else {"rtol": 1e-6, "atol": 1e-7}
    for name, found in fused.items():  # in float64 as far as the guard's own float32 goes
        torch.testing.assert_close(
            found, plain[name], **close, equal_nan=True, msg=lambda text, of=name: f"{of} {text}"
        )


@compiled
def test_threads_change_nothing():
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            module = nn.Linear(900, 700)
            nn.init.constant_(module.weight, 0.1)
            nn.init.constant_(module.bias, 0.1)
            learner = Learner(module)
            for step in range(3):
                generator = torch.Generator().manual_seed(step)
                for p in module.parameters():
                    p.grad = torch.randn(p.shape, generator=generator)
                learner.update(torch.zeros(()), 1e-2, step)
            found.append(learner.snapshot())
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0] if not name.startswith("guard.norms"))
    torch.testing.assert_close(found[0]["guard.norms"], found[1]["guard.norms"], rtol=0, atol=0, equal_nan=True)


@compiled
def test_parameters_of_two_kinds_are_left_to_torch(monkeypatch):
    calls = counted(monkeypatch, _descent, "descent")
    module = nn.ModuleList([nn.Linear(2, 3), nn.Linear(2, 3).double()])
    learner = Learner(module)
    for p in module.parameters():
        p.grad = torch.ones_like(p)
    before = [p.detach().clone() for p in module.parameters()]
    learner.update(torch.zeros(()), 0.1, 0)
    assert not calls
    assert all(bool((a > p).all()) for a, p in zip(before, module.parameters(), strict=True))


def test_a_run_is_taken_up_by_the_other_way(tmp_path, monkeypatch):
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))

    def run(change: int | None) -> Tensor:
        torch.manual_seed(0)
        model, path = flow("realnvp", 2, layers=2, hidden=(16,)), tmp_path / f"{change}.run"
        if change is not None:
            stepping = steps(model, x, max_steps=80, seed=1, checkpoint=path, checkpoint_seconds=1e-9)
            for event in stepping:
                if event.step >= change:
                    break
            stepping.close()
            monkeypatch.setattr(_descent, "descent", None)
            torch.manual_seed(0)
            model = flow("realnvp", 2, layers=2, hidden=(16,))
        fit(model, x, max_steps=80, seed=1, checkpoint=path)
        return model.log_prob(x).detach()

    whole = run(None)
    torch.testing.assert_close(run(40), whole, rtol=1e-4, atol=1e-4)


class TestFlat:
    def test_parameters_stay_what_they_were(self):
        params = [nn.Parameter(torch.randn(shape)) for shape in ((2, 3), (), (4,), (0, 2))]
        values = [p.detach().clone() for p in params]
        flat = Flat(params)
        assert flat.whole.numel() == 11
        assert all(torch.equal(p, value) for p, value in zip(params, values, strict=True))
        with torch.no_grad():
            flat.whole.add_(1)
        assert all(torch.equal(p, value + 1) for p, value in zip(params, values, strict=True))
        flat.release()
        with torch.no_grad():
            flat.whole.zero_()
        assert all(torch.equal(p, value + 1) for p, value in zip(params, values, strict=True))

    @pytest.mark.parametrize("how", ["to its end", "broken off"])
    def test_after_a_run_each_has_its_own_memory(self, how):
        model = flow("realnvp", 2, layers=2, hidden=(16,))
        stepping = steps(model, torch.randn(200, 2), max_steps=40, seed=0)
        for event in stepping:
            if how == "broken off" and event.step >= 20:
                stepping.close()
        assert all(p.untyped_storage().nbytes() == p.numel() * p.element_size() for p in model.parameters())

    def test_values_that_were_put_elsewhere_are_learnt_from(self):
        module = nn.Linear(2, 3)
        learner = Learner(module)
        for step in range(2):
            if step:
                module.weight.data = torch.full((3, 2), 7.0)
            module.weight.grad = torch.ones(3, 2)
            learner.update(torch.zeros(()), 0.1, step)
        torch.testing.assert_close(module.weight.detach(), torch.full((3, 2), 6.9))

    def test_a_flow_is_saved_amid_a_run(self, tmp_path):
        model, x = flow("realnvp", 2, layers=2, hidden=(16,)), torch.randn(200, 2)
        for event in steps(model, x, max_steps=40, seed=0):
            if event.event == "train" and event.step < 40:
                save(model, tmp_path / "amid.safetensors")
        assert (tmp_path / "amid.safetensors").stat().st_size < 100_000


def test_the_package_says_what_is_in_use():
    assert (kernels.descent is None) == (kernels.status()["rational_quadratic"] != "in use")
