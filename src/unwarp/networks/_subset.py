"""A network of any subset of a row's cells."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unwarp import _check
from unwarp.functional import sum_of_rows
from unwarp.networks._layers import Dense, rectified

__all__ = ["SubsetMLP"]


class SubsetMLP(nn.Module):
    r"""Residual network of the cells that are known; what is unknown enters as a level of its own.

    $h_0 = \sum_c E_{c, k_c} + W u$, then blocks $h \leftarrow h + B\,\mathrm{relu}(A\,\mathrm{norm}(h))$, and
    $\mathrm{norm}(h)$ at the end. One network so serves every conditional $p(\text{cell} \mid \text{any other cells})$.

    Use it where any columns may be asked for given any others: tables with gaps, imputation.

    Args:
        levels: for each of D cells, how many levels it has besides "unknown", which is level 0.
        features: length F of what is known of the cells as numbers; 0 for none.
        out: length of the output; the layer `out` is applied by `forward` and may be applied in parts by `part`.
        hidden: width H.
        blocks: number of residual blocks.

    Shapes: level `(*batch, D)` int64 from 0 to `levels[c]`, features `(*batch, F)` -> `(*batch, out)`, zero at first.

    Raises:
        ConfigError: if a size is out of range.

    Source: Strauss and Oliva, *Arbitrary Conditional Distributions with Energy*, 2021, arXiv:2102.04426, section 3, for
    the conditioning; He et al., *Identity Mappings in Deep Residual Networks*, 2016, arXiv:1603.05027, for the blocks.

    Example:
        >>> net = SubsetMLP([3, 2], 1, 5, hidden=16)
        >>> net(torch.tensor([[0, 2], [3, 0]]), torch.ones(2, 1)).shape
        torch.Size([2, 5])
    """

    offset: Tensor

    def __init__(self, levels: Sequence[int], features: int, out: int, *, hidden: int = 256, blocks: int = 2) -> None:
        super().__init__()
        counts = _check.sizes("SubsetMLP", "levels", levels)
        _check.at_least("SubsetMLP", "features", features, 0)
        _check.at_least("SubsetMLP", "blocks", blocks, 1)
        width = _check.at_least("SubsetMLP", "hidden", hidden, 1)
        starts = [sum(counts[:c]) + c for c in range(len(counts))]
        self.register_buffer("offset", torch.tensor(starts), persistent=False)
        self.weight = nn.Parameter(torch.randn(sum(counts) + len(counts), width) * 0.5)
        self.scale = len(counts) ** -0.5
        self.features = Dense(features, width) if features else None
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.out = Dense(width, _check.at_least("SubsetMLP", "out", out, 1), zero=True)

    def hidden(self, level: Tensor, features: Tensor | None) -> Tensor:
        """What the layer `out` sees, `(*batch, H)`."""
        h = sum_of_rows(self.weight, level + self.offset) * self.scale
        if self.features is not None and features is not None:
            h = h + self.features(features)
        for block in self.blocks:
            h = block(h)
        return self.norm(h).relu()

    def part(self, h: Tensor, columns: slice) -> Tensor:
        """Some of the outputs."""
        return self.out.part(h, columns)

    def forward(self, level: Tensor, features: Tensor | None = None) -> Tensor:
        return self.out(self.hidden(level, features))


class _Block(nn.Module):
    """$h + B relu(A norm(h))$, the identity at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = Dense(width, width)
        self.second = Dense(width, width, zero=True)

    def forward(self, h: Tensor) -> Tensor:
        return h + rectified([self.first, self.second], self.norm(h), squashed=False)
