"""Tables of columns of any kind: the exact joint law of a row, and of any of its cells given any others."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from unwarp import _check
from unwarp._space import Space
from unwarp.distributions._base import Distribution
from unwarp.distributions._cell import GAP, Cell, Column
from unwarp.distributions._law import Law, outputs
from unwarp.distributions._limit import Limit, draw, log_chance
from unwarp.errors import ConfigError

__all__ = ["Mixed", "network_sizes"]


def network_sizes(cells: Sequence[Cell], bins: int = 8) -> tuple[list[int], int, int]:
    """`levels`, `features` and `out` of a network for `Mixed`, as `networks.SubsetMLP` takes them."""
    seen = sum(Column(cell, knots=4).features for cell in cells)
    return [cell.classes for cell in cells], seen, sum(max(1, outputs(cell, bins)) for cell in cells)


class Mixed(Distribution):
    r"""The joint law of a row's cells, each a number, a code of a category or a gap (NaN).

    $$ \log p(x) = \sum_i \log p(x_{\sigma_i} \mid x_{\sigma_1}, \dots, x_{\sigma_{i-1}}) $$

    in an order $\sigma$ of the cells. One network, trained on random subsets, gives each cell's law given any others.
    Cells that are missing are left out of the sum, which is what integrating over them gives. Discrete cells count with
    probabilities, others with densities: nats, in the units of the columns.

    Use it for tables with categories, gaps, heaped or bounded numbers, and where any column may be asked for given
    any others. For numbers without gaps a flow of all columns at once is faster and often sharper.

    Each $p(\text{cell} \mid \text{cells})$ is exact and normalised, and so is the product in any one order; but
    products in two orders agree only as far as the network has learned to. `log_prob` uses the order of each member,
    and with several members the mean of their densities.

    Args:
        cells: what each of D columns holds.
        nets: members: networks from levels and features to `network_sizes(cells, bins)[2]` numbers, with `hidden` and
            `part` as `networks.SubsetMLP` has them.
        bins: bins of the splines that shape smooth conditionals.
        knots: quantiles that shape smooth marginals.

    Shapes: x `(*batch, D)` -> `(*batch)`, nats.

    Raises:
        ConfigError: when there is no cell or no network, or a size is out of range.

    Source: Uria, Murray and Larochelle, *A Deep and Tractable Density Estimator*, 2014, arXiv:1310.1757, for the
    training over orders; the laws of single cells are ours.

    Example:
        >>> cells = [Cell(atoms=(0.0, 1.0, 2.0), rest="none"), Cell()]
        >>> table = Mixed(cells, [SubsetMLP(*network_sizes(cells), hidden=8)])
        >>> x = torch.tensor([[0.0, 0.5], [2.0, torch.nan]])
        >>> bool(torch.isclose(table.log_prob(x)[1], -torch.tensor(3.0).log()))
        True
    """

    lr = 3e-2

    def __init__(self, cells: Sequence[Cell], nets: Sequence[nn.Module], *, bins: int = 8, knots: int = 32) -> None:
        if not cells or not nets:
            raise ConfigError("Mixed: expected at least one cell and one network; got none. Give both.")
        super().__init__(Space((len(cells),), tuple(cell.event for cell in cells)))
        self.bins = _check.at_least("Mixed", "bins", bins, 2)
        self.columns: Sequence[Column] = nn.ModuleList(Column(cell, knots=knots) for cell in cells)  # pyright: ignore[reportAttributeAccessIssue]
        self.nets = nn.ModuleList(nets)
        sizes = [max(1, outputs(cell, bins)) for cell in cells]
        starts = [sum(sizes[:c]) for c in range(len(sizes))]
        self._slices = [slice(start, start + size) for start, size in zip(starts, sizes, strict=True)]
        self.orders = [_order(len(cells), m) for m in range(len(nets))]

    @property
    def members(self) -> int:
        """How many networks there are."""
        return len(self.nets)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encoded rows `(*batch, D, 3)`, see `Column`, and what each cell's measure adds, `(*batch, D)`."""
        x = _check.broadcast_event("Mixed", x, self.space.shape, None, None)
        flat = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
        pairs = [column.encode(flat[:, c]) for c, column in enumerate(self.columns)]
        encoded, extra = (torch.stack(parts, 1) for parts in zip(*pairs, strict=True))
        return encoded.reshape(*x.shape, 3), extra.reshape(x.shape)

    def adapt(self, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None) -> None:
        with torch.no_grad():
            for c, column in enumerate(self.columns):
                column.adapt(x[:, c])
            self._begin(self.encode(x)[0], weight)

    def laws(self, encoded: Tensor, member: int = 0) -> list[Law]:
        """The law of every cell given those that `encoded: (n, D, 3)` holds; gaps are unknown."""
        out = self.nets[member](*self._seen(encoded))
        parts = out.split([part.stop - part.start for part in self._slices], -1)
        return [Law(column, part) for column, part in zip(self.columns, parts, strict=True)]

    def law(self, c: int, encoded: Tensor, member: int = 0) -> Law:
        """The law of cell c alone, given the others that `encoded` holds."""
        net: Any = self.nets[member]
        return Law(self.columns[c], net.part(net.hidden(*self._seen(encoded)), self._slices[c]))

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = _check.broadcast_event("log_prob", x, self.space.shape, context, self.context_shape)
        encoded, extra = self.encode(x)
        flat = encoded.reshape(math.prod(x.shape[:-1]), *encoded.shape[-2:])
        total = self.by_member(flat).logsumexp(-1) - math.log(self.members)
        return total.reshape(x.shape[:-1]) + extra.sum(-1)

    def by_member(self, encoded: Tensor, given: Tensor | None = None) -> Tensor:
        """`in_order` by each member in its own order, `(n, members)`."""
        each = [self.in_order(encoded, order, m, given) for m, order in enumerate(self.orders)]
        return torch.stack(each, -1)

    def in_order(self, encoded: Tensor, order: Sequence[int], member: int = 0, given: Tensor | None = None) -> Tensor:
        """Log probability of encoded rows `(n, D, 3)` on their scale, `(n,)`: cell after cell in this order.

        Args:
            encoded: the rows.
            order: the cells that count, each once.
            member: by which network.
            given: encoded cells that are known before; None for none.
        """
        known = _gaps(encoded) if given is None else given
        cells = torch.arange(encoded.shape[1], device=encoded.device)
        total = encoded.new_zeros(len(encoded))
        for c in order:
            total = total + self.law(c, known, member).log_prob(encoded[:, c])
            known = torch.where((cells == c).unsqueeze(-1), encoded, known)
        return total

    def sample_and_log_prob(
        self, shape: Sequence[int] = (), context: Tensor | None = None, *, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        batch = self.batch_shape(shape, context)
        count, weight = math.prod(batch), next(self.nets.parameters())
        empty = torch.full((count, len(self.columns)), torch.nan, dtype=weight.dtype, device=weight.device)
        with torch.no_grad():
            x = self.complete(empty, generator=generator).reshape(*batch, -1)
        return x, self.log_prob(x)

    def complete(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Rows `(n, D)` with their gaps drawn given the rest of the row."""
        return self.propose(x, {}, generator=generator)[0]

    def expected(self, x: Tensor) -> Tensor:
        """Rows `(n, D)` with their gaps filled by the mean of numbers and the likeliest of levels, given the row.

        Each gap by its own law given the known cells, so that one pass of each network fills all; gaps of a row that
        hang together need not agree with each other, as those of `complete` do.
        """
        with torch.no_grad():
            encoded, made = self.encode(x)[0], x.clone()
            share = self.by_member(encoded).softmax(-1) if self.members > 1 else torch.ones_like(x[:, :1])
            members = [self.laws(encoded, m) for m in range(self.members)]
            for c, column in enumerate(self.columns):
                rows = x[:, c].isnan().nonzero().squeeze(-1)
                own = [Law(column, laws[c].params[rows]) for laws in members]
                weights = share[rows].unbind(-1)
                if column.cell.smooth:
                    made[rows, c] = _weighted([law.mean() for law in own], weights)
                else:
                    chance = _weighted([law.chances()[1].T for law in own], weights)
                    made[rows, c] = own[0].chances()[0].to(x)[chance.argmax(0)]
        return made

    def propose(
        self,
        x: Tensor,
        limits: Mapping[int, Limit],
        *,
        cells: Literal["all", "limited"] = "all",
        generator: Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Rows `(n, D)` with their gaps drawn, within limits where there are some, and log weights `(n,)`.

        Cells with limits are drawn first, in the order of `limits`. The weight is the probability, given what was drawn
        before, that each of them lies within its limit: draws in proportion to it follow the law given all limits, and
        its mean is the limits' probability. Each row is drawn by a member, taken with the probability that its law of
        the known cells says.

        Args:
            x: the rows.
            limits: by cell, which values are meant.
            cells: whether the cells without limits are drawn too.
            generator: of the uniform numbers, `2 D + 1` a row.
        """
        u = torch.rand(len(x), 2 * x.shape[-1] + 1, dtype=x.dtype, device=x.device, generator=generator)
        member = self._responsible(x, u[:, -1])
        made, weight = x.clone(), x.new_zeros(len(x))
        with torch.no_grad():
            for m in range(self.members):
                rows = (member == m).nonzero().squeeze(-1)
                order = [c for c in self.orders[m] if c in limits or cells == "all"]
                made[rows], weight[rows] = self._fill(made[rows], u[rows], limits, m, order)
        return made, weight

    def chance(self, encoded: Tensor, limits: Mapping[int, Limit], member: int = 0, *, draws: int = 64) -> Tensor:
        """Log probability that unknown cells of encoded rows `(n, D, 3)` lie within limits, given the known, `(n,)`.

        Exact for one limit; for several, the mean over so many draws of all but the last, the same for every row.
        """
        copies = draws if len(limits) > 1 else 1
        rows = encoded.repeat_interleave(copies, 0)
        total = rows.new_zeros(len(rows))
        u = torch.rand(copies, len(limits), 2, dtype=rows.dtype, generator=Generator().manual_seed(0)).to(rows.device)
        for i, (c, limit) in enumerate(limits.items()):
            law = self.law(c, rows, member)
            unknown = rows[:, c, 0] < 0
            total = total + torch.where(unknown, log_chance(law, limit), 0.0)
            if i + 1 < len(limits):
                found = self.columns[c].encode(draw(law, u[:, i].repeat(len(encoded), 1), limit))[0]
                rows = rows.clone()
                rows[:, c] = torch.where(unknown.unsqueeze(-1), found, rows[:, c])
        return total.reshape(-1, copies).logsumexp(-1) - math.log(copies)

    def learner(self, member: int = 0) -> Distribution:
        """One member as a distribution of encoded rows, which `training.fit` trains by `training.any_subset`."""
        return _Learner(self, member)

    def _fill(
        self, x: Tensor, u: Tensor, limits: Mapping[int, Limit], member: int, order: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        places = {c: i for i, c in enumerate(limits)}
        order = sorted(order, key=lambda c: places.get(c, len(places)))
        encoded, _ = self.encode(x)
        weight, alike = x.new_zeros(len(x)), True
        for c in order:
            gap = x[:, c].isnan()
            if bool(gap.any()):
                law, alike = self._law_of_rows(c, encoded[gap], member, alike=alike)
                found = draw(law, u[gap, 2 * c : 2 * c + 2], limits.get(c))
                if c in limits:
                    weight[gap] += log_chance(law, limits[c])
                x[gap, c] = found
                encoded[gap, c] = self.columns[c].encode(found)[0]
        return x, weight

    def _law_of_rows(self, c: int, encoded: Tensor, member: int, *, alike: bool) -> tuple[Law, bool]:
        """`law`, computed once for equal rows as long as many are `alike`, and whether many are."""
        if alike:
            rows, place = encoded.unique(dim=0, return_inverse=True)
            if 2 * len(rows) <= len(encoded) or len(encoded) == 1:
                one = self.law(c, rows, member)
                return Law(one.column, one.params[place]), True
        return self.law(c, encoded, member), False

    def _responsible(self, x: Tensor, u: Tensor) -> Tensor:
        """The member that draws each row, from a uniform number."""
        if self.members == 1:
            return torch.zeros(len(x), dtype=torch.long, device=x.device)
        share = self.by_member(self.encode(x)[0]).softmax(-1).cumsum(-1)
        return (u.unsqueeze(-1) > share[:, :-1]).sum(-1)

    def _seen(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """What a network sees of encoded rows: levels, and numbers that are 0 where a cell is unknown."""
        level = (encoded[..., 0] + 1).clamp(min=0).long()
        parts = [column.see(encoded[..., c, :]) * (level[..., c : c + 1] > 0) for c, column in enumerate(self.columns)]
        return level, torch.cat(parts, -1)

    def _begin(self, encoded: Tensor, weight: Tensor | None) -> None:
        """Let every member begin with each column's own frequencies."""
        each = torch.ones_like(encoded[:, 0, 0]) if weight is None else weight.to(encoded)
        for c, (column, part) in enumerate(zip(self.columns, self._slices, strict=True)):
            if column.cell.logits:
                kind = encoded[:, c, 0]
                held = (kind >= 0).to(encoded) * each
                count = encoded.new_zeros(column.cell.classes).index_add_(0, kind.clamp(min=0).long(), held) + 0.5
                for net in self.nets:
                    bias: Any = net.out.bias  # pyright: ignore[reportAttributeAccessIssue]
                    bias[part.start : part.start + len(count)] = (count / count.sum()).log()

    def extra_repr(self) -> str:
        return f"{len(self.columns)} columns, {self.members} members"


class _Learner(Distribution):
    """One member of a `Mixed`, as a distribution of encoded rows; its log probability leaves out the measure's part.

    Use it to train a member: `training.fit(table.learner(), table.encode(x)[0], any_subset)`.

    Args:
        table: the joint law.
        member: which of its networks.

    Shapes: encoded rows `(*batch, D, 3)` -> `(*batch)`, nats.

    Example:
        >>> table = Mixed([Cell()], [SubsetMLP(*network_sizes([Cell()]), hidden=8)])
        >>> learner = table.learner()
        >>> learner.log_prob(table.encode(torch.zeros(4, 1))[0]).shape
        torch.Size([4])
    """

    def __init__(self, table: Mixed, member: int) -> None:
        super().__init__(Space((len(table.columns), 3)))
        self.net = table.nets[member]
        self._table = (table,)  # not a module of this one, so that only the member is trained and saved
        self._member = member
        self.lr = table.lr

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        table = self._table[0]
        rows = x.reshape(math.prod(x.shape[:-2]), *self.space.shape)
        return table.in_order(rows, table.orders[self._member], self._member).reshape(x.shape[:-2])

    def subset_log_prob(self, x: Tensor) -> Tensor:
        """An unbiased estimate of the log probability in a random order, `(n,)`: of a random subset's complement.

        Of the n known cells of a row a random number t are shown; the others' mean log probability, times n, is what it
        gives.
        """
        held = x[..., 0] >= 0
        count = held.sum(-1)
        rank = torch.rand(held.shape, device=x.device).masked_fill(~held, 2.0).argsort(-1).argsort(-1)
        shown = (torch.rand(len(x), device=x.device) * count).floor()
        known = held & (rank < shown.unsqueeze(-1))
        laws = self._table[0].laws(torch.where(known.unsqueeze(-1), x, _gaps(x)), self._member)
        each = torch.stack([law.log_prob(x[:, c]) for c, law in enumerate(laws)], -1)
        total = torch.where(held & ~known, each, 0.0).sum(-1)
        return total * count / (count - shown).clamp(min=1)

    def sample_and_log_prob(
        self, shape: Sequence[int] = (), context: Tensor | None = None, *, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        x = self._table[0].sample(shape, context, generator=generator)
        encoded = self._table[0].encode(x)[0]
        return encoded, self.log_prob(encoded)


def _order(columns: int, member: int) -> list[int]:
    """The columns as they are for the first member, and in some order that never changes for each other one."""
    if member == 0:
        return list(range(columns))
    return sorted(range(columns), key=lambda c: hashlib.blake2b(f"{member} {c}".encode()).digest())


def _weighted(parts: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """Their sum, each part `(..., n)` with its weights `(n,)`."""
    return torch.stack([part * weight for part, weight in zip(parts, weights, strict=True)]).sum(0)


def _gaps(encoded: Tensor) -> Tensor:
    """Nothing known."""
    return encoded.new_tensor([GAP, 0.0, 0.0]).expand_as(encoded)
