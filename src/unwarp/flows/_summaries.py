"""What a flow sees of an observation: views of its numbers, and summaries of images, sequences and sets."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from unwarp.functional import squash
from unwarp.transforms import Quantiles, Standardize

__all__ = ["GridSummary", "SetSummary", "VectorSummary", "Views"]

_LOGISTIC = 1.7  # a standard logistic number, so divided, is about a standard normal one
_GRIDS = {  # convolution, its width, means, and of how many parts along an axis
    -3: (nn.Conv2d, 3, nn.AdaptiveAvgPool2d, 2),
    -1: (nn.Conv1d, 5, nn.AdaptiveAvgPool1d, 4),
}


class Views(nn.Module):
    """Each number twice: standardised and squashed, and by its rank among the training data.

    Heavy tails, skewness and heaps of equal values then neither hide what is in the middle nor blow up a network. The
    training data set it by `adapt`; nothing of it is learned.

    Shapes: x `(*batch, features)` -> `(*batch, 2 features)`; images `(*batch, channels, height, width)` with
    `axis=-3`, whose channels are the features.
    """

    def __init__(self, features: int, *, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis
        self.units, self.ranks = Standardize(features), Quantiles(features)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.movedim(self.axis, -1)
        ranks = squash(self.ranks.encode(rows) / _LOGISTIC)
        return torch.cat([squash(self.units.encode(rows)), ranks], -1).movedim(-1, self.axis)

    def adapt(self, x: Tensor) -> None:
        """Take centre, scale and quantiles from the training data."""
        rows = x.movedim(self.axis, -1).reshape(-1, x.shape[self.axis])
        rows = rows[torch.linspace(0, len(rows) - 1, min(len(rows), 100_000)).long()]
        self.units.adapt(rows)
        self.ranks.adapt(rows)


class VectorSummary(nn.Module):
    """A fully connected network, `(n, features)` -> `(n, out)`."""

    def __init__(self, features: int, out: int, width: int = 128) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(features, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, out)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class GridSummary(nn.Module):
    """Three convolutions, each after the first at half the resolution, then means over four parts of the grid.

    Shapes: x, images `(n, channels, height, width)` with `axis=-3` or sequences `(n, times, channels)` with `axis=-1`,
    the place of the channels -> `(n, out)`.
    """

    def __init__(self, channels: int, out: int, width: int = 32, *, axis: Literal[-3, -1]) -> None:
        super().__init__()
        conv, size, means, parts = _GRIDS[axis]
        self.axis = axis
        self.net = nn.Sequential(
            conv(channels, width, size, padding=size // 2),
            nn.GELU(),
            conv(width, width, size, stride=2, padding=size // 2),
            nn.GELU(),
            conv(width, width, size, stride=2, padding=size // 2),
            nn.GELU(),
            means(parts),
            nn.Flatten(),
            nn.Linear(4 * width, out),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.movedim(self.axis, 1))


class SetSummary(nn.Module):
    r"""$\rho(\frac1m \sum_i \phi(x_i))$: the same for every order of the members.

    Shapes: x `(n, members, features)` -> `(n, out)`.

    Source: Zaheer et al., *Deep Sets*, 2017, arXiv:1703.06114, theorem 2; the mean in place of the sum.
    """

    def __init__(self, features: int, out: int, width: int = 64) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(features, width), nn.GELU(), nn.Linear(width, width), nn.GELU())
        self.all = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, out))

    def forward(self, x: Tensor) -> Tensor:
        return self.all(self.each(x).mean(-2))
