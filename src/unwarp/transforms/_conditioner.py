"""How layers ask the networks that give their parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator

import torch
from torch import Tensor

__all__ = ["ask", "conditioners_in", "in_other_precision"]

_dtype: torch.dtype | None = None


@contextlib.contextmanager
def conditioners_in(dtype: torch.dtype) -> Generator[None]:
    """Within it, networks of couplings and autoregressive layers multiply matrices in `dtype`; all else stays as it is.

    Use it to train wide networks faster where the hardware multiplies 16-bit numbers faster: points, scalar maps and
    log-determinants keep their own precision, and so does a way back, up to what a network's rounded answer moves.

    Args:
        dtype: such as `torch.bfloat16`.

    Example:
        >>> from unwarp import flow
        >>> with conditioners_in(torch.bfloat16):
        ...     flow("nsf", 2).log_prob(torch.zeros(3, 2)).dtype
        torch.float32
    """
    global _dtype  # noqa: PLW0603 - a context variable would be a graph break for torch.compile
    before, _dtype = _dtype, dtype
    try:
        yield
    finally:
        _dtype = before


def in_other_precision() -> bool:
    """Whether networks are to be asked in a dtype of their own."""
    return _dtype is not None


def ask(net: Callable[[Tensor, Tensor | None], Tensor], x: Tensor, context: Tensor | None) -> Tensor:
    """What the network says, in the precision of x."""
    if _dtype is None:
        return net(x, context)
    with torch.autocast(x.device.type, dtype=_dtype):
        said = net(x, context)
    return said.to(x.dtype)
