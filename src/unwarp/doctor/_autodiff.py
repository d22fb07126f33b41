"""Laws of torch's machinery: gradients, compilation, function transforms, saving."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from unwarp.distributions import Flow
from unwarp.doctor import _tolerances as tol
from unwarp.doctor._report import Figure, worst_of
from unwarp.doctor._subject import Call, Module, Outputs, Run, Subject, held, perturbed
from unwarp.flows import load, save
from unwarp.transforms import Compose, Coupling

__all__ = ["compiles", "gradients", "saved_and_loaded", "score_carried", "vmap_and_jacrev"]


def gradients(subject: Subject) -> Figure:
    """Directional derivatives agree with central differences, and every parameter gets a gradient by every way."""
    noisy = perturbed(subject.module, seed=subject.seed, scale=0.05)
    silent = [
        f"{call.name}: no gradient for {name}"
        for call in subject.calls(noisy)
        for name in _silent(call, noisy, all_matter=subject.features > 1)
    ]
    if silent:
        return Figure.count(silent)
    module = held(subject.module)
    errors = [_directional_error(call, module, subject) for call in subject.calls(module)]
    return Figure(worst_of(torch.tensor(errors)), tol.GRADIENT, "along one random direction")


def _silent(call: Call, module: Module, *, all_matter: bool) -> list[str]:
    """The trainable parameters that the call should feel and does not; masks shut some out of a single feature."""
    within = "transform." if isinstance(module, Flow) and call.onto is not None else ""
    named = {name: p for name, p in module.named_parameters() if p.requires_grad and name.startswith(within)}
    if not named:
        return []
    total = _projection(call, call())
    slopes = torch.autograd.grad(total, list(named.values()), allow_unused=True, materialize_grads=True)
    return [
        name
        for name, slope in zip(named, slopes, strict=True)
        if not bool(slope.isfinite().all()) or (all_matter and not bool(slope.any()))
    ]


def _projection(call: Call, outputs: Outputs) -> Tensor:
    """One number in which every output has its own weight."""
    generator = torch.Generator().manual_seed(len(call.name))
    weights = [torch.randn(out.shape, generator=generator, dtype=torch.float64) for out in outputs]
    return torch.stack([(w * out).sum() for w, out in zip(weights, outputs, strict=True)]).sum()


def _directional_error(call: Call, module: Module, subject: Subject, h: float = 1e-6) -> float:
    """Derivative along a random direction of all inputs and parameters: autograd's against central differences."""
    generator = subject.generator(6)
    given = [] if call.context is None else [call.context]
    u = call.space.to_coordinates(call.x)[0]
    leaves = [u, *given, *[p for p in module.parameters() if p.requires_grad]]
    ways = [torch.randn(leaf.shape, generator=generator, dtype=torch.float64) for leaf in leaves]
    ways = [way if i == 0 else way / way.norm().clamp(min=1) for i, way in enumerate(ways)]
    stays = call.space.flat.contains(u + h * ways[0]) & call.space.flat.contains(u - h * ways[0])
    ways[0] = ways[0] * stays.unsqueeze(-1)
    leaves[:1] = [u.clone().requires_grad_()]
    if call.context is not None:
        leaves[1] = call.context.clone().requires_grad_()
    outputs = _value(call, leaves)
    slopes = torch.autograd.grad(outputs, leaves, allow_unused=True, materialize_grads=True)
    by_autograd = float(torch.stack([(g * way).sum() for g, way in zip(slopes, ways, strict=True)]).sum())
    start = [leaf.detach().clone() for leaf in leaves]
    values: list[float] = []
    with torch.no_grad():
        for sign in (1, -1):
            for leaf, at, way in zip(leaves, start, ways, strict=True):
                leaf.copy_(at + sign * h * way)
            values.append(float(_value(call, leaves)))
        for leaf, at in zip(leaves, start, strict=True):
            leaf.copy_(at)
    by_difference = (values[0] - values[1]) / (2 * h)
    return abs(by_difference - by_autograd) / (1 + abs(by_autograd) + abs(values[0]))


def _value(call: Call, leaves: list[Tensor]) -> Tensor:
    x = call.space.from_coordinates(leaves[0])[0]
    return _projection(call, call.run(x, None if call.context is None else leaves[1]))


def score_carried(subject: Subject) -> Figure:
    """The gradient of the log density that draws through couplings carry along is the one found by going back."""
    f = subject.map
    if f.kind != "exact" or f.loses != "nothing" or not any(isinstance(part, Coupling) for part in f.modules()):
        return Figure.skip("no bijection with couplings")
    chain, call = f if isinstance(f, Compose) else Compose([f]), subject.calls()[1]
    score = torch.randn(call.x.shape, generator=subject.generator(7), dtype=torch.float64)
    found = chain.carry(call.x, score, call.context)
    x, ladj = call()
    at = x.detach().requires_grad_()
    z, back = f.forward(at, call.context)
    (slope,) = torch.autograd.grad((z * score).sum() + back.sum(), at)
    return Figure(worst_of(*_differences(found, (x, ladj, slope))), tol.LADJ)


def compiles(subject: Subject, backend: str = "eager") -> Figure:
    """torch.compile(fullgraph=True) captures every call in one graph, which gives the same result."""
    errors: list[Tensor] = []
    calls = [call for call in subject.calls() if call.name != "inverse" or subject.features <= 8]
    for call in calls:
        torch.compiler.reset()
        compiled = torch.compile(call.run, fullgraph=True, backend=backend)
        errors += _differences(compiled(call.x, call.context), call())
    torch.compiler.reset()
    return Figure(worst_of(*errors), tol.SAME, f"{', '.join(call.name for call in calls)}; backend {backend}")


def vmap_and_jacrev(subject: Subject) -> Figure:
    """vmap over rows gives the batch's result, jacrev of a row its gradient, and second derivatives are finite."""
    errors: list[Tensor] = []
    for call in subject.calls():
        dims = (0, None if call.context is None else 0)
        with torch.no_grad():
            errors += _differences(vmap(call.run, in_dims=dims)(call.x, call.context), call())
        context = None if call.context is None else call.context[0]
        scalar = _sum_of_outputs(call.run, context)
        row = call.x[0].clone().requires_grad_()
        (slope,) = torch.autograd.grad(scalar(row), row, allow_unused=True, materialize_grads=True)
        errors.append((jacrev(scalar)(call.x[0]) - slope).abs() / (1 + slope.abs()))
        if subject.features <= 8:
            curvature = jacrev(jacrev(scalar))(call.x[0])
            errors.append(torch.where(curvature.isfinite(), 0.0, torch.inf))
    return Figure(worst_of(*errors), tol.SAME)


def _sum_of_outputs(run: Run, context: Tensor | None) -> Callable[[Tensor], Tensor]:
    return lambda row: torch.stack([out.sum() for out in run(row, context)]).sum()


def saved_and_loaded(subject: Subject) -> Figure:
    """What is saved and loaded again gives the same results to the last bit: weights, and whole model files."""
    module = perturbed(subject.module, seed=subject.seed, scale=0.05)
    spec = module.spec if isinstance(module, Flow) else None
    again: list[Module] = []
    if subject.fresh is not None:
        again.append(subject.fresh())
    else:
        again.append(perturbed(module, seed=subject.seed + 1))
    again[0].double().eval().load_state_dict(module.state_dict())
    if isinstance(module, Flow) and spec is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.safetensors")
            save(module, path)
            again.append(load(path).eval())
    with torch.no_grad():
        errors = [
            error
            for copied in again
            for call, twin in zip(subject.calls(module), subject.calls(copied), strict=True)
            for error in _differences(call(), twin())
        ]
    return Figure(worst_of(*errors), 0.0, "weights and model file" if len(again) > 1 else "weights")


def _differences(got: Outputs, expected: Outputs) -> list[Tensor]:
    return [(a - b).abs() / (1 + b.abs()) for a, b in zip(got, expected, strict=True)]
