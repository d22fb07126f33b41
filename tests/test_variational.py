"""Learning from a log density: where it is, in any units; several modes; objectives; what is wrong with it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from unwarp import POSITIVE, REAL, Space, flow
from unwarp.applications import Target, fit_posterior
from unwarp.applications._posteriors._start import Normal, climb, distinct, matched, spread, starts
from unwarp.distributions import Gaussian
from unwarp.distributions import Normal as Standard
from unwarp.errors import ConfigError, DataError
from unwarp.training import AlphaDivergence, Bootstrap, annealed, fit

SMALL = {"layers": 2, "hidden": (8,)}


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def steep() -> tuple[Target, Tensor, Tensor]:
    """A normal law of scales from 1e-4 to 1e4 with correlations of 0.999, far from 0."""
    scale = torch.tensor([1e-4, 1.0, 1e4], dtype=torch.float64)
    mean = torch.tensor([0.3, -50.0, 6e4], dtype=torch.float64)
    correlation = torch.full((3, 3), 0.999, dtype=torch.float64).fill_diagonal_(1.0)
    law = torch.distributions.MultivariateNormal(mean, scale[:, None] * correlation * scale)
    return Target.from_torch(law.log_prob, 3), mean, scale


def two(x: Tensor) -> Tensor:
    """A fifth of the mass in a narrow mode, the rest in a wide one; normalised."""
    near = torch.distributions.Normal(torch.tensor([3.0, 0.0]).to(x), 0.3).log_prob(x).sum(-1)
    far = torch.distributions.Normal(torch.tensor([-3.0, -2.0]).to(x), 1.0).log_prob(x).sum(-1)
    return torch.logaddexp(near + math.log(0.2), far + math.log(0.8))


def test_modes_are_found_in_any_units() -> None:
    target, mean, scale = steep()
    found = distinct(target, climb(target, starts(3, 8, seeded())), seeded())
    assert len(found) == 1
    torch.testing.assert_close(found[0].mean, mean, rtol=1e-5, atol=0.0)
    torch.testing.assert_close((found[0].factor @ found[0].factor.mT).diagonal().sqrt(), scale, rtol=1e-3, atol=0.0)
    assert found[0].log_mass == pytest.approx(0.0, abs=0.1)


def test_scores_lead_to_the_normal_law() -> None:
    mean, scale = torch.tensor([5.0, -3.0]).double(), torch.tensor([0.1, 20.0]).double()
    target = Target.from_torch(lambda x: torch.distributions.Normal(mean, scale).log_prob(x).sum(-1), 2)
    law, bound = matched(target, Normal(torch.zeros(2).double(), torch.eye(2).double()), seeded())
    assert bound == pytest.approx(0.0, abs=0.01)
    assert float(((law.mean - mean) / scale).abs().max()) < 0.05


def test_a_normal_law_in_strange_units_needs_no_training() -> None:
    target, mean, scale = steep()
    asked: list[object] = []
    q = fit_posterior(target, max_steps=500, progress=asked.append)
    draws = np.column_stack(list(q.sample(4000).values()))
    assert np.abs((draws.mean(0) - mean.numpy()) / scale.numpy()).max() < 0.06
    assert np.abs(np.log(draws.std(0) / scale.numpy())).max() < 0.05
    assert q.diagnose().trust
    assert not asked


def test_both_modes_and_their_masses_are_found() -> None:
    target = Target.from_torch(two, 2)
    found = distinct(target, climb(target, starts(2, 64, seeded())), seeded())
    masses = sorted(math.exp(one.log_mass) for one in found)
    assert masses == pytest.approx([0.2, 0.8], abs=0.02)
    wide = spread(found)
    assert float(wide.white(torch.stack([one.mean for one in found])).norm(dim=-1).max()) < 2
    with torch.random.fork_rng():
        torch.manual_seed(0)
        rows = annealed(wide.draw(1000, seeded()), wide.log_prob, two)
    assert float((rows[:, 0] > 0).double().mean()) == pytest.approx(0.2, abs=0.06)


@pytest.mark.slow
def test_several_modes_are_fitted_and_one_alone_is_told() -> None:
    target = Target.from_torch(two, 2)
    q = fit_posterior(target, max_steps=300, draws=128)
    told = q.diagnose()
    assert told.trust, str(told)
    assert (q.sample(8000)["x0"] > 0).mean() == pytest.approx(0.2, abs=0.03)
    assert q.log_evidence().value == pytest.approx(0.0, abs=0.05)
    one = fit_posterior(target, max_steps=100, draws=128, objective="reverse_kl").diagnose()
    assert not one.trust
    assert one.lost > 5
    assert one.pareto_k < 0.7  # weights alone don't tell


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["importance", "alpha", "tempered", "bootstrap"])
def test_each_objective_learns_a_skewed_density(objective: str) -> None:
    def gamma(x: Tensor) -> Tensor:
        return 2 * x[:, 1].log() - x[:, 1] - 0.5 * (x[:, 0] - x[:, 1]).square()

    target = Target.from_torch(gamma, Space((2,), (REAL, POSITIVE)), names=["a", "b"])
    options = {} if objective == "tempered" else SMALL  # that one has the farthest to go
    q = fit_posterior(target, objective=objective, max_steps=400, draws=128, flow_options=options)  # pyright: ignore[reportArgumentType]
    assert q.diagnose().effective > 0.7
    assert q.sample(4000)["b"].mean() == pytest.approx(3.0, abs=0.15)
    assert q.sample(4000)["a"].std() == pytest.approx(2.0, abs=0.2)


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_alpha_gradients_vanish_at_the_target(alpha: float) -> None:
    model = flow("maf", 2, layers=1, hidden=(8,)).double()
    frozen = {name: p.detach() for name, p in model.named_parameters()}

    def log_density(x: Tensor) -> Tensor:
        return torch.func.functional_call(model, frozen, (x,)) + 3.0

    loss = AlphaDivergence(log_density, alpha=alpha)(model, torch.zeros(64, 2), None, None)
    assert loss.item() == pytest.approx(-3.0)
    loss.backward()
    assert max(float(p.grad.abs().max()) for p in model.parameters() if p.grad is not None) < 1e-9


def test_alpha_is_the_importance_weighted_bound_at_zero() -> None:
    torch.manual_seed(0)
    model = Gaussian(2).double()
    target = torch.distributions.Normal(torch.tensor([0.5, 0.0]).double(), 1.3)
    goal = AlphaDivergence(lambda x: target.log_prob(x).sum(-1), alpha=0.0)
    losses = [goal(model, torch.zeros(64, 2), None, None).item() for _ in range(300)]
    assert np.mean(losses) == pytest.approx(0.0, abs=0.02)
    with pytest.raises(ConfigError, match="alpha"):
        AlphaDivergence(Standard(2).log_prob, alpha=1.0)


def test_bootstrapping_finds_a_tail_that_the_flow_lacks() -> None:
    wide = torch.distributions.Normal(torch.zeros(2).double(), 2.0)
    model = Gaussian(2).double()
    goal = Bootstrap(lambda x: wide.log_prob(x).sum(-1), stages=3, every=4)
    fit(model, torch.zeros(64, 2).double(), goal, start="keep", validation=0, lr=5e-2, max_steps=150, seed=0)
    assert model.log_scale.exp().detach().tolist() == pytest.approx([2.0, 2.0], abs=0.3)
    with pytest.raises(ConfigError, match="stages"):
        Bootstrap(Standard(2).log_prob, stages=0)


def test_annealing_moves_draws_to_another_law() -> None:
    end = torch.distributions.Normal(torch.tensor([4.0, 0.0]).double(), torch.tensor([0.5, 3.0]).double())
    base = Standard(2).double()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = annealed(base.sample((1000,)), base.log_prob, lambda at: end.log_prob(at).sum(-1))
    assert x.mean(0).tolist() == pytest.approx([4.0, 0.0], abs=0.4)
    assert x.std(0).tolist() == pytest.approx([0.5, 3.0], rel=0.15)


def nan(x: Tensor) -> Tensor:
    return x.sum(-1) * math.nan


def nowhere(x: Tensor) -> Tensor:
    return 0 * x.sum(-1) - math.inf


def detached(x: Tensor) -> Tensor:
    return -0.5 * x.detach().square().sum(-1)


def flat(x: Tensor) -> Tensor:
    return 0 * x.sum(-1)


@pytest.mark.parametrize(
    ("density", "error", "words"),
    [
        (nan, DataError, "got NaN"),
        (nowhere, DataError, "infinite values alone"),
        (detached, ConfigError, "gradient"),
        (flat, DataError, "finite integral"),
    ],
)
def test_densities_that_cannot_be_learned_are_refused(
    density: Callable[[Tensor], Tensor], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        fit_posterior(Target.from_torch(density, 2), max_steps=20)


def test_a_density_that_rises_for_ever_ends() -> None:
    with contextlib.suppress(DataError):
        q = fit_posterior(Target.from_torch(lambda x: x.sum(-1), 1), max_steps=20, draws=32, flow_options=SMALL)
        assert not q.diagnose().trust


def test_gaps_in_a_density_are_told() -> None:
    def gappy(x: Tensor) -> Tensor:
        value = -0.5 * x.square().sum(-1) - 0.1 * x.pow(4).sum(-1)
        return torch.where(x[:, 0] > 0.8, math.nan, value)

    with pytest.warns(UserWarning, match="left out"):
        fit_posterior(Target.from_torch(gappy, 2), max_steps=20, draws=64, flow_options=SMALL)


def test_an_unknown_objective_is_refused() -> None:
    with pytest.raises(ConfigError, match='"bootstrap"'):
        fit_posterior(steep()[0], objective="forward")  # pyright: ignore[reportArgumentType]


def test_a_prewhitened_flow_is_saved_with_its_density(tmp_path: object) -> None:
    from pathlib import Path

    from unwarp import load, save

    model = flow("realnvp", 3, layers=2, hidden=(8,), mixing="prewhiten").double()
    mean, scale = steep()[1:]
    rows = mean + scale * (
        torch.randn(500, 1, generator=seeded()).double() + 0.04 * torch.randn(500, 3, generator=seeded()).double()
    )
    model.adapt(rows)
    white = model.transform.encode(rows)
    torch.testing.assert_close(white.mT.cov(correction=0), torch.eye(3).double(), atol=1e-3, rtol=0)
    path = Path(str(tmp_path)) / "flow.safetensors"
    save(model, path)
    torch.testing.assert_close(load(path).log_prob(rows), model.log_prob(rows))
