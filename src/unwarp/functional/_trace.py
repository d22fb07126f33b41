"""Log-determinants of Jacobians that are known by what they do to directions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["directional_matrix", "log_det", "log_det_series"]

Push = Callable[[Tensor], Tensor]


def directional_matrix(push: Push, x: Tensor) -> Tensor:
    """The matrix J of a linear map of directions, one for each row of x.

    Args:
        push: from directions v `(*batch, K, D)` to J v, `(*batch, K, D)`.
        x: points, for their shape alone.

    Shapes: x `(*batch, D)` -> `(*batch, D, D)`.
    """
    eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    return push(eye.expand(*x.shape, x.shape[-1])).mT


def log_det(push: Push, x: Tensor) -> Tensor:
    r"""$\log|\det J|$, by the whole matrix; arguments as for `directional_matrix`.

    Shapes: x `(*batch, D)` -> `(*batch)`.
    """
    return torch.linalg.slogdet(directional_matrix(push, x)).logabsdet


def log_det_series(push: Push, v: Tensor, weights: Tensor, last: int) -> tuple[Tensor, Tensor]:
    r"""$\sum_k w_k \frac{(-1)^{k+1}}{k} v^\top J^k v$ and $u = \sum_k w_k (-J)^{k-1} v$, k from 1 to `last`.

    For a J of norm below 1, random v with covariance 1 and weights of mean 1, the first has the mean
    $\log\det(1 + J)$; and $v^\top (dJ)\,u$ has the mean of its differential, so that gradients need one push.

    Args:
        push: from directions `(*batch, K, D)` to J times them.
        v: the random directions.
        weights: of each power, from the first on.
        last: the last power.

    Shapes: v `(*batch, 1, D)`, weights `(at least last)` -> `(*batch)` and `(*batch, 1, D)`.

    Source: Chen, Behrmann, Duvenaud and Jacobsen, *Residual Flows for Invertible Generative Modeling*, 2019,
    arXiv:1906.02735, eq. 6 and 8.
    """
    power, total, u = v, v.new_zeros(()), torch.zeros_like(v)
    for k in range(1, last + 1):
        sign = 1.0 if k % 2 else -1.0
        u = u + sign * weights[k - 1] * power
        power = push(power)
        total = total + sign / k * weights[k - 1] * (v * power).sum((-1, -2))
    return total, u
