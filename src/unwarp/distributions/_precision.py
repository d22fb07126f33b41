"""Densities in less precision than the data, where that is enough."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from unwarp.distributions._flow import Flow
from unwarp.transforms import Compose

__all__ = ["in_float32"]


def in_float32(flow: Flow) -> Callable[[Tensor], Tensor]:
    """The log density of events by a copy that works in float32 from its first layer with parameters on.

    What comes before scales the data, and keeps the digits of a column around 1e9. Use it to score many rows where
    three or four digits of a log density are enough; the flow itself stays as it is.

    Args:
        flow: of any precision, without a context.

    Shapes: events `(n, *event)`, best in float64 -> `(n,)` float64, nats.

    Example:
        >>> flow = Flow(Standardize(2), Normal(2)).double()
        >>> x = torch.ones(3, 2, dtype=torch.float64)
        >>> torch.allclose(in_float32(flow)(x), flow.log_prob(x), atol=1e-5)
        True
    """
    parts, base = list(copy.deepcopy(flow.transform).parts), copy.deepcopy(flow.base)
    first = next((i for i, part in enumerate(parts) if next(part.parameters(), None) is not None), len(parts) - 1)
    rest = Flow(Compose(parts[first:]), base).float()

    def log_prob(x: Tensor) -> Tensor:
        inside, ladj = flow.space.contains(x), x.new_zeros(len(x))
        with torch.no_grad():
            if first:
                x, ladj = Compose(parts[:first]).forward(x)
            return torch.where(inside, rest.log_prob(x.float()).double() + ladj, -torch.inf)

    return log_prob
