"""Linear maps and normalisation."""

from collections.abc import Callable

from unwarp.transforms import LU, ActNorm, Permute, Standardize, Transform, Whiten

__all__ = ["ROWS"]

ROWS: dict[str, Callable[[], Transform]] = {
    "LU": lambda: LU(3),
    "Permute": lambda: Permute([2, 0, 1]),
    "ActNorm": lambda: ActNorm(2),
    "Standardize": lambda: Standardize(2),
    "Whiten": lambda: Whiten(2),
}
