"""What runs on a CPU runs on a CUDA device: the same densities and gradients, the same training, and files for both."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

import laws
import zoo
from unwarp import FlowDensity, flow, flows, load, save
from unwarp._random import Randomness
from unwarp.distributions import Distribution
from unwarp.training import fit, steps
from zoo.recipes import known

if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)


def _everything(row: str, device: str, dtype: torch.dtype) -> tuple[list[Tensor], list[Tensor]]:
    """What the row's calls give and the gradients of their sum, on a device, all brought back to the CPU."""
    subject = laws.subject(row)
    module = copy.deepcopy(subject.module).to(device, dtype)
    outputs = [out for call in subject.calls(module, dtype, device) for out in call()]
    total = sum(out.double().nan_to_num(posinf=0, neginf=0).mean() for out in outputs if out.is_floating_point())
    params = [p for p in module.parameters() if p.requires_grad]
    found: tuple[Tensor | None, ...] = ()
    if isinstance(total, Tensor) and total.requires_grad:
        found = torch.autograd.grad(total, params, allow_unused=True)
    return [t.detach().cpu() for t in outputs], [g.cpu() for g in found if g is not None]


def _apart(found: list[Tensor], expected: list[Tensor]) -> float:
    """The largest difference, relative to the size of the tensor it is in (at least 1)."""
    worst = 0.0
    for a, b in zip(found, expected, strict=True):
        same = (a == b) | (a.isnan() & b.isnan())
        size = b[b.isfinite()].abs().max().clamp(min=1.0) if bool(b.isfinite().any()) else torch.tensor(1.0)
        worst = max(worst, float(torch.where(same, 0.0, (a.double() - b.double()).abs()).max() / size))
    return worst


@pytest.mark.parametrize("row", zoo.ZOO)
def test_the_same_numbers_as_on_the_cpu(row: str) -> None:
    exact = _everything(row, "cpu", torch.float64)
    for ours, theirs in zip(_everything(row, "cuda", torch.float64), exact, strict=True):
        assert _apart(ours, theirs) <= 1e-7
    rounded = _everything(row, "cpu", torch.float32)
    for ours, theirs, true in zip(_everything(row, "cuda", torch.float32), rounded, exact, strict=True):
        assert _apart(ours, true) <= max(1e-4, 10 * _apart(theirs, true))


def _rows(n: int = 2_000) -> Tensor:
    """Rows of a banana."""
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(0))
    return torch.stack([3 * x[:, 0] + 5, x[:, 0].square() + 0.3 * x[:, 1]], -1)


def _model(name: str = "nsf", **options: object) -> Distribution:
    with Randomness(3):
        return flow(name, 3 if name == "sphere" else 2, **known(name, {"layers": 2, "hidden": (32,)} | options))


@pytest.mark.parametrize("name", ["realnvp", "nsf", "maf", "resflow", "cnf"])
def test_training_goes_the_same_way(name: str) -> None:
    options = {"solver": "rk4", "steps": 4} if name == "cnf" else {}
    found = {}
    for device in ("cpu", "cuda"):
        model = _model(name, **options).to(device)
        history = fit(model, _rows(), max_steps=60, seed=1, batch=256)
        assert {p.device.type for p in model.parameters()} == {device}
        found[device] = history.held_out
    assert found["cuda"] == pytest.approx(found["cpu"], abs=0.05)


def test_training_repeats_itself_and_goes_on(tmp_path) -> None:
    before, runs = torch.cuda.get_rng_state(), []
    for path in (None, tmp_path / "a", tmp_path / "b"):
        model = _model("realnvp").to("cuda")
        if path == tmp_path / "b":  # interrupted half-way, then called again
            for event in steps(model, _rows(), max_steps=80, seed=1, checkpoint=path, checkpoint_seconds=0.0):
                if event.step >= 40:
                    break
            model = _model("realnvp").to("cuda")
        fit(model, _rows(), max_steps=80, seed=1, checkpoint=path, checkpoint_seconds=0.0, baselines=())
        runs.append([p.detach().cpu() for p in model.parameters()])
    assert all(torch.equal(p, q) for other in runs[1:] for p, q in zip(runs[0], other, strict=True))
    assert torch.equal(before, torch.cuda.get_rng_state())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, on importing inductor
@pytest.mark.filterwarnings("ignore:TensorFloat32")  # an option that is the user's
@pytest.mark.filterwarnings("ignore:The CUDA Graph is empty")  # torch's own, on making room for graphs
@pytest.mark.parametrize("name", ["realnvp", "nsf"])
def test_compiled_steps_are_played_back(name: str) -> None:
    scores = {}
    for execution in ("eager", "compiled"):
        model = _model(name).to("cuda")
        history = fit(model, _rows(), max_steps=100, seed=1, batch=256, baselines=(), execution=execution)
        scores[execution] = history.held_out
    assert scores["compiled"] == pytest.approx(scores["eager"], abs=0.02)


@pytest.mark.parametrize("option", [{"memory": "reversible"}, {"conditioners": "bfloat16"}], ids=str)
def test_options_of_training(option) -> None:
    usual, other = (_model("realnvp").to("cuda") for _ in range(2))
    a = fit(usual, _rows(), max_steps=60, seed=1, batch=256, baselines=())
    b = fit(other, _rows(), max_steps=60, seed=1, batch=256, baselines=(), **option)
    assert b.held_out == pytest.approx(a.held_out, abs=0.1)


def test_estimators_leave_the_device_alone() -> None:
    before = torch.cuda.get_rng_state()
    FlowDensity(max_steps=4, random_state=0).fit(_rows(300).numpy()).sample(3)
    assert torch.equal(before, torch.cuda.get_rng_state())


@pytest.mark.parametrize("name", flows.names("vectors"))
def test_every_recipe_trains_samples_and_is_saved(name: str, tmp_path) -> None:
    model = _model(name, layers=1).to("cuda")
    x = model.space.draw(300, generator=torch.Generator().manual_seed(0))
    fit(model, x, max_steps=4, seed=1, batch=64, baselines=())
    draws, log_prob = model.sample_and_log_prob((50,), generator=torch.Generator("cuda").manual_seed(0))
    again = model.sample((50,), generator=torch.Generator("cuda").manual_seed(0))
    assert draws.is_cuda and log_prob.is_cuda and torch.allclose(draws, again, atol=1e-4)
    save(model, tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert {p.device.type for p in loaded.parameters()} <= {"cpu"}
    there = model.log_prob(x.cuda()).detach().cpu()
    assert torch.allclose(there, loaded.log_prob(x).detach(), rtol=1e-3, atol=1e-3)
    assert torch.allclose(there, loaded.to("cuda").log_prob(x.cuda()).detach().cpu(), rtol=1e-3, atol=1e-3)
