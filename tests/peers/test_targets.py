"""Targets of other packages: their own densities, gradients, constraints, names, and posteriors of known means."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from unwarp import POSITIVE, REAL, Space
from unwarp.applications import Target, fit_posterior
from unwarp.errors import ConfigError

Y = np.array([1.2, 0.3, 2.2, 1.7, 0.9])
SMALL: dict[str, Any] = {"max_steps": 60, "draws": 64, "flow_options": {"layers": 2, "hidden": (8,)}}


def points(dim: int, n: int = 5) -> torch.Tensor:
    return 0.7 * torch.randn(n, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def check_maps(target: Target) -> None:
    """There and back, and the log-determinant by differences."""
    u = points(target.dim)
    x, ladj = target.to_constrained(u)
    back, inverse = target.to_unconstrained(x)
    torch.testing.assert_close(back, u)
    torch.testing.assert_close(inverse, -ladj)
    if x.shape == u.shape:
        step = 1e-5 * torch.eye(target.dim, dtype=u.dtype)
        for i in range(len(u)):
            moved = target.to_constrained(u[i] + step)[0] - target.to_constrained(u[i] - step)[0]
            torch.testing.assert_close(torch.linalg.slogdet(moved / 2e-5)[1], ladj[i], atol=1e-6, rtol=1e-6)


def check_slopes(target: Target) -> None:
    """The gradient by differences."""
    u = points(target.dim).requires_grad_()
    target.log_density(u).sum().backward()
    assert u.grad is not None
    for i in range(target.dim):
        step = torch.zeros(target.dim, dtype=u.dtype)
        step[i] = 1e-5
        with torch.no_grad():
            slope = (target.log_density(u + step) - target.log_density(u - step)) / 2e-5
        torch.testing.assert_close(slope, u.grad[:, i], atol=1e-5, rtol=1e-5)


def exact() -> tuple[float, float]:
    """Means of mu and sigma given Y, prior N(0, 10) and a half-normal of scale 2, on a grid."""
    mu, log_sigma = np.meshgrid(np.linspace(-8, 10, 400), np.linspace(-4, 3, 400))
    sigma = np.exp(log_sigma)
    log_p = -0.5 * (mu / 10) ** 2 - 0.5 * (sigma / 2) ** 2 + log_sigma
    log_p = log_p + sum(-0.5 * ((y - mu) / sigma) ** 2 - log_sigma for y in Y)
    share = np.exp(log_p - log_p.max())
    return float((share * mu).sum() / share.sum()), float((share * sigma).sum() / share.sum())


def check_posterior(target: Target) -> None:
    found = fit_posterior(target, **SMALL).sample(4000)
    mu, sigma = exact()
    assert found["mu"].mean() == pytest.approx(mu, abs=0.06)
    assert found["sigma"].mean() == pytest.approx(sigma, abs=0.08)


def test_jax() -> None:
    jax = pytest.importorskip("jax")

    def log_density(x: Any) -> Any:
        mu, sigma = x
        like = -0.5 * ((jax.numpy.asarray(Y) - mu) / sigma) ** 2 - jax.numpy.log(sigma)
        return like.sum() - 0.5 * (mu / 10) ** 2 - 0.5 * (sigma / 2) ** 2

    target = Target.from_jax(log_density, Space((2,), (REAL, POSITIVE)), names=["mu", "sigma"])
    u = points(2)
    x, ladj = target.to_constrained(u)
    own = torch.tensor([float(log_density(row)) for row in x.numpy()], dtype=torch.float64)
    torch.testing.assert_close(target.log_density(u), own + ladj, atol=2e-5, rtol=1e-5)  # JAX alone has floats
    check_maps(target)
    check_slopes(target)
    check_posterior(target)


def test_numpyro() -> None:
    pytest.importorskip("numpyro")
    import jax
    import numpyro
    from numpyro import distributions as dist
    from numpyro.infer.util import log_density as own_density

    def model(y: np.ndarray) -> None:
        mu = numpyro.sample("mu", dist.Normal(0, 10))
        sigma = numpyro.sample("sigma", dist.HalfNormal(2))
        numpyro.sample("y", dist.Normal(mu, sigma), obs=y)

    target = Target.from_numpyro(model, Y)
    assert dict(target.sizes) == {"mu": (), "sigma": ()}
    u = points(2)
    x, ladj = target.to_constrained(u)
    with jax.enable_x64(True):
        own = [float(own_density(model, (Y,), {}, {"mu": a, "sigma": b})[0]) for a, b in x.numpy()]
    torch.testing.assert_close(target.log_density(u), torch.tensor(own, dtype=torch.float64) + ladj)
    check_maps(target)
    check_slopes(target)
    check_posterior(target)


def test_numpyro_with_arrays_bounds_and_a_simplex() -> None:
    pytest.importorskip("numpyro")
    import numpyro
    from numpyro import distributions as dist

    def model() -> None:
        numpyro.sample("w", dist.Normal(0, 1).expand([2, 2]))
        numpyro.sample("p", dist.Dirichlet(np.ones(3)))
        numpyro.sample("a", dist.Uniform(1, 4))

    target = Target.from_numpyro(model)
    assert target.dim == 7
    assert dict(target.sizes) == {"a": (), "p": (3,), "w": (2, 2)}
    x = target.to_constrained(points(7))[0]
    assert ((x[:, 0] > 1) & (x[:, 0] < 4)).all()
    torch.testing.assert_close(x[:, 1:4].sum(-1), torch.ones(5, dtype=torch.float64))
    check_maps(target)
    check_slopes(target)


def test_numpyro_with_a_support_that_moves() -> None:
    pytest.importorskip("numpyro")
    import numpyro
    from numpyro import distributions as dist

    def model() -> None:
        top = numpyro.sample("top", dist.HalfNormal(2))
        numpyro.sample("below", dist.Uniform(0, top))

    target = Target.from_numpyro(model)
    x, ladj = target.to_constrained(points(2))
    assert (x[:, 0] < x[:, 1]).all()
    assert ladj.isfinite().all()
    check_slopes(target)
    with pytest.raises(ConfigError, match="supports move"):
        target.to_unconstrained(x)


def test_pymc() -> None:
    pm = pytest.importorskip("pymc")
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10)
        sigma = pm.HalfNormal("sigma", 2)
        pm.Normal("y", mu, sigma, observed=Y)
    target = Target.from_pymc(model)
    assert dict(target.sizes) == {"mu": (), "sigma": ()}
    u = points(2)
    own, slope = model.compile_logp(), model.compile_dlogp()
    each = [{v.name: row[i] for i, v in enumerate(model.value_vars)} for row in u.numpy()]
    at = u.clone().requires_grad_()
    value = target.log_density(at)
    torch.testing.assert_close(value.detach(), torch.tensor([float(own(p)) for p in each], dtype=torch.float64))
    (grad,) = torch.autograd.grad(value.sum(), at)
    torch.testing.assert_close(grad, torch.from_numpy(np.array([slope(p) for p in each])))
    check_maps(target)
    check_posterior(target)


def test_pymc_with_arrays_bounds_and_a_simplex() -> None:
    pm = pytest.importorskip("pymc")
    with pm.Model() as model:
        pm.Normal("w", 0, 1, shape=(2, 2))
        pm.Dirichlet("p", np.ones(3))
        top = pm.HalfNormal("top", 2)
        pm.Uniform("below", 0, top)
    target = Target.from_pymc(model)
    assert target.dim == 8
    assert dict(target.sizes) == {"w": (2, 2), "p": (3,), "top": (), "below": ()}
    x = target.to_constrained(points(8))[0]
    assert (x[:, 8] < x[:, 7]).all()
    check_maps(target)
    check_slopes(target)
