"""Scalar maps of two parameters by the compiled library."""

from __future__ import annotations

import ctypes

from torch import Tensor

from unwarp.kernels._eager import is_ordinary
from unwarp.kernels._pointwise import Pointwise

__all__ = ["TwoParameters"]


class TwoParameters(Pointwise):
    """One direction of a map whose parameters are pairs.

    Args:
        library: the compiled library.
        name: of the map in it.
        options: names of the numbers that a call gives.
        inverse: whether it is the inverse.
    """

    def __init__(self, library: ctypes.CDLL, name: str, options: tuple[str, ...] = (), *, inverse: bool) -> None:
        super().__init__(library, name, [ctypes.c_int, *[ctypes.c_double] * len(options)])
        self._options, self._inverse = options, inverse

    def takes(self, x: Tensor, params: Tensor) -> bool:
        return params.shape[-1] == 2 and is_ordinary(x, params)

    def given(self, count: int, options: dict[str, float]) -> tuple[float, ...]:
        return (self._inverse, *(options[name] for name in self._options))
