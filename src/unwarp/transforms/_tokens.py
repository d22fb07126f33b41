"""Images as sequences of tokens."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from unwarp import _check
from unwarp._space import REAL, Space, Support
from unwarp.errors import ConfigError
from unwarp.transforms._base import Transform

__all__ = ["Patches"]


class Patches(Transform):
    r"""An image cut into squares, row by row, each a token: `(C, H, W)` to `(H W / p^2, C p^2)`; no change of volume.

    Use it as the first part of a flow of tokens, before `Autoregressive` with a `networks.CausalTransformer`.

    Args:
        shape: (channels, height, width) of the image.
        patch: side p of a square.
        support: where the entries live.

    Shapes: x `(*batch, C, H, W)`, z `(*batch, H W / p^2, C p^2)`; ladj `(*batch)`, zero.

    Raises:
        ConfigError: if a size is below 1, or the squares do not fill the image.

    Source: Dosovitskiy et al., *An Image is Worth 16x16 Words*, 2021, arXiv:2010.11929, section 3.1.

    Example:
        >>> x = torch.arange(16.0).reshape(1, 4, 4)
        >>> Patches((1, 4, 4), 2).encode(x)[1].tolist()
        [2.0, 3.0, 6.0, 7.0]
    """

    def __init__(self, shape: Sequence[int], patch: int, *, support: Support = REAL) -> None:
        sizes = _check.sizes("Patches", "shape", shape)
        _check.at_least("Patches", "patch", patch, 1)
        if len(sizes) != 3 or sizes[1] % patch or sizes[2] % patch:
            raise ConfigError(
                f"Patches: expected (channels, height, width) with sides that are multiples of {patch}; got {sizes}. "
                "Crop or pad the images, or change patch."
            )
        channels, height, width = sizes
        tokens = (height // patch * (width // patch), channels * patch**2)
        super().__init__(Space(sizes, support), Space(tokens, support))
        self.patch = patch

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        squares = x.unflatten(-1, (-1, self.patch)).unflatten(-3, (-1, self.patch))
        z = squares.movedim((-4, -2), (-5, -4)).flatten(-3).flatten(-3, -2)
        return z, x.new_zeros(x.shape[:-3])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        channels, height, width = self.domain.shape
        squares = z.unflatten(-1, (channels, self.patch, self.patch))
        squares = squares.unflatten(-4, (height // self.patch, width // self.patch))
        x = squares.movedim((-5, -4), (-4, -2)).flatten(-2).flatten(-3, -2)
        return x, z.new_zeros(z.shape[:-2])

    def extra_repr(self) -> str:
        return f"{self.domain.shape} -> {self.codomain.shape}"
