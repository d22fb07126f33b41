"""Linear maps that mix features and change volume."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from unwarp import _check
from unwarp._space import Space
from unwarp.functional import LinearStep, bound_norm, soft_clip, upper_triangular
from unwarp.transforms._base import Transform

__all__ = ["LIMIT", "LU", "LowRank", "MatrixExponential", "Mix", "Triangular"]

LIMIT = 5.0  # of the logarithms of scales


class Mix(Transform, ABC):
    r"""$z = W x + b$ with an invertible W: a final subclass multiplies rows by it, divides by it, and knows its volume.

    Shapes: x, z `(*batch, D)`; ladj `(*batch)`, nats.
    """

    def __init__(self, where: str, features: int) -> None:
        super().__init__(Space((_check.at_least(where, "features", features, 1),)))
        self.bias = nn.Parameter(torch.zeros(features))

    @abstractmethod
    def multiply(self, rows: Tensor) -> Tensor:
        """$W x$ of each row, `(n, D)`."""

    @abstractmethod
    def divide(self, rows: Tensor) -> Tensor:
        """$W^{-1} z$ of each row, `(n, D)`, without forming the inverse."""

    @abstractmethod
    def log_det(self) -> Tensor:
        r"""$\log|\det W|$, a scalar."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z = self.multiply(x.reshape(-1, x.shape[-1])).reshape(x.shape)
        return z + self.bias, self.log_det().expand(x.shape[:-1])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self.divide((z - self.bias).reshape(-1, z.shape[-1])).reshape(z.shape)
        return x, -self.log_det().expand(z.shape[:-1])

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}"


class LU(Mix):
    r"""$z = L U x + b$ with $L$ unit lower and $U$ upper triangular; $\text{ladj} = \sum_i \log U_{ii}$.

    Use it between couplings so that every feature reaches every other; followed by `Permute.random` it is Glow's $PLU$.
    Starts as the identity; the logarithms of U's diagonal are bounded by 5.

    Args:
        features: number of features D.

    Shapes: x, z `(*batch, D)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1`.

    Source: Kingma and Dhariwal, *Glow*, 2018, arXiv:1807.03039, section 3.2, without the permutation.

    Example:
        >>> z, ladj = LU(3)(torch.ones(2, 3))
        >>> z.tolist()[0], ladj.tolist()
        ([1.0, 1.0, 1.0], [0.0, 0.0])
    """

    def __init__(self, features: int) -> None:
        super().__init__("LU", features)
        self.lower = nn.Parameter(torch.zeros(features, features))
        self.upper = nn.Parameter(torch.zeros(features, features))
        self.log_diagonal = nn.Parameter(torch.zeros(features))

    def multiply(self, rows: Tensor) -> Tensor:
        return rows @ (_unit_lower(self.lower) @ self._upper()).mT

    def divide(self, rows: Tensor) -> Tensor:
        rows = torch.linalg.solve_triangular(_unit_lower(self.lower).mT, rows, upper=True, left=False)
        return torch.linalg.solve_triangular(self._upper().mT, rows, upper=False, left=False)

    def log_det(self) -> Tensor:
        return soft_clip(self.log_diagonal, LIMIT).sum()

    def linear_step(self) -> LinearStep:
        return LinearStep(self.log_diagonal, self.bias, self.lower, self.upper, limit=LIMIT)

    def _upper(self) -> Tensor:
        return upper_triangular(self.upper, soft_clip(self.log_diagonal, LIMIT))


class Triangular(Mix):
    r"""$z = U^T x + b$ with a lower-triangular $U^T$; $\text{ladj} = \sum_i \log U_{ii}$.

    Use it where the order of the features has a meaning, such as time: each z sees its own x and those before it. With
    a normal base it is a Gaussian of any covariance. The logarithms of the diagonal are bounded by 5.

    Args:
        features: number of features D.

    Shapes: x, z `(*batch, D)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1`.

    Example:
        >>> layer = Triangular(2)
        >>> x = torch.eye(2).requires_grad_()
        >>> torch.autograd.grad(layer.encode(x)[:, 0].sum(), x)[0][:, 1].tolist()
        [0.0, 0.0]
    """

    def __init__(self, features: int) -> None:
        super().__init__("Triangular", features)
        self.upper = nn.Parameter(torch.zeros(features, features))
        self.log_diagonal = nn.Parameter(torch.zeros(features))

    def multiply(self, rows: Tensor) -> Tensor:
        return rows @ self._upper()

    def divide(self, rows: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(self._upper(), rows, upper=True, left=False)

    def log_det(self) -> Tensor:
        return soft_clip(self.log_diagonal, LIMIT).sum()

    def _upper(self) -> Tensor:
        return upper_triangular(self.upper, soft_clip(self.log_diagonal, LIMIT))


class LowRank(Mix):
    r"""$z = e^s \odot (x + U V^T x) + b$ with U, V of a few columns; $\text{ladj} = \sum_i s_i + \log\det(I + V^T U)$.

    Use it where features are many: both ways cost O(D rank) a row. $\|U\|_F \|V\|_F < 0.9$ by construction, so
    $I + U V^T$ is never singular; s is bounded by 5.

    Args:
        features: number of features D.
        rank: number of columns.

    Shapes: x, z `(*batch, D)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1` or `rank < 1`.

    Source: Lu and Huang, *Woodbury Transformations for Deep Generative Flows*, 2020, arXiv:2002.12229.
    Differs: the norms are bounded, and each feature has a scale.

    Example:
        >>> layer = LowRank(100, rank=2)
        >>> sum(p.numel() for p in layer.parameters())
        600
    """

    def __init__(self, features: int, *, rank: int = 1) -> None:
        super().__init__("LowRank", features)
        rank = _check.at_least("LowRank", "rank", rank, 1)
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.u = nn.Parameter(torch.zeros(features, rank))
        self.v = nn.Parameter(torch.randn(features, rank) / (features * rank) ** 0.5)

    def multiply(self, rows: Tensor) -> Tensor:
        u, v, log_scale = self._factors()
        return (rows + (rows @ v) @ u.mT) * log_scale.exp()

    def divide(self, rows: Tensor) -> Tensor:
        u, v, log_scale = self._factors()
        rows = rows * (-log_scale).exp()
        return rows - torch.linalg.solve(_eye(v) + u.mT @ v, rows @ v, left=False) @ u.mT

    def log_det(self) -> Tensor:
        u, v, log_scale = self._factors()
        return log_scale.sum() + torch.linalg.slogdet(_eye(v) + u.mT @ v).logabsdet

    def _factors(self) -> tuple[Tensor, Tensor, Tensor]:
        limit = 0.9**0.5
        return bound_norm(self.u, limit), bound_norm(self.v, limit), soft_clip(self.log_scale, LIMIT)

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}, rank={self.u.shape[1]}"


class MatrixExponential(Mix):
    r"""$z = e^A x + b$ with any matrix A; $\text{ladj} = \operatorname{tr} A$, and the inverse is $e^{-A}$.

    Use it where a mix should start and stay smooth in its parameters: no pivots and no order of the features.
    $\|A\|_F < 5$ by construction.

    Args:
        features: number of features D.

    Shapes: x, z `(*batch, D)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1`.

    Source: Xiao and Liu, *Generative Flows with Matrix Exponential*, 2020, arXiv:2007.09651. Differs: A's
    Frobenius norm is bounded.

    Example:
        >>> z, ladj = MatrixExponential(3)(torch.ones(2, 3))
        >>> z.tolist()[0], ladj.tolist()
        ([1.0, 1.0, 1.0], [0.0, 0.0])
    """

    def __init__(self, features: int) -> None:
        super().__init__("MatrixExponential", features)
        self.weight = nn.Parameter(torch.zeros(features, features))

    def multiply(self, rows: Tensor) -> Tensor:
        return rows @ bound_norm(self.weight, LIMIT).matrix_exp().mT

    def divide(self, rows: Tensor) -> Tensor:
        return rows @ (-bound_norm(self.weight, LIMIT)).matrix_exp().mT

    def log_det(self) -> Tensor:
        return bound_norm(self.weight, LIMIT).trace()


def _unit_lower(weight: Tensor) -> Tensor:
    return weight.tril(-1) + _eye(weight)


def _eye(like: Tensor) -> Tensor:
    return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)
