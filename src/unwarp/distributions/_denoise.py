"""Draws of a density that was fitted to noisy data, freed from that noise."""

from __future__ import annotations

import torch
from torch import Tensor

from unwarp import _check
from unwarp.distributions._base import Distribution

__all__ = ["denoise"]


def denoise(density: Distribution, x: Tensor, context: Tensor | None = None, *, scale: float) -> Tensor:
    r"""What noisy rows were without their noise, in the mean: $\hat x = x + \sigma^2 \nabla_x \log p(x)$.

    Use it on draws of a flow that was trained with `training.noisy_likelihood` of the same `scale`: images lose their
    grain. Exact where p is the density of data plus Gaussian noise of standard deviation $\sigma$. No gradient is kept.

    Args:
        density: the density p of noisy rows.
        x: noisy rows, such as `density.sample((16,))`.
        context: their contexts.
        scale: standard deviation $\sigma$ of the noise, in the units of x.

    Shapes: x `(*batch, *event)`, context `(*batch, *context_shape)` -> `(*batch, *event)`.

    Raises:
        ConfigError: if `scale` is not finite and positive.

    Source: Zhai et al., *Normalizing Flows are Capable Generative Models*, 2024, arXiv:2412.06329, section 2.5, after
    Tweedie's formula: Efron, *Tweedie's Formula and Selection Bias*, 2011, eq. 1.4.

    Example:
        >>> from unwarp.distributions import Normal
        >>> denoise(Normal(2), torch.ones(3, 2), scale=0.5).tolist()[0]
        [0.75, 0.75]
    """
    variance = _check.positive("denoise", "scale", scale) ** 2
    x = _check.broadcast_event("denoise", x, density.space.shape, context, density.context_shape).detach()
    with torch.enable_grad():
        noisy = x.clone().requires_grad_()
        (score,) = torch.autograd.grad(density.log_prob(noisy, context).sum(), noisy)
    return x + variance * score
