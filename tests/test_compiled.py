"""Training by a compiled step: the same run, and without one where there can be none."""

import functools
import shutil
import warnings

import pytest
import torch
from torch import Tensor, nn

from unwarp import flow
from unwarp.distributions import Flow, Normal
from unwarp.networks import MLP
from unwarp.training import FreeForm, fit, likelihood, noisy_likelihood
from unwarp.training._checkpoint import read_checkpoint
from unwarp.training._gradient import program_options
from unwarp.transforms import ActNorm, Compose, Coupling, Standardize
from unwarp.univariates import Affine, RationalQuadratic


class Forgetful(nn.Module):
    """A conditioner that draws."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.net = MLP(1, outputs, hidden=(8,))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.net(nn.functional.dropout(x, 0.1, self.training), context)


def model() -> Flow:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        spline = RationalQuadratic(4)
        affine = Coupling(2, Affine(), Forgetful(2))
        parts = [Standardize(2), ActNorm(2), affine, Coupling(2, spline, MLP(1, spline.n_params, hidden=(8,)))]
        return Flow(Compose(parts), Normal(2))


X = torch.randn(300, 2, generator=torch.Generator().manual_seed(0)) @ torch.tensor([[2.0, 1.0], [0.0, 0.5]])


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Programs are captured as ever and then run as they are: in a tenth of the time, on any machine."""
    made: list[object] = []
    whole = torch.compile

    def captured(step, *, options, **settings):
        made.append(options)
        return whole(step, backend="eager", **settings)

    monkeypatch.setattr(torch, "compile", captured)
    return made


@pytest.mark.parametrize("pure", [True, False])
def test_steps_are_played_back_on_cuda_alone(pure):
    found = {name: program_options(torch.device(name), pure=pure) for name in ("cpu", "cuda")}
    assert found["cuda"] == {**found["cpu"], "triton.cudagraphs": True}
    assert ("guard_filter_fn" in found["cpu"]) == pure


def near(a: Flow, b: Flow) -> bool:
    return all(torch.allclose(p, q, rtol=1e-3, atol=1e-5) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.slow
def test_the_run_is_the_same(graphs):
    usual, compiled = model(), model()
    a = fit(usual, X, noisy_likelihood, max_steps=50, batch=64, seed=1, baselines=())
    b = fit(compiled, X, noisy_likelihood, max_steps=50, batch=64, seed=1, baselines=(), execution="compiled")
    assert len(graphs) == 1 and near(usual, compiled)
    assert a.held_out == pytest.approx(b.held_out, abs=1e-4)


@pytest.mark.slow
def test_weights_and_contexts_are_handed_on(graphs):
    flows = []
    for execution in ("eager", "compiled"):
        torch.manual_seed(0)
        flows.append(flow("realnvp", 2, context=1, layers=2, hidden=(8,)))
        more = {"context": X[:, :1], "weight": X[:, 0].abs()}
        fit(flows[-1], X, max_steps=30, batch=64, seed=1, execution=execution, **more)
    assert len(graphs) == 1 and near(*flows)


@pytest.mark.slow
def test_an_objectives_own_parameters_are_trained_too(graphs):
    decoders = []
    for execution in ("eager", "compiled"):
        torch.manual_seed(0)
        made, objective = flow("freeform", 2, layers=1, hidden=(8,)), FreeForm(MLP(2, 2, hidden=(8,)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whether it can be compiled or not, the run is the same
            fit(made, X, objective, max_steps=20, batch=64, seed=1, execution=execution)
        decoders.append(objective)
    assert near(*decoders)


@pytest.mark.slow
def test_a_stopped_run_goes_on(graphs, tmp_path):
    file = tmp_path / "run.ckpt"
    settings = {"batch": 64, "seed": 1, "checkpoint_seconds": 1e-9, "baselines": (), "execution": "compiled"}

    def stop(step):
        if step.step >= 40:
            raise RuntimeError

    whole, parted = model(), model()
    fit(whole, X, max_steps=80, **settings)
    with pytest.raises(RuntimeError):
        fit(parted, X, max_steps=80, checkpoint=file, progress=stop, **settings)
    assert read_checkpoint(file) is not None
    parted = model()
    fit(parted, X, max_steps=80, checkpoint=file, **settings)
    assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), parted.parameters(), strict=True))


def test_what_cannot_be_compiled_trains_without():
    def branching(flow, x, context, weight):
        loss = likelihood(flow, x, context, weight)
        return loss if float(loss.detach()) > 0 else 2 * loss

    usual, other = model(), model()
    fit(usual, X, branching, max_steps=30, seed=1)
    with pytest.warns(UserWarning, match="can be compiled") as told:
        fit(other, X, branching, max_steps=30, seed=1, execution="compiled")
    assert len(told) == 1
    assert all(torch.equal(p, q) for p, q in zip(usual.parameters(), other.parameters(), strict=True))


def test_without_a_compiler_it_trains_without(monkeypatch):
    def none(*_, **__):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", none)
    with pytest.warns(UserWarning, match="no compiler"):
        assert fit(model(), X, max_steps=20, seed=1, execution="compiled").steps == 20


@pytest.mark.slow
def test_more_runs_than_torch_keeps_programs_of_one_function(graphs):
    torch.compiler.reset()
    step = functools.partial(fit, x=X, max_steps=1, seed=1, baselines=(), validation=0, execution="compiled")
    for _ in range(12):
        step(flow("realnvp", 2, layers=1, hidden=(4,)))  # a warning would be an error
    assert len(graphs) == 12


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, on importing inductor
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_machine_code_trains_the_same():
    usual, compiled = model(), model()
    fit(usual, X, max_steps=50, batch=64, seed=1)
    fit(compiled, X, max_steps=50, batch=64, seed=1, execution="compiled")
    assert near(usual, compiled)
