"""Whether a call is ordinary (numbers in memory, computed now, nobody looking at the operations); gradients if not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["gradients_of", "is_ordinary"]

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
