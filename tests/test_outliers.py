"""Strange rows are found at the rate that was promised, and the column at fault is named."""

import math
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy.stats import binom, norm
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from unwarp.cli import main
from unwarp.data import Column
from unwarp.errors import BundleError, ConfigError
from unwarp.estimators import FlowDensity, FlowOutlier
from unwarp.estimators._conditional import conditional
from unwarp.estimators._conformal import conformal, discoveries, within
from unwarp.flows import save
from unwarp.flows._bundle import load_with_config

PLAIN = Column(name="a")
FAST = {"flow": "maf", "flow_options": {"layers": 1, "hidden": (8,), "base": "mixture", "components": 1}}
FAST |= {"max_steps": 10, "random_state": 0}


UNLIKE_REPEATS = {
    f"check_sample_weight_equivalence_on_{kind}_data": "weights are the flow's; calibration and folds count rows"
    for kind in ("dense", "sparse")
}


@pytest.mark.slow
@parametrize_with_checks(
    [FlowOutlier(**FAST | {"random_state": None})], expected_failed_checks=lambda _: UNLIKE_REPEATS
)
def test_scikit_learn_agrees(estimator, check):
    check(estimator)


def normal(correlation):
    """Log density of two standard normal columns of some correlation."""
    rest = 1 - correlation**2
    return lambda x: -0.5 * (x[:, 0] ** 2 - 2 * correlation * x[:, 0] * x[:, 1] + x[:, 1] ** 2) / rest


@pytest.mark.parametrize("correlation", [0.0, 0.9, 0.999])
@pytest.mark.parametrize("own", [0.0, 1.0, 4.0, 30.0])
def test_one_normal_column_given_the_other_is_what_the_formula_says(correlation, own):
    drawn = np.random.default_rng(0).normal(size=4096)
    scale = math.sqrt(1 - correlation**2)
    other = np.array([-1.0, 0.5, 2.0])
    events = np.column_stack([correlation * other + own * scale, other])
    found = conditional(normal(correlation), events, 0, PLAIN, drawn)
    expected = -(math.log(2) + norm.logsf(own))
    np.testing.assert_allclose(found.surprise, expected, rtol=0.06, atol=0.12)
    np.testing.assert_allclose((found.likely - correlation * other) / scale, 0.0, atol=0.2)
    np.testing.assert_allclose((found.low - correlation * other) / scale, norm.ppf(0.05), atol=0.5)
    np.testing.assert_allclose((found.high - correlation * other) / scale, norm.ppf(0.95), atol=0.5)


def test_both_humps_count():
    def two(x):
        return np.logaddexp(norm.logpdf(x[:, 0], -5), norm.logpdf(x[:, 0], 5)) - math.log(2)

    drawn = np.random.default_rng(0).normal(size=4096) + np.repeat([-5, 5], 2048)
    found = conditional(two, np.array([[0.0], [5.0]]), 0, PLAIN, drawn)
    np.testing.assert_allclose(found.surprise, [-math.log(2 * norm.sf(5)) + math.log(2), 0.0], rtol=0.12, atol=0.1)


def test_a_column_of_few_values_is_summed():
    column = Column(name="n", kind="integer", step=1.0, origin=0.0, width=1.0, edge=0.5)
    weights = np.log(np.array([0.5, 0.3, 0.15, 0.05]))

    def four(x):
        place = np.round(x[:, 0]).astype(int)
        return np.where((place >= 0) & (place < 4), weights[np.clip(place, 0, 3)], -np.inf)

    found = conditional(four, np.array([[0.0], [2.0], [3.0], [9.0]]), 0, column, np.array([0.0, 1.0, 2.0, 3.0]))
    np.testing.assert_allclose(found.surprise[:3], -np.log([1.0, 0.2, 0.05]), atol=1e-6)
    assert found.surprise[3] > 100
    assert found.likely.tolist() == [0.0] * 4
    assert (found.low[0], found.high[0]) == (0.0, 2.0)


def test_p_values_count_calibration_rows():
    found = conformal(np.array([-9.0, 0.5, 1.0, 9.0]), np.array([0.0, 1.0, 2.0]))
    assert found.tolist() == [0.25, 0.5, 0.75, 1.0]


def test_discoveries_are_benjamini_hochberg_s():
    p = np.array([0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205])
    assert discoveries(p, 0.05).tolist() == [True, True] + [False] * 6
    assert not discoveries(np.array([0.5, 0.9]), 0.05).any()
    assert not discoveries(np.zeros(0), 0.05).any()


@pytest.mark.parametrize("features", [2, 8])
def test_few_rows_of_a_clean_table_are_found_and_all_strange_ones_of_another(features):
    rng = np.random.default_rng(0)
    false = [within(-0.5 * rng.chisquare(features, 1000), 0.05)[1].sum() for _ in range(100)]
    assert np.mean(np.array(false) > 0) < 0.3
    assert np.mean(false) < 1
    scores = -0.5 * rng.chisquare(features, 1000)
    scores[:40] = -rng.uniform(30, 60, 40)
    found = within(scores, 0.05)[1]
    assert found[:40].all()
    assert found[40:].sum() <= 6


def draw(rows, seed):
    """Three columns: the second goes with the first, the third is skewed."""
    x = np.random.default_rng(seed).normal(size=(rows, 3))
    x[:, 1] = 2 * x[:, 0] + 0.3 * x[:, 1]
    x[:, 2] = np.exp(0.5 * x[:, 2] + 0.3 * x[:, 0])
    return x


def frame(x):
    return pd.DataFrame(x, columns=["length", "width", "mass"])


@pytest.fixture(scope="module")
def spoilt():
    """Rows of which the first 15 have one wrong value."""
    rng = np.random.default_rng(5)
    x = draw(300, 1)
    x[:15, 1] += rng.uniform(4, 15, 15) * rng.choice([-1, 1], 15)
    return frame(x)


@pytest.fixture(scope="module")
def model(spoilt):
    return FlowOutlier(**FAST).fit(spoilt)


@pytest.mark.slow
def test_p_values_of_fresh_rows_are_uniform_and_predict_keeps_its_level():
    model = FlowOutlier(**FAST | {"max_steps": 200}).fit(draw(2400, 1))
    fresh = draw(4000, 2)
    p = model.p_values(fresh)
    for level in (0.01, 0.05, 0.2, 0.5, 0.9):
        noise = level * (1 - level) * (1 / 4000 + 1 / len(model.calibration_))
        assert abs(np.mean(p <= level) - level) < 4.9 * math.sqrt(noise)
    assert np.array_equal(model.predict(fresh) == -1, p <= 0.05)


@pytest.mark.slow
def test_the_share_of_false_ones_is_as_promised():
    model = FlowOutlier(**FAST | {"trim": 0.0}).fit(np.random.default_rng(0).normal(size=(4000, 3)))
    shares = []
    for seed in range(50):
        rng = np.random.default_rng([1, seed])
        x = rng.normal(size=(1000, 3))
        x[:100] += 6.0
        found = model.outliers(x)
        shares.append(found[100:].sum() / max(found.sum(), 1))
        assert found[:100].mean() > 0.9
    assert 0.02 < np.mean(shares) < 0.08  # one calibration for all 50


def test_wrong_values_are_found_among_the_rows_of_fit(model):
    found = model.outliers()
    assert found[:15].all()
    assert found[15:].sum() <= 4
    p = model.p_values()
    assert p.shape == (300,)
    assert p[:15].max() < np.quantile(p, 0.1)
    assert len(model.calibration_) <= 285


def test_scores_signs_and_p_values_agree(model, spoilt):
    scores, decisions = model.score_samples(spoilt), model.decision_function(spoilt)
    np.testing.assert_array_equal(decisions, scores - model.offset_)
    np.testing.assert_array_equal(model.predict(spoilt), np.where(decisions < 0, -1, 1))
    np.testing.assert_array_equal(model.predict(spoilt) == -1, model.p_values(spoilt) <= 0.05)
    assert binom.cdf((model.p_values(frame(draw(500, 7))) <= 0.05).sum(), 500, 0.05) < 1 - 1e-6


def test_the_column_at_fault_comes_first_with_what_was_usual(model, spoilt):
    why = model.explain(spoilt.iloc[:15])
    assert isinstance(why, pd.DataFrame)
    assert list(why.columns) == ["row", "column", "value", "surprise", "usual_low", "usual_high", "likely"]
    assert len(why) == 45
    first = why.groupby("row").head(1)
    assert (first["column"] == "width").mean() > 0.85
    length = spoilt["length"].to_numpy()[first["row"]]
    named = (first["column"] == "width").to_numpy()
    assert np.abs(first["likely"] - 2 * length)[named].max() < 1
    assert (first["usual_low"] < first["usual_high"]).all()
    assert (why.groupby("row")["surprise"].diff().dropna() <= 0).all()
    assert len(model.explain(spoilt.iloc[:4], why=1)) == 4


def test_answers_come_in_the_frames_of_the_question(model, spoilt):
    assert isinstance(model.explain(pl.from_pandas(spoilt[:2])), pl.DataFrame)
    assert isinstance(model.explain(pa.Table.from_pandas(spoilt[:2])), pa.Table)


def test_constants_copies_and_bounds_are_at_fault_when_they_break():
    x = draw(60, 1)
    table = pd.DataFrame({"a": x[:, 0], "b": 4.0, "c": x[:, 0], "d": np.abs(x[:, 2]) / 20})
    with pytest.warns(UserWarning, match="left out"):
        model = FlowOutlier(**FAST, columns={"d": "bounded:0:1"}, trim=0.0).fit(table)
    odd = table[:3].copy()
    odd.loc[0, "b"], odd.loc[1, "c"], odd.loc[2, "d"] = 5.0, 9.0, 1.5
    assert model.predict(odd).tolist() == [-1] * 3
    assert np.isneginf(model.score_samples(odd)).all()
    first = model.explain(odd, why=1)
    assert first["column"].tolist() == ["b", "c", "d"]
    assert np.isinf(first["surprise"]).all()
    assert first["likely"].tolist()[:2] == [4.0, odd["a"][1]]


@pytest.mark.parametrize("measure", ["log_prob", "typicality", "latent", "near", "broad", "columns", "background"])
def test_other_measures_find_far_rows_too(measure):
    model = FlowOutlier(**FAST, measure=measure, trim=0.0).fit(draw(200, 1))
    assert model.predict(np.array([[6.0, -9.0, 40.0], [0.0, 0.0, 1.0]]))[0] == -1


def test_a_saved_model_judges_alike_and_is_a_density_too(model, spoilt, tmp_path):
    path = tmp_path / "model.safetensors"
    model.save(path)
    again = FlowOutlier.load(path)
    np.testing.assert_allclose(again.p_values(spoilt), model.p_values(spoilt))
    assert again.offset_ == model.offset_
    np.testing.assert_allclose(FlowDensity.load(path).score_samples(spoilt), model.density_.score_samples(spoilt))
    with pytest.raises(ConfigError, match="p_values: expected rows; got none"):
        again.p_values()
    model.density_.save(path)
    with pytest.raises(BundleError, match="expected a model with calibration scores"):
        FlowOutlier.load(path)


def test_a_saved_measure_of_the_flow_alone_holds_no_rows(spoilt, tmp_path):
    model = FlowOutlier(**FAST, measure="log_prob", trim=0.0).fit(spoilt)
    model.save(tmp_path / "model.safetensors")
    assert load_with_config(tmp_path / "model.safetensors")[1]["training"]["outlier"]["views"] is None
    again = FlowOutlier.load(tmp_path / "model.safetensors")
    np.testing.assert_allclose(again.p_values(spoilt), model.p_values(spoilt))


@pytest.mark.parametrize("harm", [{"views": None}, {"reference": []}, {"reference": [[0.0]] * 3 + [[]]}])
def test_views_that_do_not_go_with_the_measure_are_refused(model, harm, tmp_path):
    path = tmp_path / "model.safetensors"
    model.save(path)
    flow, config = load_with_config(path)
    config["training"]["outlier"] |= harm
    save(flow, path, columns=config["columns"], training=config["training"])
    with pytest.raises(BundleError, match="expected a model with calibration scores"):
        FlowOutlier.load(path)


@pytest.mark.slow
def test_a_model_of_many_rows_has_room_in_its_file(tmp_path):
    x = np.random.default_rng(0).normal(size=(44_000, 20))
    model = FlowOutlier(**FAST, trim=0.0).fit(x)
    assert len(model.calibration_) > 9_000
    model.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(
        FlowOutlier.load(tmp_path / "model.safetensors").predict(x[:100]), model.predict(x[:100])
    )


def test_rows_of_no_weight_teach_nothing(spoilt):
    weight = np.where(np.arange(300) < 15, 0.0, 1.0)
    model = FlowOutlier(**FAST, trim=0.0).fit(spoilt, sample_weight=weight)
    clean = FlowOutlier(**FAST, trim=0.0).fit(spoilt, sample_weight=2 * weight)
    assert len(model.calibration_) == 285
    assert model.outliers()[:15].all()
    np.testing.assert_allclose(clean.score_samples(spoilt), model.score_samples(spoilt), atol=1e-2)
    with pytest.raises(ValueError, match="at least one non-zero"):
        model.fit(spoilt, sample_weight=np.zeros(300))


def test_an_ensemble_scores_by_its_mean_density(spoilt, tmp_path):
    model = FlowOutlier(**FAST, measure="log_prob", trim=0.0, ensemble=2).fit(spoilt)
    each = [member.score_samples(spoilt) for member in model.members_]
    np.testing.assert_allclose(model.score_samples(spoilt), np.logaddexp(*each) - np.log(2))
    assert not np.array_equal(*each)
    with pytest.raises(ConfigError, match="save: expected one flow; got 2"):
        model.save(tmp_path / "model.safetensors")


def test_pickles_and_clones(model, spoilt):
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.p_values(spoilt), model.p_values(spoilt))
    assert clone(model).get_params() == model.get_params()


@pytest.mark.parametrize(
    ("words", "match"),
    [({"measure": "odd"}, "measure"), ({"trim": 0.6}, "trim"), ({"level": 0}, "level"), ({"ensemble": 0}, "ensemble")],
)
def test_arguments_are_held_to_their_words(words, match):
    with pytest.raises(ConfigError, match=f"FlowOutlier: expected {match}"):
        FlowOutlier(**words).fit(np.zeros((3, 1)))


def test_an_fdr_out_of_range_is_refused(model):
    with pytest.raises(ConfigError, match="fdr above 0"):
        model.outliers(fdr=1.0)


def test_the_command_finds_explains_and_saves(spoilt, tmp_path, capsys):
    spoilt.to_csv(tmp_path / "data.csv", index=False)
    words = [str(tmp_path / "data.csv"), "-o", str(tmp_path / "strange.csv")]
    made = ["--steps", "10", "--save", str(tmp_path / "model.safetensors")]
    assert main(["outliers", *words, "--why", "2", *made]) == 0
    assert "300 rows, " in capsys.readouterr().out
    lines = pd.read_csv(tmp_path / "strange.csv")
    assert list(lines.columns)[:5] == ["row", "p_value", "column", "value", "surprise"]
    assert (lines.groupby("row").size() == 2).all()
    assert len(set(lines["row"]) & set(range(1, 16))) >= 12
    again = ["--model", str(tmp_path / "model.safetensors"), "--json", "--fdr", "0.2"]
    assert main(["outliers", *words, *again]) == 0
    assert '"event": "result"' in capsys.readouterr().out


def test_the_command_fails_in_one_line(tmp_path, capsys):
    (tmp_path / "data.csv").write_text("a,b\n1,x\n1,x\n")
    here, out = str(tmp_path / "data.csv"), str(tmp_path / "out.csv")
    for words, code in (
        ([here, "-o", out], 3),
        ([here, "-o", here], 2),
        ([here, "-o", out, "--fdr", "2"], 2),
        ([here, "-o", out, "--model", here], 4),
    ):
        assert main(["outliers", *words]) == code
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "out.csv").exists()
