"""Peers in PyTorch whose flows are put together layer by layer: nflows, normflows, FrEIA."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from _timed import BOUND, CHANNELS, LEVELS, STEPS, Size, Timed, made
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable


def nflows(model: str, size: Size) -> Timed:
    """nflows's transforms with a permutation between them."""
    from nflows import transforms
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow
    from nflows.nn.nets import MLP
    from nflows.transforms import autoregressive as masked
    from nflows.utils.torchutils import create_alternating_binary_mask

    event, hidden = size["event"], size["hidden"]
    features = event[0]
    one: dict[str, Any] = {
        "features": features,
        "hidden_features": hidden,
        "num_blocks": 1,
        "use_residual_blocks": False,
    }
    spline: dict[str, Any] = {"num_bins": size["bins"], "tails": "linear", "tail_bound": BOUND}

    def net(inputs: int, outputs: int) -> nn.Module:
        return _WithContext(MLP((inputs,), (outputs,), [hidden, hidden]), hidden)

    def mask(i: int) -> Tensor:
        return create_alternating_binary_mask(features, even=i % 2 == 0)

    def convolved(channels: int) -> list[nn.Module]:
        parts: list[nn.Module] = []
        for _ in range(STEPS):
            halves = torch.cat([torch.zeros(channels // 2), torch.ones(channels - channels // 2)])
            coupling = transforms.AffineCouplingTransform(halves, lambda a, b: _WithContext(_convolutions(a, b), 0))
            parts += [transforms.ActNorm(channels), transforms.OneByOneConvolution(channels), coupling]
        return parts

    def glow() -> nn.Module:
        levels = transforms.MultiscaleCompositeTransform(LEVELS)
        shape = tuple(event)
        for _ in range(LEVELS):
            squeeze = transforms.SqueezeTransform()
            shape = squeeze.get_output_shape(*shape)
            one_level = transforms.CompositeTransform([squeeze, *convolved(shape[0])])
            shape = levels.add_transform(one_level, shape) or shape
        return levels

    layers: dict[str, Callable[[int], nn.Module]] = {
        "realnvp": lambda i: transforms.AffineCouplingTransform(mask(i), net),
        "maf": lambda _: masked.MaskedAffineAutoregressiveTransform(**one),
        "nsf coupling": lambda i: transforms.PiecewiseRationalQuadraticCouplingTransform(mask(i), net, **spline),
        "nsf autoregressive": lambda _: masked.MaskedPiecewiseRationalQuadraticAutoregressiveTransform(**one, **spline),
    }
    if model == "glow":
        built = Flow(glow(), StandardNormal([math.prod(event)]))
    else:
        pairs = [(made(layers, model, i), transforms.RandomPermutation(features)) for i in range(size["layers"])]
        built = Flow(
            transforms.CompositeTransform([part for pair in pairs for part in pair]), StandardNormal([features])
        )
    return Timed("nflows", built, size, built.log_prob, built.sample, built.sample_and_log_prob)


def normflows(model: str, size: Size) -> Timed:
    """normflows's layers with a permutation between them; its sampling gives log-densities along."""
    import normflows as nf

    features, hidden, bins = size["event"][0], size["hidden"], size["bins"]
    half = features // 2
    spline: dict[str, Any] = {"num_bins": bins, "tail_bound": BOUND}
    one: dict[str, Any] = {"num_blocks": 1, "use_residual_blocks": False}
    layers: dict[str, Callable[[int], list[nn.Module]]] = {
        "realnvp": lambda _: [
            nf.flows.AffineCouplingBlock(nf.nets.MLP([features - half, hidden, hidden, 2 * half])),
            nf.flows.Permute(features, mode="swap"),
        ],
        "maf": lambda _: [
            nf.flows.Reverse(nf.flows.MaskedAffineAutoregressive(features, hidden, **one)),
            nf.flows.Permute(features),
        ],
        "nsf coupling": lambda i: [
            nf.flows.CoupledRationalQuadraticSpline(features, 1, hidden, reverse_mask=i % 2 == 1, **spline)
        ],
        "nsf autoregressive": lambda _: [
            nf.flows.AutoregressiveRationalQuadraticSpline(features, 1, hidden, permute_mask=True, **spline)
        ],
    }
    if model == "glow":
        built = _normflows_glow(size["event"])
    else:
        parts = [part for i in range(size["layers"]) for part in made(layers, model, i)]
        built = nf.NormalizingFlow(nf.distributions.DiagGaussian(features, trainable=False), parts)
    note = "conditioners have one residual block" if model.startswith("nsf") else ""
    log_prob = (lambda x: built.log_prob(x, None)) if model == "glow" else built.log_prob
    return Timed("normflows", built, size, log_prob, built.sample, note=note)


def _normflows_glow(event: tuple[int, int, int]) -> nn.Module:
    import normflows as nf

    channels, height, width = event
    bases, levels, merges = [], [], []
    for level in range(LEVELS):  # the coarsest first
        deep = LEVELS - level
        here = channels * 2 ** (deep + 1)
        levels.append([*(nf.flows.GlowBlock(here, CHANNELS) for _ in range(STEPS)), nf.flows.Squeeze()])
        merges += [nf.flows.Merge()] if level else []
        shape = (here // 2 if level else here, height >> deep, width >> deep)
        bases.append(nf.distributions.DiagGaussian(shape, trainable=False))
    return nf.MultiscaleFlow(bases, levels, merges, class_cond=False)


def freia(model: str, size: Size) -> Timed:
    """FrEIA's all-in-one blocks: an affine coupling, a permutation, a scale and shift."""
    from FrEIA import framework, modules

    event = tuple(size["event"])
    width = size["hidden"]

    def net(inputs: int, outputs: int) -> nn.Module:
        parts = [nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)]
        return nn.Sequential(*parts)

    def realnvp() -> nn.Module:
        built = framework.SequenceINN(*event)
        for _ in range(size["layers"]):
            built.append(modules.AllInOneBlock, subnet_constructor=net)
        return built

    def glow() -> nn.Module:
        nodes: list[Any] = [framework.InputNode(*event, name="x")]
        end, ends = nodes[0], []
        for level in range(LEVELS):
            nodes.append(framework.Node(end, modules.IRevNetDownsampling, {}))
            for _ in range(STEPS):
                nodes.append(framework.Node(nodes[-1], modules.AllInOneBlock, {"subnet_constructor": _convolutions}))
            end = nodes[-1]
            if level < LEVELS - 1:
                channels = event[0] * 2 ** (level + 2)
                split = framework.Node(end, modules.Split, {"section_sizes": [channels // 2] * 2, "dim": 0})
                nodes.append(split)
                end = split.out0
                ends.append(framework.OutputNode(split.out1))
        return framework.GraphINN([*nodes, *ends, framework.OutputNode(end)])

    built = made({"realnvp": realnvp, "glow": glow}, model)
    with torch.no_grad():
        like, _ = built(torch.zeros(1, *event))
    shapes = [z.shape[1:] for z in ([like] if isinstance(like, Tensor) else like)]

    def scored(zs: list[Tensor], ladj: Tensor) -> Tensor:
        normal = sum(-0.5 * z.square().flatten(1).sum(1) - 0.5 * z[0].numel() * math.log(2 * math.pi) for z in zs)
        return normal + ladj

    def log_prob(x: Tensor) -> Tensor:
        z, ladj = built(x)
        return scored([z] if isinstance(z, Tensor) else list(z), ladj)

    def both(n: int, jac: bool = True) -> object:
        zs = [torch.randn(n, *shape) for shape in shapes]
        x, ladj = built(zs if len(zs) > 1 else zs[0], rev=True, jac=jac)
        return (x, scored(zs, -ladj)) if jac else x

    return Timed("FrEIA", built, size, log_prob, lambda n: both(n, jac=False), both)


def _convolutions(inputs: int, outputs: int) -> nn.Module:
    sizes = [(inputs, CHANNELS, 3), (CHANNELS, CHANNELS, 1), (CHANNELS, outputs, 3)]
    parts = [part for a, b, side in sizes for part in (nn.Conv2d(a, b, side, padding=side // 2), nn.ReLU())]
    return nn.Sequential(*parts[:-1])


class _WithContext(nn.Module):
    """nflows hands its conditioner a context and reads its width; plain networks know neither."""

    def __init__(self, net: nn.Module, hidden: int) -> None:
        super().__init__()
        self.net, self.hidden_features = net, hidden

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.net(x)
