"""Recipes for images: whole numbers or reals in (channels, height, width)."""

# pyright: reportTypedDictNotRequiredAccess=false
# A caller may leave options out; `recipe` fills them in before a recipe sees them.

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Literal, TypedDict, Unpack

from pydantic import Field

from unwarp.distributions import Flow, Normal
from unwarp.errors import ConfigError
from unwarp.flows._pixels import Equalize, Values, logit, spread
from unwarp.flows._recipe import Bins, Bound, Components, Context, Floor, Hidden, Image, Layers, Lipschitz, recipe
from unwarp.networks import ConvNet, LipschitzConvNet
from unwarp.transforms import (
    LU,
    ActNorm,
    Checkerboard,
    Compose,
    ConvolutionExponential,
    Coupling,
    EmergingConvolution,
    Inverse,
    MultiScale,
    PeriodicConvolution,
    Permute,
    Pixelwise,
    Residual,
    Squeeze,
    Standardize,
    Transform,
)
from unwarp.univariates import Affine, MixtureQuantile, RationalQuadratic, Sigmoid, Univariate

__all__ = ["flowpp", "glow", "nsf_image", "realnvp_image", "residual_image"]

Dequantization = Literal["uniform", "variational", "none"]
Levels = Annotated[int, Field(strict=True, ge=1, le=16)]
Convolution = Literal["pixel", "emerging", "periodic", "exponential"]
Within = Callable[[Image, "Pixels"], list[Transform]]


class Pixels(TypedDict, total=False):
    """The options that all recipes for images have.

    Attributes:
        context: length of the context, such as a class in one-hot form; 0 for none.
        levels: how often 2 x 2 pixels become one and, but for the last time, half of the channels are done.
        layers: couplings of a kind in each level, or residual maps.
        hidden: channels of the networks' hidden layers.
        values: pixels are the whole numbers from 0 to values - 1.
        dequantization: how they are spread to reals: "uniform", or "variational" by a small flow of its own; `log_prob`
            is then a lower bound of a log probability. "none" for pixels that are real numbers: their density is exact.
        equalize: "histogram" first spreads each channel's values evenly, as their histogram says, which `adapt` counts.
    """

    context: Annotated[Context, Field(default=0)]
    levels: Annotated[Levels, Field(default=2)]
    layers: Annotated[Layers, Field(default=4)]
    hidden: Annotated[Hidden, Field(default=(64, 64))]
    values: Annotated[Values, Field(default=256)]
    dequantization: Annotated[Dequantization, Field(default="uniform")]
    equalize: Annotated[Equalize, Field(default="histogram")]


@recipe
def realnvp_image(features: Image, **pixels: Unpack[Pixels]) -> Flow:
    """RealNVP for images: in each level couplings on a checkerboard, then on channels, that scale and shift.

    Use it for small images with few channels, where couplings on the full resolution pay.

    Args:
        features: (channels, height, width).
        pixels: what all recipes for images take, see `Pixels`.

    Source: Dinh, Sohl-Dickstein and Bengio, 2017, arXiv:1605.08803, section 4.1. Differs: `ActNorm` takes the place of
    batch normalisation, what is done early is modelled given the rest, and values are spread evenly before the logit.
    """
    late, early = partial(_by_channels, univariate=Affine()), partial(_checkered, univariate=Affine())
    return _images("realnvp_image", features, pixels, late, before=early)


@recipe
def glow(features: Image, *, convolution: Convolution = "pixel", **pixels: Unpack[Pixels]) -> Flow:
    """Glow: in each level a scale and shift of channels, an invertible 1x1 convolution and a coupling, many times.

    Use it for images where samples should come fast; the usual starting point.

    Args:
        features: (channels, height, width).
        convolution: "pixel" for 1x1; "emerging", "periodic" or "exponential" for one of 3x3 after each that is 1x1.
        pixels: as for `realnvp_image`.

    Source: Kingma and Dhariwal, 2018, arXiv:1807.03039. Differs: channels are reversed before each 1x1 convolution,
    which starts as the identity.
    """
    steps = partial(_convolved, univariate=Affine(), convolution=convolution, inner=1)
    return _images("glow", features, pixels, steps, given=())


@recipe
def nsf_image(
    features: Image, *, bins: Bins = 8, bound: Bound = 5.0, floor: Floor = 3e-2, **pixels: Unpack[Pixels]
) -> Flow:
    """Neural spline flow for images: `glow` with rational-quadratic splines in its couplings.

    Use it where `glow` needs too many layers, such as images whose pixels have several modes.

    Args:
        features: (channels, height, width).
        bins: bins of each spline.
        bound: half-width of the splines' box.
        floor: least slope, and least share of a bin.
        pixels: as for `realnvp_image`.

    Source: Durkan, Bekasov, Murray and Papamakarios, 2019, arXiv:1906.04032, section 5.3.
    """
    spline = RationalQuadratic(bins, bound, min(floor, 0.5 / bins), floor)
    return _images("nsf_image", features, pixels, partial(_convolved, univariate=spline))


@recipe
def flowpp(features: Image, *, components: Components = 4, **pixels: Unpack[Pixels]) -> Flow:
    """Flow++: `realnvp_image` whose couplings apply the distribution function of a mixture of logistics.

    Use it for the best density; with dequantization="variational" it is the paper's. A draw searches for roots.

    Args:
        features: (channels, height, width).
        components: logistics in each mixture.
        pixels: as for `realnvp_image`.

    Source: Ho, Chen, Srinivas, Duan and Abbeel, 2019, arXiv:1902.00275. Differs: the networks have no attention.
    """
    mixture = MixtureQuantile(components, "logistic")
    late, early = partial(_by_channels, univariate=mixture), partial(_checkered, univariate=mixture)
    return _images("flowpp", features, pixels, late, before=early)


@recipe
def residual_image(
    features: Image,
    *,
    lipschitz: Lipschitz = 0.9,
    ladj: Literal["exact", "roulette"] = "roulette",
    **pixels: Unpack[Pixels],
) -> Flow:
    """Residual flow for images: in each level maps that add to an image a contraction of it, made of convolutions.

    Use it where no channel or pixel should be special. A step costs some ten passes of its networks, a draw many more.

    Args:
        features: (channels, height, width).
        lipschitz: bound of the networks' Lipschitz constants, below 1; small ones make a step and a draw cheaper.
        ladj: "roulette", an unbiased estimate, or "exact", for images of a few pixels.
        pixels: as for `realnvp_image`.

    Source: Chen, Behrmann, Duvenaud and Jacobsen, 2019, arXiv:1906.02735, appendix E; Behrmann, Grathwohl, Chen,
    Duvenaud and Jacobsen, 2019, arXiv:1811.00995. Differs: bounds of norms take the place of power iterations, and half
    of the channels are done after each level.
    """
    return _images("residual_image", features, pixels, partial(_residual, lipschitz=lipschitz, ladj=ladj))


def _images(
    name: str,
    shape: Image,
    pixels: Pixels,
    after: Within,
    *,
    before: Within | None = None,
    given: Sequence[int] | None = None,
) -> Flow:
    """Reals, then levels of layers before and after a squeeze, then a normal base: the flow of a recipe for images.

    The network that models what is done early given the rest has the hidden layers `given`, or those of `pixels`.
    """
    channels, height, width = shape
    most = min((size & -size).bit_length() - 1 for size in (height, width))
    if pixels["levels"] > most:
        raise ConfigError(
            f"{name}: expected at most {most} levels for images of {height} x {width}, which halve as often; "
            f"got {pixels['levels']}. {'Use fewer levels, or pad' if most else 'Pad'} the images."
        )
    levels: list[Transform] = []
    for level in range(pixels["levels"]):
        early = [] if before is None else before((channels, height, width), pixels)
        squeeze = Squeeze(channels, height, width)
        channels, height, width = squeeze.codomain.shape
        late = after((channels, height, width), pixels)
        if level < pixels["levels"] - 1:
            late.append(_coupling((channels, height, width), Affine(), pixels, hidden=given))
        levels.append(Compose([*early, squeeze, *late]))
        channels = channels // 2
    return Flow(Compose([*_to_reals(shape, pixels), MultiScale(levels)]), Normal(math.prod(shape)))


def _to_reals(shape: Image, pixels: Pixels) -> list[Transform]:
    """Whole numbers to reals of about mean 0 and variance 1."""
    standardize = Pixelwise(Standardize(shape[0]), shape[1], shape[2])
    if pixels["dequantization"] == "none":
        return [standardize]
    fill = _fill(shape, pixels) if pixels["dequantization"] == "variational" else None
    return [*spread(shape, pixels["values"], equalize=pixels["equalize"], fill=fill), standardize]


def _fill(shape: Image, pixels: Pixels) -> Transform:
    """The flow that spreads pixels within their bins, as the image around them says."""
    channels, height, width = shape
    board = Checkerboard(channels, height, width)
    parts: list[Transform] = [logit(shape, Sigmoid()), board]
    for first in (True, False):
        net = ConvNet(channels, 2 * channels, hidden=pixels["hidden"], context=shape, block=(1, 2))
        keep = [first] * channels + [not first] * channels
        parts.append(Coupling(board.codomain.shape, Affine(), net, mask=keep, context=shape))
    return Compose([*parts, Inverse(Checkerboard(channels, height, width))])


def _coupling(
    shape: Image,
    univariate: Univariate,
    pixels: Pixels,
    *,
    second: bool = False,
    inner: int = 3,
    hidden: Sequence[int] | None = None,
) -> Coupling:
    """One that keeps the first half of the channels, or the second."""
    hidden = pixels["hidden"] if hidden is None else hidden
    half, context = shape[0] // 2, pixels["context"]
    kept = half if not second else shape[0] - half
    out = (shape[0] - kept) * univariate.n_params
    net = ConvNet(kept, out, hidden=hidden, inner=inner, context=context)
    keep = [(i < half) != second for i in range(shape[0])]
    return Coupling(shape, univariate, net, mask=keep, context=context)


def _checkered(shape: Image, pixels: Pixels, *, univariate: Univariate) -> list[Transform]:
    """Couplings that keep the white squares, then the black ones, and so on."""
    board = Checkerboard(*shape)
    halves: Image = (2 * shape[0], shape[1], shape[2] // 2)
    return [board, *_by_channels(halves, pixels, univariate=univariate), Inverse(Checkerboard(*shape))]


def _by_channels(shape: Image, pixels: Pixels, *, univariate: Univariate) -> list[Transform]:
    """Couplings that keep one half of the channels, then the other."""
    parts: list[Transform] = []
    for layer in range(pixels["layers"]):
        parts.append(_coupling(shape, univariate, pixels, second=layer % 2 == 1))
        parts.append(Pixelwise(ActNorm(shape[0]), *shape[1:]))
    return parts


def _convolved(
    shape: Image, pixels: Pixels, *, univariate: Univariate, convolution: Convolution = "pixel", inner: int = 3
) -> list[Transform]:
    """Glow's steps: scale and shift, 1x1 convolution and perhaps a larger one, coupling."""
    channels, height, width = shape
    larger = {
        "emerging": EmergingConvolution,
        "periodic": PeriodicConvolution,
        "exponential": ConvolutionExponential,
    }
    parts: list[Transform] = []
    for _ in range(pixels["layers"]):
        parts.append(Pixelwise(ActNorm(channels), height, width))
        parts += [Pixelwise(mix, height, width) for mix in (Permute(range(channels)[::-1]), LU(channels))]
        parts += [] if convolution == "pixel" else [larger[convolution](channels, height, width)]
        parts.append(_coupling(shape, univariate, pixels, inner=inner))
    return parts


def _residual(shape: Image, pixels: Pixels, *, lipschitz: float, ladj: Literal["exact", "roulette"]) -> list[Transform]:
    """Residual maps, each followed by a scale and shift of each channel."""
    parts: list[Transform] = []
    for _ in range(pixels["layers"]):
        net = LipschitzConvNet(*shape, hidden=pixels["hidden"], lipschitz=lipschitz, context=pixels["context"])
        parts += [Residual(shape, net, ladj=ladj), Pixelwise(ActNorm(shape[0]), *shape[1:])]
    return parts
