"""Maps on images, and those that change the dimension."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from unwarp._manifold import Ordered
from unwarp._space import Space
from unwarp.distributions import Flow, Normal
from unwarp.functional import soft_clip
from unwarp.networks import MLP, ConvNet
from unwarp.transforms import (
    LU,
    Abs,
    ActNorm,
    Argmax,
    Chart,
    Checkerboard,
    Compose,
    Coupling,
    Dequantize,
    Elementwise,
    Inverse,
    MaxPool,
    MultiScale,
    Pixelwise,
    Reshape,
    Slice,
    Sort,
    Squeeze,
    Stochastic,
    Transform,
    Unconstrain,
)
from unwarp.univariates import Affine, Exp, RationalQuadratic, Sigmoid, Univariate

__all__ = ["FLOWS", "ROWS", "TRUTHS", "image_coupling"]


def image_coupling(shape: tuple[int, int, int], univariate: Univariate, context: int = 0) -> Coupling:
    kept = shape[0] // 2
    net = ConvNet(kept, (shape[0] - kept) * univariate.n_params, hidden=(4,), context=context)
    return Coupling(shape, univariate, net, context=context)


def fill(features: int, context: int) -> Compose:
    """From numbers on the unit interval to noise, as `context` numbers say."""
    net = MLP(features // 2, 2 * (features - features // 2), hidden=(8,), context=context)
    return Compose([Inverse(Elementwise(features, Sigmoid())), Coupling(features, Affine(), net, context=context)])


def gaussian(features: int, context: int) -> Coupling:
    """From numbers to noise by a mean and a scale that a network tells from the context alone."""
    net = MLP(0, 2 * features, hidden=(4,), context=context)
    return Coupling(features, Affine(), net, mask=[False] * features, context=context)


def image_gaussian(shape: tuple[int, int, int], context: tuple[int, int, int]) -> Coupling:
    net = ConvNet(0, 2 * shape[0], hidden=(4,), context=context)
    return Coupling(shape, Affine(), net, mask=[False] * shape[0], context=context)


class Line(nn.Module):
    """A shift that is linear in the context, and a scale."""

    def __init__(self, features: int, context: int) -> None:
        super().__init__()
        self.shift = nn.Linear(context, features)
        self.log_scale = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        shift = self.shift(context)
        return torch.stack([shift, self.log_scale.expand_as(shift)], -1).flatten(-2)


def line(features: int, context: int) -> Coupling:
    return Coupling(features, Affine(), Line(features, context), mask=[False] * features, context=context)


def evidence(flow: Flow, x: Tensor) -> Tensor:
    """The log density of `Flow(Stochastic)`: its decoder is linear, so x is normal."""
    net = flow.transform.parts[0].decoder.transform.net
    scale = (-soft_clip(net.log_scale, Affine().max_log_scale)).exp()
    factor = -scale.unsqueeze(-1) * net.shift.weight
    covariance = scale.square().diag() + factor @ factor.mT
    return torch.distributions.MultivariateNormal(-scale * net.shift.bias, covariance).log_prob(x)


def onto_reals(space: Space) -> list[Transform]:
    return [Chart(space), Unconstrain(space.flat)]


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
    "Argmax": lambda: Argmax(2, 3),
    "Argmax(fill)": lambda: Argmax(2, 2, fill=Compose([Reshape((2, 2), (4,)), gaussian(4, 2), Reshape((4,), (2, 2))])),
    "Slice": lambda: Slice(3, 2),
    "Slice(fill)": lambda: Slice((2, 2, 1), 1, fill=image_gaussian((1, 2, 1), (1, 2, 1))),
    "Inverse(Slice)": lambda: Inverse(Slice(3, 2, fill=gaussian(1, 2))),
    "Abs": lambda: Abs(2),
    "Abs(net)": lambda: Abs(2, net=MLP(2, 2, hidden=(4,))),
    "Sort": lambda: Sort(3),
    "MaxPool": lambda: MaxPool(1, 2, 4),
    "Stochastic": lambda: Stochastic(Space((3,)), Space((2,)), gaussian(2, 3), gaussian(3, 2)),
}

FLOWS: dict[str, Callable[[], Flow]] = {
    "Flow(Dequantize)": lambda: counts(Dequantize(1, -1, 2)),
    "Flow(Dequantize, margin)": lambda: counts(Dequantize(1, 0, 2, margin=0.1)),
    "Flow(Slice)": lambda: Flow(Compose([LU(2), Slice(2, 1, fill=gaussian(1, 1)), ActNorm(1)]), Normal(1)),
    "Flow(Abs)": lambda: Flow(Compose([Abs(1, net=MLP(1, 1, hidden=(4,))), Inverse(Elementwise(1, Exp()))]), Normal(1)),
    "Flow(Sort)": lambda: Flow(Compose([Sort(2), *onto_reals(Space((2,), Ordered(2))), ActNorm(2)]), Normal(2)),
    "Flow(Stochastic)": lambda: Flow(Stochastic(Space((2,)), Space((1,)), line(1, 2), line(2, 1)), Normal(1)),
    "Flow(Dequantize, fill)": lambda: counts(Dequantize(1, 0, 3, fill=fill(1, 1))),
}

TRUTHS: dict[str, Callable[[Flow, Tensor], Tensor]] = {
    **{row: bins for row in FLOWS if "Dequantize" in row},
    "Flow(Stochastic)": evidence,
}
