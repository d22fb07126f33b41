"""Matrices by construction: orthogonal ones, bounded ones, and how to multiply and divide by them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = [
    "bound_norm",
    "cayley",
    "dct_matrix",
    "householder",
    "householder_inverse",
    "rotation",
    "skew",
    "upper_triangular",
]


def skew(A: Tensor) -> Tensor:
    r"""The skew-symmetric matrix with the part of A above its diagonal: $S = -S^T$. `(D, D)`."""
    upper = A.triu(1)
    return upper - upper.mT


def upper_triangular(A: Tensor, log_diagonal: Tensor) -> Tensor:
    """The part of A above its diagonal, and `exp(log_diagonal)` on it. `(D, D)`, `(D)`."""
    return A.triu(1) + log_diagonal.exp().diag_embed()


def cayley(S: Tensor) -> Tensor:
    r"""The rotation $Q = (I + S)^{-1} (I - S)$ of a skew-symmetric S, which has no eigenvalue -1. `(D, D)`."""
    eye = torch.eye(S.shape[-1], dtype=S.dtype, device=S.device)
    return torch.linalg.solve(eye + S, eye - S)


def rotation(S: Tensor) -> Tensor:
    r"""The rotation $Q = e^S$ of a skew-symmetric S. `(D, D)`.

    With D = 3, $e^S = I + \frac{\sin t}{t} S + \frac{1 - \cos t}{t^2} S^2$ for $t = \|S\|_F / \sqrt 2$ (Rodrigues).
    """
    if S.shape[-1] != 3:
        return torch.linalg.matrix_exp(S)
    eye = torch.eye(3, dtype=S.dtype, device=S.device)
    turns = (0.5 * S.square().sum()).clamp(min=torch.finfo(S.dtype).tiny).sqrt() / math.pi
    return eye + turns.sinc() * S + 0.5 * (0.5 * turns).sinc().square() * (S @ S)


def bound_norm(A: Tensor, limit: float) -> Tensor:
    r"""$A / \sqrt{1 + \|A\|_F^2 / c^2}$: A near 0, and of Frobenius norm below `limit` $= c$ everywhere."""
    return A / (1 + (A / limit).square().sum()).sqrt()


def householder(x: Tensor, V: Tensor) -> Tensor:
    r"""$H_1 \cdots H_K x$ of each row, with $H_k = I - 2 v_k v_k^T / v_k^T v_k$. x `(n, D)`, V `(K, D)`.

    Source: Joffrain, Low, Quintana-Orti, van de Geijn and Van Zee, *Accumulating Householder transformations,
    revisited*, ACM Transactions on Mathematical Software 32, 2006: the product is $I - V^T S^{-1} V$ with S upper
    triangular, here with one row of V for each vector.
    """
    return x - torch.linalg.solve_triangular(_overlaps(V).mT, x @ V.mT, upper=False, left=False) @ V


def householder_inverse(x: Tensor, V: Tensor) -> Tensor:
    r"""$H_K \cdots H_1 x$ of each row: the inverse of `householder`, and its transpose."""
    return x - torch.linalg.solve_triangular(_overlaps(V), x @ V.mT, upper=True, left=False) @ V


def _overlaps(V: Tensor) -> Tensor:
    """S `(K, K)`; a vector of zeros reflects nothing."""
    S = V @ V.mT
    return S.triu(1) + 0.5 * S.diagonal().clamp(min=4 * torch.finfo(V.dtype).tiny).diag_embed()


def dct_matrix(n: int, x: Tensor) -> Tensor:
    r"""The orthonormal $C_{ki} = \sqrt{(2 - [k = 0]) / n} \cos(\pi k (2i + 1) / 2n)$, `(n, n)`, as `x` in dtype.

    Source: Ahmed, Natarajan and Rao, *Discrete cosine transform*, 1974. The angle is reduced in whole numbers, so that
    no digit is lost for long vectors.
    """
    i = torch.arange(n, device=x.device)
    turns = i.unsqueeze(-1) * (2 * i + 1) % (4 * n)
    C = (turns.to(x.dtype) * (math.pi / (2 * n))).cos() * math.sqrt(2 / n)
    return torch.cat([C[:1] * math.sqrt(0.5), C[1:]])
