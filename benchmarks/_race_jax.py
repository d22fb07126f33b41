"""FlowJAX's own loop, watched: what its `fit_to_data` would return after so many seconds. Runs in JAX's environment.

    python benchmarks/_race_jax.py SPLIT.npz OPTIONS_AS_JSON

Prints one JSON: a trail of [processor seconds, wall seconds, mean test log-likelihood], and seconds of the first step.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from typing import Any

import numpy as np
from _peers_jax import start


class Over(Exception):  # noqa: N818
    """The seconds are spent."""


class Watch:
    """Takes the place of `step` and of `tqdm` in FlowJAX's loop; sees the weights, and when an epoch was the best."""

    def __init__(self, step: Any, *, budget: float, points: int, clock: str) -> None:
        self._step, self.budget, self.every, self.clock = step, budget, budget / points, clock
        self.cpu, self.wall = time.process_time(), time.perf_counter()
        self.steps, self.first, self.due, self.values = 0, 0.0, 0.0, []
        self.latest = self.best = None
        self.trail: list[tuple[float, float, Any]] = []

    def seconds(self) -> float:
        """Since the start, by the clock that counts."""
        return time.process_time() - self.cpu if self.clock == "cpu" else time.perf_counter() - self.wall

    def step(self, params: Any, *given: Any, **named: Any) -> Any:
        """FlowJAX's step; now and then the weights are put aside."""
        import jax

        found = self._step(params, *given, **named)
        self.latest = found[0]
        if not self.steps:
            jax.block_until_ready(self.latest)
            self.first = self.seconds()
        self.steps += 1
        if self.seconds() >= min(self.due, self.budget):
            jax.block_until_ready(self.latest)
            self.note()
            self.due = self.seconds() + self.every
        if self.seconds() >= self.budget:
            raise Over
        return found

    def note(self) -> None:
        """The weights of the best epoch so far, or the latest before the first epoch is over."""
        taken = self.latest if self.best is None else self.best
        self.trail.append((time.process_time() - self.cpu, time.perf_counter() - self.wall, taken))

    def __call__(self, epochs: Any, **_: Any) -> Watch:
        self.epochs = epochs
        return self

    def __iter__(self) -> Any:
        return iter(self.epochs)

    def set_postfix(self, losses: dict[str, float]) -> None:
        """The end of an epoch."""
        self.values.append(losses["val"])
        if self.values[-1] == min(self.values):
            self.best = self.latest


def main() -> None:
    """Train, then score what was put aside."""
    path, options = sys.argv[1], json.loads(sys.argv[2])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
    os.environ["JAX_COMPILATION_CACHE_DIR"] = ""  # everybody compiles anew
    start(1)
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import paramax
    from flowjax import flows
    from flowjax.bijections import RationalQuadraticSpline
    from flowjax.distributions import Normal
    from flowjax.train import loops

    data = np.load(path)
    rows = np.concatenate([data["train"], data["validation"]])
    watch = Watch(loops.step, **{name: options[name] for name in ("budget", "points", "clock")})
    loops.step, loops.tqdm = watch.step, watch
    key = jax.random.key(options["seed"])
    flow = getattr(flows, options["flow"])(
        key,
        base_dist=Normal(jnp.zeros(rows.shape[1])),
        transformer=RationalQuadraticSpline(knots=8, interval=options["interval"]),
    )
    static = eqx.partition(flow, eqx.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable))[1]
    with contextlib.suppress(Over):
        loops.fit_to_data(
            key,
            flow,
            rows,
            learning_rate=options["lr"],
            batch_size=options["batch"],
            val_prop=len(data["validation"]) / len(rows),
            max_epochs=10**9,
            max_patience=10**9,
        )
    score = eqx.filter_jit(lambda flow, x: paramax.unwrap(flow).log_prob(x))
    trail, scored = [], {}
    for cpu, wall, params in watch.trail:
        if id(params) not in scored:
            parts = [np.asarray(score(eqx.combine(params, static), x)) for x in np.array_split(data["test"], 5)]
            values = np.concatenate(parts).astype(np.float64)
            scored[id(params)] = float(values[np.isfinite(values)].mean())
        trail.append([cpu, wall, scored[id(params)]])
    parameters = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(flow, eqx.is_inexact_array)))
    figures = {"trail": trail, "first_step": watch.first, "steps": watch.steps, "parameters": parameters}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
