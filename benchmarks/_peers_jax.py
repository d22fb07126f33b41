"""The peers in JAX: everything jitted, as their documentation does it; the first call, which compiles, is not timed."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from _turns import Absent, version

if TYPE_CHECKING:
    from collections.abc import Callable

BOUND = 5.0
UNITS = 8
CACHE = Path(__file__).resolve().parent.parent / "build" / "bench" / "jax"  # so that later runs compile less
COMPILES = True
Size = dict[str, Any]


def start(threads: int) -> None:
    """Before JAX is imported: one thread is one thread."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
    if threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def preload(library: str) -> None:
    """JAX may start threads when it is imported, so a fork imports it itself."""


def clear() -> None:
    """Drop what was compiled."""
    import jax

    jax.clear_caches()


class Timed:
    """A flow and the four things that are timed.

    Args:
        library: The package it comes from.
        size: Rows and their shape.
        parameters: Arrays that are trained, and all else that compiled functions take with them.
        step: ``(parameters, state, x)`` -> the next parameters and state; jitted, like the next three.
        state: Of the optimiser.
        log_prob: ``(parameters, x)``.
        sample: ``(parameters, key, n)``.
        both: ``(parameters, key, n)``.
        count: How many parameters are trained.
    """

    note = "compiled; compilation is not counted"

    def __init__(
        self, library: str, size: Size, *, parameters: Any, step: Any, state: Any, log_prob: Any, sample: Any,
        both: Any, count: int,
    ) -> None:  # fmt: skip
        import jax

        self.version, self.parameters = version(library), count
        x = np.random.default_rng(0).normal(size=(size["batch"], *size["event"])).astype(np.float32)
        self.x = jax.device_put(x)
        self._wait = jax.block_until_ready
        self._parameters, self._state, self._step = parameters, state, step
        self._log_prob, self._sample, self._both = log_prob, sample, both
        self._key, self._split = jax.random.key(0), jax.jit(jax.random.split)

    def train(self) -> None:
        """A step of Adam on the mean log-density."""
        self._parameters, self._state = self._step(self._parameters, self._state, self.x)
        self._wait(self._parameters)

    def log_prob(self) -> None:
        """The rows' log-densities."""
        self._wait(self._log_prob(self._parameters, self.x))

    def sample(self) -> None:
        """As many new rows."""
        self._key, key = self._split(self._key)
        self._wait(self._sample(self._parameters, key))

    def sample_and_log_prob(self) -> None:
        """As many new rows with their log-densities."""
        self._key, key = self._split(self._key)
        self._wait(self._both(self._parameters, key))


def build(library: str, model: str, size: Size) -> Timed:
    """A library's flow.

    Raises:
        Absent: When the library has no such model.
    """
    return {"FlowJAX": flowjax, "distrax": distrax}[library](model, size)


def flowjax(model: str, size: Size) -> Timed:
    """FlowJAX's flows, trained by the step that its `fit_to_data` takes."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax
    import paramax
    from flowjax import flows
    from flowjax.bijections import RationalQuadraticSpline
    from flowjax.distributions import Normal
    from flowjax.train.losses import MaximumLikelihoodLoss
    from flowjax.train.train_utils import step

    features, n = size["event"][0], size["batch"]
    given: dict[str, Any] = {"key": jax.random.key(0), "base_dist": Normal(jnp.zeros(features))}
    plain: dict[str, Any] = {**given, "flow_layers": size["layers"], "nn_width": size["hidden"], "nn_depth": 2}
    spline = RationalQuadraticSpline(knots=size["bins"], interval=BOUND)
    makers: dict[str, Callable[[], Any]] = {
        "realnvp": lambda: flows.coupling_flow(**plain),
        "maf": lambda: flows.masked_autoregressive_flow(**plain),
        "nsf coupling": lambda: flows.coupling_flow(transformer=spline, **plain),
        "nsf autoregressive": lambda: flows.masked_autoregressive_flow(transformer=spline, **plain),
        "bnaf": lambda: flows.block_neural_autoregressive_flow(nn_depth=1, nn_block_dim=UNITS, **given),
    }
    if model not in makers:
        raise Absent("no such flow")
    built = makers[model]()
    params, static = eqx.partition(
        built, eqx.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable)
    )
    optimiser, loss, key = optax.adam(1e-5), MaximumLikelihoodLoss(), jax.random.key(1)

    def stepped(params: Any, state: Any, x: Any) -> tuple[Any, Any]:
        return step(params, static, x, optimizer=optimiser, opt_state=state, loss_fn=loss, key=key)[:2]

    def whole(method: Callable[..., Any]) -> Any:
        jitted = eqx.filter_jit(lambda flow, given: method(paramax.unwrap(flow), given))
        return lambda params, given: jitted(eqx.combine(params, static), given)

    return Timed(
        "flowjax",
        size,
        parameters=params,
        step=stepped,
        state=optimiser.init(params),
        log_prob=whole(lambda flow, x: flow.log_prob(x)),
        sample=whole(lambda flow, key: flow.sample(key, (n,))),
        both=whole(lambda flow, key: flow.sample_and_log_prob(key, (n,))),
        count=sum(leaf.size for leaf in jax.tree.leaves(params)),
    )


def distrax(model: str, size: Size) -> Timed:
    """distrax's masked couplings, with conditioners that are plain functions of their weights."""
    import distrax as dx
    import jax
    import jax.numpy as jnp
    import optax

    features, n, bins = size["event"][0], size["batch"], size["bins"]
    outputs = {"realnvp": 2, "nsf coupling": 3 * bins + 1}.get(model)
    if outputs is None:
        raise Absent("no such flow")
    widths = [features, size["hidden"], size["hidden"], features * outputs]
    keys = jax.random.split(jax.random.key(0), size["layers"])

    def weights(key: Any) -> list[tuple[Any, Any]]:
        pairs = list(pairwise(widths))
        ways = jax.random.split(key, len(pairs))
        return [(jax.random.normal(k, (a, b)) * a**-0.5, jnp.zeros(b)) for k, (a, b) in zip(ways, pairs, strict=True)]

    def inner(given: Any) -> Any:
        if model == "realnvp":
            return dx.ScalarAffine(shift=given[..., 0], log_scale=jnp.tanh(given[..., 1]))
        return dx.RationalQuadraticSpline(given, range_min=-BOUND, range_max=BOUND)

    def conditioner(layers: list[tuple[Any, Any]]) -> Callable[[Any], Any]:
        def net(x: Any) -> Any:
            for matrix, bias in layers[:-1]:
                x = jax.nn.relu(x @ matrix + bias)
            return (x @ layers[-1][0] + layers[-1][1]).reshape(*x.shape[:-1], features, outputs)

        return net

    def flow(params: list[list[tuple[Any, Any]]]) -> Any:
        masks = [jnp.arange(features) % 2 == i % 2 for i in range(len(params))]
        layers = [
            dx.MaskedCoupling(mask=mask, bijector=inner, conditioner=conditioner(part))
            for mask, part in zip(masks, params, strict=True)
        ]
        base = dx.MultivariateNormalDiag(jnp.zeros(features), jnp.ones(features))
        return dx.Transformed(base, dx.Inverse(dx.Chain(layers)))

    optimiser = optax.adam(1e-5)

    @jax.jit
    def step(params: Any, state: Any, x: Any) -> tuple[Any, Any]:
        grads = jax.grad(lambda p: -flow(p).log_prob(x).mean())(params)
        updates, state = optimiser.update(grads, state)
        return optax.apply_updates(params, updates), state

    params = [weights(key) for key in keys]
    return Timed(
        "distrax",
        size,
        parameters=params,
        step=step,
        state=optimiser.init(params),
        log_prob=jax.jit(lambda p, x: flow(p).log_prob(x)),
        sample=jax.jit(lambda p, key: flow(p).sample(seed=key, sample_shape=n)),
        both=jax.jit(lambda p, key: flow(p).sample_and_log_prob(seed=key, sample_shape=n)),
        count=sum(leaf.size for leaf in jax.tree.leaves(params)),
    )
