"""A chain that lets go of half its channels after each level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unwarp._space import Space
from unwarp.errors import ConfigError, SpaceError
from unwarp.transforms._base import Transform
from unwarp.transforms._compose import joint_context, joint_loss, weakest

__all__ = ["MultiScale"]


class MultiScale(Transform):
    r"""Levels one after another; after each but the last, the second half of the channels is done.

    $h_0 = x$, $(h_i, z_i) = f_i(h_{i-1})$ split by channels, $z = (z_1, \dots, z_n)$ flattened into one vector.

    Use it for images: coarse levels see far and cost little. Begin every level with a `Squeeze`; end it with a
    `Coupling` that keeps the first half, and what is done early is modelled given the rest.

    Args:
        levels: transforms of events of at least one axis, channels first; each but the first starts with the first half
            of the channels that the one before ends with.

    Shapes: x `(*batch, *event)`, z `(*batch, D)` with the D entries of the event; context as the levels'; ladj
    `(*batch)`, nats.

    Raises:
        ConfigError: when there is no level, or a level's channels can't be halved.
        SpaceError: when a level does not start where it should.
        ContextError: when two levels want contexts of different shapes.

    Source: Dinh, Sohl-Dickstein and Bengio, *Density estimation using Real NVP*, 2017, arXiv:1605.08803, eq. 14 to 16.

    Example:
        >>> from unwarp.transforms import Squeeze
        >>> z, ladj = MultiScale([Squeeze(1, 4, 4), Squeeze(2, 2, 2)])(torch.ones(5, 1, 4, 4))
        >>> z.shape, ladj.shape
        (torch.Size([5, 16]), torch.Size([5]))
    """

    def __init__(self, levels: Sequence[Transform]) -> None:
        if not levels:
            raise ConfigError("MultiScale: expected at least one level; got none. Give a list of transforms.")
        done = [_second_half(i, level.codomain) for i, level in enumerate(levels[:-1])]
        for i, level in enumerate(levels[1:]):
            before = levels[i].codomain
            wanted = Space((before.shape[0] // 2, *before.shape[1:]), before.support)
            if level.domain != wanted:
                raise SpaceError(
                    f"MultiScale: expected level {i + 1} to start with the first half of the channels of level {i}, "
                    f"{wanted}; got {level.domain}. Build it for that."
                )
        last, domain = levels[-1].codomain, levels[0].domain
        super().__init__(
            domain,
            Space((sum(s.entries for s in done) + last.entries,), last.support),
            kind=weakest([level.kind for level in levels]),
            loses=joint_loss([level.loses for level in levels]),
        )
        self.context_shape = joint_context([level.context_shape for level in levels])
        self.levels: Sequence[Transform] = nn.ModuleList(levels)  # pyright: ignore[reportAttributeAccessIssue]
        self._parts = (*(space.shape for space in done), last.shape)
        self._sizes = (*(space.entries for space in done), last.entries)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = 0.0
        done: list[Tensor] = []
        for level, shape in zip(self.levels, self._parts, strict=True):
            x, ladj = level.forward(x, self._for(level, context))
            total = total + ladj
            x = self._let_go(x, shape, done)
        return _joined(done), torch.as_tensor(total)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total, x = 0.0, None
        for level, part in self._upward(z):
            x = part if x is None else _rejoined(x, part, -len(level.codomain.shape))
            x, ladj = level.inverse(x, self._for(level, context))
            total = total + ladj
        return torch.as_tensor(x), torch.as_tensor(total)

    def encode(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        done: list[Tensor] = []
        for level, shape in zip(self.levels, self._parts, strict=True):
            x = self._let_go(level.encode(x, self._for(level, context)), shape, done)
        return _joined(done)

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        x = None
        for level, part in self._upward(z):
            x = part if x is None else _rejoined(x, part, -len(level.codomain.shape))
            x = level.decode(x, self._for(level, context))
        return torch.as_tensor(x)

    def adapt(self, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None) -> None:
        for level, shape in zip(self.levels, self._parts, strict=True):
            given = self._for(level, context)
            level.adapt(x, given, weight)
            with torch.no_grad():
                x = self._let_go(level.encode(x, given), shape, [])

    def __repr__(self) -> str:
        return repr(self.levels).replace("ModuleList", "MultiScale", 1)

    def _let_go(self, x: Tensor, shape: tuple[int, ...], done: list[Tensor]) -> Tensor:
        """Put the part of `shape` that is done, flat, with the others; return what goes on."""
        axis = -len(shape)
        going, finished = x.split([x.shape[axis] - shape[0], shape[0]], axis)
        done.append(finished.flatten(axis))
        return going

    def _upward(self, z: Tensor) -> list[tuple[Transform, Tensor]]:
        """The levels, last first, each with its part of z in its own shape."""
        parts = z.split(self._sizes, -1)
        shaped = [part.unflatten(-1, shape) for part, shape in zip(parts, self._parts, strict=True)]
        return list(zip(self.levels, shaped, strict=True))[::-1]

    @staticmethod
    def _for(level: Transform, context: Tensor | None) -> Tensor | None:
        return context if level.context_shape is not None else None


def _second_half(level: int, space: Space) -> Space:
    if not space.shape or space.shape[0] % 2 or isinstance(space.support, tuple):
        raise ConfigError(
            f"MultiScale: expected level {level} to end with an even number of channels of one support; got {space}. "
            "Squeeze at the level's start."
        )
    return Space((space.shape[0] // 2, *space.shape[1:]), space.support)


def _joined(done: list[Tensor]) -> Tensor:
    batch = torch.broadcast_shapes(*(part.shape[:-1] for part in done))
    return torch.cat([part.expand(*batch, -1) for part in done], -1)


def _rejoined(x: Tensor, part: Tensor, axis: int) -> Tensor:
    batch = torch.broadcast_shapes(x.shape[:axis], part.shape[:axis])
    return torch.cat([x.expand(*batch, *x.shape[axis:]), part.expand(*batch, *part.shape[axis:])], axis)
