"""Scalar maps by the compiled library, with gradients of their own."""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unwarp.kernels._eager import gradients_of, is_ordinary

__all__ = ["Pair", "Pointwise"]

Pair = tuple[Tensor, Tensor]

_NAMES = {torch.float32: "float32", torch.float64: "float64"}


class Pointwise(ABC):
    """One direction of a scalar map of points `(...)` and parameters `(..., P)`.

    Args:
        library: the compiled library.
        name: the map's in the library, which has two entries of each dtype: for values, and for their gradients.
        types: of what `given` gives.
    """

    def __init__(self, library: ctypes.CDLL, name: str, types: Sequence[Any]) -> None:
        self._values, self._gradients = (
            {t: _entry(library, f"unwarp_{name}_{word}", types, pointers) for t, word in _NAMES.items()}
            for name, pointers in ((name, 4), (f"{name}_gradient", 6))
        )

    @abstractmethod
    def takes(self, x: Tensor, params: Tensor) -> bool:
        """Whether the kernel computes this call, or leaves it to the reference."""

    @abstractmethod
    def given(self, count: int, options: dict[str, float]) -> tuple[float, ...]:
        """What the library wants to know: of so many parameters, and of the reference's options."""

    def __call__(self, reference: Callable[..., Pair], x: Tensor, params: Tensor, **options: float) -> Pair:
        """What `reference` computes, to rounding; it is called for second derivatives."""
        if x.shape != params.shape[:-1]:
            shape = torch.broadcast_shapes(x.shape, params.shape[:-1])
            x, params = x.expand(shape), params.expand(*shape, -1)
        x, params = x.contiguous(), params.contiguous()
        call = _Call(self, reference, options)
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
            *self.given(params.shape[-1], call.options),
            torch.get_num_threads(),
            x.data_ptr(),
            params.data_ptr(),
            *(t.data_ptr() for t in others),
        )


@dataclass(frozen=True, slots=True)
class _Call:
    """The kernel, its reference and their options."""

    kernel: Pointwise
    reference: Callable[..., Pair]
    options: dict[str, float]

    def values(self, x: Tensor, params: Tensor) -> Pair:
        return self.kernel.values(self, x, params)

    def by_reference(self, x: Tensor, params: Tensor) -> Pair:
        return self.reference(x, params, **self.options)


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


def _entry(library: ctypes.CDLL, name: str, types: Sequence[Any], pointers: int) -> Any:
    function = getattr(library, name)
    function.argtypes = [ctypes.c_int64, *types, ctypes.c_int, *pointers * [ctypes.c_void_p]]
    function.restype = None
    return function
