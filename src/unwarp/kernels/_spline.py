"""The rational-quadratic spline by the compiled library."""

from __future__ import annotations

import ctypes
import math

from torch import Tensor

from unwarp.kernels._eager import is_ordinary
from unwarp.kernels._pointwise import Pointwise

__all__ = ["Spline"]


class Spline(Pointwise):
    r"""One direction of the spline.

    Args:
        library: the compiled library.
        inverse: whether it is the inverse.
        periodic: whether it is the periodic spline, from $-\pi$ to $\pi$.
    """

    def __init__(self, library: ctypes.CDLL, *, inverse: bool, periodic: bool = False) -> None:
        super().__init__(library, "spline", [*3 * [ctypes.c_int], *4 * [ctypes.c_double]])
        self._inverse = inverse
        self._periodic = periodic
        self._largest = int(library.unwarp_largest_bins())

    def takes(self, x: Tensor, params: Tensor) -> bool:
        count = params.shape[-1] + (not self._periodic)
        return count % 3 == 0 and 2 <= count // 3 <= self._largest and is_ordinary(x, params)

    def given(self, count: int, options: dict[str, float]) -> tuple[float, ...]:
        bound, min_bin, min_slope = options.get("bound", math.pi), options["min_bin"], options["min_slope"]
        slope_shift = math.log(math.expm1(1 - min_slope))
        return (count + 1) // 3, self._inverse, self._periodic, bound, min_bin, min_slope, slope_shift
