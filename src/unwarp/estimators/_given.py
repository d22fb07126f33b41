"""A table's law given what is known of some columns: draws, probabilities, and what single columns then are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from unwarp.data import Codes, Schema, arrow_table
from unwarp.distributions import Limit, Mixed
from unwarp.errors import DataError
from unwarp.estimators._marginal import Marginal
from unwarp.estimators._table import generator_of, seed_of

__all__ = ["Given", "evidence"]

_BLOCK = 1024  # rows that share a random generator
_POOL = 512  # draws of what is known only within limits
_KEPT = 0.05  # share of proposals from which rejecting is affordable
_MOST = 20  # proposals a row where it is not


def evidence(schema: Schema, known: Mapping[str, Any]) -> tuple[dict[int, float], dict[int, Limit]]:
    """Codes of the values that are known, and limits of those that are not quite, by place among the modelled columns.

    Raises:
        DataError: When there is no such column, or a value is not one of its kind.
    """
    codes = Codes(schema)
    place = {column.name: j for j, column in enumerate(schema.modelled)}
    source = {column.name: column.source or column.name for column in schema.columns}
    fixed: dict[int, float] = {}
    limits: dict[int, Limit] = {}
    for name, value in known.items():
        found = place.get(source.get(name, name), -1)
        if found < 0:
            codes.column(name, [value], where="given")  # raises, unless the column is constant
            continue
        if isinstance(value, tuple):
            if len(value) != 2:
                raise DataError(f"given: expected (low, high) for {name!r}; got {value}. Give both ends.")
            ends = [-math.inf, math.inf]
            for i, end in enumerate(value):
                if end is not None and not (isinstance(end, float) and math.isinf(end)):
                    ends[i] = float(codes.column(name, [end], where="given")[0])
            if not ends[0] <= ends[1]:
                raise DataError(f"given: expected low <= high for {name!r}; got {value}. Swap the ends.")
            limits[found] = Limit(low=ends[0], high=ends[1])
        elif isinstance(value, (list, set, frozenset)):
            if not schema.modelled[found].leveled:
                raise DataError(
                    f"given: expected one value or (low, high) for the numbers of {name!r}; got a list. "
                    "Ask for one after the other."
                )
            limits[found] = Limit(values=tuple(sorted(codes.column(name, list(value), where="given").tolist())))
        else:
            code = float(codes.column(name, [value], where="given")[0])
            if math.isnan(code):
                raise DataError(f"given: expected a value of {name!r}; got a missing one. Leave it out.")
            fixed[found] = code
    return fixed, limits


def seen_levels(model: Mixed, schema: Schema, x: Tensor, seed: int) -> Tensor:
    """Rows of codes in which what stands for a level never seen is drawn again, among the levels that exist."""
    for c, column in enumerate(schema.modelled):
        if column.levels is not None and column.leveled:
            strange = (x[:, c] >= len(column.levels)).nonzero().squeeze(-1)
            if len(strange):
                again = x[strange].clone()
                again[:, c] = torch.nan
                limit = {c: Limit(high=len(column.levels) - 1.0)}
                x[strange] = model.propose(again, limit, generator=generator_of(seed, -3 - c))[0]
    return x


class Given:
    """The law of a table's columns given some of them; `FlowTable.given` makes it.

    Where columns are known by value, every answer about the others is exact. Limits on one column are exact too; those
    on several are obeyed by weighing draws, and `probability` says with which error.

    Args:
        model: The joint law.
        schema: The columns.
        fixed: Codes of known cells, by place.
        limits: Limits of others, by place.
        restore: Makes a table of the user's kind of an Arrow table.
    """

    def __init__(
        self,
        model: Mixed,
        schema: Schema,
        fixed: dict[int, float],
        limits: dict[int, Limit],
        restore: Callable[[pa.Table], Any],
    ) -> None:
        self._model = model
        self._schema = schema
        self._fixed = fixed
        self._limits = self._rarest_first(limits)
        self._restore = restore

    def sample(self, n_samples: int = 1, *, random_state: Any = None) -> Any:
        """Whole rows that agree with what is known, a table of the kind that was fitted.

        Args:
            n_samples: How many.
            random_state: An int for repeatable rows, a `RandomState`, or None.

        Raises:
            DataError: When nothing agrees with what is known, or `n_samples` is below 1.
        """
        if n_samples < 1:
            raise DataError(f"sample: expected n_samples of at least 1; got {n_samples}. Ask for more.")
        seed = seed_of(random_state)
        drawn = seen_levels(self._model, self._schema, self._draw(n_samples, seed), seed)
        return self._restore(Codes(self._schema).table(drawn.numpy(), within="seen", seed=seed))

    def log_prob(self, X: Any) -> NDArray[np.float64]:
        """Log probability of the cells of a table's columns, given what is known, ``(rows,)`` nats.

        Args:
            X: A table with any of the columns; the others are left open. Missing cells are left out.
        """
        table = arrow_table("log_prob", X)
        x = self._codes(table)
        with torch.no_grad():
            encoded, extra = self._model.encode(x)
            start = self._start()
            weight = self._model.by_member(start)  # of the members, by what is known
            each = weight + self._within(encoded, start)
            whole = weight + self._within(torch.full_like(start, -1.0), start)
            scores = each.logsumexp(-1) - whole.logsumexp(-1) + extra.sum(-1)
            for c, limit in self._limits.items():
                scores = torch.where(x[:, c].isnan() | limit.allows(x[:, c]), scores, -torch.inf)
        return np.where(Codes(self._schema).possible(table), scores.numpy(), -np.inf)

    def probability(self) -> tuple[float, float]:
        """Probability of the limits given the known values, and its standard error; that of one limit is exact."""
        if not self._limits:
            return 1.0, 0.0
        _, weight = self._propose(_POOL if len(self._limits) == 1 else 8 * _POOL, 0, "limited")
        value = weight.exp()
        return float(value.mean()), float(value.std() / math.sqrt(len(value)))

    def marginal(self, column: str) -> Marginal:
        """What one column then is: distribution function, quantiles, probabilities, densest intervals.

        Raises:
            DataError: When there is no such column, or its value is known.
        """
        source = {c.name: c.source or c.name for c in self._schema.columns}.get(column, column)
        place = {c.name: j for j, c in enumerate(self._schema.modelled)}.get(source)
        if place is None or place in self._fixed:
            Codes(self._schema).column(column, [], where="marginal")
            raise DataError(f"marginal: expected a column that is not known; got {column!r}. Ask for another.")
        others = {c: limit for c, limit in self._limits.items() if c != place}
        if others:
            x = Given(self._model, self._schema, self._fixed, others, self._restore)._draw(_POOL, 0)
            x = torch.where(torch.tensor([c in self._fixed or c in others for c in range(x.shape[1])]), x, torch.nan)
        else:
            x = self._known().expand(self._model.members, -1)
        member = None if others else list(range(self._model.members))
        return Marginal.of(self._model, self._schema, place, x, member, self._limits.get(place))

    def entropy(self, *columns: str, draws: int = 2000, random_state: Any = 0) -> tuple[float, float]:
        """Entropy of some columns (all by default) in nats, and its standard error over the draws.

        Densities make it depend on units, and it may be negative.
        """
        scores = self._scores(self._rows(draws, random_state), columns)
        return -float(scores.mean()), _error(scores)

    def mutual_information(
        self, first: str | list[str], second: str | list[str], *, draws: int = 2000, random_state: Any = 0
    ) -> tuple[float, float]:
        """How much some columns tell of others, in nats, and its standard error over the draws."""
        a, b = ([names] if isinstance(names, str) else list(names) for names in (first, second))
        rows = self._rows(draws, random_state)
        gain = self._scores(rows, [*a, *b]) - self._scores(rows, a) - self._scores(rows, b)
        return float(gain.mean()), _error(gain)

    def credible_level(self, X: Any, *, draws: int = 2000, random_state: Any = 0) -> NDArray[np.float64]:
        """The share of the law's mass that is denser than each row, ``(rows,)``: 0.99 is far out, 0.01 at the top."""
        table = arrow_table("credible_level", X)
        typical = np.sort(self._scores(self._rows(draws, random_state), table.column_names))
        return 1.0 - np.searchsorted(typical, self.log_prob(table), side="right") / len(typical)

    def _rarest_first(self, limits: dict[int, Limit]) -> dict[int, Limit]:
        """The limits in the order in which fewest proposals are lost: what is unlikely is drawn, not waited for."""
        if len(limits) < 2:
            return limits
        with torch.no_grad():
            start = self._start()
            chance = {c: float(self._model.chance(start, {c: limit})) for c, limit in limits.items()}
        return {c: limits[c] for c in sorted(limits, key=lambda c: chance[c])}

    def _rows(self, draws: int, random_state: Any) -> pa.Table:
        drawn = self._draw(draws, seed_of(random_state))
        return Codes(self._schema).table(drawn.numpy())

    def _scores(self, rows: pa.Table, columns: Any) -> np.ndarray:
        known = {self._schema.modelled[c].name for c in self._fixed}
        names = [name for name in (columns or rows.column_names) if name not in known]
        return self.log_prob(rows.select(names))

    def _known(self) -> Tensor:
        """A row of codes with the known cells."""
        row = torch.full((1, len(self._model.columns)), torch.nan, dtype=torch.float64)
        for c, code in self._fixed.items():
            row[0, c] = code
        return row

    def _start(self) -> Tensor:
        return self._model.encode(self._known())[0]

    def _codes(self, table: pa.Table) -> Tensor:
        """Codes of the cells that count: of the table's columns, but for the known ones."""
        codes = Codes(self._schema)
        x = np.full((table.num_rows, len(self._model.columns)), np.nan)
        place = {column.name: j for j, column in enumerate(self._schema.modelled)}
        known = {column.name: column for column in self._schema.columns}
        for name in table.column_names:
            j = place.get((known[name].source or name) if name in known else name)
            if j is None and name in known:
                continue  # a constant, or a column that was left out
            found = codes.column(name, table[name], where="log_prob")  # raises when there is no such column
            if j is not None and j not in self._fixed:
                x[:, j] = np.where(np.isnan(x[:, j]), found, x[:, j])
        return torch.from_numpy(x)

    def _within(self, encoded: Tensor, start: Tensor) -> Tensor:
        """By member, log probability of encoded cells and of the limits on the others, given what is known."""
        given = start.expand(len(encoded), -1, -1)
        order = [c for c in range(encoded.shape[1]) if c not in self._fixed]
        each = [self._model.in_order(encoded, order, m, given) for m in range(self._model.members)]
        scores, seen = torch.stack(each, -1), torch.where(encoded[..., :1] >= 0, encoded, given)
        left = {c: limit for c, limit in self._limits.items() if bool((encoded[:, c, 0] < 0).any())}
        chances = [self._model.chance(seen, left, m) for m in range(self._model.members)]
        return scores + torch.stack(chances, -1)

    def _propose(self, count: int, seed: int, cells: Literal["all", "limited"] = "all") -> tuple[Tensor, Tensor]:
        """Codes of rows, and their log weights; row i depends on the seed and on i."""
        parts = [
            self._model.propose(
                self._known().expand(_BLOCK, -1), self._limits, cells=cells, generator=generator_of(seed, block)
            )
            for block in range(-(-count // _BLOCK))
        ]
        x, weight = (torch.cat(part)[:count] for part in zip(*parts, strict=True))
        return x, weight

    def _draw(self, count: int, seed: int) -> Tensor:
        """Codes of rows that follow the law."""
        x, weight = self._propose(count, seed, "all" if len(self._limits) < 2 else "limited")
        if not bool((weight > -torch.inf).any()):
            raise DataError("given: expected something possible; got what the model never makes. Widen the limits.")
        if float(weight.max() - weight.min()) < 1e-9:
            return x if len(self._limits) < 2 else self._completed(x, seed, 0)
        share = float((weight - weight.max()).exp().mean())
        wanted = math.ceil(1.2 * count / share) + _BLOCK if share > _KEPT else _MOST * count
        x, weight = self._propose(wanted, seed, "limited")
        chance = torch.rand(len(x), dtype=x.dtype, generator=generator_of(seed, -1))
        kept = (chance.log() < weight - weight.max()).nonzero().squeeze(-1)
        if len(kept) < count:
            likely, generator = (weight - weight.max()).exp(), generator_of(seed, -2)
            kept = torch.multinomial(likely, count, replacement=True, generator=generator)
        return self._completed(x[kept[:count]], seed, -(-wanted // _BLOCK))

    def _completed(self, x: Tensor, seed: int, used: int) -> Tensor:
        """The rows with all their cells, by the blocks of random numbers after those that are used."""
        blocks = enumerate(x.split(_BLOCK), start=used + 1)
        return torch.cat([self._model.complete(rows, generator=generator_of(seed, i)) for i, rows in blocks])


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values)))
