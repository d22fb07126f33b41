"""Invertible maps on whole events."""

from unwarp.transforms._autoregressive import Autoregressive, Solution
from unwarp.transforms._base import Transform
from unwarp.transforms._chart import Chart, Parallel
from unwarp.transforms._compose import Compose, Embedded, Inverse, reversible
from unwarp.transforms._conditioner import conditioners_in
from unwarp.transforms._constrain import Cholesky, Correlation, Increments, StickBreaking
from unwarp.transforms._continuous import Continuous, Transport
from unwarp.transforms._convolution import ConvolutionExponential, EmergingConvolution, PeriodicConvolution
from unwarp.transforms._coupling import Coupling
from unwarp.transforms._dequantize import Argmax, Dequantize
from unwarp.transforms._elementwise import Elementwise, Unconstrain
from unwarp.transforms._given import Function, Linear
from unwarp.transforms._image import Checkerboard, Pixelwise, Reshape, Squeeze
from unwarp.transforms._linear import LU, LowRank, MatrixExponential, Triangular
from unwarp.transforms._mixing import DCT, Butterfly, Haar
from unwarp.transforms._monotone import BlockNeural
from unwarp.transforms._multiscale import MultiScale
from unwarp.transforms._noise import Noise
from unwarp.transforms._normalize import ActNorm, BatchNorm, Standardize, Whiten
from unwarp.transforms._orthogonal import QR, SVD, Cayley, Householder, Rotation
from unwarp.transforms._permute import Permute
from unwarp.transforms._potential import ConvexPotential
from unwarp.transforms._quantiles import Quantiles
from unwarp.transforms._rank_one import Planar, Radial
from unwarp.transforms._regression import Regression
from unwarp.transforms._residual import Residual
from unwarp.transforms._sphere import Conformal, Spin
from unwarp.transforms._stochastic import Stochastic
from unwarp.transforms._surjection import Abs, MaxPool, Slice, Sort
from unwarp.transforms._sylvester import Sylvester
from unwarp.transforms._tokens import Patches

__all__ = [
    "DCT",
    "LU",
    "QR",
    "SVD",
    "Abs",
    "ActNorm",
    "Argmax",
    "Autoregressive",
    "BatchNorm",
    "BlockNeural",
    "Butterfly",
    "Cayley",
    "Chart",
    "Checkerboard",
    "Cholesky",
    "Compose",
    "Conformal",
    "Continuous",
    "ConvexPotential",
    "ConvolutionExponential",
    "Correlation",
    "Coupling",
    "Dequantize",
    "Elementwise",
    "Embedded",
    "EmergingConvolution",
    "Function",
    "Haar",
    "Householder",
    "Increments",
    "Inverse",
    "Linear",
    "LowRank",
    "MatrixExponential",
    "MaxPool",
    "MultiScale",
    "Noise",
    "Parallel",
    "Patches",
    "PeriodicConvolution",
    "Permute",
    "Pixelwise",
    "Planar",
    "Quantiles",
    "Radial",
    "Regression",
    "Reshape",
    "Residual",
    "Rotation",
    "Slice",
    "Solution",
    "Sort",
    "Spin",
    "Squeeze",
    "Standardize",
    "StickBreaking",
    "Stochastic",
    "Sylvester",
    "Transform",
    "Transport",
    "Triangular",
    "Unconstrain",
    "Whiten",
    "conditioners_in",
    "reversible",
]
