"""Random numbers that a row of data brings along: the same for the same row and key, wherever it stands in a batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["noise_normal", "noise_sign", "noise_uniform"]

_GOLDEN = -7046029254386353131  # 2^64 / golden ratio, as a signed word
_MIX = (-4658895280553007687, -7723592293110705685)
_UNREAD = {torch.float64: 28, torch.float32: 13}  # last bits that may differ by rounding from one layout to another


def noise_uniform(x: Tensor, shape: tuple[int, ...], key: Tensor, *, dims: int = 1) -> Tensor:
    r"""Numbers uniform on the open (0, 1), one set for each event of x, determined by its digits and the key.

    Use it for what a stochastic map draws: no generator, no global state, no dependence on the batch; a new key gives
    new numbers. Equal rows get equal numbers, and so do rows that rounding alone sets apart: all digits of whole
    numbers count, of others the first 24 bits (float64) or 10 (float32).

    Args:
        x: events that bring their numbers; no gradient flows.
        shape: of one event's numbers.
        key: a whole number, such as a seed plus a counter, as a scalar int64 tensor.
        dims: how many trailing axes of x make up an event.

    Shapes: x `(*batch, *event)` -> `(*batch, *shape)`.

    Source: the output function of Steele, Lea and Flood, *SplitMix*, 2014, applied to sums of hashed words.

    Example:
        >>> x, key = torch.randn(1000, 3), torch.tensor(7)
        >>> u = noise_uniform(x, (2,), key)
        >>> u.shape, bool((u[5] == noise_uniform(x[5], (2,), key)).all()), abs(float(u.mean()) - 0.5) < 0.05
        (torch.Size([1000, 2]), True, True)
    """
    digits = 52 if x.dtype == torch.float64 else 23
    word = _words(x, shape, key, dims)
    whole = (word >> (64 - digits)) & (2**digits - 1)
    return (whole.to(x.dtype) + 0.5) * 2.0**-digits


def noise_normal(x: Tensor, shape: tuple[int, ...], key: Tensor, *, dims: int = 1) -> Tensor:
    r"""Standard normal numbers, else as `noise_uniform`."""
    return math.sqrt(2) * (2 * noise_uniform(x, shape, key, dims=dims) - 1).erfinv()


def noise_sign(x: Tensor, shape: tuple[int, ...], key: Tensor, *, dims: int = 1) -> Tensor:
    r"""Numbers that are -1 or 1 with probability one half each (Rademacher), else as `noise_uniform`."""
    return 1.0 - 2.0 * ((_words(x, shape, key, dims) >> 40) & 1).to(x.dtype)


def _words(x: Tensor, shape: tuple[int, ...], key: Tensor, dims: int) -> Tensor:
    """64 well mixed bits for each number."""
    x = x.detach() + 0.0  # -0 is 0
    x = x if x.dtype == torch.float64 else x.float()
    bits = x.view(torch.int64) if x.dtype == torch.float64 else x.view(torch.int32).long()
    half = 1 << (_UNREAD[x.dtype] - 1)
    bits = torch.where(x == x.round(), bits, (bits + half) & (-2 * half))
    bits = bits.flatten(-dims) if dims else bits.unsqueeze(-1)
    row = _mixed(bits ^ (_places(bits.shape[-1], x) * _GOLDEN)).sum(-1, keepdim=True)
    row = _mixed(row + _mixed(key * _GOLDEN))
    words = _mixed(row + _places(math.prod(shape), x) * _GOLDEN)
    return words.unflatten(-1, shape) if shape else words.squeeze(-1)


def _places(n: int, like: Tensor) -> Tensor:
    return torch.arange(1, n + 1, device=like.device)


def _mixed(word: Tensor) -> Tensor:
    """The finaliser of SplitMix64; torch's shift keeps the sign, so it is masked away."""
    word = (word ^ ((word >> 30) & (2**34 - 1))) * _MIX[0]
    word = (word ^ ((word >> 27) & (2**37 - 1))) * _MIX[1]
    return word ^ ((word >> 31) & (2**33 - 1))
