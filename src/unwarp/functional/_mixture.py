"""Mixtures of Gaussians: density, and maximum likelihood by expectation and maximisation."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

__all__ = ["GaussianMixtureFit", "fit_gaussian_mixture", "gaussian_mixture_log_prob"]


class GaussianMixtureFit(NamedTuple):
    r"""Parameters of a mixture of K Gaussians in D dimensions.

    `whitener[k]` is the lower-triangular $A_k = L_k^{-1}$ with $\Sigma_k = L_k L_k^\top$, so that $A_k(x - \mu_k)$ is white.
    """

    log_weights: Tensor  # (K,)
    means: Tensor  # (K, D)
    whitener: Tensor  # (K, D, D)


def gaussian_mixture_log_prob(x: Tensor, log_weights: Tensor, means: Tensor, whitener: Tensor) -> Tensor:
    r"""$\log \sum_k \pi_k\,\mathcal N(x; \mu_k, \Sigma_k)$ in nats.

    Shapes: x `(*batch, D)` -> `(*batch)`; parameters as in `GaussianMixtureFit`.
    """
    return _joint(x, log_weights, means, whitener).logsumexp(-1)


def fit_gaussian_mixture(
    x: Tensor,
    components: int,
    *,
    weight: Tensor | None = None,
    generator: Generator | None = None,
    max_iterations: int = 100,
    tolerance: float = 1e-3,
    ridge: float = 1e-6,
) -> GaussianMixtureFit:
    """Maximum-likelihood mixture of full-covariance Gaussians by EM, from a k-means start; weighted.

    Args:
        x: data, `(n, D)`.
        components: K; at most as many as rows.
        weight: row weights >= 0, `(n,)`; a weight of 2 counts as two rows.
        generator: for the seeding draws.
        max_iterations: bound on EM rounds.
        tolerance: stop when a round gains less than this many nats a row.
        ridge: added to each covariance's diagonal, as a share of the data's mean variance.
    """
    w = x.new_ones(x.shape[0]) if weight is None else weight.to(x)
    w = w / w.sum()
    center = w @ x
    x = x - center
    spread = (w @ x.square()).clamp(min=torch.finfo(x.dtype).tiny)
    floor = ridge * spread
    resp = _kmeans(x / spread.sqrt(), w, components, generator)
    fit = _maximise(x, w, resp, floor)
    last = -math.inf
    for _ in range(max_iterations if components > 1 else 0):
        joint = _joint(x, *fit)
        total = joint.logsumexp(-1)
        now = float(w @ total)
        if now - last < tolerance:
            break
        last = now
        fit = _maximise(x, w, (joint - total.unsqueeze(-1)).exp(), floor)
    return fit._replace(means=fit.means + center)


def _joint(x: Tensor, log_weights: Tensor, means: Tensor, whitener: Tensor) -> Tensor:
    """log pi_k + log N(x; mu_k, Sigma_k), `(*batch, K)`."""
    components, features = means.shape
    offset = (whitener @ means.unsqueeze(-1)).flatten()
    white = (x @ whitener.flatten(0, 1).mT - offset).unflatten(-1, (components, features))
    half_log_det = whitener.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    constant = log_weights + half_log_det - 0.5 * features * math.log(2 * math.pi)
    return constant - 0.5 * white.square().sum(-1)


def _maximise(x: Tensor, w: Tensor, resp: Tensor, floor: Tensor) -> GaussianMixtureFit:
    """M step, with each covariance pulled to the diagonal by `floor`."""
    mass = w.unsqueeze(-1) * resp
    share = mass.sum(0).clamp(min=1e-12)
    means = mass.mT @ x / share.unsqueeze(-1)
    scatter = torch.stack([(x * m.unsqueeze(-1)).mT @ x for m in mass.unbind(-1)]) / share[:, None, None]
    covariance = scatter - means.unsqueeze(-1) * means.unsqueeze(-2) + floor.diag()
    return GaussianMixtureFit((share / share.sum()).log(), means, _whitener(covariance, floor))


def _whitener(covariance: Tensor, floor: Tensor) -> Tensor:
    """Inverse Cholesky factors; a covariance that is not positive definite gets a larger ridge."""
    eye = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    ridge = floor.diag()
    for _ in range(30):
        factor, failed = torch.linalg.cholesky_ex(covariance)
        if not bool(failed.any()):
            break
        covariance = torch.where((failed > 0)[:, None, None], covariance + ridge, covariance)
        ridge = ridge * 4
    return torch.linalg.solve_triangular(factor, eye.expand_as(factor), upper=False)  # pyright: ignore[reportPossiblyUnboundVariable]


def _kmeans(x: Tensor, w: Tensor, components: int, generator: Generator | None, rounds: int = 10) -> Tensor:
    """Hard assignments `(n, K)` by weighted k-means from a k-means++ start."""
    centers = x[_draw(w, generator)].unsqueeze(0)
    nearest = (x - centers[0]).square().sum(-1)
    for _ in range(components - 1):
        pick = x[_draw((w * nearest).clamp(min=1e-300) if x.dtype == torch.float64 else w * nearest + 1e-30, generator)]
        centers = torch.cat([centers, pick.unsqueeze(0)])
        nearest = torch.minimum(nearest, (x - pick).square().sum(-1))
    resp = x.new_zeros(x.shape[0], components)
    for _ in range(rounds if components > 1 else 1):
        label = torch.cdist(x, centers).argmin(-1)
        resp = torch.nn.functional.one_hot(label, components).to(x)
        mass = resp.mT @ w
        moved = resp.mT @ (x * w.unsqueeze(-1)) / mass.clamp(min=1e-30).unsqueeze(-1)
        centers = torch.where((mass > 0).unsqueeze(-1), moved, centers)
    return resp


def _draw(mass: Tensor, generator: Generator | None) -> Tensor:
    """One index with probability proportional to `mass`, by its cumulative sum (rows of no mass don't matter)."""
    u = torch.rand((), generator=generator, dtype=mass.dtype, device=mass.device)
    total = mass.cumsum(0)
    return torch.searchsorted(total, u * total[-1]).clamp(max=mass.shape[0] - 1)
