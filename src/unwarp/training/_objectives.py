"""What training makes small."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from unwarp import _check
from unwarp.distributions import Distribution
from unwarp.errors import ConfigError

__all__ = ["Objective", "any_subset", "likelihood", "noisy_likelihood"]


class Objective(Protocol):
    """A scalar to minimise over batches: the mean over rows of something differentiable in the flow's parameters.

    One that is an `nn.Module` has its own parameters trained beside the flow's; they are no part of the model.

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


def noisy_likelihood(
    flow: Distribution,
    x: Tensor,
    context: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    scale: float = 0.05,
) -> Tensor:
    r"""`likelihood` of rows with Gaussian noise: the mean of $-\log p(x_i + \sigma \varepsilon_i \mid c_i)$, nats.

    Use it for images, and wherever data lie near a surface of fewer dimensions: a density of the bare rows would grow
    without bound there. Clean the draws with `distributions.denoise`. Another scale goes in by
    `functools.partial(noisy_likelihood, scale=0.1)`.

    Args:
        flow: the density to fit.
        x: rows.
        context: their contexts.
        weight: their weights, of mean one.
        scale: standard deviation of the noise, in the units of x.

    Shapes: x `(n, *event)`, context `(n, *context_event)`, weight `(n,)` -> scalar.

    Raises:
        ConfigError: if `scale` is not finite and positive.

    Source: Zhai et al., *Normalizing Flows are Capable Generative Models*, 2024, arXiv:2412.06329, section 2.4.

    Example:
        >>> import torch
        >>> from unwarp.distributions import Normal
        >>> x = torch.zeros(10_000, 2)
        >>> extra = noisy_likelihood(Normal(2), x, scale=0.5) - likelihood(Normal(2), x)  # 2 x 0.5^2 / 2
        >>> bool((extra - 0.25).abs() < 0.02)
        True
    """
    noise = _check.positive("noisy_likelihood", "scale", scale) * torch.randn_like(x)
    return likelihood(flow, x + noise, context, weight)


def any_subset(flow: Distribution, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None) -> Tensor:
    r"""Mean negative log probability of the cells of a row that a random subset leaves out, given the subset, nats.

    Use it to train a member of `distributions.Mixed`, `table.learner()`: it is an unbiased estimate of the likelihood
    in a random order of the columns.

    Shapes: x `(n, D, 3)` as `Mixed.encode` makes it, weight `(n,)` -> scalar.

    Raises:
        ConfigError: when the flow is something else, or there is a context.

    Source: Uria, Murray and Larochelle, *A Deep and Tractable Density Estimator*, 2014, arXiv:1310.1757, eq. 4.
    """
    log_prob = getattr(flow, "subset_log_prob", None)
    if log_prob is None or context is not None:
        raise ConfigError("any_subset: expected a table's learner and no context; got another. Give table.learner().")
    loss = -log_prob(x)
    return loss.mean() if weight is None else (weight * loss).mean()
