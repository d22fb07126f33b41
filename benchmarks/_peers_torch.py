"""unwarp and its peers in PyTorch that have flows ready made, each as its documentation builds them, of one size.

A model is one of `MODELS` in ``speed.py``; a size is a dict of ``event`` (shape), ``batch``, ``layers``, ``hidden``
(width of two hidden layers) and ``bins``.
"""

from __future__ import annotations

import importlib
import itertools
import warnings
from typing import TYPE_CHECKING, Any

import _peers_parts as parts_of
import torch
from _timed import BOUND, CHANNELS, FIELD, LEVELS, NAF, STEPS, UNITS, Size, Timed, made
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

COMPILES = False
PARTS = {name: f"{name}.flows" for name in ("unwarp", "zuko", "torchflows")}


def start(threads: int) -> None:
    """Before the first flow: threads, and what libraries warn of."""
    torch.set_num_threads(threads)
    warnings.simplefilter("ignore")


def preload(library: str) -> None:
    """Import what building its flows imports."""
    package = library.partition(" ")[0]
    importlib.import_module(PARTS.get(package, package))


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


def build(library: str, model: str, size: Size) -> Timed:
    """A library's flow.

    Raises:
        Absent: When the library has no such model.
    """
    torch.manual_seed(0)
    return BUILDERS[library](model, size)


def unwarp(model: str, size: Size) -> Timed:
    """unwarp's recipe, shaken a little so that searches and solvers have something to find."""
    return _unwarp(model, size, fit=False)


def unwarp_fit(model: str, size: Size) -> Timed:
    """The same, trained by the step of `unwarp.fit`: AdamW, a guard on gradients and averaged weights."""
    return _unwarp(model, size, fit=True)


def unwarp_compiled(model: str, size: Size) -> Timed:
    """The same by the compiled step of `unwarp.fit(execution="compiled")`."""
    return _unwarp(model, size, fit=True, compiled=True)


def _unwarp(model: str, size: Size, *, fit: bool, compiled: bool = False) -> Timed:
    from unwarp import flow as make
    from unwarp import kernels

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
    notes = ["the step of fit: fused AdamW, a guard on gradients, averaged weights"] if fit else []
    if compiled:
        notes.append("one compiled program in place of kernels")
    elif structure:
        notes += [f"fused spline kernels {word}" for word in sorted(set(kernels.status().values()))]
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
        step=_step(flow, compiled=compiled) if fit else None,
        note="; ".join(notes),
    )


def _step(flow: Any, *, compiled: bool) -> Callable[[Tensor], None]:
    """A step of `unwarp.fit` on rows as it keeps them: what precedes all parameters has been done once."""
    from unwarp.training import likelihood
    from unwarp.training._gradient import Gradient
    from unwarp.training._learner import Learner
    from unwarp.training._rows import frozen_prefix

    _, target = frozen_prefix(flow)
    learner, gradient, count = Learner(flow), Gradient(target, likelihood, compiled=compiled), itertools.count()
    return lambda x: learner.update(gradient(x, None, None), 1e-5, next(count))


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
    built = made(makers, model)
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


def torchflows(model: str, size: Size) -> Timed:
    """torchflows's architectures, which put a learned scale and shift between layers."""
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
        "glow": lambda: AffineGlow(event),
    }
    built = Flow(made(makers, model))
    note = {
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


BUILDERS: dict[str, Callable[[str, Size], Timed]] = {
    "unwarp": unwarp,
    "unwarp fit": unwarp_fit,
    "unwarp compiled": unwarp_compiled,
    "zuko": zuko,
    "nflows": parts_of.nflows,
    "normflows": parts_of.normflows,
    "torchflows": torchflows,
    "FrEIA": parts_of.freia,
}
