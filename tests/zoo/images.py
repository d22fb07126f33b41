"""Maps on images, and those that change the dimension."""

from collections.abc import Callable

import torch
from torch import Tensor

from unwarp.distributions import Flow, Normal
from unwarp.networks import MLP, ConvNet
from unwarp.transforms import (
    LU,
    ActNorm,
    Checkerboard,
    Compose,
    Coupling,
    Dequantize,
    Elementwise,
    Inverse,
    MultiScale,
    Pixelwise,
    Reshape,
    Squeeze,
    Transform,
)
from unwarp.univariates import Affine, RationalQuadratic, Sigmoid, Univariate

__all__ = ["FLOWS", "ROWS", "TRUTHS", "image_coupling"]


def image_coupling(shape: tuple[int, int, int], univariate: Univariate, context: int = 0) -> Coupling:
    kept = shape[0] // 2
    net = ConvNet(kept, (shape[0] - kept) * univariate.n_params, hidden=(4,), context=context)
    return Coupling(shape, univariate, net, context=context)


def fill(features: int, context: int) -> Compose:
    """From numbers on the unit interval to noise, as `context` numbers say."""
    net = MLP(features // 2, 2 * (features - features // 2), hidden=(8,), context=context)
    return Compose([Inverse(Elementwise(features, Sigmoid())), Coupling(features, Affine(), net, context=context)])


def counts(source: Dequantize) -> Flow:
    """A flow on one whole number, whose bins have probabilities in closed form."""
    onto = Inverse(Elementwise(1, Sigmoid(source.interval)))
    return Flow(Compose([source, onto, Elementwise(1, RationalQuadratic(bins=3))]), Normal(1))


def bins(flow: Flow, x: Tensor) -> Tensor:
    """The log probability of each bin of `counts`: the normal mass between the images of its edges."""
    source, *rest = flow.transform.parts
    ends = torch.tensor([source.interval.low + 1e-12, source.interval.high - 1e-12], dtype=x.dtype)
    edges = torch.arange(1, source.values, dtype=x.dtype) / source.values
    z = Compose(rest).encode(torch.cat([ends[:1], edges, ends[1:]]).unsqueeze(-1)).squeeze(-1)
    mass = torch.special.ndtr(z).diff()
    return (mass / mass.sum()).log()[(x.squeeze(-1) - source.low).long()]


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
    "MultiScale": lambda: MultiScale(
        [Compose([Squeeze(1, 4, 2), image_coupling((4, 2, 1), Affine())]), image_coupling((2, 2, 1), Affine())]
    ),
    "MultiScale(context)": lambda: MultiScale([image_coupling((4, 1, 1), Affine(), 1), Pixelwise(LU(2), 1, 1)]),
    "Dequantize": lambda: Dequantize((1, 2, 2), 0, 255),
    "Dequantize(fill)": lambda: Dequantize(2, 0, 3, fill=fill(2, 2)),
    "Reshape": lambda: Reshape((2, 2, 2), (8,)),
}

FLOWS: dict[str, Callable[[], Flow]] = {
    "Flow(Dequantize)": lambda: counts(Dequantize(1, -1, 2)),
    "Flow(Dequantize, margin)": lambda: counts(Dequantize(1, 0, 2, margin=0.1)),
    "Flow(Dequantize, fill)": lambda: counts(Dequantize(1, 0, 3, fill=fill(1, 1))),
}

TRUTHS: dict[str, Callable[[Flow, Tensor], Tensor]] = dict.fromkeys(FLOWS, bins)
