"""Other people's samplers run on a target seen through a flow, and their draws mapped back are the target's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import Tensor

from unwarp import POSITIVE, REAL, Space
from unwarp.applications import Draws, Posterior, Target, fit_posterior, transport

LOG_Z = float(np.log(2 * np.pi * 3.0 * 0.1))


def ridge(x: Tensor) -> Tensor:
    """A positive parameter of log-normal law, and a real one in a narrow ridge along its logarithm."""
    a, b = x[:, 0].log(), x[:, 1]
    return -0.5 * (a / 3).square() - a - 0.5 * ((b - 2 * a) / 0.1).square()


@pytest.fixture(scope="module")
def found() -> tuple[Target, Posterior]:
    target = Target.from_torch(ridge, Space((2,), (POSITIVE, REAL)), names=["a", "b"])
    rng = np.random.default_rng(0)
    a = 3 * rng.normal(size=(4, 500))
    draws = {"a": np.exp(a), "b": 2 * a + 0.1 * rng.normal(size=a.shape)}
    options = {"layers": 2, "hidden": (16,), "mixing": "whiten"}
    return target, fit_posterior(draws, target, flow="maf", flow_options=options, max_steps=300)


def check(named: dict[str, Any], *, worth: float) -> None:
    """Draws `(chains, draws)` have the target's moments, and are worth as many independent ones."""
    draws = Draws.of({"log a": np.log(named["a"]), "b - 2 log a": named["b"] - 2 * np.log(named["a"])})
    assert draws.effective > worth
    error = 4 / np.sqrt(draws.effective)
    assert abs(draws.rows[:, 0].mean()) < 3 * error
    assert draws.rows[:, 0].std() == pytest.approx(3.0, rel=2 * error)
    assert draws.rows[:, 1].std() == pytest.approx(0.1, rel=2 * error)


def test_emcee(found: tuple[Target, Posterior]) -> None:
    emcee = pytest.importorskip("emcee")
    latent = transport(*found)
    sampler = emcee.EnsembleSampler(16, 2, latent.to_numpy(), vectorize=True)
    sampler.run_mcmc(np.random.default_rng(0).normal(size=(16, 2)), 1500)
    check(latent.named(sampler.get_chain(discard=300).swapaxes(0, 1)), worth=300)


def test_dynesty_finds_the_evidence(found: tuple[Target, Posterior]) -> None:
    dynesty = pytest.importorskip("dynesty")
    call = transport(*found).to_numpy()
    sampler = dynesty.NestedSampler(
        call.log_likelihood, call.prior_transform, 2, nlive=200, rstate=np.random.default_rng(0)
    )
    sampler.run_nested(print_progress=False, dlogz=0.05)
    result = sampler.results
    assert abs(result.logz[-1] - LOG_Z) < 4 * max(result.logzerr[-1], 0.02)
    assert result.information[-1] < 0.5  # nats from the normal law: the flow has done the work
    named = transport(*found).named(result.samples_equal(rstate=np.random.default_rng(1)))
    assert np.log(named["a"]).std() == pytest.approx(3.0, rel=0.3)


def test_blackjax_and_numpyro_get_a_jax_function(found: tuple[Target, Posterior]) -> None:
    jax = pytest.importorskip("jax")
    latent = transport(*found)
    density, call = latent.to_jax(), latent.to_numpy()
    z = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    np.testing.assert_allclose(jax.jit(density)(z[0]), call(z[0]), rtol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.grad(density))(z[0]), call.gradient(z[0]), rtol=1e-4)
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(density)))(z)
    np.testing.assert_allclose(values, call(z), rtol=1e-5)
    np.testing.assert_allclose(slopes, call.gradient(z), rtol=1e-4)


def test_blackjax_nuts(found: tuple[Target, Posterior]) -> None:
    jax, blackjax = pytest.importorskip("jax"), pytest.importorskip("blackjax")
    latent = transport(*found)
    density = latent.to_jax()
    warmup = blackjax.window_adaptation(blackjax.nuts, density)
    (state, parameters), _ = warmup.run(jax.random.PRNGKey(0), jax.numpy.zeros(2), num_steps=100)
    step = jax.jit(blackjax.nuts(density, **parameters).step)
    kept = []
    for key in jax.random.split(jax.random.PRNGKey(1), 400):
        state, _ = step(key, state)
        kept.append(np.asarray(state.position))
    check({name: value.reshape(2, 200) for name, value in latent.named(np.array(kept)).items()}, worth=100)


def test_numpyro_nuts(found: tuple[Target, Posterior]) -> None:
    jax = pytest.importorskip("jax")
    infer = pytest.importorskip("numpyro.infer")
    latent = transport(*found)
    density = latent.to_jax()
    chain = infer.MCMC(
        infer.NUTS(potential_fn=lambda z: -density(z)),
        num_warmup=100, num_samples=200, num_chains=2, chain_method="vectorized", progress_bar=False,
    )  # fmt: skip
    chain.run(jax.random.PRNGKey(0), init_params=jax.numpy.zeros((2, 2)))
    check(latent.named(np.asarray(chain.get_samples(group_by_chain=True))), worth=100)
