"""Whether a call is ordinary (numbers in memory, computed now, nobody looking at the operations); gradients if not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["gradients_of", "is_ordinary"]

_DTYPES = (torch.float32, torch.float64)
_TYPES = (Tensor, torch.nn.Parameter)


def is_ordinary(*tensors: Tensor) -> bool:
    """Whether a kernel may read these: plain tensors on the CPU, all float32 or all float64, none transformed.

    Transformations are `torch.func` (vmap, jacrev, jvp), forward-mode derivatives, tracing and dispatch modes.
    """
    dtype = tensors[0].dtype
    if dtype not in _DTYPES or torch._C._are_functorch_transforms_active():  # pyright: ignore[reportPrivateUsage]
        return False
    if torch._C._len_torch_dispatch_stack() or torch.jit.is_tracing():  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        return False
    try:
        for t in tensors:
            if t.dtype is not dtype or type(t) not in _TYPES or not t.is_cpu or t.is_neg():
                return False
            t.data_ptr()
    except RuntimeError:  # not laid out in rows, or only standing for other tensors, as in batched gradients
        return False
    return forward_ad._current_level < 0 or not any(map(_has_tangent, tensors))  # pyright: ignore[reportPrivateUsage]


def gradients_of(
    reference: Callable[..., Tensor | tuple[Tensor, ...]],
    given: Sequence[Tensor | None],
    needed: Sequence[bool],
    grads: Sequence[Tensor],
) -> list[Tensor | None]:
    """The gradients to those of `given` that are needed, through `reference(*given)`; differentiable where asked.

    One argument may have been computed from another; each gradient is to one with the others held.
    """
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        own = [t.view_as(t) if t is not None and need else t for t, need in zip(given, needed, strict=True)]
        wanted = [t for t, need in zip(own, needed, strict=True) if t is not None and need]
        found = iter(torch.autograd.grad(reference(*own), wanted, grads, create_graph=again))
    return [next(found) if need else None for need in needed]


def _has_tangent(t: Tensor) -> bool:
    return forward_ad.unpack_dual(t).tangent is not None
