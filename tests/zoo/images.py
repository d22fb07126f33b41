"""Maps on images, and those that change the dimension."""

from collections.abc import Callable

from unwarp.transforms import LU, ActNorm, Checkerboard, Pixelwise, Reshape, Squeeze, Transform

__all__ = ["ROWS"]

ROWS: dict[str, Callable[[], Transform]] = {
    "Pixelwise(LU)": lambda: Pixelwise(LU(2), 2, 2),
    "Pixelwise(ActNorm)": lambda: Pixelwise(ActNorm(2), 2, 2),
    "Squeeze": lambda: Squeeze(1, 4, 2),
    "Checkerboard": lambda: Checkerboard(2, 3, 2),
    "Reshape": lambda: Reshape((2, 2, 2), (8,)),
}
