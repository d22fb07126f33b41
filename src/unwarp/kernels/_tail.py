"""The map that changes the weight of tails, by the compiled library."""

from __future__ import annotations

import ctypes

from torch import Tensor

from unwarp.kernels._eager import is_ordinary
from unwarp.kernels._pointwise import Pointwise

__all__ = ["Tail"]


class Tail(Pointwise):
    """One direction of the map.

    Args:
        library: the compiled library.
        inverse: whether it is the inverse.
    """

    def __init__(self, library: ctypes.CDLL, *, inverse: bool) -> None:
        super().__init__(library, "tail", [ctypes.c_int])
        self._inverse = inverse

    def takes(self, x: Tensor, params: Tensor) -> bool:
        return params.shape[-1] == 2 and is_ordinary(x, params)

    def given(self, count: int, options: dict[str, float]) -> tuple[float, ...]:
        return (self._inverse,)
