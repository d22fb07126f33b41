"""After training: as many steps along a vector field as it takes to come back."""

from __future__ import annotations

import copy
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


def stepping(flow: Distribution) -> list[Continuous]:
    """The trained layers that go along a field in fixed steps: a steep field can fold what lies around it."""
    layers = [m for m in flow.modules() if isinstance(m, Continuous) and m.tableau is not None]
    return [layer for layer in layers if any(p.requires_grad for p in layer.parameters())]


def free_of_steps(objective: Any) -> bool:
    """Does the objective never take a step, so that their number may change after it?"""
    return (objective.func if isinstance(objective, functools.partial) else objective) is matching


def settle(flow: Distribution, rows: Rows, objective: Any) -> None:
    """See that rows and draws come back: by more steps after an objective that takes none, else say so."""
    layers = stepping(flow)
    if not layers or comes_back(flow, rows):
        return
    first = [layer.steps for layer in layers]
    while free_of_steps(objective) and 2 * max(layer.steps for layer in layers) <= _MOST:
        for layer in layers:
            layer.steps *= 2
        if comes_back(flow, rows):
            _remember(flow, layers)
            return
    for layer, steps in zip(layers, first, strict=True):
        layer.steps = steps
    warnings.warn(
        "fit: expected a flow that can be undone; got rows that don't come back from the latent, so their densities "
        "are wrong. Lower lr, or raise steps; doctor.audit tells which rows.",
        UserWarning,
        stacklevel=2,
    )


def comes_back(flow: Distribution, rows: Rows, most: int = _ROWS) -> bool:
    """Do some of the rows, and as many draws, return from where the flow takes them? In float64."""
    if not isinstance(flow, Flow) or flow.transform.loses != "nothing":
        return True
    some = rows.take(slice(None, None, math.ceil(len(rows) / most)))
    exact = copy.deepcopy(flow).double().eval()
    context = None if some.context is None else some.context.double()
    given = None if exact.transform.context_shape is None else context
    shape, told = ((len(some),), None) if exact.base.context_shape is None else ((), context)
    with torch.no_grad():
        x, z = some.x.double(), exact.base.sample(shape, told).double()
        back = exact.transform.decode(exact.transform.encode(x, given), given)
        again = exact.transform.encode(exact.transform.decode(z, given), given)
    return bool(_near(back, x) & _near(again, z))


def _near(there: Tensor, here: Tensor) -> Tensor:
    return ((there - here).abs() <= _MOVE * (1 + here.abs())).all()


def _remember(flow: Distribution, layers: list[Continuous]) -> None:
    """The number of steps as an option, which the model file keeps."""
    if isinstance(flow, Flow) and flow.spec is not None and "steps" in flow.spec["options"]:
        flow.spec = flow.spec | {"options": flow.spec["options"] | {"steps": layers[0].steps}}
