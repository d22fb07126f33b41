"""Laws of the joint law of a table with atoms, boxes or gaps, which has no density on the whole space."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unwarp.distributions import Law, Mixed
from unwarp.doctor import _tolerances as tol
from unwarp.doctor._report import Figure
from unwarp.doctor._subject import Module, Subject

__all__ = ["cells_have_mass_one", "gaps_are_left_out", "is_table"]

_NODES = 2001
_ROWS = 4
_CELLS = 200  # of a wide table, so many


def is_table(module: Module) -> bool:
    """Whether it has cells for which the laws of densities mean nothing."""
    return isinstance(module, Mixed) and any(
        column.cell.atoms or column.cell.rest != "line" or column.cell.width is not None for column in module.columns
    )


def cells_have_mass_one(subject: Subject) -> Figure:
    """Given the rest of its row, each cell's probabilities sum to one, and its density integrates to its shares."""
    model, worst, where = _model(subject), 0.0, -1
    with torch.no_grad():
        encoded, _ = model.encode(subject.x(_ROWS))
        for c, column in list(enumerate(model.columns))[:_CELLS]:
            known = encoded.clone()
            known[:, c, 0] = -1.0
            law = model.law(c, known)
            error = _smooth(law) if column.cell.smooth else _listed(law)
            if not error <= worst:
                worst, where = error, c
    return Figure(worst, tol.MASS[2], f"in cell {where}" if worst > tol.MASS[2] else "")


def _listed(law: Law) -> float:
    """How far the probabilities of all codes of a cell are from one."""
    codes = law.column.atoms
    codes = torch.cat([codes, len(codes) + torch.arange(law.column.cell.tail).to(codes)])
    found, extra = law.column.encode(codes)
    total = torch.zeros(len(law.params), dtype=codes.dtype)
    for one, more in zip(found, extra, strict=True):
        total = total + (law.log_prob(one.expand(len(total), -1)) + more).exp()
    return float((total - 1).abs().max())


def _smooth(law: Law) -> float:
    """How far densities or masses of boxes are from what the distribution function gives between the quartiles."""
    cell, rows = law.column.cell, len(law.params)
    share = law.log_class[:, -1].exp()
    low, high = (law.at(torch.full_like(share, level)) for level in (0.25, 0.75))
    wanted = share * (law.below(high) - law.below(low))
    if cell.width is not None and cell.edge is not None:  # boxes next to each other: compare each with its ends
        value = law.at(torch.full_like(share, 0.6))
        found, extra = law.column.encode(value)
        mass = (law.log_prob(found) + extra).exp() * (1.0 if cell.measure == "mass" else cell.width)
        own = torch.where(found[:, :1].long() == torch.arange(cell.classes - 1), law.log_class[:, :-1].exp(), 0.0).sum(
            -1
        )
        start = value - cell.edge
        return float((mass - own - share * (law.below(start + cell.width) - law.below(start))).abs().max())
    place = torch.linspace(0, 1, _NODES, dtype=share.dtype)
    x = low.unsqueeze(-1) + (high - low).unsqueeze(-1) * place
    found, extra = law.column.encode(x.reshape(-1))
    density = (law.repeated(_NODES).log_prob(found) + extra).exp().reshape(rows, -1)
    return float((torch.trapezoid(density, x) - wanted).abs().max())


def gaps_are_left_out(subject: Subject) -> Figure:
    """A row of which one cell is known has the probability that this cell has by itself."""
    model, worst = _model(subject), 0.0
    with torch.no_grad():
        x = subject.x(_ROWS)
        for c in range(min(x.shape[1], _CELLS)):
            alone = torch.full_like(x, math.nan)
            alone[:, c] = x[:, c]
            encoded, extra = model.encode(alone)
            empty = model.encode(torch.full_like(x, math.nan))[0]
            each = [model.law(c, empty, m).log_prob(encoded[:, c]) for m in range(model.members)]
            wanted: Tensor = torch.stack(each).logsumexp(0) - math.log(model.members) + extra[:, c]
            worst = max(worst, float((model.log_prob(alone) - wanted).abs().max()))
    return Figure(worst, tol.LADJ, "nats")


def _model(subject: Subject) -> Mixed:
    return subject.module  # pyright: ignore[reportReturnType]: asked of tables alone
