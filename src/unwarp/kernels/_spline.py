"""The rational-quadratic spline by the compiled library, with gradients of its own."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unwarp.kernels._eager import gradients_of, is_ordinary

__all__ = ["Pair", "Spline"]

Pair = tuple[Tensor, Tensor]

_NAMES = {torch.float32: "float32", torch.float64: "float64"}
_BOX = [ctypes.c_int64, *3 * [ctypes.c_int], *4 * [ctypes.c_double], ctypes.c_int]


class Spline:
    r"""One direction of the spline.

    Args:
        library: the compiled library.
        inverse: whether it is the inverse.
        periodic: whether it is the periodic spline, from $-\pi$ to $\pi$.
    """

    def __init__(self, library: ctypes.CDLL, *, inverse: bool, periodic: bool = False) -> None:
        self._inverse = inverse
        self._periodic = periodic
        self._largest = int(library.unwarp_largest_bins())
        self._values = {t: _entry(library, f"unwarp_spline_{name}", 4) for t, name in _NAMES.items()}
        self._gradients = {t: _entry(library, f"unwarp_spline_gradient_{name}", 6) for t, name in _NAMES.items()}

    def takes(self, x: Tensor, params: Tensor) -> bool:
        """Whether the kernel computes this call, or leaves it to the reference."""
        count = params.shape[-1] + (not self._periodic)
        return count % 3 == 0 and 2 <= count // 3 <= self._largest and is_ordinary(x, params)

    def __call__(
        self,
        reference: Callable[..., Pair],
        x: Tensor,
        params: Tensor,
        *,
        min_bin: float,
        min_slope: float,
        **bound: float,
    ) -> Pair:
        """What `reference` computes, to rounding; it is called for second derivatives."""
        if x.shape != params.shape[:-1]:
            shape = torch.broadcast_shapes(x.shape, params.shape[:-1])
            x, params = x.expand(shape), params.expand(*shape, -1)
        x, params = x.contiguous(), params.contiguous()
        call = _Call(self, reference, min_bin, min_slope, bound)
        if torch.is_grad_enabled() and (x.requires_grad or params.requires_grad):
            return _Differentiable.apply(call, x, params)
        return call.values(x, params)

    def values(self, call: _Call, x: Tensor, params: Tensor) -> Pair:
        y, ladj = torch.empty_like(x), torch.empty_like(x)
        self._run(self._values, call, x, params, y, ladj)
        return y, ladj

    def gradients(self, call: _Call, x: Tensor, params: Tensor, to_y: Tensor, to_ladj: Tensor) -> Pair:
        to_x, to_params = torch.empty_like(x), torch.empty_like(params)
        self._run(self._gradients, call, x, params, to_y.contiguous(), to_ladj.contiguous(), to_x, to_params)
        return to_x, to_params

    def _run(self, entries: dict[torch.dtype, Any], call: _Call, x: Tensor, params: Tensor, *others: Tensor) -> None:
        entries[x.dtype](
            x.numel(),
            (params.shape[-1] + 1) // 3,
            self._inverse,
            self._periodic,
            call.bound.get("bound", math.pi),
            call.min_bin,
            call.min_slope,
            math.log(math.expm1(1 - call.min_slope)),
            torch.get_num_threads(),
            x.data_ptr(),
            params.data_ptr(),
            *(t.data_ptr() for t in others),
        )


@dataclass(frozen=True, slots=True)
class _Call:
    """The kernel, its reference and their options."""

    kernel: Spline
    reference: Callable[..., Pair]
    min_bin: float
    min_slope: float
    bound: dict[str, float]

    def values(self, x: Tensor, params: Tensor) -> Pair:
        return self.kernel.values(self, x, params)

    def by_reference(self, x: Tensor, params: Tensor) -> Pair:
        return self.reference(x, params, min_bin=self.min_bin, min_slope=self.min_slope, **self.bound)


class _Differentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: _Call, x: Tensor, params: Tensor) -> Pair:
        ctx.call = call
        ctx.save_for_backward(x, params)
        return call.values(x, params)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        call: _Call = ctx.call
        to_y, to_ladj = grad_outputs
        x, params = ctx.saved_tensors
        differentiated = torch.is_grad_enabled()  # these gradients will be, themselves
        if not differentiated and is_ordinary(x, *grad_outputs):
            return None, *call.kernel.gradients(call, x, params, to_y, to_ladj)
        return None, *gradients_of(call.by_reference, (x, params), ctx.needs_input_grad[1:], grad_outputs)


def _entry(library: ctypes.CDLL, name: str, pointers: int) -> Any:
    function = getattr(library, name)
    function.argtypes = [*_BOX, *pointers * [ctypes.c_void_p]]
    function.restype = None
    return function
