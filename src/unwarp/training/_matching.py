"""Objectives for flows along vector fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from unwarp.distributions import Distribution, Flow
from unwarp.errors import ConfigError
from unwarp.transforms import Compose, Continuous, Embedded, Transform

__all__ = ["matching", "regularised_likelihood"]


def matching(
    flow: Distribution,
    x: Tensor,
    context: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    coupling: Literal["independent", "optimal"] = "independent",
) -> Tensor:
    r"""Flow matching: $\frac1n\sum_i w_i \| v(x_t, t, c_i) - (z_i - x_i) \|^2$ at $x_t = (1 - t) x_i + t z_i$.

    A vector field is fitted without solving its equation: at a random time on the straight line from a row to a draw
    of the base, its velocity is regressed onto the line's. A step costs one pass of the network, whatever the number of
    features; the density is there afterwards, and `fit` reports it on held-out rows. What is before and after
    the one `Continuous` layer (scales, tails) stays as `adapt` left it, as does the base.

    Use it for many features or rows, or for draws in few steps; `likelihood` wins where every nat counts. Options
    go in by `functools.partial(matching, coupling="optimal")`.

    Args:
        flow: a flow with exactly one `Continuous` layer, such as `flows.cnf`.
        x: rows.
        context: their contexts.
        weight: their weights, of mean one.
        coupling: which draw goes with which row: "independent", or the pairs of a batch with the least sum of squared
            distances, "optimal", which straightens the way and so needs fewer steps; not with contexts or weights,
            whose rows may not exchange their draws.

    Shapes: x `(n, *event)`, context `(n, *context_event)`, weight `(n,)` -> scalar.

    Raises:
        ConfigError: when the flow has no such layer, or coupling is "optimal" with contexts or weights.

    Source: Lipman et al., *Flow Matching for Generative Modeling*, 2023, arXiv:2210.02747, eq. 23 with no noise at the
    data; Tong et al., 2024, arXiv:2302.00482, and Pooladian et al., 2023, arXiv:2304.14772, for the coupling. Differs:
    data are at time 0; times are spread evenly over a batch.

    Example:
        >>> from unwarp.flows import cnf
        >>> flow = cnf(2, hidden=(8,))
        >>> bool(matching(flow, torch.zeros(64, 2)) > 0)
        True
    """
    if not isinstance(flow, Flow):
        raise ConfigError(f"matching: expected a flow; got {type(flow).__name__}. Use flows.cnf.")
    flow, context = _within(flow, context)
    before, layer, after = _parts(flow, "matching")
    with torch.no_grad():
        shape, given = ((len(x),), None) if flow.base.context_shape is None else ((), context)
        z = flow.base.sample(shape, given).to(x)
        start = before.encode(x, _for(before, context)) if before else x
        end = after.decode(z, _for(after, context)) if after else z
        if coupling == "optimal":
            if context is not None or weight is not None:
                raise ConfigError('matching: expected no context or weight with coupling="optimal"; got one. Drop it.')
            end = _nearest(start, end)
        t = (torch.arange(len(x), dtype=x.dtype, device=x.device) + torch.rand(len(x)).to(x)) / len(x)
        share = t.unsqueeze(-1)
        here = (1 - share) * start + share * end
    error = (layer.field(here, t, _for(layer, context)) - (end - start)).square().sum(-1)
    return error.mean() if weight is None else (weight * error).mean()


def regularised_likelihood(
    flow: Distribution,
    x: Tensor,
    context: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    kinetic: float = 0.01,
    jacobian: float = 0.01,
    hamilton_jacobi: float = 0.0,
) -> Tensor:
    r"""Mean negative log-likelihood plus what a smooth, straight way costs less of, along every `Continuous` layer.

    To $-\log p(x)$ are added `kinetic` times $\int \|v\|^2 dt$, `jacobian` times
    $\int \|\partial v / \partial x\|_F^2 dt$ and, for a `networks.PotentialField`, `hamilton_jacobi` times
    $\int |\partial_t \Phi - \tfrac12 \|\nabla \Phi\|^2| dt$: from the same solution of the same equation.

    Use it where a continuous flow needs ever more steps as it is trained, or folds (`doctor.audit` tells). Options
    go in by `functools.partial(regularised_likelihood, kinetic=0.1)`.

    Args:
        flow: a flow with `Continuous` layers that have fixed steps.
        x: rows.
        context: their contexts.
        weight: their weights, of mean one.
        kinetic: weight of the first integral, in nats.
        jacobian: weight of the second; estimated where the flow's density is.
        hamilton_jacobi: weight of the third.

    Shapes: x `(n, *event)`, context `(n, *context_event)`, weight `(n,)` -> scalar.

    Raises:
        ConfigError: when the flow has no such layer, its solver is adaptive, or `hamilton_jacobi` is asked of a field
            without a potential.

    Source: Finlay, Jacobsen, Nurbekyan and Oberman, *How to Train Your Neural ODE*, 2020, arXiv:2002.02798, eq. 8;
    Onken, Wu Fung, Li and Ruthotto, *OT-Flow*, 2021, arXiv:2006.00104, eq. 7.

    Example:
        >>> from unwarp.flows import cnf
        >>> flow = cnf(2, hidden=(8,))
        >>> bool(regularised_likelihood(flow, torch.ones(4, 2)) == -flow(torch.ones(4, 2)).mean())  # nothing moves yet
        True
    """
    if not isinstance(flow, Flow) or not any(isinstance(part, Continuous) for part in flow.transform.parts):
        raise ConfigError(
            "regularised_likelihood: expected a flow with Continuous layers; got none. Use likelihood, or flows.cnf."
        )

    total = x.new_zeros(len(x))
    for part in flow.transform.parts:
        given = _for(part, context)
        if isinstance(part, Continuous):
            x, ladj, cost = part.transport(x, given, _price(part, given, kinetic, jacobian, hamilton_jacobi))
            total = total + ladj - cost.squeeze(-1)
        else:
            x, ladj = part.forward(x, given)
            total = total + ladj
    loss = -(total + flow.base.log_prob(x, None if flow.base.context_shape is None else context))
    return loss.mean() if weight is None else (weight * loss).mean()


@runtime_checkable
class _HasPotential(Protocol):
    def hamilton_jacobi(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor: ...


def _price(
    layer: Continuous, context: Tensor | None, kinetic: float, jacobian: float, hamilton_jacobi: float
) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """What a point of the way through the layer costs."""
    field = layer.field
    if hamilton_jacobi and not isinstance(field, _HasPotential):
        raise ConfigError(
            f"regularised_likelihood: expected a field with a potential for hamilton_jacobi={hamilton_jacobi}; "
            f"got {type(field).__name__}. Use flows.otflow, or hamilton_jacobi=0."
        )

    def price(x: Tensor, t: Tensor, v: Tensor, roughness: Tensor) -> Tensor:
        total = kinetic * v.square().sum(-1) + jacobian * roughness
        if hamilton_jacobi and isinstance(field, _HasPotential):
            total = total + hamilton_jacobi * field.hamilton_jacobi(x, t, context)
        return total.unsqueeze(-1)

    return price


def _within(flow: Flow, context: Tensor | None) -> tuple[Flow, Tensor | None]:
    """The flow inside an `Embedded` chain, and what the network there makes of the context."""
    first = flow.transform.parts[0]
    if len(flow.transform.parts) > 1 or not isinstance(first, Embedded) or context is None:
        return flow, context
    return Flow(first.transform, flow.base), first.net(context)


def _parts(flow: Flow, where: str) -> tuple[Compose | None, Continuous, Compose | None]:
    """What is before the flow's one continuous layer, the layer, and what is after it."""
    parts = list(flow.transform.parts)
    layers = [(i, part) for i, part in enumerate(parts) if isinstance(part, Continuous)]
    if len(layers) != 1:
        raise ConfigError(
            f"{where}: expected a flow with exactly one Continuous layer; got {len(layers)}. "
            "Use flows.cnf with layers=1."
        )
    at, layer = layers[0]
    before, after = parts[:at], parts[at + 1 :]
    return Compose(before) if before else None, layer, Compose(after) if after else None


def _for(part: Transform, context: Tensor | None) -> Tensor | None:
    return None if part.context_shape is None else context


def _nearest(x: Tensor, z: Tensor) -> Tensor:
    """z in the order in which the sum of squared distances to x is least."""
    from scipy.optimize import linear_sum_assignment  # pyright: ignore[reportMissingTypeStubs]

    cost: Any = torch.cdist(x, z).square().cpu().numpy()
    return z[torch.as_tensor(linear_sum_assignment(cost)[1], device=z.device)]
