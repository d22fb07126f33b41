"""Features spread as their own quantiles say."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unwarp import _check
from unwarp._space import Space
from unwarp.functional import through_knots, through_knots_inverse
from unwarp.transforms._base import Transform

__all__ = ["Quantiles"]

_WEIGHTS = torch.linspace(0.05, 1.5, 30, dtype=torch.float64)  # of tails, to choose from
_SCALES = torch.logspace(-1.0, 1.0, 25, dtype=torch.float64)  # of tails, in mean excesses
_BEYOND = 10  # rows beyond the last knots, by which tails are told
_FEW = 5  # rows from which they can be


class Quantiles(Transform):
    r"""$z = \log\frac{F(x)}{1 - F(x)}$ for each feature, with a smooth distribution function F of the data.

    F goes through quantiles of the data, most of them in the tails, by monotone rational quadratics; beyond the last it
    has the tail $1 - F \sim (1 + \xi(x - x_K)/s)^{-1/\xi}$ of a generalised Pareto law, whose weight $\xi$ the rows
    beyond tell.

    Use it as the first layer where marginals are anything but bell-shaped: what follows sees a standard logistic
    distribution of each feature. The identity on the whole line until `adapt` sets the quantiles.

    Args:
        features: number of features D.
        knots: how many quantiles at most.

    Shapes: x, z `(*batch, D)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1` or `knots < 4`.

    Source: Gregory and Delbourgo, *Piecewise rational quadratic interpolation to monotonic data*, 1982, for the pieces;
    Pickands, *Statistical inference using extreme order statistics*, 1975, for the tails.

    Example:
        >>> layer = Quantiles(1)
        >>> layer.adapt(torch.linspace(0, 1, 1001).double().unsqueeze(-1))
        >>> z = layer.encode(torch.tensor([[0.5], [0.9]]))
        >>> [round(float(p), 2) for p in z.sigmoid()]
        [0.5, 0.9]
    """

    knots: Tensor
    tails: Tensor

    def __init__(self, features: int, *, knots: int = 32) -> None:
        super().__init__(Space((_check.at_least("Quantiles", "features", features, 1),)))
        count = _check.at_least("Quantiles", "knots", knots, 4)
        line = torch.linspace(-4.0, 4.0, count)
        self.register_buffer("knots", torch.stack([line, line, torch.ones(count)]).repeat(features, 1, 1))
        self.register_buffer("tails", torch.zeros(features, 2))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, ladj = through_knots(x, self.knots, self.tails)
        return z, ladj.sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, ladj = through_knots_inverse(z, self.knots, self.tails)
        return x, ladj.sum(-1)

    def adapt(self, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None) -> None:
        w = torch.ones(len(x), dtype=torch.float64) if weight is None else weight.double()
        with torch.no_grad():
            for place, column in enumerate(x.double().unbind(-1)):
                found = _knots(column, w, self.knots.shape[-1])
                if found is not None:
                    self.knots[place], self.tails[place] = found

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}, knots={self.knots.shape[-1]}"


def _knots(x: Tensor, weight: Tensor, count: int) -> tuple[Tensor, Tensor] | None:
    """Knots and tail weights of one feature; None for fewer than two distinct values, of which nothing can be told."""
    values, place = x.unique(return_inverse=True)
    if len(values) < 2:
        return None
    held = torch.zeros_like(values).index_add_(0, place, weight)
    rank = (held.cumsum(0) - held / 2) / held.sum()
    reach = math.log(len(x) / _BEYOND + 2)
    share = torch.linspace(-reach, reach, count, dtype=x.dtype, device=x.device).sigmoid()
    at = _through(share, rank, values).unique()
    least = 1e-9 * (at[-1] - at[0])
    at = at[torch.cat([at.new_ones(1, dtype=torch.bool), at.diff() > least])]
    if len(at) < 2:
        at = values[[0, -1]]
    steps = torch.linspace(0, len(at) - 1, count, dtype=x.dtype, device=x.device)
    at = _through(steps, torch.arange(len(at), dtype=x.dtype, device=x.device), at)
    y = _through(at, values, rank).logit()
    secant = y.diff() / at.diff()
    inner = 2 / (1 / secant[1:] + 1 / secant[:-1])
    typical = (y[[3, -1]] - y[[0, -4]]) / (at[[3, -1]] - at[[0, -4]])
    below, light = _tail(at[0] - values, held, 1 / typical[0])
    above, heavy = _tail(values - at[-1], held, 1 / typical[1])
    slope = torch.cat([(1 / below)[None], inner, (1 / above)[None]])
    return torch.stack([at, y, slope]), torch.stack([light, heavy])


def _through(x: Tensor, known: Tensor, values: Tensor) -> Tensor:
    """Straight lines between points, constant beyond."""
    k = torch.searchsorted(known, x.clamp(known[0], known[-1]), right=True).clamp(1, len(known) - 1)
    share = (x.clamp(known[0], known[-1]) - known[k - 1]) / (known[k] - known[k - 1])
    return values[k - 1] + share * (values[k] - values[k - 1])


def _tail(beyond: Tensor, weight: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest scale and weight of a generalised Pareto tail of values above 0; `scale` where these are few."""
    weight = weight * (beyond > 0)
    weights = _WEIGHTS.to(beyond)
    if weight.sum() < _FEW:
        return scale, weights[1]
    z = beyond.clamp(min=0.0)
    scales = _SCALES.to(beyond) * (weight * z).sum() / weight.sum()
    log = (weights[:, None, None] * z / scales[:, None]).log1p()
    surprise = (1 + 1 / weights[:, None]) * (weight * log).sum(-1) + weight.sum() * scales.log()
    best = int(surprise.argmin())
    return scales[best % len(scales)], weights[best // len(scales)]
