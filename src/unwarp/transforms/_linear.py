"""Linear maps that mix features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unwarp import _check
from unwarp._space import Space
from unwarp.errors import ConfigError
from unwarp.functional import soft_clip
from unwarp.transforms._base import Transform

__all__ = ["LU", "Permute"]


class LU(Transform):
    r"""$z = L U x + b$ with $L$ unit lower and $U$ upper triangular; $\text{ladj} = \sum_i \log U_{ii}$.

    Use it between couplings so that every feature reaches every other. Starts as the identity; the logarithms of U's
    diagonal are bounded by 5.

    Args:
        features: number of features D.

    Shapes: x, z `(*batch, D)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1`.

    Source: Kingma and Dhariwal, *Glow*, 2018, arXiv:1807.03039, section 3.2, without the permutation.

    Example:
        >>> z, ladj = LU(3)(torch.ones(2, 3))
        >>> z.tolist()[0], ladj.tolist()
        ([1.0, 1.0, 1.0], [0.0, 0.0])
    """

    def __init__(self, features: int) -> None:
        super().__init__(Space((_check.at_least("LU", "features", features, 1),)))
        self.lower = nn.Parameter(torch.zeros(features, features))
        self.upper = nn.Parameter(torch.zeros(features, features))
        self.log_diagonal = nn.Parameter(torch.zeros(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper, log_diagonal = self._factors()
        return x @ (lower @ upper).mT + self.bias, log_diagonal.sum().expand(x.shape[:-1])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper, log_diagonal = self._factors()
        rows = (z - self.bias).reshape(-1, z.shape[-1])
        rows = torch.linalg.solve_triangular(lower.mT, rows, upper=True, left=False, unitriangular=True)
        rows = torch.linalg.solve_triangular(upper.mT, rows, upper=False, left=False)
        return rows.reshape(z.shape), -log_diagonal.sum().expand(z.shape[:-1])

    def _factors(self) -> tuple[Tensor, Tensor, Tensor]:
        log_diagonal = soft_clip(self.log_diagonal, 5.0)
        eye = torch.eye(self.domain.shape[0], dtype=self.lower.dtype, device=self.lower.device)
        return self.lower.tril(-1) + eye, self.upper.triu(1) + log_diagonal.exp().diag_embed(), log_diagonal


class Permute(Transform):
    r"""$z_i = x_{\pi(i)}$; no change of volume.

    Use it between couplings or autoregressive layers so that each feature gets its turn.

    Args:
        order: the permutation $\pi$ of 0 to D - 1.

    Shapes: x, z `(*batch, D)`; ladj `(*batch)`, zero.

    Raises:
        ConfigError: when `order` is not a permutation.

    Example:
        >>> Permute([2, 0, 1]).encode(torch.tensor([10.0, 20.0, 30.0])).tolist()
        [30.0, 10.0, 20.0]
    """

    order: Tensor
    back: Tensor

    def __init__(self, order: Sequence[int]) -> None:
        if not order or sorted(order) != list(range(len(order))):
            raise ConfigError(
                f"Permute: expected a permutation of 0 to {len(order) - 1}; got {list(order)}. List every feature once."
            )
        super().__init__(Space((len(order),)))
        index = torch.tensor(list(order))
        self.register_buffer("order", index, persistent=False)
        self.register_buffer("back", index.argsort(), persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x.index_select(-1, self.order), x.new_zeros(x.shape[:-1])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z.index_select(-1, self.back), z.new_zeros(z.shape[:-1])

    def extra_repr(self) -> str:
        order = self.order.tolist()
        return f"{order[:16]}" + (" ..." if len(order) > 16 else "")
