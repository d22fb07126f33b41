"""Convolutions that can be undone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["bound_kernel", "causal_convolution", "causal_convolution_inverse", "full_convolution"]


def bound_kernel(K: Tensor, limit: float) -> Tensor:
    r"""$K / (1 + s / c)$ with $s = \sum_{\text{taps}} \|K_t\|_F$: K near 0, and a kernel with s below `limit` $= c$.

    The convolution by it, padded with zeros or around the edges, has a 2-norm below c. K `(C, C, *taps)`.
    """
    taps = K.flatten(2).square().sum((0, 1))
    return K / (1 + (taps + 1e-12).sqrt().sum() / limit)


def full_convolution(x: Tensor, K: Tensor) -> Tensor:
    r"""Convolution without padding, in the tensors' own precision on GPUs too.

    There convolutions multiply with 10 bits (TF32) unless told otherwise, which networks bear, but not maps that are to
    be undone; matrix products do not.

    Shapes: x `(n, C, H, W)`, K `(C', C, k, l)` -> `(n, C', H - k + 1, W - l + 1)`.

    Example:
        >>> full_convolution(torch.ones(1, 2, 4, 5), torch.ones(3, 2, 2, 3)).shape
        torch.Size([1, 3, 3, 3])
    """
    if not x.is_cuda:
        return F.conv2d(x, K)
    sides = (x.shape[-2] - K.shape[-2] + 1, x.shape[-1] - K.shape[-1] + 1)
    return (K.flatten(1) @ F.unfold(x, K.shape[-2:])).unflatten(-1, sides)


def causal_convolution(x: Tensor, K: Tensor) -> Tensor:
    r"""Convolution in which a pixel sees itself, those before it in its row, and r rows above; zeros around.

    Shapes: x `(n, C, H, W)`, K `(C, C, r + 1, 2 r + 1)`, zero after the last row's middle.
    """
    r = K.shape[-1] // 2
    return full_convolution(F.pad(x, (r, r, r, 0)), K)


def causal_convolution_inverse(z: Tensor, K: Tensor) -> Tensor:
    r"""The x with `causal_convolution(x, K) == z`: row by row, each by one triangular solve.

    K's middle tap in its last row is lower triangular over the channels, `(out, in)`, with a diagonal that is not 0.
    """
    n, C, H, W = z.shape
    r = K.shape[-1] // 2
    eye = torch.eye(W * C, dtype=K.dtype, device=K.device).reshape(W * C, 1, W, C).movedim(-1, 1)
    along = full_convolution(F.pad(eye, (r, r)), K[:, :, -1:])
    T = along.movedim(1, -1).reshape(W * C, W * C)  # by pixel, then by channel
    rows = [z.new_zeros(n, C, W)] * r
    for h in range(H):
        above = full_convolution(F.pad(torch.stack(rows[-r:], -2), (r, r)), K[:, :, :-1]).squeeze(-2)
        right = (z[:, :, h] - above).movedim(1, -1).reshape(n, W * C)
        row = torch.linalg.solve_triangular(T, right, upper=True, left=False)
        rows.append(row.reshape(n, W, C).movedim(-1, 1))
    return torch.stack(rows[r:], -2)
