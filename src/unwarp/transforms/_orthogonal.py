"""Linear maps that turn and reflect, and what is built on them."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from unwarp import _check
from unwarp.errors import ConfigError
from unwarp.functional import cayley, householder, householder_inverse, rotation, skew, soft_clip, upper_triangular
from unwarp.transforms._linear import LIMIT, Mix

__all__ = ["QR", "SVD", "Cayley", "Householder", "Orthogonal", "Rotation"]


class Orthogonal(Mix, ABC):
    """A linear map with $W^T W = I$: the inverse is the transpose and the volume stays. A subclass gives the matrix."""

    @abstractmethod
    def matrix(self) -> Tensor:
        """W, `(D, D)`."""

    def multiply(self, rows: Tensor) -> Tensor:
        return rows @ self.matrix().mT

    def divide(self, rows: Tensor) -> Tensor:
        return rows @ self.matrix()

    def log_det(self) -> Tensor:
        return self.bias.new_zeros(())


class Cayley(Orthogonal):
    r"""$z = (I + S)^{-1} (I - S) x + b$ with a skew-symmetric S; ladj is 0.

    Use it for a learned rotation that is cheap to differentiate: one solve. Rotations by exactly 180 degrees are its
    limit at infinity; `Rotation` has them, `Householder` is cheaper for many features.

    Args:
        features: number of features D.

    Shapes: x, z `(*batch, D)`; ladj `(*batch)`, zero.

    Raises:
        ConfigError: if `features < 1`.

    Source: Golinski, Lezcano-Casado and Rainforth, *Improving Normalizing Flows via Better Orthogonal
    Parameterizations*, 2019, INNF workshop of ICML.

    Example:
        >>> layer = Cayley(2)
        >>> _ = torch.nn.init.constant_(layer.weight, -1.0)
        >>> layer.encode(torch.tensor([1.0, 0.0])).tolist()
        [0.0, -1.0]
    """

    def __init__(self, features: int) -> None:
        super().__init__("Cayley", features)
        self.weight = nn.Parameter(torch.zeros(features, features))

    def matrix(self) -> Tensor:
        return cayley(skew(self.weight))


class Rotation(Orthogonal):
    r"""$z = e^S x + b$ with a skew-symmetric S; ladj is 0.

    Use it for a learned rotation of a few dozen features: every rotation is reached, and the parameters of a rotation
    by twice the angles are twice the parameters.

    Args:
        features: number of features D.

    Shapes: x, z `(*batch, D)`; ladj `(*batch)`, zero.

    Raises:
        ConfigError: if `features < 1`.

    Source: Golinski, Lezcano-Casado and Rainforth, *Improving Normalizing Flows via Better Orthogonal
    Parameterizations*, 2019, INNF workshop of ICML.

    Example:
        >>> layer = Rotation(2)
        >>> _ = torch.nn.init.constant_(layer.weight, torch.pi)
        >>> bool((layer.encode(torch.tensor([1.0, 0.0])) - torch.tensor([-1.0, 0.0])).abs().max() < 1e-6)
        True
    """

    def __init__(self, features: int) -> None:
        super().__init__("Rotation", features)
        self.weight = nn.Parameter(torch.zeros(features, features))

    def matrix(self) -> Tensor:
        return rotation(skew(self.weight))


class Householder(Mix):
    r"""$z = H_1 \cdots H_K x + b$ with reflections $H_k = I - 2 v_k v_k^T / v_k^T v_k$; ladj is 0.

    Use it for a learned rotation of many features: a few reflections cost O(D K) a row, and D of them reach every
    rotation. They come in pairs that undo each other at the start.

    Args:
        features: number of features D.
        reflections: number of reflections K, even; D or D + 1 by default.

    Shapes: x, z `(*batch, D)`; ladj `(*batch)`, zero.

    Raises:
        ConfigError: if `features < 1`, or `reflections` is not even and positive.

    Source: Tomczak and Welling, *Improving Variational Auto-Encoders using Householder Flow*, 2016, arXiv:1611.09630.
    Differs: the vectors are parameters, not a network's output, and all are applied at once.

    Example:
        >>> layer = Householder(5, reflections=2)
        >>> x = torch.arange(5.0)
        >>> bool(torch.allclose(layer.encode(x), x))
        True
    """

    def __init__(self, features: int, *, reflections: int | None = None) -> None:
        super().__init__("Householder", features)
        self.vectors = _pairs("Householder", features, reflections)

    def multiply(self, rows: Tensor) -> Tensor:
        return householder(rows, self.vectors)

    def divide(self, rows: Tensor) -> Tensor:
        return householder_inverse(rows, self.vectors)

    def log_det(self) -> Tensor:
        return self.bias.new_zeros(())

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}, reflections={len(self.vectors)}"


class QR(Mix):
    r"""$z = Q R x + b$ with Q a product of reflections and R upper triangular; $\text{ladj} = \sum_i \log R_{ii}$.

    Use it for a learned mix of any kind: unlike `LU`, it needs no permutation to reach every matrix. The logarithms of
    R's diagonal are bounded by 5.

    Args:
        features: number of features D.
        reflections: number of reflections, even; D or D + 1 by default.

    Shapes: x, z `(*batch, D)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1`, or `reflections` is not even and positive.

    Source: Hoogeboom, van den Berg and Welling, *Emerging Convolutions for Generative Normalizing Flows*, 2019,
    arXiv:1901.11137. Differs: the diagonal's logarithms are bounded.

    Example:
        >>> z, ladj = QR(3)(torch.ones(2, 3))
        >>> bool((z - 1).abs().max() < 1e-6), ladj.tolist()
        (True, [0.0, 0.0])
    """

    def __init__(self, features: int, *, reflections: int | None = None) -> None:
        super().__init__("QR", features)
        self.vectors = _pairs("QR", features, reflections)
        self.upper = nn.Parameter(torch.zeros(features, features))
        self.log_diagonal = nn.Parameter(torch.zeros(features))

    def multiply(self, rows: Tensor) -> Tensor:
        return householder(rows @ self._upper().mT, self.vectors)

    def divide(self, rows: Tensor) -> Tensor:
        rows = householder_inverse(rows, self.vectors)
        return torch.linalg.solve_triangular(self._upper().mT, rows, upper=False, left=False)

    def log_det(self) -> Tensor:
        return soft_clip(self.log_diagonal, LIMIT).sum()

    def _upper(self) -> Tensor:
        return upper_triangular(self.upper, soft_clip(self.log_diagonal, LIMIT))

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}, reflections={len(self.vectors)}"


class SVD(Mix):
    r"""$z = P e^{\operatorname{diag} s} Q x + b$ with P and Q products of reflections; $\text{ladj} = \sum_i s_i$.

    Use it where a mix of many features must stay well-conditioned: its singular values are $e^{s_i}$, bounded by
    $e^{\pm 5}$, and with few reflections both ways cost O(D K) a row.

    Args:
        features: number of features D.
        reflections: number of reflections in each of P and Q, even; D or D + 1 by default.

    Shapes: x, z `(*batch, D)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1`, or `reflections` is not even and positive.

    Source: Zhang, Lei and Dhillon, *Stabilizing Gradients for Deep Neural Networks via Efficient SVD
    Parameterization*, 2018, arXiv:1803.09327. Differs: the singular values' logarithms are bounded.

    Example:
        >>> z, ladj = SVD(3)(torch.ones(2, 3))
        >>> bool((z - 1).abs().max() < 1e-6), ladj.tolist()
        (True, [0.0, 0.0])
    """

    def __init__(self, features: int, *, reflections: int | None = None) -> None:
        super().__init__("SVD", features)
        self.left = _pairs("SVD", features, reflections)
        self.right = _pairs("SVD", features, reflections)
        self.log_scale = nn.Parameter(torch.zeros(features))

    def multiply(self, rows: Tensor) -> Tensor:
        rows = householder(rows, self.right) * soft_clip(self.log_scale, LIMIT).exp()
        return householder(rows, self.left)

    def divide(self, rows: Tensor) -> Tensor:
        rows = householder_inverse(rows, self.left) * (-soft_clip(self.log_scale, LIMIT)).exp()
        return householder_inverse(rows, self.right)

    def log_det(self) -> Tensor:
        return soft_clip(self.log_scale, LIMIT).sum()

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}, reflections={len(self.left)}"


def _pairs(where: str, features: int, count: int | None) -> nn.Parameter:
    """Vectors of reflections, `(count, D)`, along the axes by turns; each comes twice and undoes itself."""
    count = features + features % 2 if count is None else _check.at_least(where, "reflections", count, 2)
    if count % 2:
        raise ConfigError(
            f"{where}: expected an even number of reflections; got {count}. Take {count + 1}: "
            "each pair starts as the identity."
        )
    axes = torch.arange(count) // 2 % features
    return nn.Parameter((axes.unsqueeze(-1) == torch.arange(features)).to(torch.get_default_dtype()))
