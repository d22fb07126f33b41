"""What training makes small."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from unwarp.distributions import Distribution

__all__ = ["Objective", "likelihood"]


class Objective(Protocol):
    """A scalar to minimise over batches: the mean over rows of something differentiable in the flow's parameters.

    Shapes: x `(n, *event)`, context `(n, *context_event)` or None, weight `(n,)` or None. Weights have mean one over
    all the data, so `(weight * value).mean()` is the weighted mean, and a batch gives an unbiased estimate of it.
    """

    def __call__(self, flow: Distribution, x: Tensor, context: Tensor | None, weight: Tensor | None) -> Tensor: ...


def likelihood(flow: Distribution, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None) -> Tensor:
    r"""Mean negative log-likelihood $-\frac1n\sum_i w_i \log p(x_i \mid c_i)$ in nats: maximum likelihood.

    Use it to fit a density to samples. Weights should have mean one, as `fit` makes them.

    Shapes: x `(n, *event)`, context `(n, *context_event)`, weight `(n,)` -> scalar.

    Example:
        >>> import torch
        >>> from unwarp.distributions import Normal
        >>> x = torch.zeros(10, 2)
        >>> bool(likelihood(Normal(2), x) > likelihood(Normal(2), x, weight=torch.full((10,), 0.5)) > 0)
        True
    """
    loss = -flow(x, context)
    return loss.mean() if weight is None else (weight * loss).mean()
