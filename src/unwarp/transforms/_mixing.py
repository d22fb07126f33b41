"""Mixes of few parameters or none: butterflies, cosines, wavelets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unwarp import _check
from unwarp._space import Space
from unwarp.errors import ConfigError
from unwarp.functional import dct_matrix, soft_clip
from unwarp.transforms._base import Transform
from unwarp.transforms._linear import Mix

__all__ = ["DCT", "Butterfly", "Haar"]


class Butterfly(Mix):
    r"""$z = B_L \cdots B_1 x + b$, where $B_l$ mixes features i and $i + 2^{l-1}$; ladj is the sum of log scales.

    Each pair is sheared, scaled and turned: $(x_i, x_j) \mapsto R(\theta) (e^p x_i + c x_j, e^q x_j)$, with
    $|p|, |q| < 1$. Use it for a mix of very many features: all meet in $\log_2 D$ levels of O(D) each.

    Args:
        features: number of features D.
        levels: number of levels L; $2^L$ divides D. As many as can be by default.

    Shapes: x, z `(*batch, D)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if $2^L$ does not divide `features`, or `levels < 1`.

    Source: Meng, Zhou, Choi, Dao and Ermon, *ButterflyFlow: Building Invertible Layers with Butterfly Matrices*, 2022,
    arXiv:2209.13774. Differs: the blocks are $2 \times 2$, and invertible by construction.

    Example:
        >>> z, ladj = Butterfly(12)(torch.ones(2, 12))
        >>> bool((z == 1).all()), ladj.tolist()
        (True, [0.0, 0.0])
    """

    def __init__(self, features: int, *, levels: int | None = None) -> None:
        super().__init__("Butterfly", features)
        most = (features & -features).bit_length() - 1
        levels = max(1, most) if levels is None else _check.at_least("Butterfly", "levels", levels, 1)
        if levels > most:
            raise ConfigError(
                f"Butterfly: expected features that {2**levels} divides for {levels} levels; got {features}. "
                + (f"Take at most {most} levels." if most else "Use Householder for an odd number.")
            )
        self.angle = nn.Parameter(torch.zeros(levels, features // 2))
        self.log_scale = nn.Parameter(torch.zeros(levels, 2, features // 2))
        self.shear = nn.Parameter(torch.zeros(levels, features // 2))

    def multiply(self, rows: Tensor) -> Tensor:
        for level, (angle, log_scale, shear) in enumerate(self._levels()):
            a, b = _wings(rows, level)
            a, b = a * log_scale[0].exp() + b * shear, b * log_scale[1].exp()
            rows = _folded(a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos(), level)
        return rows

    def divide(self, rows: Tensor) -> Tensor:
        for level, (angle, log_scale, shear) in reversed(list(enumerate(self._levels()))):
            a, b = _wings(rows, level)
            a, b = a * angle.cos() + b * angle.sin(), b * angle.cos() - a * angle.sin()
            b = b * (-log_scale[1]).exp()
            rows = _folded((a - b * shear) * (-log_scale[0]).exp(), b, level)
        return rows

    def log_det(self) -> Tensor:
        return soft_clip(self.log_scale, 1.0).sum()

    def _levels(self) -> zip[tuple[Tensor, Tensor, Tensor]]:
        return zip(self.angle.unbind(), soft_clip(self.log_scale, 1.0).unbind(), self.shear.unbind(), strict=True)

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}, levels={len(self.angle)}"


def _wings(rows: Tensor, level: int) -> tuple[Tensor, Tensor]:
    """The first and second features of each pair, `(n, D / 2)` each."""
    a, b = rows.unflatten(1, (-1, 2, 2**level)).unbind(2)
    return a.flatten(1), b.flatten(1)


def _folded(a: Tensor, b: Tensor, level: int) -> Tensor:
    return torch.stack([wing.unflatten(1, (-1, 2**level)) for wing in (a, b)], 2).flatten(1)


class DCT(Transform):
    r"""$z = C x$, the orthonormal cosine transform of type II of a vector, or of both sides of an image; ladj is 0.

    Use it first on signals and images, whose neighbours are alike: most of z is near 0, and few entries tell the coarse
    shape. It has no parameters.

    Args:
        features: number of features D, or the images' shape `(C, H, W)`.

    Shapes: x, z `(*batch, D)` or `(*batch, C, H, W)`; ladj `(*batch)`, zero.

    Raises:
        ConfigError: when `features` is neither, or a size is below 1.

    Source: Ahmed, Natarajan and Rao, *Discrete cosine transform*, IEEE Transactions on Computers, 1974.

    Example:
        >>> z = DCT(4).encode(torch.ones(4))
        >>> bool((z - torch.tensor([2.0, 0.0, 0.0, 0.0])).abs().max() < 1e-6)
        True
    """

    def __init__(self, features: int | Sequence[int]) -> None:
        shape = _check.event("DCT", features)
        if len(shape) not in (1, 3):
            raise ConfigError(f"DCT: expected a length or a shape (C, H, W); got {shape}. Reshape the events.")
        super().__init__(Space(shape))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z = x @ dct_matrix(x.shape[-1], x).mT
        if len(self.domain.shape) == 3:
            z = dct_matrix(x.shape[-2], x) @ z
        return z, x.new_zeros(x.shape[: x.dim() - len(self.domain.shape)])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = z @ dct_matrix(z.shape[-1], z)
        if len(self.domain.shape) == 3:
            x = dct_matrix(z.shape[-2], z).mT @ x
        return x, z.new_zeros(z.shape[: z.dim() - len(self.domain.shape)])

    def extra_repr(self) -> str:
        return f"{self.domain.shape}"


class Haar(Transform):
    r"""Each $2 \times 2$ square of an image to its mean and three differences, orthonormal; ladj is 0.

    Use it in place of a squeeze in image flows: channels come out as C coarse ones, then C each of differences along
    the rows, along the columns, and across, so that a multi-scale flow can split off detail.

    Args:
        channels: C.
        height: H, even.
        width: W, even.

    Shapes: x `(*batch, C, H, W)`; z `(*batch, 4 C, H / 2, W / 2)`; ladj `(*batch)`, zero.

    Raises:
        ConfigError: if a size is below 1, or a side is odd.

    Source: Ardizzone, Luth, Kruse, Rother and Kothe, *Guided Image Generation with Conditional Invertible Neural
    Networks*, 2019, arXiv:1907.02392.

    Example:
        >>> z = Haar(1, 2, 2).encode(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
        >>> z.flatten().tolist()
        [5.0, -1.0, -2.0, 0.0]
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        shape = _check.sizes("Haar", "shape", (channels, height, width))
        if height % 2 or width % 2:
            raise ConfigError(f"Haar: expected even sides; got {height} x {width}. Pad or crop the images.")
        super().__init__(Space(shape), Space((4 * channels, height // 2, width // 2)))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        quarters = [x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]
        return torch.cat(_haar(quarters), -3), x.new_zeros(x.shape[:-3])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        quarters = torch.stack(_haar(z.chunk(4, -3)), -1).unflatten(-1, (2, 2))
        x = quarters.movedim(-2, -3).flatten(-2).flatten(-3, -2)
        return x, z.new_zeros(z.shape[:-3])

    def extra_repr(self) -> str:
        return f"{self.domain.shape}"


def _haar(quarters: Sequence[Tensor]) -> list[Tensor]:
    """Half the sums and differences of four tensors: its own inverse."""
    a, b, c, d = quarters
    return [(a + b + c + d) / 2, (a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2]
