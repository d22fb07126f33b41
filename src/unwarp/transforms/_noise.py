"""The source of randomness inside stochastic maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unwarp.functional import noise_normal, noise_sign, noise_uniform

__all__ = ["Noise"]


class Noise(nn.Module):
    """What a stochastic map draws with: numbers that depend on the row they are for, a seed and a counter of passes.

    Use it in maps that estimate or bound their ladj, or that fill in what was lost. In evaluation the same row always
    gets the same numbers, whatever the batch; in training every call gets new ones. Torch's global random state is not
    touched after construction, and seed and counter are buffers, so that a resumed run draws what it would have drawn.

    With `held` set, all rows get the same numbers: so two ways to one row can be compared, whatever its last digits.

    Shapes: x `(*batch, *event)` -> `(*batch, *shape)`, where the event has the last `dims` axes of x.

    Example:
        >>> noise, x = Noise().eval(), torch.randn(4, 2)
        >>> noise.normal(x, (3,)).shape, bool((noise.normal(x, (3,)) == noise.normal(x, (3,))).all())
        (torch.Size([4, 3]), True)
        >>> draws = noise.train().sign(x, (50,)), noise.sign(x, (50,))
        >>> bool((draws[0] == draws[1]).all())
        False
    """

    seed: Tensor
    passes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seed", torch.randint(2**62, ()))
        self.register_buffer("passes", torch.zeros((), dtype=torch.long))
        self.held = False

    def uniform(self, x: Tensor, shape: tuple[int, ...], *, dims: int = 1) -> Tensor:
        """Uniform on the open (0, 1)."""
        return noise_uniform(self._row(x), shape, self._key(), dims=dims)

    def normal(self, x: Tensor, shape: tuple[int, ...], *, dims: int = 1) -> Tensor:
        """Standard normal."""
        return noise_normal(self._row(x), shape, self._key(), dims=dims)

    def sign(self, x: Tensor, shape: tuple[int, ...], *, dims: int = 1) -> Tensor:
        """-1 or 1."""
        return noise_sign(self._row(x), shape, self._key(), dims=dims)

    def _row(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x) if self.held else x

    def _key(self) -> Tensor:
        if self.training:
            self.passes.add_(1)
        return self.seed + self.passes
