"""Free-form training: its gradient, what it may touch, and how far it gets."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from unwarp import fit, flows
from unwarp.data import toy
from unwarp.distributions import Flow, Normal
from unwarp.doctor._subject import perturbed
from unwarp.errors import ConfigError
from unwarp.networks import MLP
from unwarp.training import FreeForm, likelihood, steps
from unwarp.transforms import Compose


class Back(nn.Module):
    """What the exact inverse adds to z."""

    def __init__(self, part: Compose) -> None:
        super().__init__()
        self.decode = copy.deepcopy(part).decode

    def forward(self, z: Tensor, context: Tensor | None) -> Tensor:
        return self.decode(z, context) - z


def made(name: str, features: int, context: int = 0) -> Flow:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        options = {"tails": "light"} | ({"width": 6} if name == "otflow" else {"hidden": (6, 5)})
        return perturbed(flows.flow(name, features, layers=1, context=context, **options), scale=0.4).double()


def exact(flow: Flow) -> FreeForm:
    """The objective with the inverse for a decoder: of the one layer, the first part after the standardisation."""
    return FreeForm(Back(Compose([flow.transform.parts[1]])))


def slopes(loss: Tensor, flow: Flow) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(flow.parameters())))


@pytest.mark.parametrize("name", ["freeform", "resflow", "cpflow", "cnf", "otflow"])
def test_gradient_of_one_feature_is_exact(name):
    """v is 1 or -1, so a decoder that is the inverse leaves no chance."""
    flow = made(name, 1, context=2)
    generator = torch.Generator().manual_seed(0)
    x, context = (torch.randn(6, n, generator=generator, dtype=torch.float64) for n in (1, 2))
    weight = torch.rand(6, generator=generator, dtype=torch.float64)
    found = slopes(exact(flow)(flow, x, context, weight), flow)
    for a, b in zip(found, slopes(likelihood(flow, x, context, weight), flow), strict=True):
        assert torch.allclose(a, b, atol=1e-9)


def test_gradient_is_unbiased():
    """Over the signs that v may have, the mean of the gradients is the likelihood's."""
    flow = made("freeform", 3)
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        draws = [slopes(exact(flow)(flow, x.repeat(50, 1)), flow) for _ in range(20)]
    for i, reference in enumerate(slopes(likelihood(flow, x), flow)):
        values = torch.stack([draw[i] for draw in draws])
        error = values.std(0) / len(draws) ** 0.5
        assert bool(((values.mean(0) - reference).abs() <= 6 * error + 1e-9).all())


def test_layers_around_count_exactly():
    """What is before and after the layers has its own ladj and gradient: here tails, marginals and a mix."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = flows.freeform(1, layers=1, hidden=(6,), tails="heavy", marginals=4, support="positive", base="student")
        flow = perturbed(flow, scale=0.3).double()
    at = [type(part).__name__ for part in flow.transform.parts].index("Residual")
    x = 0.1 + torch.rand(6, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = slopes(FreeForm(Back(Compose([flow.transform.parts[at]])))(flow, x), flow)
    for a, b in zip(found, slopes(likelihood(flow, x), flow), strict=True):
        assert torch.allclose(a, b, atol=1e-8)


def test_in_evaluation_it_is_the_likelihood():
    flow, objective, x = made("freeform", 2), FreeForm(MLP(2, 2, hidden=(8,))).double(), torch.ones(4, 2).double()
    with torch.no_grad():
        assert torch.equal(objective(flow, x), likelihood(flow, x))
    assert torch.equal(objective(flow.eval(), x), likelihood(flow, x))


@pytest.mark.slow
def test_decoder_learns_and_is_no_part_of_the_flow():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1000, 2, generator=generator)
    x[:, 1] += x[:, 0].square()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow, objective = flows.freeform(2, layers=2, hidden=(16,)), FreeForm(MLP(2, 2, hidden=(32,)))
    names = set(flow.state_dict())
    history = fit(flow, x, objective, max_steps=200, lr=2e-2, seed=0)
    assert history.held_out is not None
    assert history.held_out > history.baselines["gaussian"] + 0.1
    assert set(flow.state_dict()) == names
    layers = Compose(list(flow.transform.parts)[1:-1])
    with torch.no_grad():
        start = flow.transform.parts[0].encode(x)
        missed = objective.decode(layers.encode(start)) - start
    assert float(missed.square().mean()) < 0.05


def test_killed_and_resumed_it_ends_bit_by_bit_the_same(tmp_path):
    x = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))

    def pair() -> tuple[Flow, FreeForm]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return flows.freeform(2, layers=1, hidden=(8,)), FreeForm(MLP(2, 2, hidden=(8,)))

    settings = {"max_steps": 40, "seed": 0}
    whole, parts = pair(), pair()
    fit(*whole[:1], x, whole[1], **settings, baselines=())
    run = steps(parts[0], x, parts[1], **settings, checkpoint=tmp_path / "run", checkpoint_seconds=0.0)
    next(event for event in run if event.step >= 20)
    run.close()
    parts = pair()
    fit(*parts[:1], x, parts[1], **settings, checkpoint=tmp_path / "run", baselines=())
    for one, other in zip(whole, parts, strict=True):
        assert all(torch.equal(t, other.state_dict()[name]) for name, t in one.state_dict().items())


@pytest.mark.slow
def test_it_gets_nearly_as_far_as_the_likelihood():
    x = toy("moons").sample(6000, generator=torch.Generator().manual_seed(0)).float()
    reached = {}
    for name in ("likelihood", "free form"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            flow = flows.freeform(2, layers=2, hidden=(32,))
            objective = likelihood if name == "likelihood" else FreeForm(MLP(2, 2, hidden=(64, 64)))
        reached[name] = fit(flow, x, objective, max_steps=500, batch=128, lr=3e-2, seed=0, baselines=()).held_out
    assert reached["free form"] > reached["likelihood"] - 0.1


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: FreeForm(MLP(2, 2))(flows.nsf(2), torch.zeros(4, 2)), "Residual"),
        (lambda: FreeForm(MLP(2, 2))(Normal(2), torch.zeros(4, 2)), "a flow"),
        (lambda: FreeForm(MLP(2, 2), reconstruction=0.0), "reconstruction"),
    ],
)
def test_refusals(call, says):
    with pytest.raises(ConfigError, match=says):
        call()
