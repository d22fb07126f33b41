"""A flow at work, layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from unwarp import _check
from unwarp.distributions._flow import Flow

__all__ = ["TraceStep", "trace"]


@dataclass(frozen=True, slots=True)
class TraceStep:
    """Where points are after one layer of a flow, and what the layer did to volume.

    Attributes:
        name: the layer's class; "data" or "latent" for the first step.
        points: after the layer, `(*batch, *event)`.
        ladj: the layer's log|det|, `(*batch)`, nats; negative where it compresses.
        total: sum of all ladj so far, `(*batch)`.
        jacobian: the layer's Jacobian at each point, `(*batch, 2, 2)`, for events of two features; else None.
    """

    name: str
    points: Tensor
    ladj: Tensor
    total: Tensor
    jacobian: Tensor | None


def trace(
    flow: Flow, x: Tensor, context: Tensor | None = None, *, start: Literal["data", "latent"] = "data"
) -> list[TraceStep]:
    r"""Follow points through a flow, one step for each layer: from the data to the latent, or the way of sampling.

    $\log p(x) = \log p_z(\text{last points}) + \text{last total}$ from the data, and
    $\log p_z(\text{first points}) - \text{last total}$ from the latent: additions that can be checked by hand.

    Use it to see a flow: how it warps a grid, where it expands and compresses, which layer does what.

    Args:
        flow: the flow.
        x: points, `(*batch, *event)`; latents when `start` is "latent".
        context: what they are conditioned on.
        start: where the points are.

    Raises:
        ShapeError: when x does not fit the flow.
        ContextError: when the context does not.

    Example:
        >>> from unwarp import flow
        >>> model = flow("realnvp", 2, layers=2)
        >>> steps = trace(model, torch.ones(5, 2))
        >>> [step.name for step in steps]
        ['data', 'Standardize', 'Coupling', 'Coupling']
        >>> log_prob = model.base.log_prob(steps[-1].points) + steps[-1].total
        >>> torch.allclose(log_prob, model.log_prob(torch.ones(5, 2)))
        True
        >>> [step.name for step in trace(model, torch.ones(5, 2), start="latent")]
        ['latent', 'Coupling', 'Coupling', 'Standardize']
    """
    space = flow.space if start == "data" else flow.transform.codomain
    x = _check.broadcast_event("trace", x, space.shape, context, flow.context_shape)
    total = x.new_zeros(x.shape[: x.dim() - len(space.shape)])
    steps = [TraceStep(start, x, total, total, None)]
    for part in flow.transform.parts if start == "data" else reversed(flow.transform.parts):
        own = context if part.context_shape is not None else None
        step = partial(part.forward if start == "data" else part.inverse, context=own)
        plane = part.domain.shape == part.codomain.shape == (2,)
        jacobian = _jacobian(step, x) if plane else None
        with torch.no_grad():
            x, ladj = step(x)
        total = total + ladj
        steps.append(TraceStep(type(part).__name__, x, ladj, total, jacobian))
    return steps


def _jacobian(step: Callable[[Tensor], tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
    """Jacobian at each point by one backward pass for each of the two outputs."""
    with torch.enable_grad():
        points = x.detach().requires_grad_()
        z = step(points)[0]
        rows = [torch.autograd.grad(z[..., i].sum(), points, retain_graph=i == 0)[0] for i in range(2)]
    return torch.stack(rows, -2)
