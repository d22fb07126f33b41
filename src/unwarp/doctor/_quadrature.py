"""Midpoint rules for densities: in a warped unit cube that reaches to the ends of every support."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unwarp._space import Space
from unwarp.transforms import Transform, Unconstrain

__all__ = ["Warp"]


@dataclass(frozen=True)
class Warp:
    r"""The unit cube onto a space: $u \mapsto y = m + s\,t/(1 - t^2)$ with $t = 2u - 1$, then from y to the supports.

    The middle m and the scale s come from draws, so that the cube's points lie where the mass is.
    """

    to_real: Transform
    middle: Tensor  # (D,)
    scale: Tensor  # (D,)

    @classmethod
    def around(cls, space: Space, draws: Tensor) -> Warp:
        """The warp that follows `draws`, `(n, D)`."""
        to_real = Unconstrain(space).to(draws.dtype)
        with torch.no_grad():
            y = to_real.forward(draws)[0]
        low, middle, high = y.quantile(torch.tensor([0.1, 0.5, 0.9], dtype=y.dtype), dim=0)
        return cls(to_real, middle, (high - low).clamp(min=1e-9))

    def point(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """x and log|det dx/du| of `u: (n, D)`."""
        t = 2 * u - 1
        y = self.middle + self.scale * t / (1 - t * t)
        ladj = (2 * self.scale * (1 + t * t) / (1 - t * t).square()).log().sum(-1)
        x, step = self.to_real.inverse(y)
        return x, ladj + step

    def place(self, x: Tensor) -> Tensor:
        """The `u` of x, `(n, D)` -> `(n, D)`."""
        r = (self.to_real.forward(x)[0] - self.middle) / self.scale
        t = 2 * r / (1 + (1 + 4 * r * r).sqrt())
        return (t + 1) / 2
