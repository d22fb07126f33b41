"""Mixtures of Gaussians: density, and maximum likelihood by expectation and maximisation."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

__all__ = [
    "GaussianMixtureFit",
    "fit_gaussian_mixture",
    "gaussian_mixture_from_normal",
    "gaussian_mixture_log_prob",
    "gaussian_mixture_to_normal",
]

_ENTRIES = 2**23  # of the moments of some rows, kept while a mixture is fitted


class GaussianMixtureFit(NamedTuple):
    r"""Parameters of a mixture of K Gaussians in D dimensions, by how each component whitens its events.

    `whitener[k]` is the lower-triangular $A_k = L_k^{-1}$ with $\Sigma_k = L_k L_k^\top$, and `offset[k]` is
    $b_k = A_k \mu_k$, so that $A_k x - b_k$ is white.
    """

    log_weights: Tensor  # (K,)
    offset: Tensor  # (K, D)
    whitener: Tensor  # (K, D, D)

    @property
    def means(self) -> Tensor:
        """The components' means, `(K, D)`."""
        return torch.linalg.solve_triangular(self.whitener, self.offset.unsqueeze(-1), upper=False).squeeze(-1)

    def moved(self, shift: Tensor) -> GaussianMixtureFit:
        """The mixture of the events moved by `shift: (D,)`."""
        return self._replace(offset=self.offset + self.whitener @ shift)


def gaussian_mixture_log_prob(x: Tensor, log_weights: Tensor, offset: Tensor, whitener: Tensor) -> Tensor:
    r"""$\log \sum_k \pi_k\,\mathcal N(x; \mu_k, \Sigma_k)$ in nats.

    Shapes: x `(*batch, D)` -> `(*batch)`; parameters as in `GaussianMixtureFit`.
    """
    return _joint(x, log_weights, offset, whitener).logsumexp(-1)


def gaussian_mixture_to_normal(x: Tensor, log_weights: Tensor, offset: Tensor, whitener: Tensor) -> Tensor:
    r"""$u_i = \Phi^{-1}(F(x_i \mid x_{<i}))$: what is distributed as the mixture becomes standard normal.

    Since the whiteners are triangular, $a_k = A_k x - b_k$ holds the components' conditional residuals, and
    $F(x_i \mid x_{<i}) = \sum_k w_k(x_{<i})\,\Phi(a_{ki})$ with weights from the features before i: one pass for all i.

    Shapes: x `(*batch, D)` -> u `(*batch, D)`; parameters as in `GaussianMixtureFit`.

    Source: M. Rosenblatt, *Remarks on a multivariate transformation*, 1952.
    """
    a = _residuals(x, offset, whitener)
    log_density = whitener.diagonal(dim1=-2, dim2=-1).log() - 0.5 * a.square()
    log_w = (log_weights.unsqueeze(-1) + log_density.cumsum(-1) - log_density).log_softmax(-2)
    return _normal_quantile(log_w, a)


def gaussian_mixture_from_normal(u: Tensor, log_weights: Tensor, offset: Tensor, whitener: Tensor) -> Tensor:
    """Inverse of `gaussian_mixture_to_normal`: feature by feature, by bisection between the components' own quantiles.

    Shapes: u `(*batch, D)` -> x `(*batch, D)`.
    """
    x = torch.zeros_like(u)
    log_w = log_weights.expand(*u.shape[:-1], -1)
    for i in range(u.shape[-1]):
        slope = whitener[:, i, i]
        middle = (offset[:, i] - x[..., :i] @ whitener[:, i, :i].mT) / slope
        ends = middle + u[..., i, None] / slope
        low, high = ends.amin(-1), ends.amax(-1)
        weight = log_w.log_softmax(-1).unsqueeze(-1)
        for _ in range(70):
            half = 0.5 * (low + high)
            a = (half.unsqueeze(-1) - middle) * slope
            above = _normal_quantile(weight, a.unsqueeze(-1)).squeeze(-1) > u[..., i]
            low, high = torch.where(above, low, half), torch.where(above, half, high)
        x[..., i] = 0.5 * (low + high)
        a = (x[..., i, None] - middle) * slope
        log_w = log_w + slope.log() - 0.5 * a.square()
    return x


def fit_gaussian_mixture(
    x: Tensor,
    components: int,
    *,
    weight: Tensor | None = None,
    start: GaussianMixtureFit | None = None,
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
        start: parameters to start from, in place of k-means.
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
    if components == 1:
        covariance = (x * w.unsqueeze(-1)).mT @ x + floor.diag()
        return GaussianMixtureFit(
            w.new_zeros(1), floor.new_zeros(1, len(floor)), _whitener(covariance[None], floor)
        ).moved(center)
    moments = _Moments(x)
    if start is None:
        fit = _maximise(moments, w, _kmeans(x / spread.sqrt(), w, components, generator), floor)
    else:
        fit = start.moved(-center)
    last = -math.inf
    for _ in range(max_iterations):
        joint = moments.times(_coefficients(fit)).float()  # memberships need no more than float32, moments do
        total = joint.logsumexp(-1)
        now = float(w @ total.to(w))
        if now - last < tolerance:
            break
        last = now
        fit = _maximise(moments, w, (joint - total.unsqueeze(-1)).exp().to(x), floor)
    return fit.moved(center)


class _Moments:
    """1, x_i and x_i x_j for i >= j of rows `(n, D)`: 1 + D + D (D + 1) / 2 columns, not too many rows at once.

    Logarithms of Gaussian densities are linear in them, and their weighted sums are a Gaussian's moments.
    """

    def __init__(self, x: Tensor) -> None:
        features = x.shape[-1]
        self.pairs = torch.tril_indices(features, features, device=x.device).unbind()
        self.parts = x.split(max(1, _ENTRIES // (1 + features + len(self.pairs[0]))))
        self.kept = [self._of(self.parts[0])] if len(self.parts) == 1 else None

    def _of(self, x: Tensor) -> Tensor:
        i, j = self.pairs
        return torch.cat([torch.ones_like(x[:, :1]), x, x[:, i] * x[:, j]], dim=-1)

    def times(self, coefficients: Tensor) -> Tensor:
        """Their sums with coefficients `(columns, K)`, `(n, K)`."""
        return torch.cat([part @ coefficients for part in self.kept or map(self._of, self.parts)])

    def sums(self, mass: Tensor) -> Tensor:
        """Their sums over rows that weigh `mass: (n, K)`, `(K, columns)`."""
        masses = mass.split(len(self.parts[0]))
        parts = self.kept or map(self._of, self.parts)
        return torch.stack([m.mT @ part for m, part in zip(masses, parts, strict=True)]).sum(0)


def _coefficients(fit: GaussianMixtureFit) -> Tensor:
    """log pi_k + log N(x; mu_k, Sigma_k) is a sum of `_Moments` times these, `(1 + D + D (D + 1) / 2, K)`."""
    log_weights, offset, whitener = fit
    features = offset.shape[-1]
    constant = log_weights + whitener.diagonal(dim1=-2, dim2=-1).log().sum(-1) - 0.5 * offset.square().sum(-1)
    linear = (offset.unsqueeze(-2) @ whitener).squeeze(-2)
    i, j = torch.tril_indices(features, features, device=offset.device)
    square = (whitener.mT @ whitener)[:, i, j] * torch.where(i == j, -0.5, -1.0).to(offset)
    return torch.cat([(constant - 0.5 * features * math.log(2 * math.pi)).unsqueeze(-1), linear, square], dim=-1).mT


def _joint(x: Tensor, log_weights: Tensor, offset: Tensor, whitener: Tensor) -> Tensor:
    """log pi_k + log N(x; mu_k, Sigma_k), `(*batch, K)`."""
    features = offset.shape[-1]
    white = _residuals(x, offset, whitener)
    half_log_det = whitener.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    constant = log_weights + half_log_det - 0.5 * features * math.log(2 * math.pi)
    return constant - 0.5 * white.square().sum(-1)


def _residuals(x: Tensor, offset: Tensor, whitener: Tensor) -> Tensor:
    """A_k x - b_k of every component, `(*batch, K, D)`."""
    return (x @ whitener.flatten(0, 1).mT).unflatten(-1, offset.shape) - offset


def _normal_quantile(log_w: Tensor, a: Tensor) -> Tensor:
    """Quantile of sum_k w_k Phi(a_k), `(*batch, K, D)` -> `(*batch, D)`; the smaller tail is summed, none lost."""
    lower = (log_w + torch.special.log_ndtr(a)).logsumexp(-2)
    upper = (log_w + torch.special.log_ndtr(-a)).logsumexp(-2)
    return torch.where(lower < upper, torch.special.ndtri(lower.exp()), -torch.special.ndtri(upper.exp()))


def _maximise(moments: _Moments, w: Tensor, resp: Tensor, floor: Tensor) -> GaussianMixtureFit:
    """M step, with each covariance pulled to the diagonal by `floor`."""
    features = floor.shape[0]
    sums = moments.sums(w.unsqueeze(-1) * resp)
    share = sums[:, 0].clamp(min=1e-12)
    means, lower = (sums[:, 1:] / share.unsqueeze(-1)).split([features, sums.shape[1] - 1 - features], dim=-1)
    i, j = torch.tril_indices(features, features, device=floor.device)
    scatter = floor.new_zeros(len(share), features, features)
    scatter[:, i, j] = scatter[:, j, i] = lower
    covariance = scatter - means.unsqueeze(-1) * means.unsqueeze(-2) + floor.diag()
    whitener = _whitener(covariance, floor)
    return GaussianMixtureFit((share / share.sum()).log(), (whitener @ means.unsqueeze(-1)).squeeze(-1), whitener)


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
    at = mass.device if generator is None else generator.device
    u = torch.rand((), generator=generator, dtype=mass.dtype, device=at).to(mass.device)
    total = mass.cumsum(0)
    return torch.searchsorted(total, u * total[-1]).clamp(max=mass.shape[0] - 1)
