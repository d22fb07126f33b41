"""Other orders of the features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from unwarp import _check
from unwarp._space import Space
from unwarp.errors import ConfigError
from unwarp.functional import LinearStep
from unwarp.transforms._base import Transform

__all__ = ["Permute"]


class Permute(Transform):
    r"""$z_i = x_{\pi(i)}$; no change of volume.

    Use it between couplings or autoregressive layers so that each feature gets its turn: in the reversed order, or in
    one drawn once for all. The order is saved and loaded with the weights.

    Args:
        order: the permutation $\pi$ of 0 to D - 1.

    Shapes: x, z `(*batch, D)`; ladj `(*batch)`, zero.

    Raises:
        ConfigError: when `order` is not a permutation.

    Example:
        >>> Permute([2, 0, 1]).encode(torch.tensor([10.0, 20.0, 30.0])).tolist()
        [30.0, 10.0, 20.0]
        >>> Permute.reverse(3).encode(torch.tensor([10.0, 20.0, 30.0])).tolist()
        [30.0, 20.0, 10.0]
    """

    order: Tensor

    def __init__(self, order: Sequence[int]) -> None:
        if not order or sorted(order) != list(range(len(order))):
            raise ConfigError(
                f"Permute: expected a permutation of 0 to {len(order) - 1}; got {list(order)}. List every feature once."
            )
        super().__init__(Space((len(order),)))
        self.register_buffer("order", torch.tensor(list(order)))

    @classmethod
    def reverse(cls, features: int) -> Permute:
        """The last feature first."""
        return cls(range(_check.at_least("Permute.reverse", "features", features, 1) - 1, -1, -1))

    @classmethod
    def random(cls, features: int, *, seed: int) -> Permute:
        """An order drawn from `seed` alone; the global random state is left as it is."""
        _check.at_least("Permute.random", "features", features, 1)
        return cls(torch.randperm(features, generator=Generator().manual_seed(seed), device="cpu").tolist())

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x.index_select(-1, self.order), x.new_zeros(x.shape[:-1])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z.index_select(-1, self.order.argsort()), z.new_zeros(z.shape[:-1])

    def linear_step(self) -> LinearStep:
        return LinearStep(order=self.order)

    def extra_repr(self) -> str:
        order = self.order.tolist()
        return f"{order[:16]}" + (" ..." if len(order) > 16 else "")
