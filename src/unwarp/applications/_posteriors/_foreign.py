"""Densities of other packages, whole batches at a time: JAX, NumPyro, PyMC, BridgeStan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unwarp.applications._posteriors._outside import Slopes, need, outside
from unwarp.errors import ConfigError

__all__ = ["bridgestan_parts", "jax_slopes", "numpyro_parts", "pymc_parts"]

Way = Callable[[Tensor], tuple[Tensor, Tensor]]
Parts = tuple[int, Callable[[Tensor], Tensor], Way, Way, dict[str, tuple[int, ...]]]
_FEWEST = 16  # rows for which JAX compiles


def jax_slopes(log_density: Callable[[Any], Any]) -> Slopes:
    """Values and slopes of rows, from a log density of one vector, in doubles."""
    return _in_batches(need("jax").value_and_grad(log_density))


def numpyro_parts(model: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Parts:
    """What a target of a NumPyro model is made of."""
    jax, util = need("jax"), need("numpyro.infer.util")
    jnp = jax.numpy
    with _doubles():
        found = util.initialize_model(jax.random.PRNGKey(0), model, model_args=args, model_kwargs=kwargs)
        free = found.param_info.z
        start, unravel = need("jax.flatten_util").ravel_pytree(free)
        maps = util.get_transforms(model, args, kwargs, free)
        own = {name: maps[name](value) for name, value in free.items()}
        sizes = {name: tuple(np.shape(own[name])) for name in sorted(free)}
        fixed = _same(own, found.postprocess_fn(free)) and _fixed(model, args, kwargs, free, util)

    ends = np.cumsum([int(np.prod(shape)) for shape in sizes.values()])

    def placed(u: Any) -> Any:
        values = found.postprocess_fn(unravel(u))
        return jnp.concatenate([jnp.ravel(values[name]) for name in sizes])

    def outward(u: Any) -> tuple[Any, Any]:
        x = placed(u)
        if not fixed:
            return x, jnp.linalg.slogdet(jax.jacfwd(placed)(u))[1] if len(u) == len(x) else jnp.nan
        at, own = unravel(u), dict(zip(sizes, jnp.split(x, ends[:-1]), strict=True))
        return x, sum(jnp.sum(maps[n].log_abs_det_jacobian(at[n], own[n].reshape(sizes[n]))) for n in sizes)

    def inward(x: Any) -> tuple[Any, Any]:
        parts = zip(sizes, jnp.split(x, ends[:-1]), strict=True)
        values = {name: part.reshape(sizes[name]) for name, part in parts}
        at = {name: maps[name].inv(value) for name, value in values.items()}
        ladj = sum(jnp.sum(maps[n].log_abs_det_jacobian(at[n], values[n])) for n in sizes)
        return need("jax.flatten_util").ravel_pytree(at)[0], -ladj

    log_density = outside(jax_slopes(lambda u: -found.potential_fn(unravel(u))))
    back = _way(_in_batches(inward)) if fixed else _no_way_back("NumPyro")
    return int(start.size), log_density, _way(_in_batches(outward)), back, sizes


def pymc_parts(model: Any) -> Parts:
    """What a target of a PyMC model is made of; all rows go through one compiled function."""
    pt, grad = need("pytensor.tensor"), need("pytensor").grad
    replace = need("pytensor.graph.replace")
    point, values, free = model.initial_point(), model.value_vars, model.free_RVs
    shapes = [tuple(np.shape(point[value.name])) for value in values]
    rows = [pt.tensor(v.name, shape=(None, *v.type.shape), dtype=v.dtype) for v in values]
    swap = dict(zip(values, rows, strict=True))

    def batched(outputs: list[Any]) -> list[Any]:
        return replace.vectorize_graph(outputs, swap)

    (logp,) = batched([model.logp()])
    both = model.compile_fn([logp, *grad(logp.sum(), rows)], inputs=rows, point_fn=False)
    x, jacobian = model.replace_rvs_by_values(free), model.logp() - model.logp(jacobian=False)
    outward = model.compile_fn(batched([*x, jacobian]), inputs=rows, point_fn=False, on_unused_input="ignore")
    sizes = {rv.name: tuple(model.eval_rv_shapes()[rv.name]) for rv in free}
    inward = _pymc_inward(model)

    def slopes(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, *found = both(*_split(u, shapes))
        return np.broadcast_to(value, len(u)), _joined(found, len(u))

    def to_constrained(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        *found, ladj = outward(*_split(u, shapes))
        return _joined(found, len(u)), np.broadcast_to(ladj, len(u))

    def to_unconstrained(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        u = _joined(inward(*_split(at, list(sizes.values()))), len(at))
        return u, -to_constrained(u)[1]

    dim = sum(int(np.prod(shape)) for shape in shapes)
    return dim, outside(slopes), _way(to_constrained), _way(to_unconstrained), sizes


def _pymc_inward(model: Any) -> Callable[..., list[np.ndarray]]:
    """From parameters to the values that PyMC's density is of."""
    pt, replace = need("pytensor.tensor"), need("pytensor.graph.replace")
    free = model.free_RVs
    single = [rv.type() for rv in free]
    rows = [pt.tensor(rv.name, shape=(None, *rv.type.shape), dtype=rv.dtype) for rv in free]
    known = dict(zip(free, single, strict=True))

    def value(rv: Any) -> Any:
        transform = model.rvs_to_transforms[rv]
        if transform is None:
            return known[rv]
        return replace.graph_replace(transform.forward(known[rv], *rv.owner.inputs), known, strict=False)

    found = replace.vectorize_graph([value(rv) for rv in free], dict(zip(single, rows, strict=True)))
    return model.compile_fn(found, inputs=rows, point_fn=False, on_unused_input="ignore")


def bridgestan_parts(model: Any) -> Parts:
    """What a target of a `bridgestan.StanModel` is made of."""

    def slopes(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pairs = [model.log_density_gradient(row, propto=False, jacobian=True) for row in u]
        return np.array([value for value, _ in pairs]), np.array([slope for _, slope in pairs])

    def ladj(u: np.ndarray) -> np.ndarray:
        both = [[model.log_density(row, propto=False, jacobian=with_it) for with_it in (True, False)] for row in u]
        return np.array([with_it - without for with_it, without in both])

    def to_constrained(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.array([model.param_constrain(row) for row in u]), ladj(u)

    def to_unconstrained(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        u = np.array([model.param_unconstrain(row) for row in x])
        return u, -ladj(u)

    sizes: dict[str, tuple[int, ...]] = dict.fromkeys(model.param_names(), ())
    return model.param_unc_num(), outside(slopes), _way(to_constrained), _way(to_unconstrained), sizes


def _in_batches(function: Callable[[Any], Any]) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """A function of one vector as one of rows, in doubles; compiled for powers of two alone, as batches vary."""
    jax = need("jax")
    compiled = jax.jit(jax.vmap(function))

    def called(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        count = max(_FEWEST, 1 << (len(x) - 1).bit_length())
        padded = np.concatenate([x, np.repeat(x[-1:], count - len(x), 0)])
        with _doubles():
            first, second = compiled(padded)
        return np.asarray(first)[: len(x)], np.asarray(second)[: len(x)]

    return called


def _fixed(model: Callable[..., Any], args: Any, kwargs: Any, free: Mapping[str, Any], util: Any) -> bool:
    """Are supports the same wherever the parameters are?"""
    away = {name: value + 0.7 for name, value in free.items()}
    there = util.get_transforms(model, args, kwargs, away)
    here = util.get_transforms(model, args, kwargs, free)
    return _same({n: here[n](v) for n, v in away.items()}, {n: there[n](v) for n, v in away.items()})


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(np.allclose(np.asarray(value), np.asarray(other[name])) for name, value in one.items())


def _doubles() -> Any:
    """JAX computes in doubles within."""
    return need("jax").enable_x64(True)  # noqa: FBT003


def _way(function: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> Way:
    def way(x: Tensor) -> tuple[Tensor, Tensor]:
        found, ladj = function(x.detach().cpu().double().numpy())
        return torch.from_numpy(np.array(found)).to(x), torch.from_numpy(np.array(ladj)).to(x)

    return way


def _split(rows: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    parts = np.split(rows, np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1], axis=1)
    return [part.reshape(len(rows), *shape) for part, shape in zip(parts, shapes, strict=True)]


def _joined(parts: Sequence[np.ndarray], count: int) -> np.ndarray:
    return np.concatenate([np.asarray(part).reshape(count, -1) for part in parts], 1)


def _no_way_back(name: str) -> Way:
    def refuse(_: Tensor) -> tuple[Tensor, Tensor]:
        raise ConfigError(
            f"Target: expected unconstrained draws for a {name} model whose supports move; got constrained ones. "
            "Give the sampler's own unconstrained draws."
        )

    return refuse
