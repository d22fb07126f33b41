"""Compiled code beside its reference in torch: calls with one, with the other, and how far apart they are."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

__all__ = ["Map", "Run", "counted", "error", "reference", "results", "without"]

Map = Callable[..., tuple[Tensor, Tensor]]
Run = Callable[..., Any]


def reference(fused: Map) -> Map:
    """What a fused function computes, by torch."""
    return getattr(fused, "__wrapped__", fused)


def results(scalar: Map, x: Tensor, params: Tensor, dtype: torch.dtype, **options: float) -> list[Tensor]:
    """Both values and both gradients under fixed weights, in float64 whatever they were computed in."""
    x, params = x.to(dtype, copy=True).requires_grad_(), params.to(dtype, copy=True).requires_grad_()
    y, ladj = scalar(x, params, **options)
    weights = [torch.linspace(-1, 2, y.numel(), dtype=dtype).reshape(y.shape).roll(k) for k in (0, 3)]
    return [t.detach().double() for t in (y, ladj, *torch.autograd.grad((y, ladj), (x, params), weights))]


def error(found: list[Tensor], right: list[Tensor]) -> float:
    """The largest difference, relative to 1 + its size."""
    return max(float(((a - b).abs() / (1 + b.abs())).max()) for a, b in zip(found, right, strict=True))


def without(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> Run:
    """Runs a call while the compiled code that a module has under a name is away."""

    def run(call: Run, *args: object) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, None)
            return call(*args)

    return run


def counted(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> list[int]:
    """Grows with every call of a module's function from now on."""
    made: list[int] = []
    whole = getattr(module, name)

    def called(*args: object, **options: object) -> object:
        made.append(1)
        return whole(*args, **options)

    monkeypatch.setattr(module, name, called)
    return made
