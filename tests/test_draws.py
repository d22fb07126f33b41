"""Posteriors from draws: containers, names, bounds, files, evidence that is not trusted where it should not be."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from unwarp import POSITIVE, REAL, Interval, Space, flow, flows
from unwarp.applications import Draws, Evidence, Marginals, Posterior, Target, fit_posterior, propose, transport
from unwarp.errors import BundleError, ConfigError, DataError, ShapeError

QUICK = {"flow": "maf", "flow_options": {"layers": 1, "hidden": (16,)}, "max_steps": 150}


def normal(n: int = 2000, chains: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal([2.0, -1.0], [0.5, 2.0], (chains, n // chains, 2))


def law(x: Tensor) -> Tensor:
    """The log density of `normal`'s draws, times e^3."""
    each = torch.distributions.Normal(torch.tensor([2.0, -1.0]).to(x), torch.tensor([0.5, 2.0]).to(x))
    return each.log_prob(x).sum(-1) + 3.0


@pytest.mark.parametrize("kind", ["chains", "dict", "frame", "polars"])
def test_draws_in_any_container(kind: str) -> None:
    values = normal(200)
    columns = {"chain": np.repeat([0, 1, 2, 3], 50)} | {f"x{j}": values[..., j].ravel() for j in range(2)}
    given = {
        "chains": lambda: values,
        "dict": lambda: {"x0": values[..., 0], "x1": values[..., 1]},
        "frame": lambda: pd.DataFrame(columns),
        "polars": lambda: pytest.importorskip("polars").DataFrame(columns),
    }[kind]()
    found = Draws.of(given)
    assert found.sizes == {"x0": (), "x1": ()}
    np.testing.assert_allclose(found.values, values)
    assert 60 < found.effective <= 200
    assert found.names == ("x0", "x1")


def test_names_are_chosen_and_shaped() -> None:
    given = {"w": np.random.default_rng(0).normal(size=(2, 60, 2)), "b": np.random.default_rng(1).normal(size=(2, 60))}
    assert Draws.of(given).names == ("w[0]", "w[1]", "b")
    chosen = Draws.of(given, names=["b", "w"])
    assert chosen.names == ("b", "w[0]", "w[1]")
    np.testing.assert_array_equal(chosen.named()["w"], given["w"])
    assert chosen.only(["w"]).rows.shape == (120, 2)
    with pytest.raises(ConfigError, match="names among"):
        chosen.only(["v"])
    with pytest.raises(DataError, match="Give the target these names"):
        Draws.of(given, names=["v"])


def test_one_chain_is_told() -> None:
    with pytest.warns(UserWarning, match="got one, so that whether it has converged can't be judged"):
        Draws.of(normal(200, chains=1)[0])


def test_chains_that_disagree_are_told() -> None:
    apart = normal(400) + np.arange(4)[:, None, None]
    with pytest.warns(UserWarning, match=r"R-hat .* of 'x0'"):
        found = Draws.of(apart)
    assert found.r_hat[0] > 1.5


def test_correlated_draws_are_worth_less() -> None:
    noise = np.random.default_rng(0).normal(size=(2, 4000))
    chain = np.zeros((2, 4000))
    for i in range(1, 4000):
        chain[:, i] = 0.9 * chain[:, i - 1] + noise[:, i]
    worth = Draws.of({"x": chain}).effective
    assert worth == pytest.approx(8000 * (1 - 0.9) / (1 + 0.9), rel=0.35)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((2, 200, 2)), "'x0' that varies"),
        (np.zeros((10, 2)), "at least 50"),
        (np.zeros(200), "got shape"),
        (np.full((2, 200, 1), np.nan), "finite numbers of 'x0'"),
        ({"a": np.zeros((2, 50)), "b": np.zeros((1, 60))}, "equal chains"),
        ({"a": np.arange(120).reshape(2, 60)}, "real numbers of 'a'"),
        ({"a": np.full((2, 60), "x")}, "numbers of 'a'"),
        ({}, "at least one parameter"),
        (pd.DataFrame({"chain": [0] * 40 + [1] * 60, "a": np.linspace(0, 1, 100)}), "equal length"),
    ],
)
def test_unusable_draws_are_refused(given: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Draws.of(given)


def test_bounds_come_from_the_caller() -> None:
    rng = np.random.default_rng(0)
    given = {"sigma": rng.gamma(2.0, 1.0, (4, 250)), "p": rng.beta(2.0, 2.0, (4, 250, 2))}
    support = {"sigma": POSITIVE, "p": Interval(0.0, 1.0)}
    model = fit_posterior(given, support=support, **QUICK)
    found = model.sample(2000)
    assert found["p"].shape == (2000, 2)
    assert (found["sigma"] > 0).all()
    assert (found["p"] > 0).all() and (found["p"] < 1).all()
    assert found["sigma"].mean() == pytest.approx(2.0, abs=0.3)
    grid = np.linspace(1e-3, 20, 400)
    one = fit_posterior({"sigma": given["sigma"]}, support={"sigma": POSITIVE}, **QUICK)
    assert np.exp(one.log_prob({"sigma": grid})).sum() * (grid[1] - grid[0]) == pytest.approx(1.0, abs=0.03)
    with pytest.raises(DataError, match="inside the parameters' bounds"):
        fit_posterior({"sigma": given["sigma"] - 1.0}, support={"sigma": POSITIVE}, **QUICK)
    with pytest.raises(ConfigError, match="got that of"):
        fit_posterior(given, support={"tau": POSITIVE}, **QUICK)
    with pytest.raises(ConfigError, match="support too"):
        fit_posterior(given, Target.from_torch(law, 2), support=support)


def test_what_follows_from_other_parameters_is_refused() -> None:
    values = normal(400)
    both = {"a": values[..., 0], "b": values[..., 1], "sum": values.sum(-1)}
    with pytest.raises(DataError, match="follow from the others"):
        fit_posterior(both, **QUICK)
    target = Target.from_torch(law, 2, names=["a", "b"])  # which names those to take
    assert fit_posterior(both, target, **QUICK).sample(5).keys() == {"a", "b"}


def test_a_posterior_comes_back_from_its_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    given = {"sigma": rng.gamma(2.0, 1.0, (4, 100)), "w": rng.normal(size=(4, 100, 2))}
    model = fit_posterior(given, support={"sigma": POSITIVE}, **QUICK)
    model.dims, model.coords = {"w": ("side",)}, {"side": np.array(["left", "right"])}
    model.save(tmp_path / "q.safetensors")
    again = Posterior.load(tmp_path / "q.safetensors")
    for name, value in model.sample(50).items():
        np.testing.assert_array_equal(again.sample(50)[name], value)
    assert again.marginals().names == ("sigma", "w[left]", "w[right]")
    assert "w[right]" in str(again.marginals("w", n=100))
    with pytest.raises(ConfigError, match="log density"):
        again.log_evidence()
    target = Target.from_torch(lambda x: -x.square().sum(-1), 3, names={"sigma": (), "w": (2,)})
    assert math.isfinite(Posterior.load(tmp_path / "q.safetensors", target).log_evidence(draws=200).value)
    with pytest.raises(ConfigError, match="a target of"):
        Posterior.load(tmp_path / "q.safetensors", Target.from_torch(law, 2))
    flows.save(flow("maf", 2, layers=1), tmp_path / "plain.safetensors")
    with pytest.raises(BundleError, match="expected a posterior"):
        Posterior.load(tmp_path / "plain.safetensors")


def test_evidence_is_right_and_trusted_with_draws() -> None:
    evidence = fit_posterior(normal(4000), Target.from_torch(law, 2), **QUICK).log_evidence(draws=4000)
    assert evidence.trust, evidence
    assert evidence.method == "bridge"
    assert abs(evidence.value - 3.0) < max(0.05, 3 * evidence.error)


def test_a_rescaled_density_moves_the_evidence_alone() -> None:
    target = Target.from_torch(lambda x: law(x) + 400.0, 2)
    evidence = fit_posterior(normal(4000), target, **QUICK).log_evidence(draws=4000)
    assert evidence.trust
    assert abs(evidence.value - 403.0) < max(0.05, 3 * evidence.error)


def two_modes(x: Tensor) -> Tensor:
    return torch.logsumexp(torch.stack([law(x), law(x + torch.tensor([8.0, 0.0]).to(x))]), 0)


def heavy(x: Tensor) -> Tensor:
    return -1.25 * (1 + x.square() / 1.5).log().sum(-1)


def wider(x: Tensor) -> Tensor:
    return law((x - torch.tensor([2.0, -1.0]).to(x)) / 1.6 + torch.tensor([2.0, -1.0]).to(x))


@pytest.mark.parametrize("gradient", ["known", "unknown"])
def test_a_mode_that_all_draws_lack_is_found(gradient: str) -> None:
    def one(x: np.ndarray) -> float:
        a, b = (x[0] - 2.0) / 0.5, (x[1] + 1.0) / 2.0
        return float(np.logaddexp(-0.5 * a * a, -0.5 * (a + 16.0) ** 2) - 0.5 * b * b)

    target = Target.from_torch(two_modes, 2) if gradient == "known" else Target.from_callable(one, 2)
    evidence = fit_posterior(normal(), target, **QUICK).log_evidence(draws=1000)
    assert not evidence.trust
    assert "mode" in evidence.reasons[0]


def test_a_funnel_has_no_second_mode() -> None:
    """The funnel's pole is its highest point by far, and has no mass."""

    def funnel(x: Tensor) -> Tensor:
        v, rest = x[:, :1], x[:, 1:]
        return (-v.square() / 18 - 0.5 * (rest.square() / v.exp() + v).sum(-1, keepdim=True)).sum(-1)

    rng = np.random.default_rng(0)
    v = 3 * rng.normal(size=(4, 500, 1))
    draws = np.concatenate([v, np.exp(v / 2) * rng.normal(size=(4, 500, 5))], -1)
    evidence = fit_posterior(draws, Target.from_torch(funnel, 6), **QUICK).log_evidence(draws=2000)
    assert not any("mode" in reason for reason in evidence.reasons)


def test_tails_heavier_than_the_flows_are_seen() -> None:
    draws = np.random.default_rng(0).standard_t(1.5, (4, 1000, 2))
    evidence = fit_posterior(draws, Target.from_torch(heavy, 2), **QUICK).log_evidence(draws=4000)
    assert not evidence.trust
    assert evidence.pareto_k > 0.7


def test_draws_of_another_density_are_seen() -> None:
    evidence = fit_posterior(normal(4000), Target.from_torch(wider, 2), **QUICK).log_evidence(draws=4000)
    assert not evidence.trust
    assert any("bridge" in reason for reason in evidence.reasons)


def test_few_draws_are_seen() -> None:
    evidence = fit_posterior(normal(120), Target.from_torch(law, 2), **QUICK).log_evidence(draws=1000)
    assert not evidence.trust
    assert any("independent" in reason for reason in evidence.reasons)


def test_chains_that_disagree_are_not_trusted() -> None:
    apart = normal(4000) * np.array([1.0, 1.0, 1.0, 0.2])[:, None, None]
    with pytest.warns(UserWarning, match="R-hat"):
        model = fit_posterior(apart, Target.from_torch(law, 2), **QUICK)
    assert any("disagree" in reason for reason in model.log_evidence(draws=1000).reasons)


def test_marginals_of_draws() -> None:
    found = Marginals.of(Draws.of({"a": normal(4000)[..., 0]}))
    assert found.mean[0] == pytest.approx(2.0, abs=0.05)
    assert found.quantiles[0, 2] == pytest.approx(2.0, abs=0.05)
    assert found.to_json()["a"]["r_hat"] < 1.02


def test_evidence_says_what_speaks_against_it() -> None:
    told = Evidence.of(np.zeros(1000), None, against=["the moon is full"])
    assert not told.trust
    assert "the moon is full" in str(told)


def ridge(x: Tensor) -> Tensor:
    """A positive parameter and a real one that lies along it."""
    a, b = x[:, 0].log(), x[:, 1]
    return -0.5 * (a / 3).square() - a - 0.5 * ((b - 2 * a) / 1.0).square()


@pytest.fixture(scope="module")
def latent() -> tuple[Target, Posterior]:
    target = Target.from_torch(ridge, Space((2,), (POSITIVE, REAL)), names=["a", "b"])
    rng = np.random.default_rng(0)
    a = 3 * rng.normal(size=(4, 500))
    draws = {"a": np.exp(a), "b": 2 * a + rng.normal(size=a.shape)}
    return target, fit_posterior(draws, target, **QUICK)


def test_a_target_seen_through_a_flow_is_the_same_density(latent: tuple[Target, Posterior]) -> None:
    target, model = latent
    seen = transport(target, model)
    z = torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    u, ladj = model.flow.transform.inverse(z)
    torch.testing.assert_close(seen.log_density(z), target.log_density(u) + ladj)
    x, forth = seen.to_constrained(z)
    back, inverse = seen.to_unconstrained(x)
    torch.testing.assert_close(back, z)
    torch.testing.assert_close(inverse, -forth)
    torch.testing.assert_close(seen.log_density(z) - forth, ridge(x))
    named = seen.named(z.numpy().reshape(4, 5, 2))
    assert named["a"].shape == (4, 5)
    assert (named["a"] > 0).all()


def test_numpy_gets_values_and_gradients(latent: tuple[Target, Posterior]) -> None:
    call = transport(*latent).to_numpy()
    z = np.random.default_rng(1).normal(size=(6, 2))
    values, slopes = call.value_and_gradient(z)
    np.testing.assert_allclose(values, [call(point) for point in z])
    step = 1e-6 * np.eye(2)
    for point, slope in zip(z, slopes, strict=True):
        differences = [(call(point + e) - call(point - e)) / 2e-6 for e in step]
        np.testing.assert_allclose(slope, differences, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(call.gradient(point), slope, rtol=1e-9)
    cube = np.random.default_rng(2).random((5, 2))
    there = call.prior_transform(cube)
    normal = -0.5 * (there**2).sum(-1) - math.log(2 * math.pi)
    np.testing.assert_allclose(call.log_likelihood(there), call(there) - normal)
    assert call.log_likelihood(there[0]) == pytest.approx(call.log_likelihood(there)[0])
    with pytest.raises(ShapeError, match=r"points \(2,\)"):
        call(np.zeros(3))
    with pytest.raises(ConfigError, match="with a gradient"):
        Target.from_callable(lambda x: 0.0 * float(x[0]), 2).to_numpy().gradient(np.zeros(2))
    assert Target.from_torch(lambda x: x.sum(-1).log(), 2).to_numpy()([-1.0, 0.0]) == -math.inf


def test_proposals_follow_the_target_exactly() -> None:
    """A flow of the wrong width, whose draws are mended."""
    model = Posterior(
        flow("maf", 1, layers=1).double().eval(), Target.from_torch(lambda x: -2 * x.square().sum(-1), 1), known=True
    )
    found = propose(model, draws=4000, chains=4, random_state=1)
    assert 0.4 < found.acceptance < 0.9
    assert found.draws.rows.std() == pytest.approx(0.5, abs=0.02)
    assert 1000 < found.effective < 16_000
    assert found.longest > 1
    assert "accepted" in str(found)


def test_what_cannot_be_transported_is_said(latent: tuple[Target, Posterior]) -> None:
    target, _ = latent
    with pytest.raises(ShapeError, match="2 coordinates"):
        transport(target, flow("maf", 3, layers=1))
    with pytest.warns(UserWarning, match="normal latent"):
        transport(target, flow("maf", 2, layers=1, base="student"))
    with pytest.raises(ConfigError, match="log density"):
        propose(fit_posterior(normal(400), **QUICK))
    with pytest.raises(ShapeError, match="at least 1"):
        propose(latent[1], draws=0)
