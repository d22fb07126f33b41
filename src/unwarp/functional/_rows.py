"""Sums of rows of a table of weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unwarp.kernels import is_ordinary

__all__ = ["sum_of_rows"]


def sum_of_rows(weight: Tensor, index: Tensor) -> Tensor:
    r"""$\sum_j w_{i_j}$: what a linear layer makes of indicators, without making them.

    Shapes: weight `(rows, width)`, index `(*batch, D)` int64 -> `(*batch, width)`.
    """
    if index.dim() == 2 and (torch.compiler.is_compiling() or is_ordinary(weight)):
        return F.embedding_bag(index, weight, mode="sum")
    return F.embedding(index, weight).sum(-2)
