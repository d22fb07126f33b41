"""What is drawn where a direction has lost something."""

from __future__ import annotations

import math

from torch import Tensor, nn

from unwarp._space import Space
from unwarp.errors import SpaceError
from unwarp.transforms._base import Transform
from unwarp.transforms._noise import Noise

__all__ = ["Fill"]


class Fill(nn.Module):
    """Random numbers with their log density, given what is left: standard normal noise, read back through a map.

    Args:
        where: the transform that asks, for messages.
        space: where the numbers live.
        left: where what is left lives, which the map may take as its context.
        transform: from the numbers to the noise, as a flow's transform; None leaves the noise as it is.

    Raises:
        SpaceError: when the map starts, ends or is told elsewhere.
    """

    def __init__(self, where: str, space: Space, left: Space, transform: Transform | None) -> None:
        super().__init__()
        noise = Space(space.shape)
        found = (noise, noise, None) if transform is None else _ends(transform)
        if found[:2] != (space, noise) or found[2] not in (None, left.shape):
            raise SpaceError(
                f"{where}: expected fill to lead from {space} to {noise}, with context of shape {left.shape} or none; "
                f"got {found[0]} -> {found[1]}, context {found[2]}. Build it for these."
            )
        self.transform = transform
        self.noise = Noise()
        self._shape, self._left = space.shape, left.shape

    def draw(self, left: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers for each row of `left: (*batch, *left.shape)`, and their log density given it, `(*batch)`."""
        noise = self.noise.normal(left, self._shape, dims=len(self._left))
        if self.transform is None:
            return noise, self._log_normal(noise)
        x, ladj = self.transform.inverse(noise, self._context(left))
        return x, self._log_normal(noise) - ladj

    def log_prob(self, x: Tensor, left: Tensor) -> Tensor:
        """Log density of the numbers x given what is left."""
        if self.transform is None:
            return self._log_normal(x)
        noise, ladj = self.transform.forward(x, self._context(left))
        return self._log_normal(noise) + ladj

    def _context(self, left: Tensor) -> Tensor | None:
        return left if self.transform is not None and self.transform.context_shape is not None else None

    def _log_normal(self, x: Tensor) -> Tensor:
        return -0.5 * (x.square() + math.log(2 * math.pi)).flatten(-len(self._shape)).sum(-1)


def _ends(transform: Transform) -> tuple[Space, Space, tuple[int, ...] | None]:
    return transform.domain, transform.codomain, transform.context_shape
