"""NumPyro's variational guides on densities of unconstrained coordinates, within a budget of processor seconds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["GUIDES", "log_densities", "run", "start"]

GUIDES = ("AutoDiagonalNormal", "AutoMultivariateNormal", "AutoIAFNormal", "AutoBNAFNormal")
_AT_ONCE = 25  # steps between two looks at the clock
_PARTICLES = 32  # draws of a step
LogDensity = Callable[[Any], Any]


def start() -> None:
    """Before JAX is imported: one thread, and doubles."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    import jax

    jax.config.update("jax_enable_x64", True)


def log_densities(kind: str, given: dict[str, np.ndarray]) -> LogDensity:
    """A regression, the eight schools or the funnel, of one vector of unconstrained coordinates."""
    import jax.numpy as jnp

    def regression(u: Any) -> Any:
        beta, log_sigma = u[:-1], u[-1]
        away = (jnp.asarray(given["y"]) - beta @ jnp.asarray(given["design"])) * jnp.exp(-log_sigma)
        value = -0.5 * (away**2).sum() - len(given["y"]) * log_sigma + log_sigma
        if "middle" in given:
            value -= 0.5 * (((beta - given["middle"]) / given["scale"]) ** 2).sum()
        return value - (jnp.log1p((jnp.exp(log_sigma) / 2.5) ** 2) if "cauchy" in given else 0.0)

    def schools(u: Any) -> Any:
        raw, mu, log_tau = u[:8], u[8], u[9]
        tau = jnp.exp(log_tau)
        like = -0.5 * (((given["y"] - raw * tau - mu) / given["sigma"]) ** 2).sum() - 0.5 * (raw**2).sum()
        return like - 0.5 * (mu / 5) ** 2 - jnp.log1p((tau / 5) ** 2) + log_tau

    def funnel(u: Any) -> Any:
        return -0.5 * (u[0] / 3) ** 2 - 0.5 * (u[1:] ** 2).sum() * jnp.exp(-u[0]) - 0.5 * (len(u) - 1) * u[0]

    return {"regression": regression, "schools": schools, "funnel": funnel}[kind]


def run(guide: str, log_density: LogDensity, dim: int, seconds: float, draws: int, seed: int) -> dict[str, Any]:
    """Draws of a guide after so many seconds, their log weights, and steps.

    Compilation is not counted. Adam of rate 0.01 falling as 1 / sqrt(1 + step / 100), 32 draws a step, everything else
    as NumPyro has it.
    """
    import jax
    import jax.numpy as jnp
    import numpyro
    from numpyro import distributions as dist
    from numpyro.infer import SVI, Trace_ELBO, autoguide

    def model() -> None:
        u = numpyro.sample("u", dist.ImproperUniform(dist.constraints.real_vector, (), (dim,)))
        numpyro.factor("density", log_density(u))

    made = getattr(autoguide, guide)(model)
    svi = SVI(
        model,
        made,
        numpyro.optim.Adam(lambda step: 1e-2 / jnp.sqrt(1 + step / 100)),
        Trace_ELBO(num_particles=_PARTICLES),
    )
    state = svi.init(jax.random.PRNGKey(seed))
    some = jax.jit(lambda state: jax.lax.scan(lambda s, _: svi.stable_update(s), state, None, length=_AT_ONCE)[0])
    jax.block_until_ready(some(state))  # compiles
    steps, began = 0, time.process_time()
    while time.process_time() - began < seconds:
        state = jax.block_until_ready(some(state))
        steps += _AT_ONCE
    transform = made.get_transform(svi.get_params(state))
    z = jax.random.normal(jax.random.PRNGKey(seed + 1), (draws, dim))

    def out(at: Any) -> tuple[Any, Any]:
        x, inner = transform.call_with_intermediates(at)
        log_q = -0.5 * (at**2).sum() - 0.5 * dim * jnp.log(2 * jnp.pi)
        return x, log_q - transform.log_abs_det_jacobian(at, x, inner).sum()

    x, log_q = jax.jit(jax.vmap(out))(z)
    log_weight = np.asarray(jax.jit(jax.vmap(log_density))(x) - log_q)
    return {"u": np.asarray(x), "log_weight": log_weight, "steps": steps, "seconds": time.process_time() - began}
