"""unwarp and its peers in PyTorch, each as its documentation builds it, with the same layers as far as it goes.

A model is one of `MODELS` in ``speed.py``; a size is a dict of ``event`` (shape), ``batch``, ``layers``, ``hidden``
(width of two hidden layers) and ``bins``.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import torch
from _turns import Absent, version
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

BOUND = 5.0  # half-width of splines' boxes
NAF = {"layers": 3, "units": 16}
FIELD = (64, 64)  # hidden layers of vector fields
UNITS = 8  # of a feature, in the hidden layer of a block neural flow
LEVELS, STEPS, CHANNELS = 2, 4, 64  # of Glow, and of the hidden layers of its couplings
COMPILES = False
Size = dict[str, Any]


def start(threads: int) -> None:
    """Before the first flow: threads, and what libraries warn of."""
    torch.set_num_threads(threads)
    warnings.simplefilter("ignore")


def clear() -> None:
    """Nothing is kept outside the flows."""


def limits(seconds: float) -> dict[str, Any]:
    """What the machine can do."""
    from unwarp import doctor

    return doctor.limits(seconds=seconds).to_json()


def work(call: Callable[[], object]) -> dict[str, Any]:
    """What a call asks of the machine."""
    from unwarp import doctor

    asked = doctor.work(call)
    return {"flop": asked.flop, "operations": asked.operations}


class Timed:
    """A flow and the four things that are timed.

    Args:
        library: The package it comes from.
        flow: Whose parameters are trained, by Adam.
        size: Rows and their shape.
        log_prob: Of rows, with gradients.
        sample: So many rows.
        both: So many rows and their log-densities; by default what `sample` gives already.
        note: How it differs from what the model's name says.
        optimiser: Another one than ``torch.optim.Adam``.
    """

    def __init__(
        self,
        library: str,
        flow: nn.Module,
        size: Size,
        log_prob: Callable[[Tensor], Tensor],
        sample: Callable[[int], object],
        both: Callable[[int], object] | None = None,
        *,
        note: str = "",
        fused: bool = False,
    ) -> None:
        self.x = torch.randn(size["batch"], *size["event"], generator=torch.Generator().manual_seed(0))
        self.parameters = sum(p.numel() for p in flow.parameters() if p.requires_grad)
        self.note, self.version = note, version(library)
        self._log_prob, self._sample, self._both = log_prob, sample, both or sample
        self._optimiser = torch.optim.Adam(flow.parameters(), lr=1e-5, fused=fused or None)

    def train(self) -> None:
        """A step of Adam on the mean log-density."""
        self._optimiser.zero_grad()
        (-self._log_prob(self.x).mean()).backward()
        self._optimiser.step()

    @torch.no_grad()
    def log_prob(self) -> None:
        """The rows' log-densities."""
        self._log_prob(self.x)

    @torch.no_grad()
    def sample(self) -> None:
        """As many new rows."""
        self._sample(len(self.x))

    @torch.no_grad()
    def sample_and_log_prob(self) -> None:
        """As many new rows with their log-densities."""
        self._both(len(self.x))


def build(library: str, model: str, size: Size) -> Timed:
    """A library's flow.

    Raises:
        Absent: When the library has no such model.
    """
    torch.manual_seed(0)
    return BUILDERS[library](model, size)


def unwarp(model: str, size: Size) -> Timed:
    """unwarp's recipe, shaken a little so that searches and solvers have something to find."""
    return _unwarp(model, size, fused=False)


def unwarp_fused(model: str, size: Size) -> Timed:
    """The same, trained by the fused Adam that `unwarp.fit` takes."""
    return _unwarp(model, size, fused=True)


def _unwarp(model: str, size: Size, *, fused: bool) -> Timed:
    from unwarp import flow as make

    recipe, _, structure = model.partition(" ")
    features = size["event"][0]
    plain = {"layers": size["layers"], "hidden": (size["hidden"],) * 2}
    options: dict[str, dict[str, Any]] = {
        "nsf": {**plain, "bins": size["bins"], "structure": structure, "tails": "light"},
        "naf": {**plain, **NAF},
        "bnaf": {"layers": 1, "hidden": (UNITS * features,)},
        "cnf": {"hidden": FIELD, "solver": "dopri5"},
        "glow": {"levels": LEVELS, "layers": STEPS, "hidden": (CHANNELS,) * 2, "dequantization": "none"},
    }
    event = tuple(size["event"]) if model == "glow" else features
    flow = make(recipe, event, **options.get(recipe, plain))
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(torch.randn_like(p), alpha=0.1)
    return Timed(
        "unwarp",
        flow,
        size,
        flow.log_prob,
        lambda n: flow.sample((n,)),
        lambda n: flow.sample_and_log_prob((n,)),
        fused=fused,
        note="fused Adam, as fit takes it" if fused else "",
    )


def zuko(model: str, size: Size) -> Timed:
    """zuko's own flows; its spline couplings out of its coupling transform."""
    import zuko.flows as zoo
    from zuko.distributions import DiagNormal
    from zuko.flows.coupling import GeneralCouplingTransform, RealNVP
    from zuko.lazy import Flow, UnconditionalDistribution
    from zuko.transforms import MonotonicRQSTransform

    features, hidden, bins = size["event"][0], (size["hidden"],) * 2, size["bins"]
    plain: dict[str, Any] = {"transforms": size["layers"], "hidden_features": hidden}

    def splines() -> nn.Module:
        parts = [
            GeneralCouplingTransform(
                features,
                mask=torch.arange(features) % 2 == i % 2,
                univariate=lambda *phi: MonotonicRQSTransform(*phi, bound=BOUND),
                shapes=[(bins,), (bins,), (bins - 1,)],
                hidden_features=hidden,
            )
            for i in range(size["layers"])
        ]
        zeros, ones = torch.zeros(features), torch.ones(features)
        return Flow(parts, UnconditionalDistribution(DiagNormal, loc=zeros, scale=ones, buffer=True))

    makers: dict[str, Callable[[], nn.Module]] = {
        "realnvp": lambda: RealNVP(features, **plain),
        "maf": lambda: zoo.MAF(features, **plain),
        "nsf coupling": splines,
        "nsf autoregressive": lambda: zoo.NSF(features, bins=bins, **plain),
        "naf": lambda: zoo.NAF(features, transforms=NAF["layers"], signal=NAF["units"], hidden_features=hidden),
        "cnf": lambda: zoo.CNF(features, hidden_features=FIELD),
    }
    built = _made(makers, model, "zuko")
    note = {"naf": "monotonic networks in place of sigmoids"}.get(model, "")
    return Timed(
        "zuko",
        built,
        size,
        lambda x: built().log_prob(x),
        lambda n: built().sample((n,)),
        lambda n: built().rsample_and_log_prob((n,)),
        note=note,
    )


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
        pairs = [
            (_made(layers, model, "nflows", i), transforms.RandomPermutation(features)) for i in range(size["layers"])
        ]
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
        parts = [part for i in range(size["layers"]) for part in _made(layers, model, "normflows", i)]
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


def torchflows(model: str, size: Size) -> Timed:
    """torchflows's architectures, which put a learned scale and shift between layers."""
    from torchflows.bijections.continuous.ffjord import FFJORD
    from torchflows.bijections.finite.autoregressive import architectures as zoo
    from torchflows.bijections.finite.multiscale.architectures import AffineGlow
    from torchflows.flows import Flow

    event, features = tuple(size["event"]), size["event"][0]
    conditioner: dict[str, Any] = {"n_hidden": size["hidden"], "n_layers": 3}
    coupling: dict[str, Any] = {
        "n_layers": size["layers"],
        "conditioner_kwargs": {**conditioner, "nonlinearity": nn.ReLU},
    }
    masked: dict[str, Any] = {"n_layers": size["layers"], "conditioner_kwargs": conditioner}
    spline: dict[str, Any] = {"transformer_kwargs": {"n_bins": size["bins"], "boundary": BOUND}}
    makers: dict[str, Callable[[], nn.Module]] = {
        "realnvp": lambda: zoo.RealNVP(features, **coupling),
        "maf": lambda: zoo.MAF(features, **masked),
        "nsf coupling": lambda: zoo.CouplingRQNSF(features, **coupling, **spline),
        "nsf autoregressive": lambda: zoo.MaskedAutoregressiveRQNSF(features, **masked, **spline),
        "naf": lambda: zoo.MaskedAutoregressiveDeepSF(features, **{**masked, "n_layers": NAF["layers"]}),
        "cnf": lambda: FFJORD((features,)),
        "glow": lambda: AffineGlow(event),
    }
    built = Flow(_made(makers, model, "torchflows"))
    note = {
        "cnf": "its own sizes, steps and estimate of the trace",
        "glow": "its own sizes",
        "naf": "its own number of units",
    }.get(model, "")
    return Timed(
        "torchflows",
        built,
        size,
        built.log_prob,
        built.sample,
        lambda n: built.sample(n, return_log_prob=True),
        note=note,
    )


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

    built = _made({"realnvp": realnvp, "glow": glow}, model, "FrEIA")
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


def _made(makers: dict[str, Callable[..., Any]], model: str, library: str, *given: Any) -> Any:
    if model not in makers:
        raise Absent(f"{library} has no {model}")
    return makers[model](*given)


def _convolutions(inputs: int, outputs: int) -> nn.Module:
    sizes = [(inputs, CHANNELS), (CHANNELS, CHANNELS), (CHANNELS, outputs)]
    parts = [part for a, b in sizes for part in (nn.Conv2d(a, b, 3, padding=1), nn.ReLU())]
    return nn.Sequential(*parts[:-1])


class _WithContext(nn.Module):
    """nflows hands its conditioner a context and reads its width; plain networks know neither."""

    def __init__(self, net: nn.Module, hidden: int) -> None:
        super().__init__()
        self.net, self.hidden_features = net, hidden

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.net(x)


BUILDERS: dict[str, Callable[[str, Size], Timed]] = {
    "unwarp": unwarp,
    "unwarp fused": unwarp_fused,
    "zuko": zuko,
    "nflows": nflows,
    "normflows": normflows,
    "torchflows": torchflows,
    "FrEIA": freia,
}
