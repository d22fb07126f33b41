"""Midpoint rules for densities: in a warped unit cube that reaches to the ends of every support."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from unwarp._space import CIRCLE, Interval, Space
from unwarp.transforms import Transform, Unconstrain

__all__ = ["Warp"]


@dataclass(frozen=True)
class Warp:
    r"""The unit cube onto a space: $u \mapsto y = m + s\,t/(1 - t^2)$ with $t = 2u - 1$, then from y to the supports of
    the space's coordinates, and from these to its events.

    The middle m and the scale s come from draws, so that the cube's points lie where the mass is.
    """

    space: Space
    to_real: Transform
    middle: Tensor  # (D,)
    scale: Tensor  # (D,)

    @classmethod
    def around(cls, space: Space, draws: Tensor) -> Warp:
        """The warp that follows `draws`, `(n, *event)`."""
        lines = tuple(Interval(-math.pi, math.pi) if s == CIRCLE else s for s in space.flat.supports)
        to_real = Unconstrain(Space(space.flat.shape, lines)).to(draws.dtype)
        with torch.no_grad():
            y = to_real.forward(space.to_coordinates(draws)[0])[0]
        low, middle, high = y.quantile(torch.tensor([0.1, 0.5, 0.9], dtype=y.dtype), dim=0)
        return cls(space, to_real, middle, (high - low).clamp(min=1e-9))

    def point(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """x and the log of its volume by that of `u: (n, D)`."""
        t = 2 * u - 1
        y = self.middle + self.scale * t / (1 - t * t)
        ladj = (2 * self.scale * (1 + t * t) / (1 - t * t).square()).log().sum(-1)
        x, step = self.event(y)
        return x, ladj + step

    def real(self, x: Tensor) -> Tensor:
        """The real numbers `(n, D)` that events become."""
        return self.to_real.forward(self.space.to_coordinates(x)[0])[0]

    def event(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The events that real numbers become, and the log of their volume by that of `y: (n, D)`."""
        u, ladj = self.to_real.inverse(y)
        x, step = self.space.from_coordinates(u)
        return x, ladj + step

    def place(self, x: Tensor) -> Tensor:
        """The `u` of x, `(n, *event)` -> `(n, D)`."""
        r = (self.real(x) - self.middle) / self.scale
        t = 2 * r / (1 + (1 + 4 * r * r).sqrt())
        return (t + 1) / 2
