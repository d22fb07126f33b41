"""The matrix product of the BLAS that torch brings, as an address for the compiled library."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

__all__ = ["blas", "blas_threads"]

_NUMBERS = {torch.float32: ("sgemm_", ctypes.c_float), torch.float64: ("dgemm_", ctypes.c_double)}


def _libraries() -> Iterator[ctypes.CDLL]:
    for file in sorted((Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*")):
        with contextlib.suppress(OSError):
            yield ctypes.CDLL(str(file))


def blas_threads() -> int:
    """Address of what sets how many threads products take in the calling thread; 0 without one, that is without MKL."""
    for library in _libraries():
        with contextlib.suppress(AttributeError):
            return int(ctypes.cast(library.MKL_Set_Num_Threads_Local, ctypes.c_void_p).value or 0)
    return 0


def blas() -> dict[torch.dtype, int]:
    """Addresses of `sgemm_` and `dgemm_`; none where they can't be found or do not multiply."""
    for library in _libraries():
        try:
            found = {dtype: (getattr(library, name), number) for dtype, (name, number) in _NUMBERS.items()}
        except AttributeError:
            continue
        if all(_multiplies(*pair) for pair in found.values()):
            return {dtype: int(ctypes.cast(gemm, ctypes.c_void_p).value or 0) for dtype, (gemm, _) in found.items()}
    return {}


def _multiplies(gemm: Any, number: Any) -> bool:
    """Whether (1, 2; 3, 4) times (5, 6; 7, 8) is right: sizes may be read as 32 or as 64 bits."""
    two, one, zero = (ctypes.byref(made) for made in (ctypes.c_int64(2), number(1), number(0)))
    a, b, c = (number * 4)(1, 3, 2, 4), (number * 4)(5, 7, 6, 8), (number * 4)()
    gemm.restype = None
    gemm(b"N", b"N", two, two, two, one, a, two, b, two, zero, c, two)
    return list(c) == [19, 43, 22, 50]
