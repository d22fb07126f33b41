"""Maps on images: pixel by pixel, and space traded for channels. Events are `(channels, height, width)`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from unwarp import _check, functional
from unwarp._space import REAL, Space, Support
from unwarp.errors import ConfigError, SpaceError
from unwarp.transforms._base import Transform

__all__ = ["Checkerboard", "Pixelwise", "Reshape", "Squeeze"]


class Pixelwise(Transform):
    r"""One map of vectors at every pixel, across the channels: $z_{hw} = f(x_{hw})$, ladj the sum over pixels.

    Use it to make image layers of vector layers: `Pixelwise(LU(C), H, W)` is an invertible 1x1 convolution, and
    `Pixelwise(ActNorm(C), H, W)` the scale and shift of each channel. `adapt` sees every pixel as a row.

    Args:
        transform: map from vectors of C channels to vectors.
        height: rows of the image, H.
        width: columns of the image, W.

    Shapes: x, z `(*batch, C, H, W)`; context as the map's, the same for every pixel; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if a size is below 1.
        SpaceError: when the map is none of vectors, or its features have different supports.

    Source: Kingma and Dhariwal, *Glow*, 2018, arXiv:1807.03039, section 3.2.

    Example:
        >>> from unwarp.transforms import Permute
        >>> x = torch.arange(8.0).reshape(2, 2, 2)
        >>> Pixelwise(Permute([1, 0]), 2, 2).encode(x)[:, 0, 0].tolist()
        [4.0, 0.0]
    """

    def __init__(self, transform: Transform, height: int, width: int) -> None:
        _check.at_least("Pixelwise", "height", height, 1)
        _check.at_least("Pixelwise", "width", width, 1)
        spaces = (_image_space(space, height, width) for space in (transform.domain, transform.codomain))
        super().__init__(*spaces, kind=transform.kind, loses=transform.loses)
        self.context_shape = transform.context_shape
        self.transform = transform

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, ladj = self.transform.forward(x.movedim(-3, -1), self._widened(context))
        return z.movedim(-1, -3), ladj.sum((-2, -1))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, ladj = self.transform.inverse(z.movedim(-3, -1), self._widened(context))
        return x.movedim(-1, -3), ladj.sum((-2, -1))

    def encode(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.transform.encode(x.movedim(-3, -1), self._widened(context)).movedim(-1, -3)

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self.transform.decode(z.movedim(-3, -1), self._widened(context)).movedim(-1, -3)

    def adapt(self, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None) -> None:
        pixels = x.shape[-2:].numel()
        rows = x.movedim(-3, -1).flatten(0, -2)
        context, weight = (None if t is None else t.repeat_interleave(pixels, 0) for t in (context, weight))
        self.transform.adapt(rows, context, weight)

    def _widened(self, context: Tensor | None) -> Tensor | None:
        if context is None or self.context_shape is None:
            return None
        at = context.dim() - len(self.context_shape)
        return context.unsqueeze(at).unsqueeze(at)

    def __repr__(self) -> str:
        rows = [line.strip() for line in repr(self.transform).splitlines()]
        return f"Pixelwise({' '.join(rows)}, {self.domain.shape[1]}, {self.domain.shape[2]})"


def folds(part: Transform) -> bool:
    """Whether it is linear up to a shift at every pixel, as compiled code knows it."""
    return isinstance(part, Pixelwise) and part.transform.linear_step() is not None


def folded(run: Sequence[Pixelwise], x: Tensor, _context: Tensor | None, *, inverse: bool) -> tuple[Tensor, Tensor]:
    """The point after maps that fold, in this order, and the sum of their ladjs: one product of matrices."""
    steps = [part.transform.linear_step() for part in run]
    return functional.fold([step for step in steps if step is not None], x, inverse=inverse)


def _image_space(space: Space, height: int, width: int) -> Space:
    if len(space.shape) != 1 or isinstance(space.support, tuple):
        raise SpaceError(
            f"Pixelwise: expected a map of vectors whose features share one support; got {space}. "
            "Use one map for each group of channels."
        )
    return Space((*space.shape, height, width), space.support)


class Squeeze(Transform):
    r"""Blocks of 2 x 2 pixels become pixels of four times the channels: `(C, H, W)` to `(4C, H/2, W/2)`.

    Use it between the levels of a multi-scale flow: what was far apart comes near, and channels can be split.

    Args:
        channels: C.
        height: H, a multiple of `block`.
        width: W, a multiple of `block`.
        block: side of a block.
        support: where the entries live.

    Shapes: x `(*batch, C, H, W)`, z `(*batch, C b^2, H/b, W/b)` for blocks of side b; ladj `(*batch)`, zero.

    Raises:
        ConfigError: if a size is below 1, or the blocks do not fit.

    Source: Dinh, Sohl-Dickstein and Bengio, *Density estimation using Real NVP*, 2017, arXiv:1605.08803, section 3.6.

    Example:
        >>> x = torch.arange(4.0).reshape(1, 2, 2)
        >>> Squeeze(1, 2, 2).encode(x).flatten().tolist()
        [0.0, 1.0, 2.0, 3.0]
    """

    def __init__(self, channels: int, height: int, width: int, *, block: int = 2, support: Support = REAL) -> None:
        shape = _check.sizes("Squeeze", "shape", (channels, height, width))
        _check.at_least("Squeeze", "block", block, 1)
        if height % block or width % block:
            raise ConfigError(
                f"Squeeze: expected height and width to be multiples of {block}; got {height} x {width}. "
                "Pad or crop the images, or use fewer levels."
            )
        squeezed = (channels * block * block, height // block, width // block)
        super().__init__(Space(shape, support), Space(squeezed, support))
        self.block = block

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        c, h, w = self.codomain.shape
        b = self.block
        blocks = x.unflatten(-1, (w, b)).unflatten(-3, (h, b))  # (*batch, C, h, b, w, b)
        z = blocks.movedim((-3, -1), (-4, -3)).reshape(*x.shape[:-3], c, h, w)
        return z, x.new_zeros(x.shape[:-3])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        b = self.block
        blocks = z.unflatten(-3, (-1, b, b)).movedim((-4, -3), (-3, -1))
        return blocks.reshape(*z.shape[:-3], *self.domain.shape), z.new_zeros(z.shape[:-3])

    def extra_repr(self) -> str:
        return f"{self.domain.shape} -> {self.codomain.shape}"


class Checkerboard(Transform):
    r"""The white squares of a checkerboard, then the black ones, as channels: `(C, H, W)` to `(2C, H, W/2)`.

    Use it around a `Coupling` where images have few channels, `Compose([Checkerboard(C, H, W), Coupling(...),
    Inverse(Checkerboard(C, H, W))])`: every pixel that moves then has neighbours that stay.

    Args:
        channels: C.
        height: H.
        width: W, even.

    Shapes: x `(*batch, C, H, W)`, z `(*batch, 2C, H, W/2)`; ladj `(*batch)`, zero.

    Raises:
        ConfigError: if a size is below 1, or the width is odd.

    Source: Dinh, Sohl-Dickstein and Bengio, *Density estimation using Real NVP*, 2017, arXiv:1605.08803, section 3.4.
    Differs: the squares of one colour are put together, so that no pass computes what a mask throws away.

    Example:
        >>> x = torch.arange(8.0).reshape(1, 2, 4)
        >>> Checkerboard(1, 2, 4).encode(x)[0].tolist()
        [[0.0, 2.0], [5.0, 7.0]]
    """

    odd: Tensor

    def __init__(self, channels: int, height: int, width: int) -> None:
        shape = _check.sizes("Checkerboard", "shape", (channels, height, width))
        if width % 2:
            raise ConfigError(f"Checkerboard: expected an even width; got {width}. Pad or crop the images.")
        super().__init__(Space(shape), Space((2 * channels, height, width // 2)))
        odd = torch.arange(height).remainder(2).bool().unsqueeze(-1)
        self.register_buffer("odd", odd, persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        left, right = x.unflatten(-1, (-1, 2)).unbind(-1)
        return torch.cat(self._exchanged(left, right), -3), x.new_zeros(x.shape[:-3])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = torch.stack(self._exchanged(*z.chunk(2, -3)), -1).flatten(-2)
        return x, x.new_zeros(x.shape[:-3])

    def _exchanged(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Left and right neighbours exchanged in odd rows."""
        return torch.where(self.odd, right, left), torch.where(self.odd, left, right)

    def extra_repr(self) -> str:
        return f"{self.domain.shape} -> {self.codomain.shape}"


class Reshape(Transform):
    r"""The same entries in another shape, row by row; no change of volume.

    Use it to flatten images for maps of vectors, or to see vectors as images.

    Args:
        source: event shape of x.
        target: event shape of z, of as many entries.
        support: where the entries live.

    Shapes: x `(*batch, *source)`, z `(*batch, *target)`; ladj `(*batch)`, zero.

    Raises:
        ConfigError: when the shapes have different numbers of entries.

    Example:
        >>> Reshape((1, 2, 2), (4,)).encode(torch.arange(4.0).reshape(1, 2, 2)).tolist()
        [0.0, 1.0, 2.0, 3.0]
    """

    def __init__(self, source: Sequence[int], target: Sequence[int], *, support: Support = REAL) -> None:
        old, new = _check.sizes("Reshape", "source", source), _check.sizes("Reshape", "target", target)
        if math.prod(old) != math.prod(new):
            raise ConfigError(f"Reshape: expected shapes of as many entries; got {old} and {new}. Change one of them.")
        super().__init__(Space(old, support), Space(new, support))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._reshaped(x, self.domain.shape, self.codomain.shape)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._reshaped(z, self.codomain.shape, self.domain.shape)

    @staticmethod
    def _reshaped(x: Tensor, old: tuple[int, ...], new: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        batch = x.shape[: x.dim() - len(old)]
        return x.reshape(*batch, *new), x.new_zeros(batch)

    def extra_repr(self) -> str:
        return f"{self.domain.shape} -> {self.codomain.shape}"
