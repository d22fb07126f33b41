"""Derivatives of vector fields, row by row, by forward differentiation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["directional", "jacobian"]


def jacobian(f: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    r"""$f(x)$ and $J_{ij} = \partial f_i / \partial x_j$ of each row, by D derivatives along the axes at once.

    Rows must not see each other in f. Costs about 1 + D evaluations; differentiable itself, to any order.

    Shapes: x `(*batch, D)` -> f(x) `(*batch, E)`, J `(*batch, E, D)`.

    Example:
        >>> jacobian(lambda x: x.prod(-1, keepdim=True), torch.tensor([[2.0, 3.0]]))[1].tolist()
        [[[3.0, 2.0]]]
    """
    x = x.contiguous()

    def along(axis: Tensor) -> tuple[Tensor, Tensor]:
        return _pushed(f, x, axis.expand_as(x))

    axes = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    values, slopes = torch.func.vmap(along)(axes)
    return values[0], slopes.movedim(0, -1)


def directional(f: Callable[[Tensor], Tensor], x: Tensor, way: Tensor) -> tuple[Tensor, Tensor]:
    r"""$f(x)$ and $J v$ of each row: the derivative along one direction. Costs about two evaluations.

    With v drawn as independent signs, $v \cdot J v$ is an unbiased estimate of the trace of J.

    Shapes: x and way `(*batch, D)` -> both `(*batch, E)`.

    Source: Hutchinson, *A stochastic estimator of the trace of the influence matrix*, 1989; for flows, Grathwohl et
    al., *FFJORD*, 2019, arXiv:1810.01367, eq. 7. Differs: forward instead of reverse differentiation.
    """
    return _pushed(f, x.contiguous(), way.contiguous())


def _pushed(f: Callable[[Tensor], Tensor], x: Tensor, way: Tensor) -> tuple[Tensor, Tensor]:
    value, along = torch.func.jvp(f, (x,), (way,))  # pyright: ignore[reportAssignmentType]
    return value, along
