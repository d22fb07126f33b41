"""FlowDensity keeps scikit-learn's contracts, and scores are what they say they are."""

import copy
import math
import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from unwarp import flows
from unwarp.data import toy
from unwarp.errors import BundleError, ConfigError, DataError, RecipeError
from unwarp.estimators import FlowDensity
from zoo.recipes import known

SMALL = {
    "flow": "nsf",
    "flow_options": {"layers": 2, "hidden": (16,), "base": "mixture", "components": 4},
    "max_steps": 150,
}
rng = np.random.default_rng(0)


@parametrize_with_checks([FlowDensity()])
def test_scikit_learn_agrees(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def table():
    """Counts, a skewed column, decimals, a constant and a copy."""
    n = 1500
    count = rng.poisson(3, n)
    return pd.DataFrame(
        {
            "count": count,
            "size": np.exp(rng.normal(size=n) + 0.3 * count),
            "mark": np.round(rng.normal(size=n), 1),
            "site": 4,
            "again": count,
        }
    )


@pytest.fixture(scope="module")
def model(table):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FlowDensity(**SMALL, random_state=0).fit(table)


def test_says_what_it_leaves_out(table):
    with pytest.warns(UserWarning, match="column 'again' is a copy of \"count\"; it is left out"):
        FlowDensity(**SMALL | {"max_steps": 1}).fit(table[["count", "again"]])


def test_scores_and_samples_have_the_table_s_shape(model, table):
    scores = model.score_samples(table)
    assert scores.shape == (len(table),)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    assert model.score(table) == pytest.approx(scores.mean())
    rows = model.sample(500, random_state=1)
    assert rows.shape == (500, 5)
    frame = pd.DataFrame(rows, columns=table.columns)
    assert (frame["count"] == frame["count"].round()).all()
    assert (frame["again"] == frame["count"]).all()
    assert (frame["site"] == 4).all()
    assert (frame["size"] > 0).all()
    assert {len(repr(float(mark)).split(".")[1]) for mark in frame["mark"]} == {1}
    assert np.isfinite(model.score_samples(frame)).all()


def test_frames_of_all_makes_score_alike(model, table):
    expected = model.score_samples(table)
    for same in (
        pl.from_pandas(table),
        pa.Table.from_pandas(table, preserve_index=False),
        pl.from_pandas(table).lazy(),
    ):
        assert np.array_equal(model.score_samples(same), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn says that the array has no names
        assert np.array_equal(model.score_samples(table.to_numpy()), expected)
    assert list(model.feature_names_in_) == list(table.columns)


def test_a_row_the_model_never_makes_scores_minus_infinity(model, table):
    rows = pd.concat([table.iloc[:4]] * 2).reset_index(drop=True).astype(float)
    rows.loc[0, "site"] = 5
    rows.loc[1, "again"] += 1
    rows.loc[2, "size"] = -1.0
    rows.loc[3, "size"] = 0.0
    assert np.isinf(model.score_samples(rows)).tolist() == [True] * 4 + [False] * 4
    with pytest.raises(DataError, match="inside the bounds; got another in row 3"):
        model.transform(rows)


def test_scores_do_not_depend_on_the_company(model, table):
    expected = model.score_samples(table)
    for rows in (slice(7, 8), slice(0, 1001), slice(None, None, -1)):
        assert np.allclose(model.score_samples(table[rows]), expected[rows], rtol=0, atol=1e-10)


def test_float32_scores_say_how_far_they_are_off(model, table):
    some = table[:300].assign(site=[4] * 299 + [5])
    exact, quick = model.score_samples(some), model.score_samples(some, precision="float32")
    assert quick[-1] == -np.inf and np.allclose(quick[:-1], exact[:-1], atol=1e-2)
    assert 0 < model.float32_error_ <= np.abs(quick[:-1] - exact[:-1]).max()
    with pytest.raises(ConfigError, match="float16"):
        model.score_samples(some, precision="float16")


def test_float32_scores_keep_the_digits_of_a_far_column():
    x = 1e9 + np.random.default_rng(0).normal(size=(300, 2))
    model = FlowDensity(**SMALL | {"max_steps": 20}, random_state=0).fit(x)
    model.score_samples(x, precision="float32")
    assert model.float32_error_ < 1e-3


def test_samples_depend_on_seed_and_row_alone(model):
    many = model.sample(2500, random_state=3)
    assert np.array_equal(model.sample(10, random_state=3), many[:10])
    assert np.array_equal(model.sample(1100, random_state=3), many[:1100])
    assert not np.array_equal(model.sample(10, random_state=4), many[:10])
    assert not np.array_equal(many[:1024], many[1024:2048])
    state = np.random.RandomState(0)
    assert not np.array_equal(model.sample(5, random_state=state), model.sample(5, random_state=state))
    with pytest.raises(DataError, match="n_samples of at least 1"):
        model.sample(0)


def test_latent_is_standard_normal_and_leads_back(model, table):
    z = model.transform(table)
    assert z.shape == (len(table), 3)
    assert abs(z.mean(0)).max() < 0.2
    assert abs(z.std(0) - 1).max() < 0.2
    assert np.allclose(model.inverse_transform(z), table.to_numpy(), rtol=1e-9)
    assert list(model.get_feature_names_out()) == ["flowdensity0", "flowdensity1", "flowdensity2"]
    assert isinstance(
        clone(model).set_output(transform="pandas").fit(table[["mark"]]).transform(table[["mark"]]), pd.DataFrame
    )
    with pytest.raises(DataError, match="expected 3 columns; got 2"):
        model.inverse_transform(z[:, :2])


def test_pickles_copies_and_files_score_alike(model, table, tmp_path):
    expected = model.score_samples(table)
    model.save(tmp_path / "m.safetensors")
    loaded = FlowDensity.load(tmp_path / "m.safetensors")
    for same in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), loaded):
        assert np.array_equal(same.score_samples(table), expected)
        assert np.array_equal(same.sample(5, random_state=0), model.sample(5, random_state=0))
        assert same.schema_ == model.schema_
        assert same.n_iter_ == model.n_iter_
        assert list(same.feature_names_in_) == list(table.columns)
    assert loaded.history_.to_json() == model.history_.to_json()
    assert loaded.get_params()["flow"] == "nsf"
    assert b"torch" not in pickle.dumps(model).replace(b"_torch", b"").split(b"flow_")[0]
    refit = clone(loaded).set_params(max_steps=2)
    assert refit.fit(table[["size", "mark"]]).n_features_in_ == 2


def test_files_of_other_flows_are_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    flows.save(flows.nsf(2, layers=1), path)
    with pytest.raises(BundleError, match="expected a model of a table"):
        FlowDensity.load(path)
    for columns in ([{"name": "a"}], [{"name": "a"}, {"name": "b", "kind": "?"}]):
        flows.save(flows.nsf(2, layers=1), path, columns=columns, training={"history": {}})
        with pytest.raises(BundleError):
            FlowDensity.load(path)


def test_probabilities_of_counts_sum_to_one():
    x = rng.poisson(2, (1500, 1)).astype(float)
    model = FlowDensity(**SMALL, random_state=0).fit(x)
    values = np.arange(-40, 120)[:, None]
    p = np.exp(model.score_samples(values))
    assert p.sum() == pytest.approx(1, abs=3e-3)
    exact = np.array([math.exp(-2) * 2.0**k / math.factorial(k) for k in range(5)])
    assert np.allclose(p[40:45], exact, atol=0.02)
    drawn = model.sample(20_000, random_state=0)[:, 0]
    assert np.allclose([(drawn == k).mean() for k in range(5)], p[40:45], atol=0.015)


def test_ties_earn_no_fake_nats():
    """A hundredth's grid holds log P(x) / 0.01; a spike on each value would promise more, on held-out rows too."""
    x = np.round(rng.normal(size=(3000, 1)), 2)
    model = FlowDensity(**SMALL, random_state=0).fit(x[:2000])
    exact = np.mean(-0.5 * x[2000:] ** 2 - 0.5 * math.log(2 * math.pi))
    assert model.score(x[2000:]) == pytest.approx(exact, abs=0.03)


def test_density_is_in_the_user_s_units():
    x = rng.normal(size=(500, 2))
    scale = np.array([1e-6, 1e9])
    options = SMALL | {"max_steps": 30}
    plain = FlowDensity(**options, random_state=0).fit(x)
    scaled = FlowDensity(**options, random_state=0).fit(x * scale)
    assert scaled.score(x * scale) == pytest.approx(plain.score(x) - np.log(scale).sum(), abs=0.02)


def test_rows_may_all_train():
    model = FlowDensity(**SMALL | {"max_steps": 2}, validation_fraction=0.0, random_state=0).fit(
        rng.normal(size=(150, 2))
    )
    assert (model.history_.rows, model.history_.held_rows) == (150, 0)
    model = FlowDensity(**SMALL | {"max_steps": 2}, random_state=0).fit(rng.poisson(9, (150, 2)))
    assert (model.history_.rows, model.history_.held_rows) == (135 * 8, 15 * 8), "eight draws from the box of each row"


def test_an_interrupted_fit_says_so_whichever_run_was_better():
    def stop(step):
        if (step.event, step.step) == ("validation", 0) and next(starts) == 1:
            raise KeyboardInterrupt

    starts = iter(range(9))
    model = FlowDensity(max_steps=40, random_state=0).fit(rng.normal(size=(300, 2)), progress=stop)
    assert model.history_.interrupted
    assert np.isfinite(model.score_samples([[0.0, 0.0]])).all()


def test_bounds_hold():
    x = rng.random((800, 1))
    model = FlowDensity(**SMALL, columns={"x0": "bounded:0:1"}, random_state=0).fit(x)
    drawn = model.sample(2000, random_state=0)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert model.score_samples([[-0.1], [1.1]]).tolist() == [-math.inf] * 2
    assert model.score(x) > -0.05, "the truth is 0"


def test_same_seed_same_model_and_global_streams_untouched():
    x = toy("moons").sample(300, generator=torch.Generator().manual_seed(0)).numpy()
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (FlowDensity(**SMALL, random_state=5).fit(x).score_samples(x) for _ in range(2))
    assert np.array_equal(first, second)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("features", [1, 2, 70, 1000])
def test_any_number_of_columns(features):
    x = rng.normal(size=(110, features))
    model = FlowDensity(max_steps=2, random_state=0).fit(x)
    assert np.isfinite(model.score_samples(x)).all()
    assert model.sample(2, random_state=0).shape == (2, features)
    assert np.allclose(model.inverse_transform(model.transform(x)), x, atol=1e-6)


@pytest.mark.parametrize("recipe", flows.names("tables"))
def test_every_recipe_fits(recipe):
    x = rng.normal(size=(120, 2))
    options = known(recipe, {"layers": 2, "hidden": (8,)})
    model = FlowDensity(recipe, flow_options=options, max_steps=3, random_state=0).fit(x)
    assert model.flow_.spec["recipe"] == recipe
    assert np.isfinite(model.score(x))


def test_a_recipe_for_other_data_is_refused():
    with pytest.raises(RecipeError, match="recipe for tables; got 'glow'"):
        FlowDensity("glow", max_steps=1).fit(rng.normal(size=(50, 2)))


def test_weights_leave_rows_out_and_count_them_twice():
    x = rng.normal(size=(60, 2))
    weight = rng.integers(0, 3, 60)
    weighted = FlowDensity(random_state=0).fit(x, sample_weight=weight)
    repeated = FlowDensity(random_state=0).fit(np.repeat(x, weight, axis=0))
    assert np.allclose(weighted.score_samples(x), repeated.score_samples(x), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match=r"non-zero|above 0"):
        FlowDensity().fit(x, sample_weight=np.zeros(60))


def test_bad_input():
    good = rng.normal(size=(20, 2))
    for value, words in ((np.nan, "NaN"), (np.inf, "inf"), (1e308, "1e\\+308")):
        bad = good.copy()
        bad[3, 1] = value
        with pytest.raises(DataError, match=f'column "x1"; got {words}.* in row 4'):
            FlowDensity().fit(bad)
    with pytest.raises(DataError, match='column "b"; got "u" in row 1'):
        FlowDensity().fit(pl.DataFrame({"a": [1.0, 2.0], "b": ["u", "v"]}))
    with pytest.raises(DataError, match="same values in every row"):
        FlowDensity().fit(np.ones((5, 2)))
    with pytest.raises(RecipeError, match='Did you mean "nsf"'):
        FlowDensity("nfs").fit(good)
    with pytest.raises(ConfigError, match="validation_fraction in"):
        FlowDensity(validation_fraction=1.0).fit(good)
    with pytest.raises(RecipeError):
        FlowDensity("nsf", flow_options={"layers": 0}).fit(good)
    model = FlowDensity(random_state=0).fit(good)
    with pytest.raises(ValueError, match="expecting 2 features"):
        model.score_samples(good[:, :1])
    assert np.isfinite(model.score_samples(np.full((1, 2), 1e6))).all()


def test_a_table_of_large_and_odd_numbers():
    x = rng.normal(size=(200, 4)) * [1e140, 1e-140, 1.0, 1e-3] + [0, 0, 1e9, 5]
    model = FlowDensity(max_steps=5, random_state=0).fit(x)
    assert np.isfinite(model.score_samples(x)).all()
    assert np.isfinite(model.sample(50, random_state=0)).all()
    gaussian = FlowDensity("maf", flow_options={"layers": 1}, max_steps=1, random_state=0).fit(x[:, 2:])
    exact = -0.5 * (x[:, 2] - 1e9) ** 2 - 0.5 * ((x[:, 3] - 5) * 1e3) ** 2 - math.log(2 * math.pi * 1e-3)
    assert gaussian.score(x[:, 2:]) == pytest.approx(exact.mean(), abs=0.05)


def test_linearly_dependent_columns_are_told_and_survived():
    a, b = rng.normal(size=(2, 200))
    x = np.column_stack([a, b, a - 3 * b])
    with pytest.warns(UserWarning, match="column 'x2' is a linear function of those before it"):
        model = FlowDensity(max_steps=20, random_state=0).fit(x)
    assert np.isfinite(model.score_samples(x)).all()
    assert np.allclose(model.sample(100, random_state=0) @ [1, -3, -1], 0, atol=0.1)


def test_searches_and_pipelines():
    x = rng.normal(size=(90, 2))
    search = GridSearchCV(FlowDensity(random_state=0), {"max_steps": [1, 5]}, cv=2).fit(x)
    assert search.best_params_["max_steps"] in (1, 5)
    assert cross_val_score(FlowDensity(random_state=0), x, cv=3).shape == (3,)
    assert make_pipeline(StandardScaler(), FlowDensity(random_state=0)).fit(x).score_samples(x).shape == (90,)


def test_seconds_to_spare_do_not_make_a_tiny_table_s_flow_train_longer():
    x = np.random.default_rng(0).normal(size=(60, 2))
    assert FlowDensity(max_seconds=2.0, random_state=0).fit(x).n_iter_ == FlowDensity(random_state=0).fit(x).n_iter_
