"""From vectors and matrices under constraints to free vectors."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from unwarp import functional
from unwarp._manifold import CholeskyFactor, CorrelationFactor, Ordered, Simplex, fill_lower
from unwarp._space import Space
from unwarp.transforms._base import Transform

__all__ = ["Cholesky", "Correlation", "Increments", "StickBreaking"]


class StickBreaking(Transform):
    r"""Shares that add up to one to D - 1 real numbers: $z_k = \log\frac{x_k}{\sum_{j>k} x_j} + \log(D - k)$, k from 1.

    Use it before layers for real numbers where events are compositions: probabilities, budgets, mineral contents. Equal
    shares become zeros. Sums, not differences, tell what is left of the stick, so that small shares keep their digits.

    Args:
        features: number of shares D.

    Shapes: x `(*batch, D)`, z `(*batch, D - 1)`; ladj `(*batch)`, nats, by the volume of the first D - 1 shares.

    Raises:
        ConfigError: if `features < 2`.

    Source: Carpenter et al., *Stan: A probabilistic programming language*, 2017, reference manual, unit simplex.

    Example:
        >>> StickBreaking(4).encode(torch.full((4,), 0.25)).abs().max().item() < 1e-6
        True
    """

    middle: Tensor

    def __init__(self, features: int) -> None:
        super().__init__(Space((features,), Simplex(features)), Space((features - 1,)))
        self.register_buffer("middle", torch.arange(features - 1, 0, -1).log(), persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        left = x.flip(-1).cumsum(-1).flip(-1).log()  # of the stick, before share k
        share = x.log()
        z = share[..., :-1] - left[..., 1:] + self.middle
        return z, (left[..., :-1] - share[..., :-1] - left[..., 1:]).sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        odds = z - self.middle
        taken, kept = F.logsigmoid(odds), F.logsigmoid(-odds)
        left = F.pad(kept.cumsum(-1), (1, 0))
        share = left + F.pad(taken, (0, 1))
        x = functional.exp(share)[0]
        return x, (share[..., :-1] + kept).sum(-1)

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}"


class Increments(Transform):
    r"""Increasing numbers to real ones: $z_1 = x_1$ and $z_k = \log(e^{x_k - x_{k-1}} - 1)$.

    Use it for sorted values: quantiles, thresholds, times of events.

    Args:
        features: number of entries D.

    Shapes: x, z `(*batch, D)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1`.

    Source: Carpenter et al., *Stan: A probabilistic programming language*, 2017, reference manual, ordered vector.
    Differs: softplus in place of the exponential function, so that large numbers stay so.

    Example:
        >>> x, _ = Increments(3).inverse(torch.tensor([5.0, -2.0, 3.0]))
        >>> bool((x.diff() > 0).all())
        True
    """

    def __init__(self, features: int) -> None:
        super().__init__(Space((features,), Ordered(features)), Space((features,)))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        steps, ladj = functional.softplus_inverse(x.diff(dim=-1).clamp(min=torch.finfo(x.dtype).tiny))
        return torch.cat([x[..., :1], steps], -1), ladj.sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        steps, ladj = functional.softplus(z[..., 1:])
        return torch.cat([z[..., :1], steps], -1).cumsum(-1), ladj.sum(-1)

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}"


class Cholesky(Transform):
    r"""Lower triangular matrices with a positive diagonal to real vectors: the diagonal by the inverse of softplus.

    Use it for covariance matrices, of which events are the Cholesky factors.

    Args:
        features: rows n of the matrices.

    Shapes: x `(*batch, n, n)`, z `(*batch, n (n + 1) / 2)`, row by row; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1`.

    Source: Pinheiro and Bates, *Unconstrained parametrizations for variance-covariance matrices*, 1996, section 2.1.
    Differs: softplus in place of the exponential function.

    Example:
        >>> x, _ = Cholesky(2).inverse(torch.tensor([-3.0, 1.0, 2.0]))
        >>> bool(torch.linalg.eigvalsh(x @ x.mT).min() > 0)
        True
    """

    diagonal: Tensor

    def __init__(self, features: int) -> None:
        space = CholeskyFactor(features)
        super().__init__(Space(space.shape, space), Space((len(space.coordinates),)))
        row, column = torch.tril_indices(features, features).unbind(0)
        self.register_buffer("diagonal", row == column, persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        entries = self.domain.to_coordinates(x)[0]
        free, ladj = functional.softplus_inverse(torch.where(self.diagonal, entries, 1.0))
        return torch.where(self.diagonal, free, entries), torch.where(self.diagonal, ladj, 0.0).sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        positive, ladj = functional.softplus(torch.where(self.diagonal, z, 0.0))
        x = self.domain.from_coordinates(torch.where(self.diagonal, positive, z))[0]
        return x, torch.where(self.diagonal, ladj, 0.0).sum(-1)

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}"


class Correlation(Transform):
    r"""Cholesky factors of correlation matrices to real vectors: $z_{ij} = \operatorname{artanh} c_{ij}$.

    Here $c_{ij} = L_{ij} / \sqrt{\sum_{k \ge j} L_{ik}^2}$ are canonical partial correlations.

    Use it for correlation matrices, of which events are the Cholesky factors.

    Args:
        features: rows n of the matrices.

    Shapes: x `(*batch, n, n)`, z `(*batch, n (n - 1) / 2)`, row by row; ladj `(*batch)`, nats, by the volume of the
    entries below the diagonal.

    Raises:
        ConfigError: if `features < 2`.

    Source: Lewandowski, Kurowicka and Joe, *Generating random correlation matrices based on vines and extended onion
    method*, 2009, section 2. Differs: $\operatorname{arsinh}(L_{ij} / \sqrt{\sum_{k > j} L_{ik}^2})$, which is the same
    and keeps its digits near 1.

    Example:
        >>> x, _ = Correlation(3).inverse(torch.tensor([1.0, -2.0, 0.5]))
        >>> bool(torch.allclose((x @ x.mT).diagonal(), torch.ones(3)))
        True
    """

    row: Tensor
    column: Tensor

    def __init__(self, features: int) -> None:
        space = CorrelationFactor(features)
        super().__init__(Space(space.shape, space), Space((len(space.coordinates),)))
        row, column = torch.tril_indices(features, features, -1).unbind(0)
        self.register_buffer("row", row, persistent=False)
        self.register_buffer("column", column, persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        left = x.square().flip(-1).cumsum(-1).flip(-1)  # of the row's square, from entry ij on
        before, after = left[..., self.row, self.column], left[..., self.row, self.column + 1]
        z = (x[..., self.row, self.column] * after.rsqrt()).asinh()
        return z, (0.5 * before.log() - after.log()).sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        n = self.domain.shape[-1]
        full = fill_lower(z, n, -1)
        size = full.abs()
        taken = 2 * (math.log(2) - size - F.softplus(-2 * size))  # log of 1 - tanh^2
        left = F.pad(taken.cumsum(-1), (1, 0))
        root = functional.exp(0.5 * left[..., :-1])[0]
        eye = torch.eye(n, dtype=z.dtype, device=z.device)
        before, after = left[..., self.row, self.column], left[..., self.row, self.column + 1]
        return root * (full.tanh() + eye), (after - 0.5 * before).sum(-1)

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}"
