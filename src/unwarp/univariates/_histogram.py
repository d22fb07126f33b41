"""Values spread evenly, as their histogram says."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unwarp import _check, functional
from unwarp._space import UNIT, Interval, Support
from unwarp.univariates._base import Univariate

__all__ = ["Histogram"]

_LEAST = 1e-2  # share of the emptiest bin, in that of equal bins: what no data say is rare, not impossible


@dataclass(frozen=True, slots=True)
class Histogram(Univariate):
    r"""The distribution function of a histogram with equal bins, stretched to map an interval onto itself.

    In bin $k$ of share $p_k$: $y = a + (b - a)\,(\sum_{j<k} p_j + p_k\,\xi)$, where $\xi$ goes from 0 to 1.

    Use it where values are heaped, as the black of images is: `guess` counts, and what follows sees them spread evenly.
    No bin counts less than a hundredth of an equal share.

    Args:
        interval: the interval $(a, b)$.
        bins: number of bins $K \ge 2$.

    Shapes: x `(...)`; params `(..., K)`, unconstrained -> y, ladj `(...)`; ladj in nats.

    Raises:
        ConfigError: if `bins < 2`.

    Source: Gonzalez and Woods, *Digital Image Processing*, section "Histogram equalization".

    Example:
        >>> f = Histogram(bins=4)
        >>> params = f.guess(torch.tensor([[0.1], [0.15], [0.2], [0.6]]))
        >>> [round(float(f.forward(torch.tensor([x]), params[0])[0]), 2) for x in (0.25, 0.5, 1.0)]
        [0.74, 0.75, 1.0]
    """

    interval: Interval = UNIT
    bins: int = 64

    def __post_init__(self) -> None:
        _check.at_least("Histogram", "bins", self.bins, 2)

    @property
    def n_params(self) -> int:
        return self.bins

    @property
    def domain(self) -> Support:
        return self.interval

    @property
    def codomain(self) -> Support:
        return self.interval

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.histogram(x, params, self.interval.low, self.interval.high, min_share=_LEAST / self.bins)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.histogram_inverse(
            y, params, self.interval.low, self.interval.high, min_share=_LEAST / self.bins
        )

    def guess(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        low, high = self.interval.low, self.interval.high
        k = ((x - low) * (self.bins / (high - low))).floor().clamp(0, self.bins - 1).long()
        each = torch.ones_like(x) if weight is None else weight.unsqueeze(-1).expand_as(x)
        counts = x.new_zeros(self.bins, x.shape[-1]).scatter_add(0, k, each).T
        return (counts / counts.sum(-1, keepdim=True)).clamp(min=_LEAST / self.bins).log()
