"""The joint law of mixed columns: it sums and integrates to one, forgets gaps, and obeys what is given."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from unwarp import flows
from unwarp.distributions import Cell, Law, Limit, Mixed, log_chance, network_sizes
from unwarp.errors import ConfigError, RecipeError
from unwarp.networks import SubsetMLP
from unwarp.training import any_subset, fit
from unwarp.transforms import Quantiles

CELLS = {
    "levels": Cell(atoms=(0.0, 1.0, 2.0), rest="none"),
    "levels with a tail": Cell(atoms=(0.0, 1.0), rest="tail", tail=3),
    "line": Cell(),
    "positive line": Cell(support="positive"),
    "interval": Cell(support=("interval", -2.0, 3.0)),
    "circle": Cell(rest="circle", period=(0.0, 360.0)),
    "whole numbers": Cell(width=1.0, edge=0.5, origin=0.0, measure="mass"),
    "counts": Cell(support="positive", width=1.0, edge=1.0, origin=0.0, measure="mass", atoms=(0.0,)),
    "a grid": Cell(width=0.25, edge=0.125, origin=0.0),
    "hours": Cell(rest="circle", period=(0.0, 24.0), width=1.0, edge=0.5, origin=0.0, measure="mass"),
    "heaped": Cell(atoms=(0.0, 2.0)),
    "heaped whole numbers": Cell(atoms=(3.0,), width=1.0, edge=0.5, origin=0.0, measure="mass"),
}
GRIDS = {
    "levels": torch.arange(3.0),
    "levels with a tail": torch.arange(5.0),
    "whole numbers": torch.arange(-4000.0, 4000.0),
    "counts": torch.arange(0.0, 60_000.0),
    "hours": torch.arange(0.0, 24.0),
    "heaped whole numbers": torch.arange(-4000.0, 4000.0),
}


def rows(cell: Cell, count: int = 400) -> Tensor:
    """Values that such a column could hold."""
    generator = torch.Generator().manual_seed(1)
    u = torch.rand(count, generator=generator, dtype=torch.float64)
    z = torch.randn(count, generator=generator, dtype=torch.float64)
    if cell.rest in ("none", "tail"):
        return (u * (len(cell.atoms) + cell.tail)).floor()
    if cell.rest == "circle":
        low, length = cell.period or (0.0, 1.0)
        x = low + length * u.square()
        return x if cell.width is None else x.floor()
    x = (z + 0.5).exp() if cell.support == "positive" else 1.5 * z
    x = x.clamp(-1.9, 2.9) if isinstance(cell.support, tuple) else x
    if cell.width is not None:
        x = ((x / cell.width).round() * cell.width).clamp(min=cell.width if cell.support == "positive" else -1e9)
    for atom in cell.atoms:
        x = torch.where(u < 0.2, atom, x)
    return x


def table(*cells: Cell, members: int = 1, noise: float = 0.5) -> Mixed:
    """A small model with some dependence in it, adapted to values."""
    torch.manual_seed(0)
    sizes = network_sizes(cells, 4)
    nets = [SubsetMLP(*sizes, hidden=8, blocks=1) for _ in range(members)]
    model = Mixed(cells, nets, bins=4, knots=8).double()
    model.adapt(torch.stack([rows(cell) for cell in cells], -1))
    with torch.no_grad():
        for parameter in model.nets.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize("name", GRIDS)
def test_probabilities_of_a_discrete_column_sum_to_one(name: str) -> None:
    model = table(CELLS[name])
    with torch.no_grad():
        total = model.log_prob(GRIDS[name].double().unsqueeze(-1)).exp().sum()
    assert total == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("name", ["line", "positive line", "interval", "circle", "heaped"])
def test_densities_and_atoms_have_mass_one(name: str) -> None:
    cell = CELLS[name]
    model = table(cell, noise=0.2)
    law = model.law(0, model.encode(torch.full((1, 1), torch.nan, dtype=torch.float64))[0])
    shares = torch.linspace(1e-6, 1 - 1e-6, 20_001, dtype=torch.float64)
    with torch.no_grad():
        x = Law(law.column, law.params.expand(len(shares), -1)).at(shares)
        density = model.log_prob(x.unsqueeze(-1)).exp()
        atoms = model.log_prob(torch.tensor(cell.atoms, dtype=torch.float64).reshape(-1, 1)).exp().sum()
        mass = torch.trapezoid(density, x) + atoms
    assert float(mass) == pytest.approx(1.0, abs=5e-3)


def test_a_grid_counts_with_density() -> None:
    model = table(CELLS["a grid"])
    x = torch.arange(-400.0, 400.0, 0.25, dtype=torch.float64).unsqueeze(-1)
    with torch.no_grad():
        assert float(model.log_prob(x).exp().sum() * 0.25) == pytest.approx(1.0, abs=2e-3)


def test_a_joint_law_sums_to_its_marginal_in_order() -> None:
    model = table(CELLS["levels"], CELLS["levels with a tail"])
    first, second = torch.arange(3.0).double(), torch.arange(5.0).double()
    with torch.no_grad():
        grid = torch.cartesian_prod(first, second)
        joint = model.log_prob(grid).exp().reshape(3, 5)
        alone = model.log_prob(torch.stack([first, torch.full_like(first, torch.nan)], -1)).exp()
    assert float(joint.sum()) == pytest.approx(1.0)
    torch.testing.assert_close(joint.sum(-1), alone)  # a gap is what integrating over the cell gives


def test_a_row_of_gaps_is_certain() -> None:
    model = table(*CELLS.values())
    with torch.no_grad():
        assert float(model.log_prob(torch.full((len(CELLS),), torch.nan, dtype=torch.float64))) == 0.0


@pytest.mark.parametrize("name", CELLS)
def test_draws_follow_the_law(name: str) -> None:
    cell = CELLS[name]
    model = table(cell)
    x = model.sample((4000,), generator=torch.Generator().manual_seed(0))[:, 0]
    law = model.law(0, model.encode(torch.full((1, 1), torch.nan, dtype=torch.float64))[0])
    ends = x.quantile(torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9], dtype=torch.float64))
    with torch.no_grad():
        assert bool(torch.isfinite(model.log_prob(x.unsqueeze(-1))).all())
        for end in ends:
            chance = float(log_chance(law, Limit(high=float(end))).exp())
            seen = float((x <= end).double().mean())
            assert abs(chance - seen) < 4.5 * math.sqrt(max(chance * (1 - chance), 1e-4) / len(x))


def test_limits_are_obeyed_and_weighed() -> None:
    model = table(CELLS["levels"], CELLS["whole numbers"], CELLS["circle"])
    limits = {0: Limit(values=(1.0, 2.0)), 1: Limit(low=-1.0, high=1.0), 2: Limit(low=90.0, high=180.0)}
    empty = torch.full((20_000, 3), torch.nan, dtype=torch.float64)
    x, weight = model.propose(empty, limits, generator=torch.Generator().manual_seed(0))
    assert all(bool(limit.allows(x[:, c]).all()) for c, limit in limits.items())
    free = model.sample((20_000,), generator=torch.Generator().manual_seed(1))
    inside = torch.stack([limit.allows(free[:, c]) for c, limit in limits.items()]).all(0).double()
    assert float(weight.exp().mean()) == pytest.approx(float(inside.mean()), abs=0.015)
    with torch.no_grad():
        chance = model.chance(model.encode(empty[:1])[0], limits, draws=512).exp()
    assert float(chance) == pytest.approx(float(inside.mean()), abs=0.02)


def test_gaps_are_filled_and_the_rest_stays() -> None:
    model = table(CELLS["levels"], CELLS["line"], CELLS["counts"])
    x = torch.tensor([[1.0, torch.nan, 2.0], [torch.nan, 0.5, torch.nan], [0.0, 0.1, 1.0]], dtype=torch.float64)
    made = model.complete(x, generator=torch.Generator().manual_seed(0))
    assert not bool(made.isnan().any())
    assert bool(((made == x) | x.isnan()).all())


def test_members_are_mixed() -> None:
    model = table(CELLS["levels"], CELLS["line"], members=3)
    x = torch.tensor([[1.0, 0.3], [torch.nan, -1.0]], dtype=torch.float64)
    with torch.no_grad():
        each = model.by_member(model.encode(x)[0]) + model.encode(x)[1].sum(-1, keepdim=True)
        torch.testing.assert_close(model.log_prob(x), each.logsumexp(-1) - math.log(3))
    assert model.orders[0] == [0, 1]
    assert model.complete(x, generator=torch.Generator().manual_seed(0)).shape == x.shape


def test_what_cannot_be_has_no_probability() -> None:
    model = table(CELLS["levels"], CELLS["interval"])
    x = torch.tensor([[7.0, 0.0], [0.5, 0.0], [1.0, 9.0]], dtype=torch.float64)
    with torch.no_grad():
        assert model.log_prob(x).tolist() == [-math.inf] * 3


def test_training_learns_a_dependence() -> None:
    generator = torch.Generator().manual_seed(0)
    kind = torch.randint(0, 2, (2000,), generator=generator).double()
    x = torch.stack([kind, 6 * kind + torch.randn(2000, generator=generator, dtype=torch.float64)], -1)
    cells = [Cell(atoms=(0.0, 1.0), rest="none"), Cell()]
    torch.manual_seed(0)
    model = Mixed(cells, [SubsetMLP(*network_sizes(cells), hidden=32, blocks=1)]).double()
    model.adapt(x)
    encoded = model.encode(x)[0].float()
    model.nets.float()
    fit(model.learner(), encoded, any_subset, max_steps=150, batch=256, seed=0, baselines=())
    model.double()
    with torch.no_grad():
        truth = -math.log(2) - 0.5 * math.log(2 * math.pi) - 0.5
        assert float(model.log_prob(x).mean()) == pytest.approx(truth, abs=0.08)
        other = torch.tensor([[torch.nan, 6.0]], dtype=torch.float64)
        law = model.law(0, model.encode(other)[0])
        assert float(law.log_class[0, 1].exp()) > 0.95


def test_quantiles_follow_data_and_come_back() -> None:
    u = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    x = torch.stack([u.logit(), (1 - u).pow(-0.7), (10 * u).floor()], -1)
    layer = Quantiles(3).double()
    layer.adapt(x)
    z, ladj = layer(x)
    back, inverse = layer.inverse(z)
    torch.testing.assert_close(back, x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(inverse, -ladj, rtol=1e-7, atol=1e-7)
    assert float((z[:, :2].sigmoid() - u.unsqueeze(-1)).abs().max()) < 0.01
    assert float(layer.tails[1, 1]) == pytest.approx(0.7, abs=0.2)
    far = torch.tensor([[1e6, 1e6, 1e6]], dtype=torch.float64)
    torch.testing.assert_close(layer.decode(layer.encode(far)), far)


@pytest.mark.parametrize(
    "fields",
    [
        {"atoms": (1.0, 1.0)},
        {"rest": "none"},
        {"rest": "circle"},
        {"width": 1.0},
        {"origin": 0.0},
        {"rest": "tail", "atoms": (0.0,)},
        {"tail": 2},
    ],
)
def test_cells_that_contradict_themselves_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"^Cell: expected that .*; got .*\. Correct the cell\.$"):
        Cell(**fields)  # pyright: ignore[reportArgumentType]


def test_recipe_is_saved_and_refuses_what_does_not_fit() -> None:
    cells = [{"atoms": [0.0, 1.0], "rest": "none"}, {"rest": "circle", "period": [0.0, 24.0]}]
    model = flows.mixed(2, cells=cells, hidden=8, blocks=1, members=2)  # pyright: ignore[reportArgumentType]
    again = flows.from_bytes(flows.to_bytes(model))
    x = torch.tensor([[1.0, 13.0]])
    torch.testing.assert_close(again.log_prob(x), model.log_prob(x))
    assert flows.names("mixed") == ["mixed"]
    assert "mixed" not in flows.names()
    with pytest.raises(RecipeError, match="expected 3 cells"):
        flows.mixed(3, cells=cells)  # pyright: ignore[reportArgumentType]
    with pytest.raises(RecipeError, match="width and edge"):
        flows.mixed(1, cells=[{"width": 1.0}])  # pyright: ignore[reportArgumentType]
