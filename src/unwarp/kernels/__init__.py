"""Fused twins of functions in `unwarp.functional`: the same numbers, computed in one pass by compiled code.

They are optional, and nothing but speed depends on them. `status` tells which are in use; the environment variable
`UNWARP_KERNELS=off` switches them off. They take ordinary calls on the CPU in float32 and float64; compiled, mapped
(vmap), traced and forward-mode calls, second derivatives and GPUs are served by the reference in torch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from unwarp.kernels._blas import blas, blas_threads
from unwarp.kernels._descent import Descent, Judge
from unwarp.kernels._eager import gradients_of, is_ordinary
from unwarp.kernels._folded import Folded
from unwarp.kernels._images import Images
from unwarp.kernels._library import load
from unwarp.kernels._passes import Passes
from unwarp.kernels._pointwise import Pair, Pointwise
from unwarp.kernels._sequence import InOrder
from unwarp.kernels._spline import Spline
from unwarp.kernels._two_parameters import TwoParameters

__all__ = [
    "Judge",
    "descent",
    "folded",
    "fused",
    "gradients_of",
    "images",
    "in_order",
    "is_ordinary",
    "passes",
    "status",
]

_found, _reason = load()
_KINDS = {
    f"{name}rational_quadratic{direction}": {"inverse": direction != "", "periodic": name != ""}
    for name in ("", "periodic_")
    for direction in ("", "_inverse")
}
_AFFINE = {"bounded_affine": False, "bounded_affine_inverse": True}
_TAIL = {"heavy_tail": False, "heavy_tail_inverse": True}
_TABLE: Mapping[str, Pointwise] = (
    {}
    if _found is None
    else {name: Spline(_found, **kind) for name, kind in _KINDS.items()}
    | {name: TwoParameters(_found, "affine", ("limit",), inverse=inverse) for name, inverse in _AFFINE.items()}
    | {name: TwoParameters(_found, "tail", inverse=inverse) for name, inverse in _TAIL.items()}
)
_products = {} if _found is None else blas()
passes = Passes(_found, _products, blas_threads()) if _found is not None and _products else None
images = Images(_found, _products) if _found is not None and _products else None
folded = Folded(_found, _products) if _found is not None and _products else None
in_order = None if _found is None else InOrder(_found)
descent = None if _found is None else Descent(_found)


Map = TypeVar("Map", bound=Callable[..., Pair])


def fused(reference: Map) -> Map:
    """The function `reference` of torch, by the kernel of its name where there is one that takes the call.

    The reference stays within reach as `__wrapped__`.
    """
    kernel = _TABLE.get(reference.__name__)
    if kernel is None:
        return reference

    @functools.wraps(reference)
    def call(*tensors: Tensor, **options: Any) -> Pair:
        if torch.compiler.is_compiling() or len(tensors) != 2 or not kernel.takes(*tensors):
            return reference(*tensors, **options)
        return kernel(reference, *tensors, **options)

    return cast("Map", call)


def status() -> dict[str, str]:
    """Of each kernel "in use", or why it is not.

    Example:
        >>> from unwarp import kernels
        >>> "rational_quadratic" in kernels.status()
        True
    """
    return dict.fromkeys((*_KINDS, *_AFFINE, *_TAIL), _reason or "in use")
