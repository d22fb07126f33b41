"""Scalar maps whose parameters are a small positive network's weights, in layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unwarp.functional._affine import soft_clip
from unwarp.functional._guards import spread

__all__ = ["deep_sigmoid", "logistic_mixture"]


def logistic_mixture(u: Tensor, log_slope: Tensor, log_w: Tensor) -> tuple[Tensor, Tensor]:
    r"""$y = \operatorname{logit} \sum_k w_k\,\sigma(u_k)$ and the log of its slope, exact however far out.

    With $p_k \propto w_k \sigma(u_k)$ and $q_k \propto w_k \sigma(-u_k)$ the slope is
    $\sum_k u'_k\,(p_k\,\sigma(-u_k) + q_k\,\sigma(u_k))$: sums of positive numbers of the slope's own size.

    Shapes: u, log_slope $= \log u'$, log_w `(..., K)`, broadcasting -> `(...)`.
    """
    below, above = F.logsigmoid(u), F.logsigmoid(-u)
    lower, upper = log_w + below, log_w + above
    y = lower.logsumexp(-1) - upper.logsumexp(-1)
    terms = [lower.log_softmax(-1) + above + log_slope, upper.log_softmax(-1) + below + log_slope]
    return y, torch.cat(terms, -1).logsumexp(-1)


def deep_sigmoid(x: Tensor, params: Tensor, *, units: int, layers: int, max_log_slope: float) -> tuple[Tensor, Tensor]:
    r"""Layers $h \mapsto \operatorname{logit}(W \sigma(a \odot U h + b))$, rows of $W$ and $U$ on the simplex, $a > 0$.

    Zero params are the identity. Shifts and mixing logits are measured in units that differ, so that neurons part.

    Shapes: x `(...)`; params `(..., n)` in the order $U, a, b, W$ of each layer (no $U$ for the first, which has one
    input; one row of $W$ for the last) -> y and $\log dy/dx$, `(...)`.

    Source: Huang et al. 2018, arXiv:1804.00779, equations 8 and 9.
    """
    h, slope = x.unsqueeze(-1), torch.zeros_like(x).unsqueeze(-1)
    start = 0
    for layer in range(layers):
        inputs, outputs = (1 if layer == 0 else units), (1 if layer == layers - 1 else units)
        sizes = [units * inputs * (inputs > 1), units, units, outputs * units]
        raw_u, raw_a, raw_b, raw_w = params[..., start : start + sum(sizes)].split(sizes, -1)
        start += sum(sizes)
        if inputs > 1:
            log_u = raw_u.unflatten(-1, (units, inputs)).log_softmax(-1)
            h = (log_u.exp() * h.unsqueeze(-2)).sum(-1)
            slope = (log_u + slope.unsqueeze(-2)).logsumexp(-1)
        log_a = soft_clip(raw_a, max_log_slope)
        inner = h * log_a.exp() + raw_b * spread(units, 4.0, x)
        parting = 1 + spread(outputs, 0.5, x).unsqueeze(-1)
        log_w = (raw_w.unflatten(-1, (outputs, units)) * parting).log_softmax(-1)
        h, slope = logistic_mixture(inner.unsqueeze(-2), (log_a + slope).unsqueeze(-2), log_w)
    return h.squeeze(-1), slope.squeeze(-1)
