"""One cell of a table: values that have probabilities of their own, and a smooth law of the others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from unwarp._space import POSITIVE, REAL, Interval, Space, Support
from unwarp.errors import ConfigError
from unwarp.functional import wrap
from unwarp.transforms import Compose, Quantiles, Unconstrain

__all__ = ["GAP", "IMPOSSIBLE", "Cell", "Column"]

GAP, IMPOSSIBLE = -1.0, -2.0  # classes of a cell that is missing, and of a value that the model never makes
_FAR = 1e3  # where the ends of a support lie on a logistic scale
_SEEN = 12.0  # how far a network sees on it
_WAVES = 4
_RARE = 0.2  # share of the values below which the rest is taken to lie where the atoms do


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    r"""What a column's cells can hold.

    A value is one of the `atoms`, each of which has a probability, or it follows the `rest`: nothing else ("none"), a
    density on the line or around a circle, or a list of rare codes ("tail") that share one probability by how often
    each was seen. With a `width`, a value x of the rest was recorded as the box $[x - edge, x - edge + width)$ and
    counts with the probability of the box.

    Args:
        atoms: values with probabilities of their own, increasing.
        rest: the law of all other values.
        support: of the line: "real", "positive" or ("interval", low, high).
        period: of the circle: where it begins, and its length.
        width: length of the box over which a value stands; None for a density.
        edge: how far the box reaches below the value.
        origin: a value of the grid to which draws are rounded, in steps of `width`; None leaves them as they are.
        measure: whether a box counts with its probability ("mass") or with that over its width ("density").
        tail: number of rare codes, which follow on the atoms.

    Raises:
        ConfigError: when the parts don't agree.
    """

    atoms: tuple[float, ...] = ()
    rest: Literal["none", "line", "circle", "tail"] = "line"
    support: Literal["real", "positive"] | tuple[Literal["interval"], float, float] = "real"
    period: tuple[float, float] | None = None
    width: float | None = None
    edge: float | None = None
    origin: float | None = None
    measure: Literal["mass", "density"] = "density"
    tail: int = 0

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.atoms, self.atoms[1:], strict=False))
        facts = {
            "atoms increase": rising,
            "there are atoms, or a rest": bool(self.atoms) or self.rest != "none",
            "a circle has a period, of some length": (self.rest == "circle") == (self.period is not None)
            and (self.period is None or self.period[1] > 0),
            "width and edge come together, edge within width": (self.width is None) == (self.edge is None)
            and (self.width is None or self.edge is None or 0 <= self.edge <= self.width),
            "an origin needs a width": self.origin is None or self.width is not None,
            "a tail has codes": (self.rest == "tail") == (self.tail > 0),
        }
        for fact, holds in facts.items():
            if not holds:
                raise ConfigError(f"Cell: expected that {fact}; got {self}. Correct the cell.")

    @property
    def classes(self) -> int:
        """How many probabilities there are: of each atom, and of the rest."""
        return len(self.atoms) + (self.rest != "none")

    @property
    def logits(self) -> int:
        """How many numbers tell them."""
        return self.classes if self.classes > 1 else 0

    @property
    def smooth(self) -> bool:
        """Whether the rest has a density."""
        return self.rest in ("line", "circle")

    @property
    def space(self) -> Support:
        """Where a value of the rest lies."""
        if self.support == "positive":
            return POSITIVE
        return Interval(*self.support[1:]) if isinstance(self.support, tuple) else REAL

    @property
    def event(self) -> Support:
        """Where any value lies: the line, if an atom lies beyond the rest, like the zeros of positive numbers."""
        inside = self.space.contains(torch.tensor(self.atoms, dtype=torch.float64))
        return self.space if bool(inside.all()) else REAL


class Column(nn.Module):
    r"""From the values of a column to what a network and its output speak of, and back: no part of it is trained.

    An encoded value is `(class, middle, width)`: which atom, or the rest; and where its box lies on the scale on which
    the rest has a standard logistic law (angles, for a circle). Without a box the width is 0.

    Args:
        cell: what the column holds.
        knots: quantiles that tell the scale.

    Shapes: value `(n,)`, encoded `(n, 3)`; NaN is a gap.
    """

    share: Tensor

    def __init__(self, cell: Cell, *, knots: int = 32) -> None:
        super().__init__()
        self.cell = cell
        self.register_buffer("share", torch.full((cell.tail,), -math.log(max(1, cell.tail))))  # log share of each code
        self.scale: Compose | None = None
        if cell.rest == "line":
            space = Space((1,), cell.space)
            first = [] if cell.space == REAL else [Unconstrain(space)]
            self.scale = Compose([*first, Quantiles(1, knots=knots)])

    @property
    def atoms(self) -> Tensor:
        """The cell's atoms, in full precision whatever that of the model: no buffer, which `float()` would round."""
        return torch.tensor(self.cell.atoms, dtype=torch.float64)

    @property
    def features(self) -> int:
        """How many numbers a network sees of a value."""
        return {"line": 1 + _WAVES, "circle": 2 * _WAVES}.get(self.cell.rest, 0)

    def adapt(self, x: Tensor) -> None:
        """Let the scale, or the shares of rare codes, follow the column's values `(n,)`; gaps are left out."""
        x = x[~x.isnan()]
        rest = x[self._atom(x)[1].logical_not()]
        if self.scale is not None and len(rest):
            if self.cell.width is not None and len(rest) < _RARE * len(x):
                rest = x  # what is left beside many atoms says little of where else values may lie
            rest = rest if self.cell.width is None else _spread(rest, self.cell.edge or 0.0, self.cell.width)
            self.scale.adapt(self._inside(rest).unsqueeze(-1))
        if self.cell.rest == "tail":
            codes = (rest - len(self.cell.atoms)).long().clamp(0, self.cell.tail - 1)
            seen = torch.bincount(codes, minlength=self.cell.tail).double() + 0.5
            self.share.copy_((seen / seen.sum()).log())

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encoded values `(n, 3)`, and what their measure adds to the log density `(n,)`."""
        gap = x.isnan()
        x = torch.where(gap, x.new_zeros(()) if not self.cell.atoms else self.atoms[0].to(x), x)
        place, atom = self._atom(x)
        none = torch.zeros_like(x)
        ends, extra, possible = (none, none), none, atom
        if self.cell.rest == "line":
            ends, extra, possible = self._on_line(x)
        elif self.cell.rest == "circle":
            ends, extra, possible = self._around(x)
        elif self.cell.rest == "tail":
            code = x - len(self.cell.atoms)
            possible = (code >= 0) & (code < self.cell.tail) & (code == code.floor())
            extra = self.share[torch.where(possible, code, 0.0).long()].to(x)
        if self.cell.width is None:
            extra = torch.where(atom, 0.0, extra)
        kind = torch.where(atom, place.to(x), torch.where(possible, float(len(self.cell.atoms)), IMPOSSIBLE))
        kind = torch.where(gap, GAP, kind)
        return torch.stack([kind, *ends], -1), torch.where(gap | (kind == IMPOSSIBLE), 0.0, extra)

    def see(self, encoded: Tensor) -> Tensor:
        """What a network sees of encoded values `(*batch, 3)` as numbers, `(*batch, features)`."""
        turns = torch.arange(1, _WAVES + 1, dtype=encoded.dtype, device=encoded.device)
        _, middle, width = encoded.unbind(-1)
        if self.cell.rest == "circle":
            angle = middle.unsqueeze(-1) * turns
            return torch.cat([angle.cos(), angle.sin()], -1)
        if self.cell.rest != "line":
            return middle.new_zeros(*middle.shape, 0)
        ends = [(middle + side * width).clamp(-_SEEN, _SEEN) for side in (-0.5, 0.5)]
        at = (0.5 * (ends[0] + ends[1])).unsqueeze(-1)
        return torch.cat([at / 2, (math.pi * turns * at.sigmoid()).cos()], -1)

    def scored(self, x: Tensor) -> Tensor:
        """Where points `(n,)` of the rest lie on its scale: within 1000 of 0, or angles."""
        if self.scale is None:
            return self._angle(x)
        low, high = self._ends()
        y = self.scale.encode(self._inside(x).unsqueeze(-1)).squeeze(-1).clamp(-_FAR, _FAR)
        return torch.where(x <= low, -_FAR, torch.where(x >= high, _FAR, y))

    def value(self, score: Tensor) -> Tensor:
        """Points of the rest from where they lie on its scale, on their grid where there is one."""
        if self.scale is not None:
            x = self.scale.decode(score.unsqueeze(-1)).squeeze(-1)
        else:
            low, length = self.cell.period or (0.0, 1.0)
            x = low + torch.remainder((score + math.pi) / (2 * math.pi), 1.0) * length
        if self.cell.origin is None or self.cell.width is None or self.cell.edge is None:
            return x
        return self.cell.origin + ((x - self.cell.origin + self.cell.edge) / self.cell.width).floor() * self.cell.width

    def _atom(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Which atom is nearest from above, and whether it is the value itself."""
        if not self.cell.atoms:
            return torch.zeros_like(x, dtype=torch.long), torch.zeros_like(x, dtype=torch.bool)
        atoms = self.atoms.to(x)
        place = torch.searchsorted(atoms, x.contiguous()).clamp(max=len(atoms) - 1)
        return place, atoms[place] == x

    def _ends(self) -> tuple[float, float]:
        """Of the support of the line."""
        space = self.cell.space
        return (
            (space.low, space.high)
            if isinstance(space, Interval)
            else (0.0 if space == POSITIVE else -math.inf, math.inf)
        )

    def _inside(self, x: Tensor) -> Tensor:
        low, high = self._ends()
        tiny = 1e-12 * (high - low) if math.isfinite(high - low) else 1e-300 if low == 0 else 0.0
        return x.clamp(low + tiny, high - tiny)

    def _on_line(self, x: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor]:
        """Middle and width on the scale, what the measure adds, and whether a value is possible."""
        low, high = self._ends()
        if self.cell.width is None or self.cell.edge is None:
            scale = Compose([Quantiles(1)]) if self.scale is None else self.scale
            y, ladj = scale.forward(self._inside(x).unsqueeze(-1))
            return (y.squeeze(-1), torch.zeros_like(x)), ladj, (x > low) & (x < high)
        start = x - self.cell.edge
        first, last = self.scored(start), self.scored(start + self.cell.width)
        return (
            (0.5 * (first + last), last - first),
            self._per_width(x),
            (start + self.cell.width > low) & (start < high),
        )

    def _around(self, x: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor]:
        low, length = self.cell.period or (0.0, 1.0)
        inside = (x >= low) & (x <= low + length)
        if self.cell.width is None or self.cell.edge is None:
            return (self._angle(x), torch.zeros_like(x)), torch.full_like(x, math.log(2 * math.pi / length)), inside
        middle = self._angle(x - self.cell.edge + 0.5 * self.cell.width)
        width = torch.full_like(x, 2 * math.pi * self.cell.width / length)
        return (middle, width), self._per_width(x), inside

    def _per_width(self, x: Tensor) -> Tensor:
        whole = self.cell.measure == "mass" or self.cell.width is None
        return torch.full_like(x, 0.0 if whole else -math.log(self.cell.width or 1.0))

    def _angle(self, x: Tensor) -> Tensor:
        low, length = self.cell.period or (0.0, 1.0)
        return wrap((x - low) * (2 * math.pi / length) - math.pi)


def _spread(x: Tensor, edge: float, width: float) -> Tensor:
    """Recorded values spread over their boxes, evenly in each."""
    values, counts = x.unique(return_counts=True)
    starts = (counts.cumsum(0) - counts).repeat_interleave(counts)
    within = (torch.arange(len(x), device=x.device) - starts + 0.5) / counts.repeat_interleave(counts)
    return values.repeat_interleave(counts) - edge + within * width
