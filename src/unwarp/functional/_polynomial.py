"""Increasing polynomials on a box, straight outside."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unwarp.functional._affine import soft_clip
from unwarp.functional._guards import spread, straight_beyond

__all__ = ["bernstein", "integrated_network", "sum_of_squares"]


def bernstein(x: Tensor, params: Tensor, *, bound: float, max_log_slope: float) -> tuple[Tensor, Tensor]:
    r"""$y = t + \int_{-B}^x \sum_k s_k\,b_{k,n-1}$ with slopes $s_k > 0$ and Bernstein's basis on $[-B, B]$.

    So y is a Bernstein polynomial of degree n with increasing coefficients. Both it and its slope are found by de
    Casteljau's averages of neighbours, which cannot leave the range of what they average.

    Shapes: x `(...)`; params `(..., n + 1)`: the shift t, then n raw slopes -> y and $\log dy/dx$, `(...)`.
    """
    slopes = soft_clip(params[..., 1:], max_log_slope).exp()
    step = 2 * bound / slopes.shape[-1]
    first = params[..., :1] - bound
    coefficients = torch.cat([first, first + step * slopes.cumsum(-1)], -1)

    def inside(x: Tensor) -> tuple[Tensor, Tensor]:
        share = (0.5 + x / (2 * bound)).unsqueeze(-1)
        return _de_casteljau(coefficients, share), _de_casteljau(slopes, share).log()

    return straight_beyond(inside, x, bound)


def _de_casteljau(values: Tensor, share: Tensor) -> Tensor:
    for _ in range(values.shape[-1] - 1):
        values = (1 - share) * values[..., :-1] + share * values[..., 1:]
    return (values + 0 * share).squeeze(-1)


def sum_of_squares(
    x: Tensor, params: Tensor, rule: Tensor, *, polynomials: int, bound: float, floor: float
) -> tuple[Tensor, Tensor]:
    r"""$y = t + \int_0^x (\epsilon + (1 - \epsilon)\,\tfrac1K \sum_k p_k(u/B)^2)\,du$, polynomials $p_k$ of degree r.

    Gauss's rule with r + 1 nodes integrates it exactly, and adds positive numbers only. Zero params give all
    $p_k = 1$; the coefficients of $p_k$ are measured in units of their own, so that polynomials part.

    Shapes: x `(...)`; params `(..., K(r + 1) + 1)`: the shift, then coefficients; rule `(2, r + 1)`, nodes and weights
    on (0, 1) -> y and $\log dy/dx$, `(...)`.
    """
    raw = soft_clip(params[..., 1:], 4.0).unflatten(-1, (polynomials, -1))
    unit = 1 / (1 + torch.arange(polynomials, dtype=x.dtype, device=x.device)).unsqueeze(-1)
    first = torch.cat([torch.ones_like(raw[..., :1]), torch.zeros_like(raw[..., 1:])], -1)
    coefficients = (first + unit * raw).unbind(-1)

    def slope(x: Tensor) -> Tensor:
        u = (x / bound).unsqueeze(-1)
        value = coefficients[-1] + 0 * u
        for coefficient in coefficients[-2::-1]:
            value = value * u + coefficient
        return floor + (1 - floor) * value.square().mean(-1)

    def many(x: Tensor) -> Tensor:
        return torch.stack([slope(node) for node in x.unbind(-1)], -1)

    return _integrated(many, x, params[..., 0], rule, bound)


def integrated_network(
    x: Tensor, params: Tensor, rule: Tensor, *, hidden: int, bound: float, max_log_slope: float
) -> tuple[Tensor, Tensor]:
    r"""$y = t + \int_0^x e^{n(u)}\,du$ with a bounded network $n(u) = c + \sum_j v_j \tanh(w_j (u - m_j))$.

    Widths $1/w_j$ are between 1/2 and 2, and places $m_j$ are measured from an even grid, so that 48 nodes
    leave an error below 1e-9 for nearly all parameters of order 1 to 3, and below 1e-6 for the worst of 20,000 draws.

    Shapes: x `(...)`; params `(..., 3H + 2)`: t, c, then v, w, m; rule `(2, nodes)` -> y and $\log dy/dx$, `(...)`.
    """
    shift, level = params[..., 0], params[..., 1, None]
    raw_v, raw_w, raw_m = params[..., 2:].split(hidden, -1)
    v, w = soft_clip(raw_v, 3.0).unsqueeze(-1), soft_clip(raw_w, 0.69).exp().unsqueeze(-1)
    m = (raw_m + spread(hidden, 0.7 * bound, x)).unsqueeze(-1)

    def slope(u: Tensor) -> Tensor:
        bend = (v * (w * (u.unsqueeze(-2) - m)).tanh()).sum(-2)
        return soft_clip(level + bend, max_log_slope).exp()

    return _integrated(slope, x, shift, rule, bound)


def _integrated(
    slope: Callable[[Tensor], Tensor], x: Tensor, shift: Tensor, rule: Tensor, bound: float
) -> tuple[Tensor, Tensor]:
    """`shift` and the integral from 0 to x of a positive slope, `(..., n) -> (..., n)`; straight beyond the box."""
    nodes, weights = rule.unbind(0)

    def inside(x: Tensor) -> tuple[Tensor, Tensor]:
        area = x * (slope(x.unsqueeze(-1) * nodes) * weights).sum(-1)
        return shift + area, slope(x.unsqueeze(-1)).squeeze(-1).log()

    return straight_beyond(inside, x, bound)
