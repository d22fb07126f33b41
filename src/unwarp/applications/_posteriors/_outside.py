"""What other packages compute: the packages, when they are there, and densities in numpy as torch sees them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unwarp.errors import ConfigError

__all__ = ["LogDensity", "Slopes", "need", "outside"]

LogDensity = Callable[[Tensor], Tensor]
Slopes = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def need(module: str, *, where: str = "Target", mend: str = "Install it.") -> Any:
    """A package that not everybody has.

    Raises:
        ConfigError: when it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.split(".", maxsplit=1)[0]
        raise ConfigError(f"{where}: expected the package {package}; got none. {mend}") from error


class _Outside(torch.autograd.Function):
    """A value and its slope that were computed elsewhere."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, both: Slopes) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        values, slopes = both(x.detach().cpu().double().numpy())
        ctx.save_for_backward(torch.from_numpy(np.array(slopes, dtype=np.float64)).to(x))
        return torch.from_numpy(np.array(values, dtype=np.float64)).to(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (slopes,) = ctx.saved_tensors
        return grad.unsqueeze(-1) * slopes, None


def outside(both: Slopes) -> LogDensity:
    """A log density from a function that gives values and slopes of rows in numpy."""
    return lambda x: _Outside.apply(x, both)  # pyright: ignore[reportReturnType]
