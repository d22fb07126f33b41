"""What a straight line through the context already tells."""

from __future__ import annotations

import torch
from torch import Tensor

from unwarp import _check
from unwarp._space import Space
from unwarp.transforms._base import Transform

__all__ = ["Regression"]

_PENALTIES = torch.logspace(-6.0, 2.0, 17, dtype=torch.float64)  # of ridge, shares of the context's mean square


class Regression(Transform):
    r"""$z = A\,(x - W c - b)$: residuals of a linear regression on the context c, made white by a triangular A.

    $\text{ladj} = \sum_i \log A_{ii}$, whatever the context.

    Use it as the first layer where the context tells much of x by a straight line, as an observation does of a
    parameter: layers after it then learn only the rest. Nothing is trained: it is the identity until `adapt` sets W by
    ridge regression, with the penalty of least generalised cross-validation, and A from the residuals' covariance,
    shrunk towards a multiple of the identity.

    Args:
        features: number of features D.
        context: length C of the context.

    Shapes: x, z `(*batch, D)`, context `(*batch, C)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1` or `context < 1`.

    Source: Golub, Heath and Wahba, *Generalized Cross-Validation*, 1979, eq. 1.4; Chen, Wiesel, Eldar and Hero,
    *Shrinkage Algorithms for MMSE Covariance Estimation*, 2010, arXiv:0907.4698, eq. 23.

    Example:
        >>> c = torch.linspace(-1, 1, 101).unsqueeze(-1)
        >>> layer = Regression(1, context=1)
        >>> layer.adapt(3 * c + 2 + 0.1 * (20 * c).sin(), c)
        >>> bool((layer.weight - 3).abs() < 0.1), bool(layer.encode(3 * c + 2, c).abs().max() < 1.0)
        (True, True)
    """

    weight: Tensor
    offset: Tensor
    matrix: Tensor

    def __init__(self, features: int, *, context: int) -> None:
        _check.at_least("Regression", "context", context, 1)
        super().__init__(Space((_check.at_least("Regression", "features", features, 1),)), context=context)
        self.register_buffer("weight", torch.zeros(features, context))
        self.register_buffer("offset", torch.zeros(features))
        self.register_buffer("matrix", torch.eye(features))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z = (x - self._center(context)) @ self.matrix.mT
        return z, self._ladj().expand(z.shape[:-1])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        rows = z.reshape(-1, z.shape[-1])
        x = torch.linalg.solve_triangular(self.matrix.mT, rows, upper=True, left=False).reshape(z.shape)
        x = x + self._center(context)
        return x, -self._ladj().expand(x.shape[:-1])

    def adapt(self, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None) -> None:
        if context is None:
            return
        share = x.new_ones(len(x)) if weight is None else weight
        with torch.no_grad():
            fitted = _ridge(x.double(), context.double(), (share / share.sum()).double().unsqueeze(-1))
            for name, value in zip(("weight", "offset", "matrix"), fitted, strict=True):
                getattr(self, name).copy_(value)

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}, context={self.weight.shape[1]}"

    def _center(self, context: Tensor | None) -> Tensor:
        return self.offset if context is None else context @ self.weight.mT + self.offset

    def _ladj(self) -> Tensor:
        return self.matrix.diagonal().log().sum()


def _ridge(x: Tensor, c: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, offset, and the inverse Cholesky factor of the residuals' covariance; `share: (n, 1)` adds up to 1."""
    count = 1 / float(share.square().sum())  # rows that so many equal ones would be worth
    mean, middle = (share * x).sum(0), (share * c).sum(0)
    x, c = x - mean, c - middle
    square, basis = torch.linalg.eigh(c.mT @ (share * c))
    square = square.clamp(min=0.0)
    onto = basis.mT @ (c.mT @ (share * x))
    whole = (share * x.square()).sum()
    penalty = _PENALTIES.to(x).unsqueeze(-1) * square.mean().clamp(min=1e-300)
    kept = square / (square + penalty)
    left = whole - (onto.square().sum(-1) * (square + 2 * penalty) / (square + penalty).square()).sum(-1)
    used = (kept.sum(-1) + 1).clamp(max=0.9 * count)
    best = (left.clamp(min=0.0) / (1 - used / count).square()).argmin()
    slope = (basis @ (onto / (square + penalty[best]).unsqueeze(-1))).mT
    rest = x - c @ slope.mT
    covariance = rest.mT @ (share * rest) / (1 - used[best] / count)
    factor = torch.linalg.cholesky(_shrunk(covariance, count))
    eye = torch.eye(len(factor)).to(factor)
    return slope, mean - slope @ middle, torch.linalg.solve_triangular(factor, eye, upper=False)


def _shrunk(covariance: Tensor, count: float) -> Tensor:
    """Drawn towards a multiple of the identity, the more the fewer the rows."""
    size = len(covariance)
    trace, square = covariance.trace(), covariance.square().sum()
    above = (1 - 2 / size) * square + trace.square()
    below = (count + 1 - 2 / size) * (square - trace.square() / size)
    share = (above / below.clamp(min=1e-300)).clamp(max=1.0) if size > 1 else trace.new_tensor(0.0)
    target = torch.eye(size).to(covariance) * (trace / size)
    least = 1e-12 * (1 + trace / size)  # a feature that the context tells exactly keeps some width
    return (1 - share) * covariance + share * target + least * torch.eye(size).to(covariance)
