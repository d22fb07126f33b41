"""Maps on images, and those that change the dimension."""

from collections.abc import Callable

from unwarp.networks import ConvNet
from unwarp.transforms import (
    LU,
    ActNorm,
    Checkerboard,
    Compose,
    Coupling,
    Inverse,
    Pixelwise,
    Reshape,
    Squeeze,
    Transform,
)
from unwarp.univariates import Affine, RationalQuadratic, Univariate

__all__ = ["ROWS", "image_coupling"]


def image_coupling(shape: tuple[int, int, int], univariate: Univariate, context: int = 0) -> Coupling:
    kept = shape[0] // 2
    net = ConvNet(kept, (shape[0] - kept) * univariate.n_params, hidden=(4,), context=context)
    return Coupling(shape, univariate, net, context=context)


ROWS: dict[str, Callable[[], Transform]] = {
    "Pixelwise(LU)": lambda: Pixelwise(LU(2), 2, 2),
    "Pixelwise(ActNorm)": lambda: Pixelwise(ActNorm(2), 2, 2),
    "Squeeze": lambda: Squeeze(1, 4, 2),
    "Checkerboard": lambda: Checkerboard(2, 3, 2),
    "Coupling(Affine, image)": lambda: image_coupling((2, 2, 2), Affine()),
    "Coupling(RationalQuadratic, image, context)": lambda: image_coupling((2, 2, 2), RationalQuadratic(bins=2), 1),
    "Coupling(Affine, checkerboard)": lambda: Compose(
        [Checkerboard(1, 2, 4), image_coupling((2, 2, 2), Affine()), Inverse(Checkerboard(1, 2, 4))]
    ),
    "Reshape": lambda: Reshape((2, 2, 2), (8,)),
}
