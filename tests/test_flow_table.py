"""FlowTable: typed tables in, joint laws out, asked for anything."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from unwarp import FlowTable, flow, flows
from unwarp.errors import BundleError, ConfigError, DataError

ROWS = 900


def pets(rows: int = ROWS, seed: int = 0) -> pa.Table:
    """A table with a category, numbers on a grid, counts, truth values, dates, heaps, a constant and gaps."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(["cat", "dog", "emu"], rows, p=[0.5, 0.4, 0.1])
    middle = np.select([kind == "cat", kind == "dog"], [4.0, 20.0], 40.0)
    weight = np.round(middle * np.exp(0.15 * rng.normal(size=rows)), 1)
    age = rng.poisson(np.where(kind == "cat", 9, 5))
    gap = rng.random((2, rows)) < 0.1
    return pa.table(
        {
            "kind": pa.array(kind, mask=gap[0]),
            "weight": pa.array(weight, mask=gap[1]),
            "age": age,
            "chip": rng.random(rows) < 0.3,
            "born": pa.array(np.datetime64("2020-01-01") + rng.integers(0, 1500, rows)),
            "cost": np.where(rng.random(rows) < 0.6, 0.0, rng.exponential(100, rows)),
            "shop": np.full(rows, 7),
        }
    )


@pytest.fixture(scope="module")
def model() -> FlowTable:
    return FlowTable(max_steps=250, hidden=48, blocks=2, random_state=0).fit(pets())


def test_it_learns_more_than_columns_alone(model: FlowTable) -> None:
    fresh = pets(400, seed=1)
    rng = np.random.default_rng(2)
    shuffled = pa.table({name: fresh[name].take(rng.permutation(len(fresh))) for name in fresh.column_names})
    assert model.score(fresh) > model.score(shuffled) + 1.0
    assert model.history_.held_out is not None
    assert model.history_.held_out == pytest.approx(model.score(fresh), abs=0.6)


def test_draws_are_like_the_table(model: FlowTable) -> None:
    table, drawn = pets(), model.sample(500, random_state=0)
    assert drawn.schema == table.schema
    assert set(drawn["kind"].to_pylist()) <= {"cat", "dog", "emu"}
    assert set(drawn["shop"].to_pylist()) == {7}
    weight = np.array(drawn["weight"].to_pylist())
    assert np.abs(weight * 10 - np.round(weight * 10)).max() < 1e-9
    assert weight.min() >= min(w for w in table["weight"].to_pylist() if w is not None)
    assert 0.4 < np.mean(np.array(drawn["cost"]) == 0.0) < 0.8
    assert model.sample(3, random_state=0) == drawn.slice(0, 3)
    assert model.sample(3, random_state=1) != drawn.slice(0, 3)


def test_given_values(model: FlowTable) -> None:
    dogs = model.given({"kind": "dog"})
    drawn = dogs.sample(300, random_state=0)
    assert set(drawn["kind"].to_pylist()) == {"dog"}
    assert 14 < np.median(drawn["weight"].to_numpy()) < 26
    assert dogs.probability() == (1.0, 0.0)
    light = pa.table({"weight": [20.0, 4.0]})
    likely, unlikely = dogs.log_prob(light)
    assert likely > unlikely + 1.0


def test_the_chain_rule_holds(model: FlowTable) -> None:
    row = pets(5, seed=3).select(["weight", "age"])
    for one in range(5):
        cells = row.slice(one, 1).to_pylist()[0]
        if cells["weight"] is None:
            continue
        alone = model.given().log_prob(pa.table({"weight": [cells["weight"]]}))[0]
        then = model.given({"weight": cells["weight"]}).log_prob(pa.table({"age": [cells["age"]]}))[0]
        assert alone + then == pytest.approx(model.given().log_prob(row.slice(one, 1))[0])


def test_limits(model: FlowTable) -> None:
    some = model.given({"kind": ["dog", "emu"], "weight": (15.0, 25.0), "born": ("2021-01-01", None)})
    drawn = some.sample(200, random_state=0)
    assert set(drawn["kind"].to_pylist()) <= {"dog", "emu"}
    weight = drawn["weight"].to_numpy()
    assert weight.min() >= 15.0
    assert weight.max() <= 25.0
    assert min(drawn["born"].to_pylist()).isoformat() >= "2021-01-01"
    chance, error = some.probability()
    seen = model.sample(4000, random_state=5).to_pandas()
    inside = seen["kind"].isin(["dog", "emu"]) & seen["weight"].between(15, 25) & (seen["born"].astype(str) >= "2021")
    assert chance == pytest.approx(inside.mean(), abs=4 * (error + math.sqrt(inside.var() / 4000)) + 0.01)


def test_one_column(model: FlowTable) -> None:
    weight = model.given({"kind": "cat"}).marginal("weight")
    low, middle, high = (weight.quantile(share) for share in (0.1, 0.5, 0.9))
    assert low <= middle <= high
    assert weight.cdf([middle])[0] >= 0.5
    assert weight.cdf([1e9])[0] == pytest.approx(1.0)
    assert all(first <= last for first, last in weight.densest(0.8))
    kinds = model.given({"weight": 4.0}).marginal("kind").probabilities()
    assert kinds["kind"][0].as_py() == "cat"
    assert sum(kinds["probability"].to_pylist()) == pytest.approx(1.0)
    assert model.given({"weight": 4.0}).marginal("kind").likely() == "cat"
    assert model.given().marginal("kind").densest(0.85) == ["cat", "dog"]
    within = model.given({"kind": ["cat"], "chip": True}).marginal("weight")
    assert within.quantile(0.5) == pytest.approx(middle, rel=0.2)


def test_entropy_and_information(model: FlowTable) -> None:
    entropy, error = model.given().entropy("kind")
    assert entropy == pytest.approx(-sum(p * math.log(p) for p in (0.5, 0.4, 0.1)), abs=0.1 + 4 * error)
    much, _ = model.given().mutual_information("kind", "weight", draws=500)
    little, spread = model.given().mutual_information("chip", "born", draws=500)
    assert much > 0.4
    assert little < 0.1 + 4 * spread


def test_credible_levels(model: FlowTable) -> None:
    odd = pets(1).to_pydict() | {"kind": ["cat"], "weight": [60.0], "age": [30]}
    usual = pets(50, seed=4)
    levels = model.given().credible_level(usual, draws=400)
    assert 0.25 < levels.mean() < 0.75
    assert model.given().credible_level(pa.table(odd), draws=400)[0] > 0.98


def test_gaps_are_completed(model: FlowTable) -> None:
    table = pets(60, seed=6)
    whole = model.complete(table, random_state=0)
    assert sum(whole[name].null_count for name in whole.column_names) == 0
    for name in table.column_names:
        for own, made in zip(table[name].to_pylist(), whole[name].to_pylist(), strict=True):
            assert own is None or own == made
    frame = table.to_pandas()
    assert isinstance(model.complete(frame, random_state=0), pd.DataFrame)


def test_strange_cells_are_named(model: FlowTable) -> None:
    odd = pa.table({**pets(2, seed=7).to_pydict(), "kind": ["emu", "dog"], "weight": [40.0, 20.0], "age": [5, 60]})
    why = model.explain(odd, why=1).to_pylist()
    assert [line["row"] for line in why] == [0, 1]
    assert why[1]["column"] == "age"
    assert why[1]["surprise"] > why[0]["surprise"]
    assert {"row", "column", "value", "surprise", "usual_low", "usual_high", "likely"} == set(why[0])


def test_members_give_an_interval_and_orders_disagree_little() -> None:
    table = pets(300)
    model = FlowTable(members=2, max_steps=60, hidden=16, blocks=1, random_state=0).fit(table)
    ends = model.interval(table)
    assert ends.shape == (300, 2)
    assert (ends[:, 0] <= ends[:, 1]).all()
    assert np.isfinite(model.disagreement(table)).all()
    assert np.isfinite(model.score_samples(table)).all()
    assert model.sample(20, random_state=0).num_rows == 20
    assert 0 < model.given({"kind": ["dog"], "age": (0, 5)}).probability()[0] < 1


def test_weights_count() -> None:
    table = pets(400)
    is_cat = np.array([kind == "cat" for kind in table["kind"].to_pylist()])
    model = FlowTable(max_steps=80, hidden=16, blocks=1, random_state=0)
    model.fit(table, sample_weight=np.where(is_cat, 1.0, 0.0))
    assert set(model.schema_.columns[0].levels or ()) <= {"cat"} or model.schema_.columns[0].role == "constant"


def test_files_and_pickles(model: FlowTable, tmp_path: Path) -> None:
    path, table = tmp_path / "pets.safetensors", pets(40, seed=8)
    model.save(path)
    again = FlowTable.load(path)
    np.testing.assert_allclose(again.score_samples(table), model.score_samples(table))
    assert again.sample(5, random_state=0) == model.sample(5, random_state=0)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(model)).score_samples(table), model.score_samples(table))
    flows.save(flow("nice", 2), tmp_path / "other.safetensors")
    with pytest.raises(BundleError, match=r"expected a model"):
        FlowTable.load(tmp_path / "other.safetensors")


def test_frames_come_back_as_they_came() -> None:
    frame = pets(150).to_pandas()
    model = FlowTable(max_steps=30, hidden=8, blocks=1, random_state=0).fit(frame)
    drawn = model.sample(5, random_state=0)
    assert isinstance(drawn, pd.DataFrame)
    assert list(drawn.columns) == list(frame.columns)


def test_rows_that_contradict_a_constant_cannot_be(model: FlowTable) -> None:
    row = pets(1, seed=9).to_pydict()
    assert np.isfinite(model.score_samples(pa.table(row)))[0]
    assert model.score_samples(pa.table(row | {"shop": [8]}))[0] == -math.inf


def test_an_empty_table_scores_nothing(model: FlowTable) -> None:
    assert model.score_samples(pets().slice(0, 0)).shape == (0,)


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"kinds": "dog"}, 'expected a column of the model; got "kinds"'),
        ({"weight": (1.0, 2.0, 3.0)}, r"expected \(low, high\) for 'weight'"),
        ({"weight": (3.0, 1.0)}, "expected low <= high for 'weight'"),
        ({"weight": [1.0, 2.0]}, "got a list"),
        ({"weight": "heavy"}, "numbers in column"),
        ({"kind": None}, "got a missing one"),
    ],
)
def test_what_cannot_be_given_is_refused(model: FlowTable, known: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        model.given(known).sample(1)


def test_wrong_arguments_are_refused(model: FlowTable) -> None:
    with pytest.raises(DataError, match="n_samples"):
        model.sample(0)
    with pytest.raises(DataError, match="expected a column that is not known"):
        model.given({"kind": "dog"}).marginal("kind")
    with pytest.raises(ConfigError, match="two members"):
        model.interval(pets(3))
    with pytest.raises(ConfigError, match="shares from 0 to 1"):
        model.given().marginal("age").quantile(50)
    with pytest.raises(ConfigError, match="validation_fraction"):
        FlowTable(validation_fraction=1.0).fit(pets(20))
    with pytest.raises(DataError, match="expected a row"):
        FlowTable().fit(pets(20).slice(0, 0))
