"""Linear maps and normalisation, and maps that are given."""

from collections.abc import Callable

import torch

from unwarp._space import Space
from unwarp.transforms import (
    DCT,
    LU,
    QR,
    SVD,
    ActNorm,
    BatchNorm,
    Butterfly,
    Cayley,
    Compose,
    ConvolutionExponential,
    EmergingConvolution,
    Function,
    Haar,
    Householder,
    Linear,
    LowRank,
    MatrixExponential,
    PeriodicConvolution,
    Permute,
    Pixelwise,
    Quantiles,
    Regression,
    Rotation,
    Standardize,
    Transform,
    Triangular,
    Whiten,
)

__all__ = ["ROWS"]

ROWS: dict[str, Callable[[], Transform]] = {
    "LU": lambda: LU(3),
    "Linear": lambda: Linear([[3.0, 1.0], [0.0, 2.0]], [1.0, -1.0]),
    "Function": lambda: Function(
        lambda x: torch.stack([x[0], x[1] + x[0] ** 2]), lambda z: torch.stack([z[0], z[1] - z[0] ** 2]), Space((2,))
    ),
    "LU(1 feature)": lambda: LU(1),
    "PLU": lambda: Compose([LU(3), Permute.random(3, seed=0)]),
    "Permute": lambda: Permute([2, 0, 1]),
    "Permute.reverse": lambda: Permute.reverse(3),
    "Triangular": lambda: Triangular(2),
    "LowRank": lambda: LowRank(3, rank=2),
    "LowRank(1 feature)": lambda: LowRank(1),
    "MatrixExponential": lambda: MatrixExponential(2),
    "Cayley": lambda: Cayley(3),
    "Cayley(1 feature)": lambda: Cayley(1),
    "Rotation": lambda: Rotation(3),
    "Rotation(1 feature)": lambda: Rotation(1),
    "Householder": lambda: Householder(3),
    "Householder(1 feature)": lambda: Householder(1),
    "Pixelwise(Householder)": lambda: Pixelwise(Householder(2), 1, 2),
    "QR": lambda: QR(2),
    "SVD": lambda: SVD(3, reflections=2),
    "Butterfly": lambda: Butterfly(4),
    "DCT": lambda: DCT(3),
    "DCT(image)": lambda: DCT((1, 2, 3)),
    "Haar": lambda: Haar(2, 2, 4),
    "EmergingConvolution": lambda: EmergingConvolution(2, 3, 2),
    "PeriodicConvolution": lambda: PeriodicConvolution(2, 3, 4),
    "ConvolutionExponential": lambda: ConvolutionExponential(2, 3, 2),
    "ActNorm": lambda: ActNorm(2),
    "BatchNorm": lambda: BatchNorm(2),
    "Quantiles": lambda: Quantiles(2, knots=6),
    "Standardize": lambda: Standardize(2),
    "Whiten": lambda: Whiten(2),
    "Regression": lambda: Regression(2, context=3),
}
