"""Coupling layers around their networks, by the compiled library."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import torch
from torch import Tensor

__all__ = ["InColumns"]

_NAMES = {torch.float32: "float32", torch.float64: "float64"}
_I, _L, _D, _P = ctypes.c_int, ctypes.c_int64, ctypes.c_double, ctypes.c_void_p
Scalar = tuple[int, float, float, float, float]


class InColumns:
    """Reads and writes the columns of rows where they are, so that nothing is split or joined.

    Args:
        library: the compiled library.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._look = _entries(library, "look", [*4 * [_L], _I, *4 * [_P]])
        self._look_gradient = _entries(library, "look_gradient", [*4 * [_L], *4 * [_P]])
        self._map = _entries(library, "coupling", [*3 * [_L], _I, _I, *5 * [_D], _I, *8 * [_P]])
        self._rectify = _entries(library, "rectify", [_L, _L, _I, *3 * [_P]])
        self._largest = int(library.unwarp_largest_bins())

    def takes(self, bins: int) -> bool:
        """Whether there is room for so many bins of a spline."""
        return bins <= self._largest

    def look(self, x: Tensor, index: Tensor | None, seen: Tensor, rate: Tensor) -> None:
        """Put the columns `index` of `x: (rows, features)`, by default all, squashed into the first ones of `seen`.

        `rate` gets the cube root of the squash's slope.
        """
        count = x.shape[1] if index is None else len(index)
        self._look[x.dtype](
            len(x), x.shape[1], count, seen.stride(0), torch.get_num_threads(),
            None if index is None else index.data_ptr(), x.data_ptr(), seen.data_ptr(), rate.data_ptr(),
        )  # fmt: skip

    def look_back(self, to_seen: Tensor, rate: Tensor, index: Tensor | None, to_x: Tensor) -> None:
        """Add what `look` gives of gradients to those of x."""
        count = to_x.shape[1] if index is None else len(index)
        self._look_gradient[to_x.dtype](
            len(to_x), to_x.shape[1], count, rate.stride(0), None if index is None else index.data_ptr(),
            rate.data_ptr(), to_seen.data_ptr(), to_x.data_ptr(),
        )  # fmt: skip

    def values(
        self, x: Tensor, params: Tensor, moved: Tensor, scalar: Scalar, *, inverse: bool
    ) -> tuple[Tensor, Tensor]:
        """`x: (rows, features)` with the columns `moved` mapped, and the sum of their ladjs, `(rows,)`."""
        z, ladj = torch.empty_like(x), x.new_empty(len(x))
        self._run(x, params, moved, scalar, (None, None, z.data_ptr(), ladj.data_ptr(), None), inverse=inverse)
        return z, ladj

    def gradients(
        self, x: Tensor, params: Tensor, moved: Tensor, scalar: Scalar, to_z: Tensor, to_ladj: Tensor, *, inverse: bool
    ) -> tuple[Tensor, Tensor]:
        """To x, its part through the network left out, and to the parameters."""
        to_x, to_params = torch.empty_like(x), torch.empty_like(params)
        others = to_z.data_ptr(), to_ladj.data_ptr(), to_x.data_ptr(), None, to_params.data_ptr()
        self._run(x, params, moved, scalar, others, inverse=inverse)
        return to_x, to_params

    def rectify(self, g: Tensor, units: Tensor | None) -> Tensor:
        """The sums of g's columns, once g is zero, in place, where `units` are not above zero."""
        sums = g.new_empty(g.shape[1])
        of_units = None if units is None else units.data_ptr()
        self._rectify[g.dtype](*g.shape, torch.get_num_threads(), g.data_ptr(), of_units, sums.data_ptr())
        return sums

    def _run(
        self, x: Tensor, params: Tensor, moved: Tensor, scalar: Scalar, others: tuple[int | None, ...], *, inverse: bool
    ) -> None:
        bins, bound, min_bin, min_slope, limit = scalar
        slope_shift = math.log(math.expm1(1 - min_slope)) if bins else 0.0
        self._map[x.dtype](
            *x.shape, len(moved), bins, inverse, bound, min_bin, min_slope, slope_shift, limit,
            torch.get_num_threads(), moved.data_ptr(), x.data_ptr(), params.data_ptr(), *others,
        )  # fmt: skip


def _entries(library: ctypes.CDLL, name: str, types: list[Any]) -> dict[torch.dtype, Any]:
    found: dict[torch.dtype, Any] = {}
    for dtype, word in _NAMES.items():
        function = getattr(library, f"unwarp_{name}_{word}")
        function.argtypes, function.restype = types, None
        found[dtype] = function
    return found
