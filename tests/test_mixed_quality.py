"""The law of a mixed table is one: probabilities sum to 1, gaps are summed over, and guesses follow from it."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from unwarp import FlowTable
from unwarp.distributions import Cell, Mixed, network_sizes
from unwarp.errors import ConfigError
from unwarp.networks import SubsetMLP

GRID = Cell(atoms=(0.3, 0.7, 1.1), rest="line", support="positive", width=0.1, edge=0.1, origin=0.0, measure="mass")
FINE = Cell(atoms=(0.5,), rest="line", width=0.01, edge=0.005, origin=0.0, measure="mass")
CELLS = {
    "levels": Cell(atoms=(0.0, 1.0, 2.0), rest="tail", tail=3),
    "truth": Cell(atoms=(0.0, 1.0), rest="none"),
    "grid": GRID,
    "fine": FINE,
    "day": Cell(rest="circle", period=(0.0, 24.0), width=1.0, edge=0.0, origin=0.0, measure="mass"),
    "bounded": Cell(rest="line", support=("interval", 0.0, 2.0)),
}


@pytest.fixture(scope="module")
def table() -> tuple[Mixed, Tensor]:
    """A model whose cells hang together, and rows."""
    torch.manual_seed(0)
    cells = list(CELLS.values())
    levels, features, out = network_sizes(cells)
    nets = [SubsetMLP(levels, features, out, hidden=16) for _ in range(2)]
    model = Mixed(cells, nets).double()
    n = 400
    grid = (torch.rand(n, dtype=torch.float64) * 20).ceil() / 10
    columns = [
        torch.randint(0, 6, (n,)).double(), torch.randint(0, 2, (n,)).double(), grid,
        (torch.randn(n, dtype=torch.float64) * 100).round() / 100, torch.randint(0, 24, (n,)).double(),
        torch.rand(n, dtype=torch.float64) * 2,
    ]  # fmt: skip
    x = torch.stack(columns, -1)
    model.adapt(x)
    for net in nets:
        torch.nn.init.normal_(net.out.weight, std=0.5)
    return model.eval().requires_grad_(requires_grad=False), x


def values(cell: Cell) -> tuple[Tensor, float]:
    """All values of a cell, or as good as all, and the weight of each in a sum."""
    if cell.width is not None:
        at = torch.arange(0, 24) if cell.rest == "circle" else torch.arange(-4000, 4001)
        grid = at.double() * cell.width
        atoms = torch.tensor(cell.atoms, dtype=torch.float64)
        if len(atoms):
            grid = grid[(grid.unsqueeze(-1) - atoms).abs().min(-1).values > 1e-6]
        return torch.cat([grid[grid > 0] if cell.support == "positive" else grid, atoms]), 1.0
    if cell.rest == "line":
        return 0.1 + (torch.arange(18_000, dtype=torch.float64) + 0.5) / 10_000, 1e-4
    return torch.arange(len(cell.atoms) + cell.tail, dtype=torch.float64), 1.0


@pytest.mark.parametrize("name", CELLS)
def test_law_of_a_cell_sums_to_one(table: tuple[Mixed, Tensor], name: str) -> None:
    model, x = table
    c = list(CELLS).index(name)
    every, weight = values(CELLS[name])
    for row in x[:3]:
        rows = row.repeat(len(every), 1)
        rows[:, c] = every
        known = torch.where(torch.arange(len(row)) == c, torch.nan, row)
        encoded, extra = model.encode(rows)
        law = model.law(c, model.encode(known.unsqueeze(0))[0].expand_as(encoded))
        total = weight * (law.log_prob(encoded[:, c]) + extra[:, c]).exp().sum()
        inside = 1.0
        if CELLS[name].rest == "line":  # what lies beyond, by the distribution function
            step = 0.5 * weight if CELLS[name].width is None else 0.5 * (CELLS[name].width or 0.0)
            ends = torch.stack([every.min(), every.max()]) + torch.tensor([-step, step])
            ends = ends - step if name == "grid" else ends
            share = law.below(ends[1].expand(len(every))) - law.below(ends[0].expand(len(every)))
            inside = 1.0 - float(law.log_class[0, -1].exp() * (1.0 - share[0]))
        assert float(total) == pytest.approx(inside, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_atoms_that_are_fractions_are_found_in_any_precision(dtype: torch.dtype) -> None:
    table = Mixed([GRID, FINE], [SubsetMLP([4, 2], *network_sizes([GRID, FINE])[1:], hidden=4)]).to(dtype).double()
    kinds = table.to(dtype).encode(torch.tensor([[0.3, 0.5], [0.7, 0.5], [1.1, 0.25]], dtype=dtype))[0][..., 0]
    assert kinds.tolist() == [[0.0, 0.0], [1.0, 0.0], [2.0, 1.0]]
    drawn = table.double().sample((200,))[:, 0]
    assert set(drawn[(drawn - 0.7).abs() < 1e-6].tolist()) <= {0.7, 7 * 0.1}


@pytest.mark.parametrize("name", ["levels", "truth", "day"])
def test_gaps_are_summed_over(table: tuple[Mixed, Tensor], name: str) -> None:
    """In an order that has the cell last, the sum over its values is what a row with a gap there scores."""
    model, x = table
    c = list(CELLS).index(name)
    order = [j for j in range(len(CELLS)) if j != c] + [c]
    every, _ = values(CELLS[name])
    row = x[5].clone()
    rows = row.repeat(len(every), 1)
    rows[:, c] = every
    encoded, extra = model.encode(rows)
    whole = (model.in_order(encoded, order) + extra.sum(-1)).logsumexp(0)
    row[c] = torch.nan
    gap, rest = model.encode(row.unsqueeze(0))
    torch.testing.assert_close(whole, (model.in_order(gap, order) + rest.sum(-1))[0], rtol=0, atol=1e-5)


def test_rows_without_any_cell_score_zero(table: tuple[Mixed, Tensor]) -> None:
    model, x = table
    assert model.log_prob(torch.full_like(x[:2], torch.nan)).tolist() == [0.0, 0.0]


def test_expected_values_are_those_of_draws(table: tuple[Mixed, Tensor]) -> None:
    model, x = table
    for name, c in ((name, c) for c, name in enumerate(CELLS)):
        row = x[7].clone()
        row[c] = torch.nan
        guess = float(model.expected(row.unsqueeze(0))[0, c])
        drawn = model.complete(row.repeat(4000, 1), generator=torch.Generator().manual_seed(0))[:, c]
        if name in {"levels", "truth"}:
            seen, count = drawn.unique(return_counts=True)
            share = float((drawn == guess).double().mean())
            assert share >= float(count.max()) / len(drawn) - 0.03
            assert guess in seen
        elif name == "day":
            angle = torch.exp(1j * (drawn + 0.5) * (2 * math.pi / 24)).mean()
            assert (
                abs(((guess + 0.5) * (2 * math.pi / 24) - float(angle.angle()) + math.pi) % (2 * math.pi) - math.pi)
                < 0.4
            )
        else:
            assert guess == pytest.approx(
                float(drawn.clamp(-10, 10).mean()), abs=5 * float(drawn.std()) / 4000**0.5 + 0.02
            )


def test_expected_values_beat_draws_and_keep_what_is_there() -> None:
    rng = np.random.default_rng(0)
    kind = rng.choice(["cat", "dog"], 300)
    weight = np.where(kind == "cat", 4.0, 20.0) + rng.normal(size=300)
    pets = pa.table({"kind": kind, "weight": weight})
    model = FlowTable(max_steps=150, random_state=0).fit(pets)
    gappy = pa.table({"kind": ["cat", None, "dog", None], "weight": [None, 20.0, 18.5, 4.0]})
    filled = model.complete(gappy, how="expected")
    assert filled["kind"].to_pylist() == ["cat", "dog", "dog", "cat"]
    assert filled["weight"].to_pylist()[1:] == [20.0, 18.5, 4.0]
    assert filled["weight"][0].as_py() == pytest.approx(4.0, abs=1.5)
    assert filled == model.complete(gappy, how="expected", random_state=5)
    with pytest.raises(ConfigError, match='expected how to be "draw" or "expected"; got \'mean\''):
        model.complete(gappy, how="mean")  # pyright: ignore[reportArgumentType]
