"""What NUTS gives for a gradient, with and without a flow between it and the posterior.

    scripts/bench samplers                 # all cells that are missing; needs NumPyro
    scripts/bench samplers --quick         # a small case in a minute

Three ways, each by NumPyro's NUTS at its defaults, one chain a seed, on the same log density:

- plain: 1,000 steps of adaptation, then as many draws, with a diagonal mass matrix.
- dense: the same with a dense one.
- flow: a pilot of the plain kind; a flow is learned from its draws by maximum likelihood, which takes no gradients of
  the target; some steps on the target seen through this flow; a second flow, learned from these draws; then adaptation
  and 1,000 steps through it, which are the draws that count. All gradients count, those of pilot, second round and
  adaptation too; what came before the last draws is also stated apart. ROUNDS has the steps.

Plain runs and pilots use the density written in JAX, the others the same in torch, called back from JAX. Flows are
small: on the funnel two autoregressive layers that know its graph (all coordinates depend on the first), on the
Gaussian two couplings and a whitening map. The effective size is the least of all parameters', over two functions of
each: itself and its square.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _record
import evidence
import numpy as np
import torch

from unwarp.applications import Draws, Posterior, Target, fit_posterior, transport

CASES = {
    "funnel 100-D": lambda: evidence.funnel(100),
    "gaussian 50-D, condition 10^4": lambda: evidence.gaussian(50, 1e4),
    "funnel 10-D": lambda: evidence.funnel(10),
}
FLOWS: dict[str, tuple[str, dict[str, Any]]] = {
    "funnel": ("maf", {"layers": 2, "hidden": (8,)}),
    "gaussian": ("realnvp", {"layers": 2, "hidden": (16,), "mixing": "whiten"}),
}
ROUNDS = {  # steps of adaptation and draws, of the pilot and of the round before the draws that count
    "funnel": ((500, 1000), (200, 500)),
    "gaussian": ((300, 300), (150, 300)),
}


def in_jax(case: str) -> Callable[[Any], Any]:
    """The case's log density of one point, written in JAX."""
    import jax.numpy as jnp

    dim = CASES[case]().dim
    if case.startswith("funnel"):
        return lambda x: -(x[0] ** 2) / 18 - 0.5 * (jnp.sum(x[1:] ** 2) * jnp.exp(-x[0]) + (dim - 1) * x[0])
    turn = np.linalg.qr(np.random.default_rng(dim).normal(size=(dim, dim)))[0]
    into = jnp.asarray(turn / np.geomspace(1.0, 100.0, dim))
    return lambda x: -0.5 * jnp.sum((x @ into) ** 2)


def nuts(
    density: Callable[[Any], Any], *, adapt: int, keep: int, seed: int, start: np.ndarray, dense: bool
) -> tuple[np.ndarray, int, int, int]:
    """Draws `(keep, dim)`, gradients of adaptation and of the draws, and divergent steps."""
    import jax
    from numpyro.infer import MCMC, NUTS

    kernel = NUTS(potential_fn=lambda z: -density(z), dense_mass=dense)
    chain = MCMC(kernel, num_warmup=adapt, num_samples=keep, progress_bar=False)
    first, second = jax.random.split(jax.random.PRNGKey(seed))
    fields = ("num_steps", "diverging")
    chain.warmup(first, init_params=jax.numpy.asarray(start), extra_fields=fields, collect_warmup=True)
    warm = int(np.sum(chain.get_extra_fields()["num_steps"]))
    chain.run(second, init_params=None, extra_fields=fields)
    extra = chain.get_extra_fields()
    return np.asarray(chain.get_samples()), warm, int(np.sum(extra["num_steps"])), int(np.sum(extra["diverging"]))


def learned(case: str, values: np.ndarray, seed: int) -> Posterior:
    """A flow by maximum likelihood from draws `(n, dim)` of one chain."""
    recipe, options = FLOWS[case.split(maxsplit=1)[0]]
    if recipe == "maf":
        options = options | {"adjacency": [(i, 0) for i in range(1, values.shape[1])]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return fit_posterior(values[None], flow=recipe, flow_options=options, max_steps=1500, random_state=seed)


def through_flows(
    case: str, target: Target, start: np.ndarray, seed: int, keep: int
) -> tuple[np.ndarray, int, int, int, int, float]:
    """Draws, gradients of their adaptation and their own, divergent steps, gradients before, seconds of fitting."""
    (adapt, count), (again, more) = ROUNDS[case.split(maxsplit=1)[0]]
    values, warm, run, _ = nuts(in_jax(case), adapt=adapt, keep=count, seed=seed, start=start, dense=False)
    before, fitting = warm + run, 0.0
    for turn, (warming, steps) in enumerate(((again, more), (again, keep))):
        clock = time.process_time()
        latent = transport(target, learned(case, values, seed))
        fitting += time.process_time() - clock
        z, warm, run, bad = nuts(
            latent.to_jax(), adapt=warming, keep=steps, seed=seed + 1 + turn, start=0.1 * start, dense=False
        )
        values = np.concatenate([part.reshape(len(z), -1) for part in latent.named(z).values()], -1)
        if turn == 0:
            before += warm + run
    return values, warm, run, bad, before, fitting


def worth(values: np.ndarray) -> float:
    """The least effective size of the parameters and of their squares."""
    both = np.concatenate([values, values**2], -1)[None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return Draws.of(both).effective


def measured(case: str, way: str, seed: int, *, adapt: int, keep: int) -> dict[str, Any]:
    law = CASES[case]()
    target = law.target()
    start = np.random.default_rng(seed).normal(size=law.dim)
    began = time.process_time()
    if way != "flow":
        here, there = torch.from_numpy(start), in_jax(case)
        if abs(float(there(start)) - float(law.log_density(here))) > 1e-6 * abs(float(there(start))):
            raise SystemExit(f"{case}: the densities in torch and JAX differ")
        values, warm, run, bad = nuts(there, adapt=adapt, keep=keep, seed=seed, start=start, dense=way == "dense")
        spent, pilot, fitting = warm + run, 0, 0.0
    else:
        values, warm, run, bad, pilot, fitting = through_flows(case, target, start, seed, keep)
        spent = pilot + warm + run
    size = worth(values)
    return {
        "effective": size, "gradients": spent, "pilot": pilot, "adaptation": warm, "draws_gradients": run,
        "per_1000": 1000 * size / spent, "per_1000_of_draws": 1000 * size / run, "divergent": bad,
        "fit_seconds": fitting, "first_sd": float(values[:, 0].std()), "seconds": time.process_time() - began,
    }  # fmt: skip


def shown(stored: dict[str, Any]) -> None:
    rows = []
    for case in CASES:
        plain = _middle(stored, case, "plain", "per_1000")
        for way in ("plain", "dense", "flow"):
            found = [c for k, c in stored.items() if k.startswith(f"{case}: {way}, seed")]
            if not found:
                continue
            each = _middle(stored, case, way, "per_1000")
            rows.append([
                case, way, f"{len(found)}",
                *(f"{_middle(stored, case, way, k):,.0f}" for k in ("effective", "gradients", "pilot")),
                f"{each:.3g}", f"{_middle(stored, case, way, 'per_1000_of_draws'):.3g}",
                f"{each / plain:.1f}" if math.isfinite(plain) else "", f"{_middle(stored, case, way, 'divergent'):.0f}",
                f"{_middle(stored, case, way, 'first_sd'):.2f}", f"{_middle(stored, case, way, 'seconds'):.0f}",
            ])  # fmt: skip
    header = [
        "posterior",
        "way",
        "seeds",
        "effective size",
        "gradients in all",
        "of the pilot",
        "ESS per 1,000 gradients",
    ]
    header += ["without pilot and adaptation", "over plain", "divergent", "sd of the first", "processor s"]
    print(_record.table(rows, header))


def _middle(stored: dict[str, Any], case: str, way: str, key: str) -> float:
    values = [float(c[key]) for k, c in stored.items() if k.startswith(f"{case}: {way}, seed")]
    return float(np.median(values)) if values else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cases", nargs="+", default=list(CASES))
    parser.add_argument("--ways", nargs="+", default=["plain", "dense", "flow"])
    parser.add_argument("--steps", type=int, default=1000, help="of adaptation, and draws")
    parser.add_argument("--rerun", action="store_true", help="measure stored cells again")
    parser.add_argument("--quick", action="store_true", help="one small cell, written elsewhere")
    parser.add_argument("--out", type=Path, default=None)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    import jax

    jax.config.update("jax_enable_x64", True)
    if asked.quick:
        asked.seeds, asked.cases, asked.steps = [0], ["funnel 10-D"], 200
        asked.out = asked.out or _record.SCRATCH / "samplers.json"
    record = _record.Record("samplers", threads=1, path=asked.out)
    for seed in asked.seeds:
        for case in asked.cases:
            for way in asked.ways:
                settings, key = {"seed": seed, "steps": asked.steps}, f"{case}: {way}, seed {seed}"
                if record.has(key, settings) and not asked.rerun:
                    continue
                figures = measured(case, way, seed, adapt=asked.steps, keep=asked.steps)
                record.put(key, figures, settings=settings, started=_record.now())
                print(key, {name: round(value, 3) for name, value in figures.items()}, flush=True)
    shown(record.cells())


if __name__ == "__main__":
    main()
