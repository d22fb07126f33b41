"""After training: as many steps along a vector field as it takes to come back, and to estimate a density rightly."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import warnings
from typing import Any

import torch
from torch import Tensor

from unwarp.distributions import Distribution, Flow
from unwarp.training._matching import matching
from unwarp.training._rows import Rows
from unwarp.transforms import Continuous

__all__ = ["comes_back", "free_of_steps", "settle", "stepping"]

_ROWS = 500  # that are sent there and back, and as many draws
_MOST = 1_000  # steps, as recipes allow
_MOVE = 1e-5  # allowed round-trip error, of 1 + |value|
_DRIFT = 0.01  # nats a row by which an estimated density may change with twice as many steps


def stepping(flow: Distribution) -> list[Continuous]:
    """The trained layers that go along a field in fixed steps: a steep field can fold what lies around it."""
    layers = [m for m in flow.modules() if isinstance(m, Continuous) and m.tableau is not None]
    return [layer for layer in layers if any(p.requires_grad for p in layer.parameters())]


def free_of_steps(objective: Any) -> bool:
    """Does the objective never take a step, so that their number may change after it?"""
    return (objective.func if isinstance(objective, functools.partial) else objective) is matching


def settle(flow: Distribution, target: Distribution, rows: Rows, objective: Any) -> None:
    """See that rows and draws come back, and that estimates hold: by more steps where those keep what was trained.

    Steps may grow after an objective that takes none, and where the density is an estimate: that of the equation,
    which few steps get wrong, and training uses their error. An exact density is that of the steps themselves.

    Args:
        flow: what is trained, whose options remember the steps.
        target: the part of it that the rows go through.
        rows: some that were held out, or those of the training.
        objective: what it was trained by.
    """
    layers = stepping(target)
    if not layers or _is_sound(target, rows):
        return
    first = [layer.steps for layer in layers]
    may_grow = free_of_steps(objective) or target.kind == "estimate"
    while may_grow and 2 * max(layer.steps for layer in layers) <= _MOST:
        for layer in layers:
            layer.steps *= 2
        if _is_sound(target, rows):
            _remember(flow, layers)
            return
    for layer, steps in zip(layers, first, strict=True):
        layer.steps = steps
    warnings.warn(
        "fit: expected a flow that can be undone, with densities that hold; got rows that don't come back from the "
        "latent, or change with the number of steps. Lower lr, or raise steps; doctor.audit tells which rows.",
        UserWarning,
        stacklevel=2,
    )


def _is_sound(flow: Distribution, rows: Rows) -> bool:
    return comes_back(flow, rows) and _is_steady(flow, rows)


def _is_steady(flow: Distribution, rows: Rows) -> bool:
    """Does an estimated density stay what it is with twice as many steps? By the same noise, in float64."""
    if not isinstance(flow, Flow) or flow.kind != "estimate":
        return True
    some, exact = _some(flow, rows, _ROWS)
    finer = copy.deepcopy(exact)
    for layer in stepping(finer):
        layer.steps *= 2
    with torch.no_grad():
        change = (finer.log_prob(some.x, some.context) - exact.log_prob(some.x, some.context)).mean()
    return bool(change.abs() <= _DRIFT)


def comes_back(flow: Distribution, rows: Rows, most: int = _ROWS) -> bool:
    """Do some of the rows, and as many draws, return from where the flow takes them? In float64."""
    if not isinstance(flow, Flow) or flow.transform.loses != "nothing":
        return True
    some, exact = _some(flow, rows, most)
    given = None if exact.transform.context_shape is None else some.context
    shape, told = ((len(some),), None) if exact.base.context_shape is None else ((), some.context)
    with torch.no_grad():
        x, z = some.x, exact.base.sample(shape, told).double()
        back = exact.transform.decode(exact.transform.encode(x, given), given)
        again = exact.transform.encode(exact.transform.decode(z, given), given)
    return bool(_near(back, x) & _near(again, z))


def _some(flow: Flow, rows: Rows, most: int) -> tuple[Rows, Flow]:
    """Rows from all over, at most so many, and the flow, both in float64."""
    some = rows.take(slice(None, None, math.ceil(len(rows) / most)))
    context = None if some.context is None else some.context.double()
    return dataclasses.replace(some, x=some.x.double(), context=context), copy.deepcopy(flow).double().eval()


def _near(there: Tensor, here: Tensor) -> Tensor:
    return ((there - here).abs() <= _MOVE * (1 + here.abs())).all()


def _remember(flow: Distribution, layers: list[Continuous]) -> None:
    """The number of steps as an option, which the model file keeps."""
    if isinstance(flow, Flow) and flow.spec is not None and "steps" in flow.spec["options"]:
        flow.spec = flow.spec | {"options": flow.spec["options"] | {"steps": layers[0].steps}}
