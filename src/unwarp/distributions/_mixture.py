"""A mixture of Gaussians, fitted by EM and then trained with the flow."""

from __future__ import annotations

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

_OFF = -30.0  # log weight of a component that is not used


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
        self.means = nn.Parameter(torch.zeros(components, features))
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
        u = torch.rand(batch, generator=generator, dtype=fit.means.dtype, device=fit.means.device)
        eps = torch.randn(*batch, *self.space.shape, generator=generator, dtype=u.dtype, device=u.device)
        edges = fit.log_weights.detach().exp().cumsum(0)[:-1]
        k = (u.unsqueeze(-1) >= edges).sum(-1)
        eye = torch.eye(self.space.shape[0], dtype=u.dtype, device=u.device)
        factor = torch.linalg.solve_triangular(fit.whitener, eye, upper=False)
        x = fit.means[k] + (factor[k] @ eps.unsqueeze(-1)).squeeze(-1)
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
            self.log_weights.fill_(_OFF)
            self.means.zero_()
            self.lower.zero_()
            self.log_diagonal.zero_()
            self.log_weights[:used] = best.log_weights.to(self.log_weights)
            self.means[:used] = best.means.to(self.means)
            self.lower[:used] = best.whitener.tril(-1).to(self.lower)
            self.log_diagonal[:used] = best.whitener.diagonal(dim1=-2, dim2=-1).log().to(self.log_diagonal)

    def _fit(self) -> GaussianMixtureFit:
        whitener = self.lower.tril(-1) + self.log_diagonal.exp().diag_embed()
        return GaussianMixtureFit(self.log_weights.log_softmax(0), self.means, whitener)

    def extra_repr(self) -> str:
        return f"{self.space.shape[0]}, components={self.log_weights.shape[0]}"


def choose_mixture(
    x: Tensor, components: int, *, weight: Tensor | None = None, rows: int = 20_000, seed: int = 0
) -> GaussianMixtureFit:
    """The mixture of at most `components` Gaussians that is best on a held-out fifth, refitted to at most `rows` rows.

    Counts 1, 2, 4, ... are tried in turn, up to one component for 5 D rows, until more no longer helps.
    """
    generator = torch.Generator().manual_seed(seed)
    w = x.new_ones(x.shape[0]) if weight is None else weight.to(x)
    if components == 1 or x.shape[0] < 10 * x.shape[1]:
        return fit_gaussian_mixture(x, 1, weight=w)
    pick = torch.randperm(x.shape[0], generator=generator)[:rows].to(x.device)
    x, w = x[pick], w[pick]
    cut = max(1, x.shape[0] // 5)
    held, held_w = x[:cut], w[:cut] / w[:cut].sum()
    most = min(components, max(1, (x.shape[0] - cut) // (5 * x.shape[1])))
    best, best_score = 1, -torch.inf
    count = 1
    while count <= most:
        fit = fit_gaussian_mixture(x[cut:], count, weight=w[cut:], generator=generator, max_iterations=60)
        score = float(held_w @ gaussian_mixture_log_prob(held, *fit))
        if score > best_score:
            best, best_score = count, score
        elif count >= 4 * best:
            break
        count = most if count < most < 2 * count else 2 * count
    return fit_gaussian_mixture(x, best, weight=w, generator=generator)
