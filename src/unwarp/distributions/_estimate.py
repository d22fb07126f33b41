"""Log densities that are no exact numbers, with what is known of their error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from unwarp import _check
from unwarp.distributions._base import Distribution
from unwarp.transforms import Noise, Transform
from unwarp.transforms._base import Kind

__all__ = ["Estimate", "estimate"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Log densities and how far they can be trusted.

    Attributes:
        value: log density of each event, `(*batch)`, nats.
        error: standard error of `value` from the draws behind it, `(*batch)`, nats; zero where it is exact.
        kind: "exact"; "estimate", unbiased; or "bound", below the true value but for the error.
    """

    value: Tensor
    error: Tensor
    kind: Kind


def estimate(flow: Distribution, x: Tensor, context: Tensor | None = None, *, draws: int = 16) -> Estimate:
    r"""The log density of x from several draws of the noise in `flow`, and its standard error.

    An unbiased estimate is averaged, and so is a bound that holds one, such as that of `residual_image`: the mean of
    exponentials would count the estimate's scatter as density. Any other lower bound becomes the tighter
    importance-weighted one, $\log \frac1K \sum_k e^{b_k}$. An exact density needs no draws. Use it wherever a figure is
    quoted; `log_prob` alone is one draw. The flow is left as it was; no gradient is kept.

    Args:
        flow: any distribution.
        x: events.
        context: their contexts.
        draws: K, at least 2.

    Shapes: x `(*batch, *event)`, context `(*batch, *context_shape)` -> `(*batch)`.

    Raises:
        ConfigError: if `draws < 2`.

    Source: Burda, Grosse and Salakhutdinov, *Importance Weighted Autoencoders*, 2016, arXiv:1509.00519, eq. 8.

    Example:
        >>> from unwarp.distributions import Normal
        >>> found = estimate(Normal(2), torch.zeros(3, 2))
        >>> found.kind, found.error.tolist()
        ('exact', [0.0, 0.0, 0.0])
    """
    _check.at_least("estimate", "draws", draws, 2)
    kind = flow.kind
    sources = [part for part in flow.modules() if isinstance(part, Noise)]
    with torch.no_grad():
        if kind == "exact" or not sources:
            value = flow.log_prob(x, context)
            return Estimate(value, torch.zeros_like(value), kind)
        draw: list[Tensor] = []
        for _ in range(draws):
            draw.append(flow.log_prob(x, context))
            for noise in sources:
                noise.passes.add_(1)
        for noise in sources:
            noise.passes.sub_(draws)
    values = torch.stack(draw)
    if kind == "estimate" or any(isinstance(part, Transform) and part.kind == "estimate" for part in flow.modules()):
        return Estimate(values.mean(0), values.std(0) / math.sqrt(draws), kind)
    weights = values.softmax(0)
    error = (weights - 1 / draws).square().sum(0).mul(draws / (draws - 1)).sqrt()
    return Estimate(values.logsumexp(0) - math.log(draws), error, kind)
