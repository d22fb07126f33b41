"""From manifolds to coordinates, and different maps side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unwarp._manifold import side_by_side
from unwarp._space import Space
from unwarp.errors import ConfigError
from unwarp.transforms._base import Transform
from unwarp.transforms._compose import joint_context, joint_loss, weakest

__all__ = ["Chart", "Parallel"]


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


class Parallel(Transform):
    r"""Different maps side by side, each on features of its own; ladj is the sum of theirs.

    Use it where features live in different spaces: a sphere beside real numbers, or some angles among them.

    Args:
        parts: transforms of vectors.
        features: which features each part maps; without, the parts' features follow each other, and then a part may
            change their number.

    Shapes: x `(*batch, D)`, z `(*batch, D')`; context as the parts'; ladj `(*batch)`, nats.

    Raises:
        ConfigError: when `features` does not share all features out, or a part there changes their number.
        SpaceError: when a part's events are no vectors.
        ContextError: when two parts want contexts of different shapes.

    Example:
        >>> layer = Parallel([Permute([1, 0]), Standardize(1)])
        >>> layer.encode(torch.tensor([1.0, 2.0, 3.0])).tolist()
        [2.0, 1.0, 3.0]
    """

    into: Tensor
    outof: Tensor

    def __init__(self, parts: Sequence[Transform], *, features: Sequence[Sequence[int]] | None = None) -> None:
        domain, order = side_by_side("Parallel", [part.domain for part in parts], features)
        if features is not None and any(part.domain.shape != part.codomain.shape for part in parts):
            raise ConfigError(
                "Parallel: expected parts that keep the number of features; got one that does not. "
                "Leave features out, and put the parts in the features' order."
            )
        codomain, after = side_by_side("Parallel", [part.codomain for part in parts], features)
        super().__init__(
            domain,
            codomain,
            kind=weakest([part.kind for part in parts]),
            loses=joint_loss([part.loses for part in parts]),
        )
        self.context_shape = joint_context([part.context_shape for part in parts])
        self.parts: Sequence[Transform] = nn.ModuleList(parts)  # pyright: ignore[reportAttributeAccessIssue]
        self.register_buffer("into", torch.tensor(order), persistent=False)
        self.register_buffer("outof", torch.tensor(after), persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        pieces = self._pieces(x)
        done = [p.forward(x, self._for(p, context)) for p, x in zip(self.parts, pieces, strict=True)]
        return self._joined(done, self.outof)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        pieces = z.index_select(-1, self.outof).split([part.codomain.shape[0] for part in self.parts], -1)
        done = [p.inverse(z, self._for(p, context)) for p, z in zip(self.parts, pieces, strict=True)]
        return self._joined(done, self.into)

    def adapt(self, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None) -> None:
        for part, piece in zip(self.parts, self._pieces(x), strict=True):
            part.adapt(piece, self._for(part, context), weight)

    def _pieces(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.index_select(-1, self.into).split([part.domain.shape[0] for part in self.parts], -1)

    @staticmethod
    def _for(part: Transform, context: Tensor | None) -> Tensor | None:
        return context if part.context_shape is not None else None

    @staticmethod
    def _joined(done: Sequence[tuple[Tensor, Tensor]], order: Tensor) -> tuple[Tensor, Tensor]:
        points, ladjs = zip(*done, strict=True)
        return torch.cat(points, -1).index_select(-1, order.argsort()), torch.stack(ladjs).sum(0)
