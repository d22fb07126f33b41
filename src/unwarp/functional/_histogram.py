"""The distribution function of a histogram, as a map of an interval onto itself."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["histogram", "histogram_inverse"]


def histogram(x: Tensor, params: Tensor, low: float, high: float, *, min_share: float) -> tuple[Tensor, Tensor]:
    r"""$y = a + (b - a)\,(F_k + p_k\,\xi)$ with $\xi = K(x - a)/(b - a) - k$, shares $p$ and their sums $F$.

    Args:
        x: points in the interval, `(...)`.
        params: `(..., K)`, unconstrained: shares are their softmax, from `min_share` upwards. Zeros: the identity.
        low: lower end $a$.
        high: upper end $b$.
        min_share: floor of a bin's share.

    Returns:
        y and $\log dy/dx$, `(...)`.
    """
    share, below = _bins(params, min_share)
    bins = params.shape[-1]
    at = (x - low) * (bins / (high - low))
    k = at.detach().nan_to_num().floor().clamp(0, bins - 1).long()
    p = _own(share, k)
    return low + (high - low) * (_own(below, k) + p * (at - k)), (p * bins).log() + at * 0


def histogram_inverse(y: Tensor, params: Tensor, low: float, high: float, *, min_share: float) -> tuple[Tensor, Tensor]:
    r"""Inverse of `histogram`: x and $\log dx/dy$."""
    share, below = _bins(params, min_share)
    bins = params.shape[-1]
    at = (y - low) / (high - low)
    k = (at.unsqueeze(-1) >= below[..., 1:]).sum(-1)
    p = _own(share, k)
    xi = (at - _own(below, k)) / p
    return low + (high - low) / bins * (k + xi), -(p * bins).log() + at * 0


def _bins(params: Tensor, min_share: float) -> tuple[Tensor, Tensor]:
    """Shares of the bins, and of all that lies below each."""
    share = min_share + (1 - min_share * params.shape[-1]) * params.softmax(-1)
    return share, F.pad(share.cumsum(-1)[..., :-1], (1, 0))


def _own(values: Tensor, k: Tensor) -> Tensor:
    """Of each point's row of values, that of its bin."""
    return values.expand(*k.shape, values.shape[-1]).gather(-1, k.unsqueeze(-1)).squeeze(-1)
