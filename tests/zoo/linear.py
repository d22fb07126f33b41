"""Linear maps and normalisation, and maps that are given."""

from collections.abc import Callable

import torch

from unwarp._space import Space
from unwarp.transforms import LU, ActNorm, Function, Linear, Permute, Standardize, Transform, Whiten

__all__ = ["ROWS"]

ROWS: dict[str, Callable[[], Transform]] = {
    "LU": lambda: LU(3),
    "Linear": lambda: Linear([[3.0, 1.0], [0.0, 2.0]], [1.0, -1.0]),
    "Function": lambda: Function(
        lambda x: torch.stack([x[0], x[1] + x[0] ** 2]), lambda z: torch.stack([z[0], z[1] - z[0] ** 2]), Space((2,))
    ),
    "Permute": lambda: Permute([2, 0, 1]),
    "ActNorm": lambda: ActNorm(2),
    "Standardize": lambda: Standardize(2),
    "Whiten": lambda: Whiten(2),
}
