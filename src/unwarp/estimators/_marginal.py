"""One column of a table given what is known of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from unwarp.data import Codes, Schema
from unwarp.distributions import Law, Limit, Mixed, log_chance
from unwarp.errors import ConfigError

__all__ = ["Marginal"]

_HALVINGS = 45
_LARGEST = 1e150
_TINY = 1e-7  # share of the smooth part beyond which nothing is looked for
_PIECES = 200  # for densest intervals


@dataclass(frozen=True)
class Marginal:
    """The law of one column, exact for known values; `Given.marginal` makes it.

    It is the mean of what the members say, or, with limits on other columns, of what holds for 512 draws within them.

    Args:
        laws: Laws of the cell, each for some of the terms of the mean.
        weights: Of each law's terms; all together of sum 1.
        limit: Which values are meant.
        schema: The table's columns.
        place: Of the column among the modelled ones.
    """

    laws: list[Law]
    weights: list[Tensor]
    limit: Limit
    schema: Schema
    place: int

    @classmethod
    def of(
        cls, model: Mixed, schema: Schema, place: int, x: Tensor, members: list[int] | None, limit: Limit | None
    ) -> Marginal:
        """From rows of codes, each with what is known; `members` says which member a row is for, None: all for all."""
        limit = Limit() if limit is None else limit
        with torch.no_grad():
            encoded, _ = model.encode(x)
            if members is not None:
                laws = [model.law(place, encoded[m : m + 1], m) for m in members]
                known = torch.stack([model.by_member(encoded[m : m + 1])[0, m] for m in members])
                log_weights = [score.reshape(1) for score in known]
            else:
                laws = [model.law(place, encoded, m) for m in range(model.members)]
                log_weights = list(model.by_member(encoded).log_softmax(-1).T)
            log_weights = [w + log_chance(law, limit) for w, law in zip(log_weights, laws, strict=True)]
            total = torch.cat(log_weights).logsumexp(0)
        return cls(laws, [(w - total).exp() for w in log_weights], limit, schema, place)

    def cdf(self, values: Any) -> NDArray[np.float64]:
        """Probability of a value at or below each of the values, ``(values,)``; levels in the order of the schema."""
        codes = Codes(self.schema).column(self._name, values, where="cdf")
        return self._below(codes)

    def quantile(self, shares: float | Sequence[float]) -> Any:
        """The least values at or below which these shares of the mass lie: one, or an array of the column's type.

        Raises:
            ConfigError: When a share is outside [0, 1].
        """
        wanted = np.atleast_1d(np.asarray(shares, dtype=np.float64))
        if not ((wanted >= 0) & (wanted <= 1)).all():
            raise ConfigError(f"quantile: expected shares from 0 to 1; got {shares}. Divide per cents by 100.")
        found = self._values(self._codes_at(wanted))
        return found[0].as_py() if np.ndim(shares) == 0 else found

    def probabilities(self) -> pa.Table:
        """Each level, or each value with a probability of its own, and its probability, the most likely first."""
        codes, chance = self._points()
        order = np.argsort(-chance, kind="stable")
        return pa.table({self._name: self._values(codes[order]), "probability": chance[order]})

    def likely(self) -> Any:
        """The most likely value: that of most probability, or for a smooth law the middle of the densest tenth."""
        codes, chance = self._points()
        if len(codes) and chance.max() >= 0.5 * max(0.0, 1.0 - chance.sum()):
            return self._values(codes[[int(chance.argmax())]])[0].as_py()
        (low, high), *_ = sorted(self._intervals(0.1), key=lambda piece: piece[0] - piece[1])
        return self._values(np.array([0.5 * (low + high)]))[0].as_py()

    def densest(self, mass: float = 0.9) -> list[Any]:
        """The smallest region that holds a share of the mass: levels, or (low, high) pairs in order.

        Raises:
            ConfigError: When `mass` is not between 0 and 1.
        """
        if not 0 < mass < 1:
            raise ConfigError(f"densest: expected mass above 0 and below 1; got {mass}. Use 0.9.")
        if self.schema.modelled[self.place].leveled:
            codes, chance = self._points()
            order = np.argsort(-chance, kind="stable")
            count = 1 + int(np.searchsorted(np.cumsum(chance[order]), mass - 1e-12))
            return self._values(codes[order[:count]]).to_pylist()
        pieces = self._intervals(mass)
        ends = self._values(np.array(pieces).ravel()).to_pylist()
        return list(zip(ends[::2], ends[1::2], strict=True))

    @property
    def _name(self) -> str:
        return self.schema.modelled[self.place].name

    def _points(self) -> tuple[np.ndarray, np.ndarray]:
        """Codes with probabilities of their own, and these."""
        codes, parts = self.laws[0].chances()[0], []
        for law, w in zip(self.laws, self.weights, strict=True):
            scale = torch.where(w > 0, w / log_chance(law, self.limit).exp(), 0.0)
            parts.append((scale.unsqueeze(-1) * law.chances()[1]).sum(0))
        meant = self.limit.allows(codes)
        return codes[meant].numpy(), torch.stack(parts).sum(0)[meant].numpy()

    def _below(self, codes: np.ndarray) -> np.ndarray:
        """Mass at or below each code."""
        points, chance = self._points()
        order = np.argsort(points)
        upto = np.concatenate([[0.0], np.cumsum(chance[order])])
        total = upto[np.searchsorted(points[order], codes, side="right")]
        cell = self.laws[0].column.cell
        if not cell.smooth or self.limit.values is not None:
            return total
        low, high = self.limit.ends(cell)
        reach = codes if cell.width is None or cell.edge is None else codes - cell.edge + cell.width
        ends = torch.from_numpy(np.clip(reach, low, high))
        for law, w in zip(self.laws, self.weights, strict=True):
            scale = torch.where(w > 0, w / log_chance(law, self.limit).exp(), 0.0) * law.log_class[:, -1].exp()
            ones = torch.ones_like(w)
            first = torch.zeros_like(w) if low == -np.inf else law.below(low * ones)
            upper = law.repeated(len(ends)).below(ends.repeat(len(w)).clamp(-_LARGEST, _LARGEST)).reshape(len(w), -1)
            upper = torch.where(ends == torch.inf, 1.0, torch.where(ends == -torch.inf, 0.0, upper))
            total += (scale.unsqueeze(-1) * (upper - first.unsqueeze(-1))).sum(0).numpy()
        return total

    def _codes_at(self, shares: np.ndarray) -> np.ndarray:
        """The least codes with these shares at or below, by bisection on the numbers, or along the levels."""
        cell = self.laws[0].column.cell
        points, chance = self._points()
        order = np.argsort(points)
        if not cell.smooth:
            upto = np.cumsum(chance[order])
            return points[order][np.searchsorted(upto, shares * upto[-1] * (1 - 1e-12)).clip(max=len(points) - 1)]
        low, high = self._span()
        low = np.full(len(shares), min([low, *points]))
        high = np.full(len(shares), max([high, *points]))
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            above = self._below(middle) >= shares
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return high

    def _span(self) -> tuple[float, float]:
        """From where to where nearly all of the smooth part lies."""
        ends = [
            (float(law.at(torch.full_like(w, _TINY)).min()), float(law.at(torch.full_like(w, 1 - _TINY)).max()))
            for law, w in zip(self.laws, self.weights, strict=True)
        ]
        low, high = self.limit.low, self.limit.high
        return max(low, min(ends)[0]), min(high, max(end for _, end in ends))

    def _intervals(self, mass: float) -> list[tuple[float, float]]:
        """The densest pieces that hold a share of the mass, neighbours joined, in order."""
        points, chance = self._points()
        grid = self._codes_at(np.concatenate([[1e-6], np.arange(1, _PIECES) / _PIECES, [1 - 1e-6]]))
        low, high = grid[:-1], grid[1:]
        wide = high > low
        share = 1 / _PIECES
        pieces = [(float(a), float(b), share, share / (b - a)) for a, b in zip(low[wide], high[wide], strict=True)]
        pieces += [(float(x), float(x), float(p), np.inf) for x, p in zip(points, chance, strict=True) if p > 0]
        total, kept = 0.0, []
        for piece in sorted(pieces, key=lambda piece: (-piece[3], -piece[2])):
            if total >= mass * sum(p[2] for p in pieces):
                break
            total += piece[2]
            kept.append((piece[0], piece[1]))
        joined: list[tuple[float, float]] = []
        for first, last in sorted(kept):
            if joined and first <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
            else:
                joined.append((first, last))
        return joined

    def _values(self, codes: np.ndarray) -> pa.ChunkedArray:
        """Codes in the user's own terms."""
        row = np.full((len(codes), len(self.schema.modelled)), np.nan)
        row[:, self.place] = codes
        return Codes(self.schema).table(row)[self._name]
