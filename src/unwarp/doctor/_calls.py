"""Laws of every call: shapes, dtypes, context, finite values, and nothing touched that is not its own."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from unwarp._space import CIRCLE, Manifold, Space, Support
from unwarp.distributions import Distribution
from unwarp.doctor import _tolerances as tol
from unwarp.doctor._report import Figure, worst_of
from unwarp.doctor._subject import Call, Subject, perturbed
from unwarp.errors import ContextError

__all__ = [
    "any_batch",
    "context_counts",
    "dtype_and_device",
    "ends_meet",
    "finite_everywhere",
    "nothing_else_touched",
    "short_repr",
]


def any_batch(subject: Subject) -> Figure:
    """Any batch shape does, an empty one and none too; rows do not see each other."""
    faults: list[str] = []
    errors: list[Tensor] = []
    with torch.no_grad():
        for call in subject.calls():
            outputs = call()
            for batch in ((), (0,), (1,), (2, 2), (3, 1, 2)):
                context = None if call.context is None else _first(call.context, batch)
                for got, all_rows in zip(call.run(_first(call.x, batch), context), outputs, strict=True):
                    expected = _first(all_rows, batch)
                    if got.shape != expected.shape:
                        faults.append(f"{call.name} of batch {batch}: {tuple(got.shape)}")
                    else:
                        errors.append((got - expected).abs() / (1 + expected.abs()))
            faults += _isolation_faults(call, outputs)
    return Figure.count(faults) if faults else Figure(worst_of(*errors), tol.BATCH, "one batch against smaller ones")


def _first(rows: Tensor, batch: tuple[int, ...]) -> Tensor:
    """As many of the first rows as `batch` takes, in its shape."""
    return rows[: torch.Size(batch).numel()].reshape((*batch, *rows.shape[1:]))


def _isolation_faults(call: Call, outputs: tuple[Tensor, ...]) -> list[str]:
    """A NaN in one row must stay in that row, and must not be hidden."""
    if call.onto is None:  # a density may refuse NaN at its door
        return []
    x = call.x.clone()
    x[0] = torch.nan
    ill = call.run(x, call.context)
    others = [(a[1:] - b[1:]).abs() / (1 + b[1:].abs()) for a, b in zip(ill, outputs, strict=True)]
    leaks, hidden = not worst_of(*others) <= tol.BATCH, not bool(ill[0][0].isnan().any())
    return [f"{call.name}: a NaN row changes others"] * leaks + [f"{call.name}: a NaN row comes out finite"] * hidden


def dtype_and_device(subject: Subject) -> Figure:
    """Outputs have the dtype and the device of the input."""
    faults: list[str] = []
    places = [(torch.float32, "cpu"), (torch.float64, "cpu"), (torch.float32, "meta")]
    places += [(torch.float32, "cuda")] if torch.cuda.is_available() else []
    for dtype, device in places:
        module = copy.deepcopy(subject.module).to(device, dtype)
        with torch.no_grad():
            calls = subject.calls(module, dtype, device)
            outputs = [(call.name, out) for call in calls for out in call()]
            if isinstance(module, Distribution) and device != "meta" and module.context_shape is None:
                outputs.append(("sample", module.sample((3,))))
        faults += [
            f"{name} of {dtype} on {device}: {out.dtype} on {out.device}"
            for name, out in outputs
            if out.dtype != dtype or out.device.type != device
        ]
    return Figure.count(faults)


def context_counts(subject: Subject) -> Figure:
    """A context is required or refused as declared, changes the result, and its batch broadcasts."""
    door = subject.door
    x, context = subject.x(4), subject.context(4)
    if context is None:
        refused = _raises(door, x, torch.zeros(4, 3, dtype=torch.float64))
        return Figure.count([] if refused else ["takes a context though it declares none"])
    faults = [] if _raises(door, x, None) else ["does without the context that it declares"]
    if not _raises(door, x, context[..., :-1]):
        faults.append("takes a context of the wrong shape")
    with torch.no_grad():
        noisy = perturbed(door, seed=subject.seed, scale=0.1)
        results = [noisy(x, c) for c in (context, context + 1)]
        if all(torch.equal(a, b) for a, b in zip(_tensors(results[0]), _tensors(results[1]), strict=True)):
            faults.append("another context gives the same result")
        if isinstance(door, Distribution):
            draws = door.sample((5,), context, generator=subject.generator())
            if draws.shape != (5, 4, *door.space.shape):
                faults.append(f"sample((5,), context of 4 rows): {tuple(draws.shape)}")
            elif door.log_prob(draws, context).shape != (5, 4):
                faults.append("log_prob does not broadcast the context over the leading batch")
    return Figure.count(faults)


def _tensors(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (result,) if isinstance(result, Tensor) else result


def _raises(door: Callable[..., object], x: Tensor, context: Tensor | None) -> bool:
    try:
        door(x, context)
    except ContextError:
        return True
    return False


def finite_everywhere(subject: Subject) -> Figure:
    """At 0, +-1e-30, +-1e6, on a grid of knots and near the ends of intervals, all is finite and in its space."""
    faults: list[str] = []
    for dtype in (torch.float64, torch.float32):
        module = copy.deepcopy(subject.module).to(dtype)
        wanted = [p for p in module.parameters() if p.requires_grad]
        for call in subject.calls(module, dtype):
            x = special_points(call.space, call.x).requires_grad_()
            context = None if call.context is None else call.context[:1].expand(len(x), *call.context.shape[1:])
            outputs = call.run(x, context)
            total = torch.stack([out.sum() for out in outputs]).sum()
            slopes = torch.autograd.grad(total, [x, *wanted], allow_unused=True, materialize_grads=True)
            inside = torch.zeros(0) if call.onto is None else call.onto.contains(outputs[0])
            counts = {
                "results not finite": sum(int((~out.isfinite()).sum()) for out in outputs),
                "gradients not finite": sum(int((~slope.isfinite()).sum()) for slope in slopes),
                "results outside their space": int((~inside.bool()).sum()),
            }
            faults += [f"{call.name} in {dtype}: {count} {what}" for what, count in counts.items() if count]
    return Figure.count(faults)


def special_points(space: Space, x: Tensor) -> Tensor:
    """Events with hard values in all entries at once, then in one at a time; the others as in `x`."""
    rows = _members_alone(space, x)
    scalars = [s for s in space.supports if isinstance(s, Support)]
    if not scalars:
        return torch.cat(rows).detach()
    values = torch.tensor(_hard_values(scalars), dtype=x.dtype)
    typical = x[torch.arange(len(values)) % len(x)]
    nowhere = torch.zeros_like(values, dtype=torch.bool)
    by_part = [s.contains(values) if isinstance(s, Support) else nowhere for s in space.supports]
    pairs = zip(by_part, space.widths, strict=True)
    inside = torch.stack([held for held, width in pairs for _ in range(width)], -1)
    inside = inside.reshape(len(values), *[1] * (len(space.shape) - 1), *space.shape[-1:])
    hard = values.reshape(-1, *[1] * len(space.shape)).expand_as(typical)
    rows.append(torch.where(inside, hard, typical))
    for i in range(min(space.shape[-1], 4) if space.shape else 0):
        only = torch.zeros(space.shape[-1], dtype=torch.bool)
        only[i] = True
        rows.append(torch.where(inside & only, hard, typical))
    return torch.cat(rows).detach()


def _members_alone(space: Space, x: Tensor) -> list[Tensor]:
    """For each manifold of the space: its special members, the rest of the events as in `x`."""
    rows: list[Tensor] = []
    start = 0
    for s, width in zip(space.supports, space.widths, strict=True):
        if isinstance(s, Manifold):
            members = s.special.to(x.dtype)
            row = x[torch.arange(len(members)) % len(x)]
            row[..., start : start + width] = members.reshape(-1, *[1] * (x.dim() - members.dim()), *s.shape)
            rows.append(row)
        start += width
    return rows


def _hard_values(supports: Iterable[Support]) -> list[float]:
    values = [0.0, -0.0, 1e-30, -1e-30, 1e6, -1e6, *[k / 4 for k in range(-44, 45)]]
    return [*values, *[value for support in set(supports) for value in support.special]]


def ends_meet(subject: Subject) -> Figure:
    """The angles -pi and pi are one point: what is computed at the one is what is computed at the other."""
    errors: list[Tensor] = []
    with torch.no_grad():
        for call in subject.calls():
            pairs = zip(call.space.supports, call.space.widths, strict=True)
            angles = torch.tensor([s == CIRCLE for s, width in pairs for _ in range(width)])
            if bool(angles.any()):
                one, other = (call.run(call.x.where(~angles, end), call.context) for end in (-math.pi, math.pi))
                first = one[0] - other[0] if call.onto is None else call.onto.difference(one[0], other[0])
                errors += [error.abs() for error in (first, *(a - b for a, b in zip(one[1:], other[1:], strict=True)))]
    return Figure(worst_of(*errors), tol.LADJ) if errors else Figure.skip("it has no angles")


def nothing_else_touched(subject: Subject) -> Figure:
    """Inputs, weights, the global random states, the default dtype and requires_grad stay as they were."""
    faults: list[str] = []
    module = subject.module
    before = {name: t.clone() for name, t in module.state_dict().items()}
    wants = [p.requires_grad for p in module.parameters()]
    world = _world()
    for call in subject.calls():
        inputs = [t for t in (call.x, call.context) if t is not None]
        kept = [t.clone() for t in inputs]
        call()
        same = all(torch.equal(a, b) for a, b in zip(inputs, kept, strict=True))
        if not same or any(t.requires_grad for t in inputs):
            faults.append(f"{call.name} changes its inputs")
    if isinstance(module, Distribution):
        draws = [module.sample((3,), subject.context(2), generator=subject.generator(5)) for _ in range(2)]
        if not torch.equal(*draws):
            faults.append("the same generator gives other draws")
    if not all(torch.equal(t, before[name]) for name, t in module.state_dict().items()):
        faults.append("a call changes weights or buffers")
    if wants != [p.requires_grad for p in module.parameters()]:
        faults.append("requires_grad has changed")
    return Figure.count(faults + [f"{name} has changed" for name, value in _world().items() if value != world[name]])


def _world() -> dict[str, object]:
    """What a library must leave alone."""
    return {
        "torch's random state": torch.get_rng_state().numpy().tobytes(),
        "numpy's random state": np.random.get_state(legacy=False)["state"]["key"].tobytes(),  # noqa: NPY002
        "python's random state": random.getstate(),
        "the default dtype": torch.get_default_dtype(),
        "the gradient mode": torch.is_grad_enabled(),
        "the thread count": torch.get_num_threads(),
        "the deterministic mode": torch.are_deterministic_algorithms_enabled(),
    }


def short_repr(subject: Subject) -> Figure:
    """The repr fits one screen."""
    lines = repr(subject.module).splitlines()
    most, widest = tol.SCREEN
    if max(map(len, lines)) > widest:
        return Figure(float(max(map(len, lines))), float(widest), "columns")
    return Figure(float(len(lines)), float(most), "lines")
