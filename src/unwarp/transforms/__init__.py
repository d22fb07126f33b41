"""Invertible maps on whole events."""

from unwarp.transforms._autoregressive import Autoregressive, Solution
from unwarp.transforms._base import Transform
from unwarp.transforms._chart import Chart
from unwarp.transforms._compose import Compose, Inverse
from unwarp.transforms._coupling import Coupling
from unwarp.transforms._dequantize import Dequantize
from unwarp.transforms._elementwise import Elementwise, Unconstrain
from unwarp.transforms._given import Function, Linear
from unwarp.transforms._image import Checkerboard, Pixelwise, Reshape, Squeeze
from unwarp.transforms._linear import LU, Permute
from unwarp.transforms._monotone import BlockNeural
from unwarp.transforms._multiscale import MultiScale
from unwarp.transforms._noise import Noise
from unwarp.transforms._normalize import ActNorm, Standardize, Whiten
from unwarp.transforms._rank_one import Planar, Radial
from unwarp.transforms._sylvester import Sylvester
from unwarp.transforms._tokens import Patches

__all__ = [
    "LU",
    "ActNorm",
    "Autoregressive",
    "BlockNeural",
    "Chart",
    "Checkerboard",
    "Compose",
    "Coupling",
    "Dequantize",
    "Elementwise",
    "Function",
    "Inverse",
    "Linear",
    "MultiScale",
    "Noise",
    "Patches",
    "Permute",
    "Pixelwise",
    "Planar",
    "Radial",
    "Reshape",
    "Solution",
    "Squeeze",
    "Standardize",
    "Sylvester",
    "Transform",
    "Unconstrain",
    "Whiten",
]
