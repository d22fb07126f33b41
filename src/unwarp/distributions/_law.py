"""The law of one cell given others: what a network's output means."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from unwarp.distributions._cell import GAP, Cell, Column
from unwarp.functional import circular_spline, circular_spline_inverse, rational_quadratic, rational_quadratic_inverse

__all__ = ["Law", "outputs"]

_BOUND = 8.0  # of the splines, in units of the logistic scale
_LARGEST = 4.0  # the log of the largest factor by which a conditional is narrower or wider than the marginal
_FLOOR = 1e-3
_NARROW = 2e5  # boxes below this width, in units of the precision, count by their middle


def outputs(cell: Cell, bins: int) -> int:
    """How many numbers tell the law of a cell."""
    return cell.logits + {"line": 3 * bins + 1, "circle": 3 * bins + 1}.get(cell.rest, 0)


@dataclass(frozen=True, slots=True)
class Law:
    r"""$p(\text{cell} \mid \text{others})$ for a batch: probabilities of the atoms and of the rest, and the rest's map.

    On its scale the rest is $y$ with $g(y)$ standard logistic, $g$ a shift, a factor and a rational-quadratic spline;
    so its distribution function is $\sigma(g(y))$, and quantiles are exact. Around a circle $g$ is a circular spline
    onto the uniform law.

    Args:
        column: the column.
        params: `(n, outputs)`.
    """

    column: Column
    params: Tensor

    @property
    def log_class(self) -> Tensor:
        """Log probabilities of the atoms and, last, of the rest, `(n, classes)`."""
        cell = self.column.cell
        if not cell.logits:
            return self.params.new_zeros(len(self.params), 1)
        return self.params[:, : cell.logits].log_softmax(-1)

    def repeated(self, times: int) -> Law:
        """Each row's law so many times, one after the other."""
        return Law(self.column, self.params.repeat_interleave(times, 0))

    def log_prob(self, encoded: Tensor) -> Tensor:
        """Of encoded values `(n, 3)`, on their scale; 0 for gaps, minus infinity for what can't be."""
        cell = self.column.cell
        kind, middle, width = encoded.unbind(-1)
        log_class = self.log_class
        own = log_class.gather(-1, kind.clamp(0, cell.classes - 1).long().unsqueeze(-1)).squeeze(-1)
        if cell.smooth:
            rest = log_class[:, -1] + self._log_mass(middle, width)
            shared = rest if not cell.atoms else torch.where(kind == len(cell.atoms), rest, torch.logaddexp(own, rest))
            own = torch.where((kind == len(cell.atoms)) | (width > 0), shared, own)
        return torch.where(kind == GAP, 0.0, torch.where(kind < GAP, -torch.inf, own))

    def below(self, x: Tensor) -> Tensor:
        """Share of the rest below the points x `(n,)`, in units of the column; from the start of a circle's period."""
        score = self.column.scored(x)
        if self.column.cell.rest == "line":
            return self._map(score)[0].sigmoid()
        low, length = self.column.cell.period or (0.0, 1.0)
        turned = torch.remainder(self._turn(score)[0] - self._start(), 2 * math.pi) / (2 * math.pi)
        return torch.where(x <= low, 0.0, torch.where(x >= low + length, 1.0, turned))

    def at(self, share: Tensor) -> Tensor:
        """The point of the rest below which a `share` of it lies, `(n,)`, in units of the column, on its grid."""
        if self.column.cell.rest == "line":
            return self.column.value(self._map_inverse(share.logit()))
        angle = self._start() + 2 * math.pi * share
        score, _ = circular_spline_inverse(angle, self._smooth, min_bin=_FLOOR, min_slope=_FLOOR)
        return self.column.value(score)

    def chances(self) -> tuple[Tensor, Tensor]:
        """Values with a probability of their own, `(values,)`, and these, `(n, values)`."""
        cell, column = self.column.cell, self.column
        chance = self.log_class.exp()
        own, values = chance[:, : len(cell.atoms)], column.atoms.to(chance)
        if cell.rest == "tail":
            own = torch.cat([own, chance[:, -1:] * column.share.to(chance).exp()], -1)
            values = torch.cat([values, len(cell.atoms) + torch.arange(cell.tail, device=chance.device).to(chance)])
        return values, own

    def mean(self, pieces: int = 64) -> Tensor:
        """The mean of a cell with a smooth rest, `(n,)`, from so many quantiles; around a circle, its direction."""
        values, chance = self.chances()
        share = (torch.arange(pieces, dtype=chance.dtype, device=chance.device) + 0.5) / pieces
        rest = self.repeated(pieces).at(share.repeat(len(chance))).reshape(-1, pieces)
        points = torch.cat([values.expand(len(chance), -1), rest], -1)
        weight = torch.cat([chance, self.log_class[:, -1:].exp().expand_as(rest) / pieces], -1)
        if self.column.cell.rest == "line":
            return (weight * points).sum(-1)
        angle = self.column.scored(points)
        return self.column.value(torch.atan2((weight * angle.sin()).sum(-1), (weight * angle.cos()).sum(-1)))

    def _start(self) -> Tensor:
        """Where the start of the period goes."""
        return self._turn(self.params.new_full((len(self.params),), -math.pi))[0]

    @property
    def _smooth(self) -> Tensor:
        return self.params[:, self.column.cell.logits :]

    def _log_mass(self, middle: Tensor, width: Tensor) -> Tensor:
        """Log density at the middle where there is no box, log mass of the box where there is one."""
        line = self.column.cell.rest == "line"
        if self.column.cell.width is None:
            return self._log_density(middle)
        narrow = _NARROW * torch.finfo(width.dtype).eps
        wide = width.clamp(min=narrow)
        ends = torch.stack([middle - wide / 2, middle, middle + wide / 2])
        if line:
            g, ladj = self._map(ends)
            inner = F.logsigmoid(g[1]) + F.logsigmoid(-g[1]) + ladj[1]
            step = (g[0] - g[2]).clamp(max=-1e-12)
            whole = F.logsigmoid(g[2]) + F.logsigmoid(-g[0]) + (-torch.expm1(step)).log()
        else:
            g, ladj = self._turn(ends)
            inner = ladj[1] - math.log(2 * math.pi)
            around = torch.remainder(g[2] - g[0], 2 * math.pi)
            whole = (around / (2 * math.pi)).clamp(min=1e-30).log()
        return torch.where(width < narrow, inner + width.clamp(min=1e-30).log(), whole)

    def _log_density(self, y: Tensor) -> Tensor:
        if self.column.cell.rest == "line":
            g, ladj = self._map(y)
            return F.logsigmoid(g) + F.logsigmoid(-g) + ladj
        return self._turn(y)[1] - math.log(2 * math.pi)

    def _map(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """g and log g'."""
        shift, log_scale, spline = self._parts()
        g, ladj = rational_quadratic(
            (y - shift) * (-log_scale).exp(),
            spline.expand(*y.shape, -1),
            bound=_BOUND,
            min_bin=_FLOOR,
            min_slope=_FLOOR,
        )
        return g, ladj - log_scale

    def _map_inverse(self, g: Tensor) -> Tensor:
        shift, log_scale, spline = self._parts()
        y, _ = rational_quadratic_inverse(
            g, spline.expand(*g.shape, -1), bound=_BOUND, min_bin=_FLOOR, min_slope=_FLOOR
        )
        return y * log_scale.exp() + shift

    def _parts(self) -> tuple[Tensor, Tensor, Tensor]:
        own = self._smooth
        return own[:, 0], _LARGEST * (own[:, 1] / _LARGEST).tanh(), own[:, 2:]

    def _turn(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return circular_spline(y, self._smooth.expand(*y.shape, -1), min_bin=_FLOOR, min_slope=_FLOOR)
