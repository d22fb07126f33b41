"""Posteriors of simulators: priors and their coordinates, what is learned, what is checked, and what is refused."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributions as laws

from unwarp import POSITIVE, REAL, Interval, report
from unwarp.applications import FMPE, NLE, NPE, Box, Checks, Independent, Prior, builder
from unwarp.applications._simulators._calibration import (
    distance_levels,
    highest_density_levels,
    local_two_sample,
    uniformity,
)
from unwarp.applications._simulators._prior import prior_of
from unwarp.applications._simulators._simulations import steps_of
from unwarp.applications._simulators._tempered import tempered
from unwarp.errors import BundleError, ConfigError, DataError, RecipeError, ShapeError
from unwarp.flows import amortized, names

QUICK: Any = {"members": 1, "max_steps": 60, "flow_options": {"layers": 2, "hidden": [16]}}
COVARIANCE = torch.tensor([[1.0, 0.5], [0.5, 2.0]])
EVERY = {
    "normal": laws.Normal(1.0, 2.0),
    "lognormal": laws.LogNormal(0.0, 1.0),
    "uniform": Interval(-1.0, 2.0),
    "gamma": laws.Gamma(2.0, 3.0),
    "vector": laws.MultivariateNormal(torch.zeros(2), COVARIANCE),
    "exponential": laws.Exponential(2.0),
    "beta": laws.Beta(2.0, 3.0),
    "halfnormal": laws.HalfNormal(2.0),
    "student": laws.StudentT(3.0),
    "normals": laws.Normal(torch.zeros(3), torch.ones(3)),
    "weibull": laws.Weibull(1.5, 2.0),
}


def shifted(theta: np.ndarray, seed: int = 0, scale: float = 0.2) -> np.ndarray:
    return theta + scale * np.random.default_rng(seed).normal(size=theta.shape)


@pytest.fixture(scope="module")
def prior() -> Box:
    return Box([-1.0, 0.0], [1.0, 3.0], names=["shift", "scale"])


@pytest.fixture(scope="module")
def npe(prior: Box) -> NPE:
    theta = prior.sample(600)
    return NPE(prior, **QUICK).fit(theta, shifted(theta))


def test_every_law_goes_to_its_coordinates_and_back() -> None:
    prior = Independent(EVERY)
    theta = torch.from_numpy(prior.sample(50))
    u, ladj = prior.to_normal(theta)
    torch.testing.assert_close(prior.from_normal(u), theta, rtol=1e-9, atol=1e-9)

    def one(row: torch.Tensor) -> torch.Tensor:
        return prior.to_normal(row.unsqueeze(0))[0][0]

    slope = torch.func.vmap(torch.func.jacfwd(one))(theta)
    torch.testing.assert_close(ladj, torch.linalg.slogdet(slope)[1], rtol=1e-6, atol=1e-6)
    places = {name: [i for i, n in enumerate(prior.names) if n.split("[")[0] == name] for name in EVERY}
    expected = sum(
        torch.full((50,), -math.log(3.0))
        if isinstance(law, Interval)
        else law.log_prob(theta[:, places[name]].float().squeeze(-1)).reshape(50, -1).sum(-1)
        for name, law in EVERY.items()
    )
    np.testing.assert_allclose(prior.log_prob(theta.numpy()), expected, rtol=1e-4, atol=1e-4)
    again = prior_of(prior.to_json(), "test")
    np.testing.assert_allclose(again.log_prob(theta.numpy()), prior.log_prob(theta.numpy()))
    assert len(prior.names) == prior.dim == 14
    assert "vector[1]" in prior.names


@pytest.mark.parametrize(
    "prior", [Box([-1e-3, 5.0], [1e-3, 1e6]), Independent({"a": Interval(0.0, 1.0), "b": laws.Exponential(1.0)})]
)
def test_nothing_leaves_a_support_however_far_out(prior: Prior) -> None:
    u = 30 * torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0))
    theta = prior.from_normal(u).numpy()
    assert prior.contains(theta).all()
    assert np.isfinite(prior.log_prob(theta)).all()
    assert prior.log_prob([[9e9, -1.0]])[0] == -math.inf


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Box([-math.inf], [1.0]), "finite low < high"),
        (lambda: Box([1.0], [1.0]), "finite low < high"),
        (lambda: Box([0.0], [1.0], names=["a", "b"]), "1 different names"),
        (lambda: Independent({}), "at least one"),
        (lambda: Independent({"a": (laws.Normal(0.0, 1.0), Interval(0.0, 1.0))}), "declared support"),
        (lambda: Independent({"a": (laws.Gamma(1.0, 1.0), REAL)}), "declared support"),
        (lambda: Independent({"a": laws.Poisson(3.0)}), "continuous law"),
        (lambda: Independent({"a": 3.0}), "torch distribution"),  # pyright: ignore[reportArgumentType]
        (lambda: Independent({"a": laws.Normal(torch.zeros(2, 2), 1.0)}), "a vector"),
        (lambda: NPE(Box([0.0], [1.0]), members=0), "members"),
    ],
)
def test_what_is_no_prior_is_refused(make: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()


def test_a_declared_support_that_fits_is_taken() -> None:
    assert Independent({"a": (laws.Gamma(1.0, 1.0), POSITIVE)}).space.support == POSITIVE


def test_a_posterior_is_learned_and_stays_inside(npe: NPE, prior: Box) -> None:
    posterior = npe.posterior([0.4, 2.9])
    draws = posterior.sample(4000)
    assert draws.dtype == np.float64
    assert prior.contains(draws).all()
    assert abs(draws[:, 0].mean() - 0.4) < 0.1
    assert posterior.names == ("shift", "scale")
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 201)[1:-1], np.linspace(0, 3, 301)[1:-1]), -1).reshape(-1, 2)
    assert np.exp(posterior.log_prob(grid)).sum() * 0.01 * 0.01 == pytest.approx(1.0, abs=0.02)
    assert posterior.log_prob([[2.0, 1.0]])[0] == -math.inf
    np.testing.assert_array_equal(draws, npe.posterior(np.array([0.4, 2.9])).sample(4000))
    assert not np.array_equal(draws, posterior.sample(4000, random_state=1))


def test_torch_goes_in_as_numpy_does(prior: Box) -> None:
    theta = torch.from_numpy(prior.sample(100)).float()
    model = NPE(prior, **(QUICK | {"max_steps": 2})).fit(theta, theta.clone().requires_grad_())
    assert model.posterior(torch.tensor([0.0, 1.0])).sample(3).shape == (3, 2)


def test_parameters_of_float32_may_reach_the_ends() -> None:
    prior = Box([0.1], [0.3])
    theta = torch.linspace(0.1, 0.3, 60).unsqueeze(-1)
    assert not prior.contains(theta.numpy()).all()
    NPE(prior, **(QUICK | {"max_steps": 2})).fit(theta, theta)
    with pytest.raises(DataError, match="1 outside"):
        NPE(prior, **QUICK).fit(torch.cat([theta, torch.tensor([[0.301]])]), torch.zeros(61, 1))


def test_many_observations_at_once(npe: NPE) -> None:
    x = shifted(npe.prior.sample(7))
    draws = npe.sample(x, 5)
    assert draws.shape == (5, 7, 2)
    assert npe.log_prob(draws, x).shape == (5, 7)
    np.testing.assert_allclose(
        npe.log_prob(draws[:, 3], np.repeat(x[3:4], 5, 0)), npe.log_prob(draws, x)[:, 3], atol=1e-4
    )


def test_a_file_holds_all_of_it(npe: NPE, tmp_path: Path) -> None:
    npe.save(tmp_path / "m.safetensors")
    again = NPE.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.posterior([0.1, 1.0]).sample(20), npe.posterior([0.1, 1.0]).sample(20))
    assert again.posterior([0.1, 1.0]).surprise == npe.posterior([0.1, 1.0]).surprise
    assert again.prior.names == npe.prior.names
    with pytest.raises(BundleError, match=r"FMPE\.save"):
        FMPE.load(tmp_path / "m.safetensors")


def test_failed_simulations_are_counted(prior: Box) -> None:
    theta = prior.sample(200)
    x = shifted(theta)
    x[:37, 0] = np.nan
    x[37:40, 1] = 1e300  # infinite in float32
    with pytest.warns(UserWarning, match="40 of 200 simulations are not finite"):
        model = NPE(prior, **(QUICK | {"max_steps": 2})).fit(theta, x)
    assert model.dropped == 40


@pytest.mark.parametrize(
    ("theta", "x", "error", "words"),
    [
        (np.zeros((50, 2)), np.full((50, 2), np.nan), DataError, "got 0 of 50"),
        (np.zeros((50, 2)), np.zeros((49, 2)), DataError, "as many data"),
        (np.zeros((50, 3)), np.zeros((50, 2)), ShapeError, r"\(n, 2\)"),
        (np.full((50, 2), 7.0), np.zeros((50, 2)), DataError, "50 outside"),
        (np.full((50, 2), 0.5), np.zeros((50, 2, 3)), RecipeError, "1 axes"),
    ],
)
def test_unusable_simulations_are_refused(
    prior: Box, theta: np.ndarray, x: np.ndarray, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        NPE(prior, **QUICK).fit(theta, x)


def test_unusable_observations_are_refused(npe: NPE, prior: Box) -> None:
    with pytest.raises(ShapeError, match=r"shape \(2,\)"):
        npe.posterior([1.0, 2.0, 3.0])
    with pytest.raises(DataError, match="finite observation"):
        npe.posterior([np.nan, 0.0])
    with pytest.raises(ShapeError, match=r"\(n, 2\)"):
        npe.posterior([0.0, 1.0]).log_prob([0.0, 1.0])
    with pytest.raises(ConfigError, match="Call fit first"):
        NPE(prior).posterior([0.0, 0.0])
    with pytest.raises(DataError, match="at least 50"):
        npe.check(prior.sample(30), prior.sample(30))
    with pytest.raises(ConfigError, match="save: expected a law"):
        Independent({"a": laws.TransformedDistribution(laws.Normal(0.0, 1.0), [laws.ExpTransform()])}).to_json()
    with pytest.raises(BundleError, match=r"expected a prior|expected a law"):
        _ = prior_or_bundle({"prior": "independent", "laws": [["a", {"law": "eval"}]]})


def prior_or_bundle(spec: dict[str, Any]) -> Prior:
    try:
        return prior_of(spec, "load")
    except ConfigError as error:
        raise BundleError(str(error)) from error


def test_heavy_tails_and_heaps_do_no_harm() -> None:
    prior = Box([0.5], [4.0])
    theta = prior.sample(500)
    rng = np.random.default_rng(0)
    x = np.concatenate([theta * rng.standard_cauchy((500, 1)), rng.poisson(theta * 3), np.ones((500, 1))], 1)
    posterior = NPE(prior, **(QUICK | {"max_steps": 100})).fit(theta, x).posterior([1e6, 9.0, 1.0])
    assert abs(posterior.sample(1000).mean() - 3.0) < 0.8


@pytest.mark.parametrize(
    ("embedding", "shape"), [("vectors", (5,)), ("images", (1, 6, 6)), ("sequences", (9, 2)), ("sets", (7, 2))]
)
def test_embeddings_take_what_they_are_for(embedding: Any, shape: tuple[int, ...], tmp_path: Path) -> None:
    prior = Box([-1.0], [1.0])
    theta = prior.sample(100)
    x = theta.reshape(100, *[1] * len(shape)) + 0.1 * np.random.default_rng(0).normal(size=(100, *shape))
    model = NPE(prior, **(QUICK | {"max_steps": 3}), embedding=embedding, summary=4).fit(theta, x)
    assert model.posterior(x[0]).sample(4).shape == (4, 1)
    model.save(tmp_path / "m.safetensors")
    again = NPE.load(tmp_path / "m.safetensors").posterior(x[0])
    np.testing.assert_array_equal(again.sample(4), model.posterior(x[0]).sample(4))


def test_a_set_has_no_order() -> None:
    model = amortized(1, observed=(5, 2), options={"layers": 1, "hidden": [8]}, embedding="sets").eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    x = torch.randn(3, 5, 2)
    torch.testing.assert_close(model.log_prob(torch.zeros(3, 1), x), model.log_prob(torch.zeros(3, 1), x.flip(1)))


def test_a_network_of_ones_own(tmp_path: Path) -> None:
    prior = Box([-1.0], [1.0])
    theta = prior.sample(100)
    x = np.repeat(theta, 6, 1).reshape(100, 2, 3)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 3))
    model = NPE(prior, **(QUICK | {"max_steps": 3}), embedding=net).fit(theta, x)
    assert model.posterior(x[0]).sample(4).shape == (4, 1)
    with pytest.raises(BundleError, match="network of your own"):
        model.save(tmp_path / "m.safetensors")
    with pytest.raises(ConfigError, match="a vector for each observation"):
        NPE(prior, embedding=torch.nn.Identity()).fit(theta, x)


def test_the_recipe_is_held_to_its_bounds() -> None:
    assert names("observed") == ["amortized"]
    assert "amortized" not in names()
    asked: list[Any] = [{"flow": "amortized"}, {"options": {"context": 2}}, {"flow": "glow"}, {"embedding": "images"}]
    for options in asked:
        with pytest.raises(RecipeError):
            amortized(2, **({"observed": (3,), "options": {}} | options))


def test_checks_find_nothing_where_nothing_is() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(400, 2))
    x = truth + rng.normal(size=truth.shape)
    draws = 0.5 * x + 0.5**0.5 * rng.normal(size=(200, 400, 2))
    density = -np.square(draws - 0.5 * x).sum(-1)
    own = -np.square(truth - 0.5 * x).sum(-1)
    assert min(uniformity(highest_density_levels(density, own, 0))) > 0.01
    assert min(uniformity(distance_levels(draws, truth, 0))) > 0.01
    at = (0.5 + 0.5**0.5 * rng.normal(size=(300, 2)), np.ones(2))
    assert local_two_sample(truth, draws[0], draws[1], x, at, 0, trials=30)[1] > 0.02
    wrong = draws + 0.8 * x  # right on average, wrong where x is
    assert local_two_sample(truth, wrong[0], wrong[1], x, (at[0] + 0.8, at[1]), 0, trials=30)[1] < 0.04
    narrow = 0.5 * x + 0.5 * (draws - 0.5 * x)
    assert max(uniformity(distance_levels(narrow, truth, 0))) < 0.01


def test_a_model_that_knows_too_much_is_called_overconfident(npe: NPE) -> None:
    theta = npe.prior.sample(200, random_state=5)
    told = npe.check(theta, shifted(theta, 1, scale=0.6), draws=100)
    assert isinstance(told, Checks)
    assert not told.trust
    assert "overconfident" in told.verdict
    assert told.coverage(0.9) < 0.8
    assert told.to_json()["trust"] is False
    assert "can't be trusted" in str(told)


def test_checks_make_a_page(npe: NPE, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    theta = npe.prior.sample(80, random_state=5)
    told = npe.check(theta, shifted(theta, 1), at=[0.0, 1.0], draws=30)
    report.write_checks(told, tmp_path / "checks.html", source="two shifts")
    page = (tmp_path / "checks.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 3
    for words in (told.verdict.split(":")[0], "two shifts", "classifier at the observation", "TARP"):
        assert words.replace("'", "&#x27;") in page
    assert "<script" not in page


def test_an_observation_from_elsewhere_is_strange(npe: NPE) -> None:
    assert npe.posterior([40.0, -3.0]).surprise < 0.01 < npe.posterior([0.0, 1.5]).surprise
    theta = npe.prior.sample(60, random_state=5)
    told = npe.check(theta, shifted(theta, 1), at=[40.0, -3.0], draws=30)
    assert told.local is not None
    assert "misspecified" in told.verdict


def test_flow_matching_learns_too() -> None:
    prior = Independent({"mean": laws.Normal(0.0, 1.0)})
    theta = prior.sample(500)
    model = FMPE(prior, flow_options={"hidden": [32]}, max_steps=150).fit(theta, shifted(theta, scale=0.5))
    posterior = model.posterior([1.0])
    assert abs(posterior.sample(2000).mean() - 0.8) < 0.15  # 1 / (1 + 0.25)
    grid = np.linspace(-3, 4, 701)[:, None]
    assert np.exp(posterior.log_prob(grid)).sum() * 0.01 == pytest.approx(1.0, abs=0.02)


def test_flow_matching_trains_an_embedding_along() -> None:
    prior = Box([-1.0], [1.0])
    theta = prior.sample(400)
    x = np.repeat(theta, 8, 1).reshape(400, 4, 2) + 0.1 * np.random.default_rng(0).normal(size=(400, 4, 2))
    model = FMPE(prior, flow_options={"hidden": [32]}, embedding="sets", summary=4, max_steps=150).fit(theta, x)
    assert abs(model.posterior(np.full((4, 2), 0.5)).sample(1000).mean() - 0.5) < 0.2


def test_likelihoods_of_trials_add_up(tmp_path: Path) -> None:
    prior = Independent({"mean": laws.Normal(0.0, 1.0)})
    theta = prior.sample(800)
    model = NLE(prior, flow_options={"layers": 2, "hidden": [16]}, max_steps=200).fit(theta, shifted(theta, scale=1.0))
    trials = np.full((4, 1), 1.0)
    posterior = model.posterior(trials, particles=1500)
    assert posterior.trust
    draws = posterior.sample(1000)
    assert abs(draws.mean() - 0.8) < 0.12  # four trials of variance 1: precision 1 + 4
    assert abs(draws.std() - 0.2**0.5) < 0.1
    grid = np.linspace(-3, 4, 701)[:, None]
    assert np.exp(posterior.log_prob(grid)).sum() * 0.01 == pytest.approx(1.0, abs=0.1)
    model.save(tmp_path / "m.safetensors")
    assert NLE.load(tmp_path / "m.safetensors").log_prob([[0.1]], [[0.2]]) == model.log_prob([[0.1]], [[0.2]])
    for bad, error in ((np.zeros((2, 3)), ShapeError), (np.array([np.nan]), DataError)):
        with pytest.raises(error):
            model.posterior(bad)


def test_grids_are_seen() -> None:
    rng = np.random.default_rng(0)
    x = np.stack([rng.poisson(3.0, 500), 0.25 * rng.integers(0, 9, 500), rng.normal(size=500), np.ones(500)], 1)
    assert steps_of(torch.from_numpy(x)).tolist() == [1.0, 0.25, 0.0, 0.0]


def test_particles_find_both_modes_and_the_evidence() -> None:
    def log_like(u: torch.Tensor) -> torch.Tensor:
        sides = torch.stack([-0.5 * ((u - c) / 0.1).square().sum(-1) for c in (-1.5, 1.5)])
        return sides.logsumexp(0) - math.log(2) - 2 * math.log(0.1) - math.log(2 * math.pi)

    def log_prior(u: torch.Tensor) -> torch.Tensor:
        return -0.5 * u.square().sum(-1) - math.log(2 * math.pi)

    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3000, 2, generator=generator, dtype=torch.float64)
    crowd = tempered(log_like, log_prior, start, generator)
    truth = -math.log(2 * math.pi * 1.01) - 2 * 1.5**2 / (2 * 1.01)
    assert crowd.log_evidence == pytest.approx(truth, abs=0.2)
    assert abs(float((crowd.u[:, 0] > 0).double().mean()) - 0.5) < 0.12
    assert crowd.u[crowd.u[:, 0] > 0].std() == pytest.approx(0.1, abs=0.02)


def test_rounds_narrow_the_prior() -> None:
    prior = Box([-1.0, -1.0], [1.0, 1.0])
    model = NPE(prior, **QUICK).fit_rounds(
        lambda theta: shifted(theta, scale=0.05), [0.2, 0.5], rounds=2, simulations=300
    )
    assert model.shares[0] == 1.0 > 0.7 > model.shares[1] > 0.0
    assert abs(model.posterior([0.2, 0.5]).sample(1000)[:, 0].mean() - 0.2) < 0.1


def test_without_sbi_the_builder_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sbi", *(name for name in sys.modules if name.startswith("sbi."))):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match="package sbi"):
        builder()(torch.zeros(30, 2), torch.zeros(30, 2))


@pytest.mark.slow
def test_a_known_posterior_is_met_and_calibrated() -> None:
    """Ten normal parameters, each seen with normal noise: exact means, ranks and coverage."""
    prior = Independent({"theta": laws.Normal(torch.zeros(10), torch.full((10,), 0.1**0.5))})
    theta = prior.sample(2000)
    model = NPE(prior).fit(theta, shifted(theta, scale=0.1**0.5))
    fresh = prior.sample(500, random_state=9)
    x = shifted(fresh, 9, scale=0.1**0.5)
    told = model.check(fresh, x, at=x[0])
    assert min(told.p.values()) > 0.01 / len(told.p)
    assert told.coverage(0.9) == pytest.approx(0.9, abs=0.04)
    assert told.trust
    draws = model.posterior(x[0]).sample(4000)
    np.testing.assert_allclose(draws.mean(0), 0.5 * x[0], atol=0.06)
    np.testing.assert_allclose(draws.std(0), 0.05**0.5, rtol=0.15)
