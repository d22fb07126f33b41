"""Whether a call is ordinary: numbers in memory, computed now, and nobody looking at the single operations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["is_ordinary"]

_DTYPES = (torch.float32, torch.float64)


def is_ordinary(*tensors: Tensor) -> bool:
    """Whether a kernel may read these: plain tensors on the CPU, all float32 or all float64, none transformed.

    Transformations are `torch.func` (vmap, jacrev, jvp), forward-mode derivatives, tracing and dispatch modes.
    """
    dtype = tensors[0].dtype
    return (
        dtype in _DTYPES
        and not torch._C._are_functorch_transforms_active()  # pyright: ignore[reportPrivateUsage]
        and torch._C._len_torch_dispatch_stack() == 0  # pyright: ignore[reportPrivateUsage]
        and not torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        and all(t.dtype == dtype and _is_plain(t) for t in tensors)
    )


def _is_plain(t: Tensor) -> bool:
    return (
        type(t) in (Tensor, torch.nn.Parameter)
        and t.is_cpu
        and t.layout == torch.strided
        and not t.is_neg()
        and (forward_ad._current_level < 0 or forward_ad.unpack_dual(t).tangent is None)  # pyright: ignore[reportPrivateUsage]
        and _has_memory(t)
    )


def _has_memory(t: Tensor) -> bool:
    """False of what only stands for other tensors, as in batched gradients."""
    try:
        t.data_ptr()
    except RuntimeError:
        return False
    return True
