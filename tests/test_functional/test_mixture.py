"""Mixtures of Gaussians against scikit-learn, and their way to the normal and back."""

import pytest
import torch
from sklearn.mixture import GaussianMixture as Reference

from unwarp.distributions import GaussianMixture
from unwarp.functional import (
    fit_gaussian_mixture,
    gaussian_mixture_from_normal,
    gaussian_mixture_log_prob,
    gaussian_mixture_to_normal,
)


def _clusters(n: int = 400, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for center in ([-4.0, 0.0, 1.0], [3.0, 3.0, -2.0], [0.0, -5.0, 4.0]):
        mixing = torch.randn(3, 3, generator=generator, dtype=torch.float64)
        parts.append(torch.randn(n, 3, generator=generator, dtype=torch.float64) @ mixing + torch.tensor(center))
    return torch.cat(parts)


def test_one_component_is_the_empirical_gaussian() -> None:
    x = _clusters()
    fit = fit_gaussian_mixture(x, 1, ridge=1e-12)
    white = (x - fit.means[0]) @ fit.whitener[0].mT
    assert torch.allclose(fit.means[0], x.mean(0))
    assert torch.allclose(white.mT @ white / len(x), torch.eye(3, dtype=torch.float64), atol=1e-6)


def test_log_prob_and_likelihood_match_scikit_learn() -> None:
    x = _clusters()
    reference = Reference(3, n_init=3, random_state=0, reg_covar=1e-9).fit(x.numpy())
    fit = fit_gaussian_mixture(x, 3, generator=torch.Generator().manual_seed(0), tolerance=1e-6)
    assert float(gaussian_mixture_log_prob(x, *fit).mean()) == pytest.approx(reference.score(x.numpy()), abs=1e-3)


def test_a_weight_of_two_is_a_row_twice_and_zero_is_none() -> None:
    x = _clusters(n=100)
    weight = torch.ones(300, dtype=torch.float64)
    weight[:50], weight[-50:] = 2.0, 0.0
    repeated = torch.cat([x[:50], x[:-50]])
    a = fit_gaussian_mixture(x, 1, weight=weight)
    b = fit_gaussian_mixture(repeated, 1)
    assert torch.allclose(a.means, b.means) and torch.allclose(a.whitener, b.whitener)


def test_far_from_the_origin_nothing_is_lost() -> None:
    x = _clusters()
    near = fit_gaussian_mixture(x, 3, generator=torch.Generator().manual_seed(1))
    far = fit_gaussian_mixture(x + 1e6, 3, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(near.whitener, far.whitener, rtol=1e-3)


def test_to_normal_gives_independent_normals_and_comes_back() -> None:
    x = _clusters()
    fit = fit_gaussian_mixture(x, 3, generator=torch.Generator().manual_seed(0))
    u = gaussian_mixture_to_normal(x, *fit)
    assert float(u.mean(0).abs().max()) < 0.1
    assert torch.allclose(u.mT.cov(), torch.eye(3, dtype=torch.float64), atol=0.1)
    assert torch.allclose(gaussian_mixture_from_normal(u, *fit), x, atol=1e-9)


def test_to_normal_has_the_density_as_its_jacobian() -> None:
    x = _clusters(n=3)
    fit = fit_gaussian_mixture(_clusters(), 3, generator=torch.Generator().manual_seed(0))
    jacobian = torch.stack(
        [torch.autograd.functional.jacobian(lambda row: gaussian_mixture_to_normal(row, *fit), row) for row in x]
    )
    u = gaussian_mixture_to_normal(x, *fit)
    log_normal = torch.distributions.Normal(0.0, 1.0).log_prob(u).sum(-1)
    assert torch.allclose(log_normal + torch.linalg.slogdet(jacobian)[1], gaussian_mixture_log_prob(x, *fit), atol=1e-8)


def test_degenerate_data_give_a_finite_fit() -> None:
    x = _clusters(n=20)
    x = torch.cat([x, x[:, :1]], -1)  # an exact copy of a column
    fit = fit_gaussian_mixture(x, 4, generator=torch.Generator().manual_seed(0))
    assert all(bool(torch.isfinite(part).all()) for part in fit)


def test_adapt_uses_as_many_components_as_help() -> None:
    mixture = GaussianMixture(3, 8).double()
    mixture.adapt(_clusters())
    assert int((0.05 * mixture.log_weights > -20).sum()) in (3, 4)
