"""Posteriors from log densities and draws: names, bounds, weights, evidence, and when not to trust them."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from unwarp import POSITIVE, REAL, Space, flow
from unwarp.applications import (
    Evidence,
    Posterior,
    Target,
    bridge_sampling,
    effective_size,
    fit_posterior,
    importance_sampling,
    pareto_smoothed,
)
from unwarp.distributions import Normal
from unwarp.doctor._subject import perturbed
from unwarp.errors import ConfigError, DataError, ShapeError
from unwarp.training import AlphaDivergence, ImportanceWeighted, ReverseKL

LOG_Z = 3.0


def shifted(x: Tensor) -> Tensor:
    """Two independent normals around 2 and -1, times e^3."""
    law = torch.distributions.Normal(torch.tensor([2.0, -1.0]).to(x), torch.tensor([0.5, 2.0]).to(x))
    return law.log_prob(x).sum(-1) + LOG_Z


def drawn(n: int = 2000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal([2.0, -1.0], [0.5, 2.0], (4, n // 4, 2))


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    target = Target.from_torch(shifted, 2, names=["a", "b"])
    return fit_posterior(target, max_steps=200, draws=128, flow_options={"layers": 4, "hidden": (16,)})


def test_a_density_is_learned_and_judged(posterior: Posterior) -> None:
    found = posterior.sample(4000, random_state=1)
    assert found["a"].mean() == pytest.approx(2.0, abs=0.1)
    assert found["b"].std() == pytest.approx(2.0, abs=0.3)
    evidence = posterior.log_evidence(draws=4000)
    assert evidence.trust
    assert evidence.method == "importance"
    assert abs(evidence.value - LOG_Z) < max(0.05, 4 * evidence.error)
    told = posterior.diagnose()
    assert told.trust
    assert told.elbo <= LOG_Z + 4 * told.elbo_error
    assert "can be trusted" in str(told)
    assert "trusted" in str(evidence)


def test_its_density_is_normalised_in_the_users_units(posterior: Posterior) -> None:
    grid = np.linspace(-8, 8, 161)
    a, b = np.meshgrid(grid / 4 + 2, grid - 1)
    density = np.exp(posterior.log_prob({"a": a.ravel(), "b": b.ravel()})).sum() * (grid[1] - grid[0]) ** 2 / 4
    assert density == pytest.approx(1.0, abs=0.03)


def test_weights_mend_draws(posterior: Posterior) -> None:
    mended = posterior.sample(300, weigh="resample")
    assert mended["a"].shape == (300,)
    assert mended["a"].mean() == pytest.approx(2.0, abs=0.2)


def test_draws_and_density_give_evidence_by_bridge() -> None:
    target = Target.from_torch(shifted, 2)
    model = fit_posterior(drawn(), target, flow="maf", flow_options={"layers": 1, "hidden": (16,)}, max_steps=200)
    evidence = model.log_evidence(draws=4000)
    assert evidence.method == "bridge"
    assert evidence.trust
    assert abs(evidence.value - LOG_Z) < max(0.05, 4 * evidence.error)


def test_a_bad_fit_is_not_trusted() -> None:
    far = Posterior(flow("maf", 2, layers=1).double().eval(), Target.from_torch(shifted, 2), known=True)
    with torch.no_grad():
        for part in far.flow.transform.parts:
            if hasattr(part, "center"):
                part.center.fill_(-40.0)  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
    evidence = far.log_evidence(draws=500)
    assert not evidence.trust
    assert evidence.reasons
    assert "not to be trusted" in str(evidence)
    assert not far.diagnose().trust


def test_a_lost_mode_is_found() -> None:
    def modes(x: Tensor) -> Tensor:
        sides = torch.stack([(x - 6.0).square().sum(-1), (x + 6.0).square().sum(-1)])
        return torch.logsumexp(-0.5 * sides, 0)

    one = Posterior(flow("maf", 2, layers=1).double().eval(), Target.from_torch(modes, 2), known=True)
    around = 6.0 + torch.randn(2000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    one.flow.adapt(around)
    told = one.diagnose()
    assert told.lost > 5
    assert not told.trust


def test_bounded_parameters_stay_inside() -> None:
    def gamma(x: Tensor) -> Tensor:
        return (2 * x[:, 1].log() - x[:, 1]) - 0.5 * x[:, 0].square()

    target = Target.from_torch(gamma, Space((2,), (REAL, POSITIVE)), names=["mu", "tau"])
    model = fit_posterior(target, max_steps=200, draws=128, flow_options={"layers": 2, "hidden": (16,)})
    tau = model.sample(2000)["tau"]
    assert (tau > 0).all()
    assert tau.mean() == pytest.approx(3.0, abs=0.4)
    u = torch.randn(5, 2, dtype=torch.float64)
    x, ladj = target.to_constrained(u)
    back, inverse = target.to_unconstrained(x)
    torch.testing.assert_close(back, u)
    torch.testing.assert_close(inverse, -ladj)


def test_a_numpy_density_with_its_gradient() -> None:
    target = Target.from_callable(lambda x: -0.5 * float(x @ x), 2, gradient=lambda x: -x, names={"w": (2,)})
    u = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    target.log_density(u).sum().backward()
    torch.testing.assert_close(u.grad, -u.detach())
    assert target.differentiable
    assert not Target.from_callable(lambda x: 0.0 * float(x[0]), 2).differentiable


def test_shapes_come_back_by_name() -> None:
    target = Target.from_torch(lambda x: -0.5 * x.square().sum(-1), 5, names={"w": (2, 2), "b": ()})
    model = Posterior(flow("maf", 5, layers=1).double().eval(), target, known=True)
    found = model.sample(7)
    assert found["w"].shape == (7, 2, 2)
    assert found["b"].shape == (7,)
    assert model.log_prob(found).shape == (7,)


def test_what_cannot_be_done_is_said() -> None:
    plain = fit_posterior(drawn(200), flow="maf", flow_options={"layers": 1, "hidden": (8,)}, max_steps=20)
    with pytest.raises(ConfigError, match="log density"):
        plain.log_evidence()
    with pytest.raises(DataError, match="parameters"):
        plain.log_prob({"x0": [0.0]})
    with pytest.raises(ConfigError, match="gradient"):
        fit_posterior(Target.from_callable(lambda x: 0.0 * float(x[0]), 2))
    with pytest.raises(DataError, match="finite log density"):
        fit_posterior(Target.from_torch(lambda x: x.sum(-1) * math.nan, 2), max_steps=1)
    with pytest.raises(DataError, match="Give the target these names"):
        fit_posterior(drawn(200), Target.from_torch(shifted, 2, names=["a", "b"]))
    with pytest.raises(ConfigError, match="names for 2 parameters"):
        Target.from_torch(shifted, 2, names=["a"])
    with pytest.raises(ShapeError, match="Sum over the parameters"):
        Target.from_torch(lambda x: x, 2).log_density(torch.zeros(3, 2))


def test_pareto_shapes_tell_light_tails_from_heavy() -> None:
    rng = np.random.default_rng(1)
    for shape in (0.3, 1.0):
        weights = (1 - rng.random(20_000)) ** (-shape)
        smoothed, k = pareto_smoothed(np.log(weights))
        assert k == pytest.approx(shape, abs=0.15)
        assert np.exp(smoothed).sum() == pytest.approx(1.0)
    assert pareto_smoothed(np.zeros(10))[1] == math.inf
    assert pareto_smoothed(np.zeros(1000))[1] == -math.inf
    assert effective_size(np.array([0.0, -1e9])) == pytest.approx(1.0)


def test_bridge_needs_less_overlap_than_importance() -> None:
    rng = np.random.default_rng(0)
    q, p = rng.normal(size=20_000), rng.normal(1.5, 0.7, 20_000)

    def ratio(x: np.ndarray) -> np.ndarray:
        log_p = -0.5 * ((x - 1.5) / 0.7) ** 2 - math.log(0.7)
        return log_p + 0.5 * x**2 + 1.0  # the integral is e

    value, error = bridge_sampling(ratio(q), ratio(p))
    assert abs(value - 1.0) < 4 * error < 0.1
    found = Evidence.of(ratio(q), ratio(p))
    assert found.bridge is not None
    assert found.bridge[1] < found.importance[1]
    assert importance_sampling(np.full(5, -math.inf))[1] == math.inf


@pytest.mark.parametrize("goal", [ReverseKL, ImportanceWeighted, AlphaDivergence])
@pytest.mark.parametrize("recipe", ["maf", "realnvp", "nsf"])
def test_gradients_along_the_path_vanish_at_the_target(goal: type, recipe: str) -> None:
    model = perturbed(flow(recipe, 2, layers=2, hidden=(8,)).double())
    goal(partial(_as_target, model))(model, torch.zeros(64, 2), None, None).backward()
    assert max(float(p.grad.abs().max()) for p in model.parameters() if p.grad is not None) < 1e-9
    with pytest.raises(ConfigError):
        ReverseKL(Normal(2).log_prob, gradient="neither")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("options", [{"tails": "heavy", "mixing": "lu"}, {"base": "student"}])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_gradients_along_the_path_are_those_of_two_passes(options: dict[str, str], dtype: torch.dtype) -> None:
    """They come with the draws; and in validation, where nothing is learned, the value alone."""
    model = perturbed(flow("realnvp", 3, layers=3, hidden=(8,), **options)).to(dtype)
    objective = ReverseKL(lambda x: -x.cosh().log().sum(-1))

    def drawn(count: int) -> Tensor:
        torch.manual_seed(0)
        return model.sample((count,))

    def gradients(loss: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(loss, list(model.parameters()), allow_unused=True, materialize_grads=True))

    torch.manual_seed(0)
    loss = objective(model, torch.zeros(64, 3), None, None)
    x = drawn(64)
    right = (_as_target(model, x) + x.cosh().log().sum(-1)).mean()
    with torch.no_grad():
        torch.manual_seed(0)
        value = objective(model, torch.zeros(64, 3), None, None)
    pairs = zip([loss, value, *gradients(loss)], [right, right, *gradients(right)], strict=True)
    near = 1e-9 if dtype == torch.float64 else 1e-4
    assert all(bool(((a - b).abs() <= near * (1 + b.abs().max())).all()) for a, b in pairs)


def _as_target(model: torch.nn.Module, x: Tensor) -> Tensor:
    """The model's own density, whose parameters stand still."""
    frozen = {name: p.detach() for name, p in model.named_parameters()}
    return torch.func.functional_call(model, frozen, (x,))
