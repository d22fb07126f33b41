"""A mixture of Gaussians, fitted by EM and then trained with the flow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from unwarp import _check
from unwarp._space import Space
from unwarp.distributions._base import Distribution
from unwarp.functional import (
    GaussianMixtureFit,
    fit_gaussian_mixture,
    gaussian_mixture_from_normal,
    gaussian_mixture_log_prob,
    gaussian_mixture_to_normal,
)

__all__ = ["GaussianMixture"]

_UNIT = 0.05  # of the stored parameters, so that steps and noise of a network's size move the mixture gently
_OFF = -30.0  # log weight of a component that is not used
_FINAL = 50_000  # rows of the last fit


class GaussianMixture(Distribution):
    r"""$p(x) = \sum_k \pi_k\,\mathcal N(x; \mu_k, \Sigma_k)$ with full covariances, all learned.

    Use it as a flow's base: `adapt` fits it to the latent by expectation and maximisation, so that training starts from
    the best mixture and the flow only has to learn what a mixture cannot say.

    Args:
        features: number of features D.
        components: the largest number of components K; `adapt` chooses how many to use, by held-out likelihood.

    Shapes: x `(*batch, D)` -> `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1` or `components < 1`.

    Source: Dempster, Laird and Rubin, *Maximum likelihood from incomplete data via the EM algorithm*, 1977.

    Example:
        >>> bool(torch.isclose(GaussianMixture(1, 1).log_prob(torch.zeros(1)), torch.tensor(-0.9189385)))
        True
    """

    def __init__(self, features: int, components: int) -> None:
        super().__init__(Space((_check.at_least("GaussianMixture", "features", features, 1),)))
        _check.at_least("GaussianMixture", "components", components, 1)
        self.log_weights = nn.Parameter(torch.zeros(components))
        self.offset = nn.Parameter(torch.zeros(components, features))
        self.lower = nn.Parameter(torch.zeros(components, features, features))
        self.log_diagonal = nn.Parameter(torch.zeros(components, features))

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = _check.broadcast_event("GaussianMixture.log_prob", x, self.space.shape, context, self.context_shape)
        return gaussian_mixture_log_prob(x, *self._fit())

    def sample_and_log_prob(
        self, shape: Sequence[int] = (), context: Tensor | None = None, *, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        batch = self.batch_shape(shape, context)
        fit = self._fit()
        u = torch.rand(batch, generator=generator, dtype=fit.offset.dtype, device=fit.offset.device)
        eps = torch.randn(*batch, *self.space.shape, generator=generator, dtype=u.dtype, device=u.device)
        edges = fit.log_weights.detach().exp().cumsum(0)[:-1]
        k = (u.unsqueeze(-1) >= edges).sum(-1)
        eye = torch.eye(self.space.shape[0], dtype=u.dtype, device=u.device)
        factor = torch.linalg.solve_triangular(fit.whitener, eye, upper=False)
        x = (factor[k] @ (eps + fit.offset[k]).unsqueeze(-1)).squeeze(-1)
        return x, gaussian_mixture_log_prob(x, *fit)

    def to_normal(self, x: Tensor) -> Tensor:
        """Events of the mixture as standard normal ones, `(*batch, D)`; see `functional.gaussian_mixture_to_normal`."""
        return gaussian_mixture_to_normal(x, *self._fit())

    def from_normal(self, u: Tensor) -> Tensor:
        """Inverse of `to_normal`, `(*batch, D)`, to the precision of bisection."""
        return gaussian_mixture_from_normal(u, *self._fit())

    def adapt(self, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None) -> None:
        with torch.no_grad():
            best = choose_mixture(x.double(), self.log_weights.shape[0], weight=weight)
            used = best.log_weights.shape[0]
            diagonal = best.whitener.diagonal(dim1=-2, dim2=-1)
            for stored, value, rest in (
                (self.log_weights, best.log_weights, _OFF),
                (self.offset, best.offset, 0.0),
                (self.lower, best.whitener.tril(-1) / diagonal.unsqueeze(-1), 0.0),
                (self.log_diagonal, diagonal.log(), 0.0),
            ):
                stored.fill_(rest / _UNIT)
                stored[:used] = (value / _UNIT).to(stored)

    def _fit(self) -> GaussianMixtureFit:
        eye = torch.eye(self.space.shape[0], dtype=self.lower.dtype, device=self.lower.device)
        whitener = (_UNIT * self.log_diagonal).exp().unsqueeze(-1) * (_UNIT * self.lower.tril(-1) + eye)
        return GaussianMixtureFit((_UNIT * self.log_weights).log_softmax(0), _UNIT * self.offset, whitener)

    def extra_repr(self) -> str:
        return f"{self.space.shape[0]}, components={self.log_weights.shape[0]}"


_COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
_POOLED = 3  # fits that are averaged


def choose_mixture(
    x: Tensor, components: int, *, weight: Tensor | None = None, rows: int = 12_000, seed: int = 0
) -> GaussianMixtureFit:
    """A mixture of at most `components` Gaussians in all: the average of the fits that are best on a held-out fifth.

    Counts are tried from 1 up, to one component for 5 D rows, until two in turn no longer help; then the best is tried
    again from another start. The average of the three best densities is nearly always better than any one of them; the
    held-out rows decide. What is chosen goes on to be fitted to all rows.
    """
    generator = torch.Generator().manual_seed(seed)
    w = x.new_ones(x.shape[0]) if weight is None else weight.to(x)
    if components == 1 or x.shape[0] < 10 * x.shape[1]:
        return fit_gaussian_mixture(x, 1, weight=w)
    pick = torch.randperm(x.shape[0], generator=generator)[:rows].to(x.device)
    cut = max(1, pick.shape[0] // 5)
    held, train = pick[:cut], pick[cut:]
    share = w[held] / w[held].sum()
    tried: list[tuple[float, GaussianMixtureFit]] = []

    def attempt(count: int) -> None:
        fit = fit_gaussian_mixture(x[train], count, weight=w[train], generator=generator, max_iterations=60)
        tried.append((float(share @ gaussian_mixture_log_prob(x[held], *fit)), fit))
        tried.sort(key=lambda entry: -entry[0])

    tries = 1 if train.shape[0] > 4_000 else 2
    for count in (count for count in _COUNTS for _ in range(tries)):
        if count > min(components, max(1, train.shape[0] // (5 * x.shape[1]))):
            break
        attempt(count)
        if count > 4 * tried[0][1].offset.shape[0] or count > 2 * max(fit.offset.shape[0] for _, fit in tried[:2]):
            break
    attempt(tried[0][1].offset.shape[0])
    chosen = [tried[0][1]]
    for _, fit in tried[1:_POOLED]:
        if sum(one.offset.shape[0] for one in chosen) + fit.offset.shape[0] <= components:
            chosen.append(fit)
    pooled = pool_mixtures(chosen)
    best = pooled if float(share @ gaussian_mixture_log_prob(x[held], *pooled)) > tried[0][0] else tried[0][1]
    if len(chosen) == 1 or best is not pooled:
        chosen = [tried[0][1]]
    final = x[:_FINAL], w[:_FINAL]
    return pool_mixtures(
        [
            fit_gaussian_mixture(final[0], fit.offset.shape[0], weight=final[1], start=fit, max_iterations=10)
            for fit in chosen
        ]
    )


def pool_mixtures(fits: Sequence[GaussianMixtureFit]) -> GaussianMixtureFit:
    """The average of the mixtures' densities, as one mixture."""
    log_weights, means, whitener = (torch.cat(parts) for parts in zip(*fits, strict=True))
    return GaussianMixtureFit(log_weights - math.log(len(fits)), means, whitener)
