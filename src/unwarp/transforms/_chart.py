"""From manifolds to coordinates, and different maps side by side."""

from __future__ import annotations

from torch import Tensor

from unwarp._space import Space
from unwarp.transforms._base import Transform

__all__ = ["Chart"]


class Chart(Transform):
    r"""From events to the coordinates of their space, such as a sphere's angle and heights.

    Use it to put layers for numbers between a chart and the inverse of one: on spheres this is a recursive flow in
    cylindrical coordinates. A chart misses a set without volume, such as poles; densities are exact elsewhere.

    Args:
        space: where x lives; z lives in `space.flat`.

    Shapes: x `(*batch, *space.shape)`, z `(*batch, d)`; ladj `(*batch)`, nats, by the space's own measure of volume.

    Source: Rezende et al., *Normalizing Flows on Tori and Spheres*, 2020, arXiv:2002.02428, section 2.3.1, for spheres.

    Example:
        >>> z, ladj = Chart(Space((3,), Sphere(3)))(torch.tensor([[0.0, 0.6, 0.8]]))
        >>> bool(torch.allclose(z, torch.tensor([[torch.pi / 2, 0.8]]))), ladj.item() == 0
        (True, True)
    """

    def __init__(self, space: Space) -> None:
        super().__init__(space, space.flat)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.domain.to_coordinates(x)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.domain.from_coordinates(z)

    def extra_repr(self) -> str:
        return f"{self.domain.shape}, {self.domain.support}"
