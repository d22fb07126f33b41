"""Inverses of autoregressive layers with masked networks by the compiled library."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

__all__ = ["InOrder"]

_NAMES = {torch.float32: "float32", torch.float64: "float64"}


class InOrder:
    """Points from latents, feature by feature; the network sees them squashed.

    Args:
        library: the compiled library.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._entries = {dtype: _entry(library, f"unwarp_sequence_{name}") for dtype, name in _NAMES.items()}
        self._largest = int(library.unwarp_largest_bins())

    def takes(self, bins: int) -> bool:
        """Whether there is room for so many bins of a spline."""
        return bins <= self._largest

    def __call__(
        self,
        z: Tensor,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        offset: Tensor | None,
        *,
        ends: Sequence[Sequence[int]],
        firsts: Sequence[int],
        scalar: tuple[int, float, float, float, float],
    ) -> tuple[Tensor, Tensor]:
        """x and log|det dx/dz|.

        Args:
            z: `(rows, features)`.
            weights: of each layer, `(outputs, inputs)`, masked and scaled; the last gives each feature's parameters.
            biases: of each layer, `(outputs,)`.
            offset: added to the first hidden layer, `(rows, units)`.
            ends: of each hidden layer, how many units are known after 0, 1, ... steps.
            firsts: the first feature of each step, and the number of features.
            scalar: the map: a spline's bins, bound and floors of bins and slopes; of an affine one, which has no bins,
                the last is the bound of its log scale.
        """
        bins, bound, min_bin, min_slope, limit = scalar
        z, weights, biases = z.contiguous(), [w.contiguous() for w in weights], [b.contiguous() for b in biases]
        offset = None if offset is None else offset.contiguous()
        x, ladj = torch.empty_like(z), z.new_empty(len(z))
        self._entries[z.dtype](
            len(z),
            len(ends),
            len(firsts) - 1,
            _integers([z.shape[1], *(len(w) for w in weights)]),
            _integers(list(chain.from_iterable(ends))),
            _integers(firsts),
            _pointers(weights),
            _pointers(biases),
            None if offset is None else offset.data_ptr(),
            bins,
            bound,
            min_bin,
            min_slope,
            math.log(math.expm1(1 - min_slope)) if bins else 0.0,
            limit,
            torch.get_num_threads(),
            *(t.data_ptr() for t in (z, x, ladj)),
        )
        return x, ladj


def _integers(values: Sequence[int]) -> Any:
    return (ctypes.c_int64 * len(values))(*values)


def _pointers(tensors: Sequence[Tensor]) -> Any:
    return (ctypes.c_void_p * len(tensors))(*(t.data_ptr() for t in tensors))


def _entry(library: ctypes.CDLL, name: str) -> Any:
    function = getattr(library, name)
    network = [ctypes.c_int64, ctypes.c_int, ctypes.c_int64, *6 * [ctypes.c_void_p]]
    function.argtypes = [*network, ctypes.c_int, *5 * [ctypes.c_double], ctypes.c_int, *3 * [ctypes.c_void_p]]
    function.restype = None
    return function
