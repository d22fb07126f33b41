"""Draws of one cell, from all values or from some."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unwarp.distributions._cell import Cell
from unwarp.distributions._law import Law

__all__ = ["Limit", "draw", "log_chance"]


@dataclass(frozen=True, slots=True)
class Limit:
    """Which values of a cell are meant.

    Args:
        low: the lowest.
        high: the highest.
        values: the only ones among atoms and codes; None for all between `low` and `high`.

    Example:
        >>> Limit(low=30.0, high=40.0), Limit(values=(0.0, 2.0))
        (Limit(low=30.0, high=40.0, values=None), Limit(low=-inf, high=inf, values=(0.0, 2.0)))
    """

    low: float = float("-inf")
    high: float = float("inf")
    values: tuple[float, ...] | None = None

    def allows(self, x: Tensor) -> Tensor:
        """Which of the values."""
        inside = (x >= self.low) & (x <= self.high)
        return inside if self.values is None else inside & torch.isin(x, x.new_tensor(self.values))

    def ends(self, cell: Cell) -> tuple[float, float]:
        """From where to where the rest's boxes, or points, may lie."""
        if cell.width is None or cell.edge is None:
            return self.low, self.high
        return self.low - cell.edge, self.high - cell.edge + cell.width


def log_chance(law: Law, limit: Limit) -> Tensor:
    """Log probability that the cell holds a value within the limit, `(n,)`."""
    return _weights(law, limit)[0].logsumexp(-1)


def draw(law: Law, u: Tensor, limit: Limit | None = None) -> Tensor:
    """Values within the limit, one a row, from uniform numbers `u: (n, 2)`; the same u gives the same values."""
    limit = Limit() if limit is None else limit
    column, cell = law.column, law.column.cell
    weights, first, last = _weights(law, limit)
    share = weights.softmax(-1)
    kind = (u[:, :1] > share.cumsum(-1)[:, :-1]).sum(-1)
    kind = torch.where(share.gather(-1, kind.unsqueeze(-1)).squeeze(-1) > 0, kind, share.argmax(-1))
    if cell.rest == "none":
        return column.atoms.to(u)[kind]
    if cell.rest == "tail":
        codes = len(cell.atoms) + torch.arange(cell.tail, device=u.device).to(u)
        chance = torch.where(limit.allows(codes), column.share.to(u).exp(), 0.0).cumsum(0)
        place = torch.searchsorted(chance, u[:, 1] * chance[-1], right=True).clamp(max=cell.tail - 1)
        rest = codes[place]
    else:
        low, high = limit.ends(cell)
        rest = law.at((first + u[:, 1] * (last - first)).clamp(1e-12, 1 - 1e-12))
        if cell.width is None:
            rest = rest.clamp(low, high)
        else:
            rest = torch.minimum(torch.maximum(rest, rest.new_tensor(limit.low)), rest.new_tensor(limit.high))
    if not cell.atoms:
        return rest
    atoms = column.atoms.to(u)
    return torch.where(kind < len(cell.atoms), atoms[kind.clamp(max=len(cell.atoms) - 1)], rest)


def _weights(law: Law, limit: Limit) -> tuple[Tensor, Tensor, Tensor]:
    """Log probability of each class within the limit `(n, classes)`, and the shares of the rest below its two ends."""
    column, cell = law.column, law.column.cell
    log_class = law.log_class
    none = log_class.new_zeros(len(log_class))
    first, last = none, none + 1
    parts = [torch.where(limit.allows(column.atoms.to(log_class)), log_class[:, : len(cell.atoms)], -torch.inf)]
    if cell.rest == "tail":
        codes = len(cell.atoms) + torch.arange(cell.tail, device=log_class.device).to(log_class)
        held = torch.where(limit.allows(codes), column.share.to(log_class), -torch.inf).logsumexp(0)
        parts.append((log_class[:, -1] + held).unsqueeze(-1))
    elif cell.smooth and limit.values is not None:
        parts.append((none - torch.inf).unsqueeze(-1))
    elif cell.smooth:
        low, high = limit.ends(cell)
        first = none if low == -float("inf") else law.below(none + low)
        last = none + 1 if high == float("inf") else law.below(none + high)
        parts.append((log_class[:, -1] + (last - first).clamp(min=0.0).log()).unsqueeze(-1))
    return torch.cat(parts, -1), first, last
