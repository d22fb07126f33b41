"""Synthetic rows are judged as SDMetrics does, copies are found, and the page says so."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from test_report import Page
from unwarp import plots, report
from unwarp.applications import judge
from unwarp.cli import main
from unwarp.errors import ConfigError, DataError, ShapeError
from unwarp.estimators import FlowDensity, FlowTable


def trees(seed, rows):
    """Numbers, whole numbers, categories, truth values and dates, with missing cells."""
    rng = np.random.default_rng(seed)
    size = rng.normal(10, 3, rows)
    kind = np.where(size + rng.normal(0, 2, rows) > 11, "oak", "elm")
    shade = np.where(rng.random(rows) < 0.8, np.where(kind == "oak", "dark", "light"), "none")
    table = pd.DataFrame(
        {
            "size": size,
            "girth": size * (1 + 0.3 * seed) + rng.normal(0, 2, rows),
            "rings": rng.integers(1, 40, rows),
            "kind": kind,
            "shade": shade,
            "felled": rng.random(rows) < 0.3 + 0.2 * seed,
            "seen": np.datetime64("2020-01-01") + rng.integers(0, 900, rows).astype("timedelta64[D]"),
        }
    )
    table.loc[rng.random(rows) < 0.1, "girth"] = np.nan
    table.loc[rng.random(rows) < 0.1, "shade"] = None
    return table


REAL, OTHER, FRESH = trees(0, 400), trees(1, 300), trees(0, 1_000).iloc[400:]


def test_scores_are_those_of_sdmetrics():
    """The figures are what SDMetrics 0.32.0 gives for these tables, and 0.25.0 for those over all pairs."""
    found = judge(REAL, OTHER)
    assert found.quality == pytest.approx(0.8513389603153025, abs=1e-12)
    assert found.trends == pytest.approx(0.8002134183935546, abs=1e-12)
    assert found.quality_all == pytest.approx(0.8770853607245062, abs=1e-12)
    assert found.trends_all == pytest.approx(0.8517062192119618, abs=1e-12)
    assert found.diagnostic == pytest.approx(0.9984440344403445, abs=1e-12)
    shapes = [0.9058333333333334, 0.7103008318218775, 0.9591666666666667, 0.99, 0.948617350504143, 0.8483333333333333]
    assert [column.shape for column in found.columns] == pytest.approx([*shapes, 0.955], abs=1e-9)
    related = {f"{pair.first} {pair.second}": (pair.score, pair.strength) for pair in found.pairs if pair.related}
    assert set(related) == {"size girth", "size kind", "size shade", "girth kind", "girth shade", "kind shade"}
    assert related["size girth"] == pytest.approx((0.981281, 0.830461), abs=1e-6)
    assert related["girth shade"] == pytest.approx((0.7775, 0.305698), abs=1e-6)
    assert [column.kind for column in found.columns] == [
        "number", "number", "whole", "category", "category", "boolean", "date",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_scores_are_those_of_the_installed_sdmetrics():
    pytest.importorskip("sdmetrics", reason="the figures of the test above stand for it")
    from sdmetrics.reports.single_table import DiagnosticReport, QualityReport

    kinds = ["numerical"] * 3 + ["categorical"] * 2 + ["boolean", "datetime"]
    metadata = {"columns": {name: {"sdtype": kind} for name, kind in zip(REAL, kinds, strict=True)}}
    found, theirs = judge(REAL, OTHER), QualityReport()
    theirs.generate(REAL.copy(), OTHER.copy(), metadata, verbose=False)
    ours = found.quality if "Meets Threshold?" in theirs.get_details("Column Pair Trends") else found.quality_all
    assert ours == pytest.approx(theirs.get_score(), abs=1e-12)
    theirs = DiagnosticReport()
    theirs.generate(REAL.copy(), OTHER.copy(), metadata, verbose=False)
    assert found.diagnostic == pytest.approx(theirs.get_score(), abs=1e-12)


@pytest.mark.parametrize("make", [pl.from_pandas, pa.Table.from_pandas, lambda table: pl.from_pandas(table).lazy()])
def test_every_kind_of_frame_is_judged_alike(make):
    wanted = judge(REAL, OTHER, holdout=FRESH)
    assert judge(make(REAL), make(OTHER), holdout=make(FRESH)).to_json() == wanted.to_json()


def test_arrays_are_tables_of_numbers():
    rng = np.random.default_rng(0)
    found = judge(rng.normal(size=(300, 2)), rng.normal(size=(200, 2)))
    assert [column.name for column in found.columns] == ["x0", "x1"]
    assert found.shapes > 0.85


def test_judging_is_repeatable_and_leaves_its_inputs_alone():
    real, other = REAL.copy(), OTHER.copy()
    first = judge(real, other, holdout=FRESH, target="kind", rows=100, seed=3)
    assert first.to_json() == judge(real, other, holdout=FRESH, target="kind", rows=100, seed=3).to_json()
    assert first.to_json() != judge(real, other, holdout=FRESH, target="kind", rows=100, seed=4).to_json()
    assert first.sampled == 100 and len(first.columns[0].real) == 100
    pd.testing.assert_frame_equal(real, REAL)
    pd.testing.assert_frame_equal(other, OTHER)


def test_fresh_rows_pass():
    found = judge(REAL, FRESH.iloc[:300], holdout=FRESH.iloc[300:])
    assert found.quality > 0.85 and found.structure == 1 and found.validity > 0.99
    assert found.quality == pytest.approx(found.ceiling, abs=0.03)
    assert abs(found.closest.share - 0.5) < 3 * found.closest.error
    assert found.duplicates.share == found.duplicates.base == 0
    assert any("no sign" in text for text in found.findings)


def test_copies_are_found():
    """Copied and slightly moved rows have the best scores of all; distances and repeated rows give them away."""
    copies = judge(REAL, REAL.sample(300, random_state=0), holdout=FRESH)
    assert copies.quality > 0.95 and copies.duplicates.share == 1.0 and copies.closest.share > 0.95
    assert any("more than chance" in text for text in copies.findings)
    assert any("follow single training rows" in text for text in copies.findings)
    moved = REAL.assign(size=REAL["size"] + 1e-3)
    found = judge(REAL, moved, holdout=FRESH)
    assert found.duplicates.share == 0.0 and found.closest.share > 0.95


def test_the_base_rate_of_repeated_rows():
    rng = np.random.default_rng(0)
    dice = [pd.DataFrame({"a": rng.integers(1, 7, n), "b": rng.integers(1, 7, n)}) for n in (60, 1_000, 1_000)]
    found = judge(dice[0], dice[1], holdout=dice[2])
    assert found.duplicates.share == pytest.approx(found.duplicates.base, abs=0.06) and found.duplicates.base > 0.5
    assert not any("more than chance" in text for text in found.findings)
    assert abs(found.closest.share - 0.5) < 0.06  # ties count half
    alone = judge(dice[0], dice[1])
    assert alone.closest.share is None and 0 < alone.duplicates.base < 1


def test_distances_are_means_over_columns():
    """By hand: a gap as a share of the range, 1 for another category, and 1 where just one cell is missing."""
    real = pd.DataFrame({"a": [0.0, 10.0, 10.0, 0.0], "b": ["x", "x", "x", "x"], "c": [None, 1.0, 2.0, None]})
    one = pd.DataFrame({"a": [1.0], "b": ["y"], "c": [None]})
    found = judge(real, one, holdout=real)
    assert found.closest.synthetic.tolist() == pytest.approx([(0.1 + 1 + 0) / 3], abs=1e-6)
    assert found.closest.fresh.tolist() == [0, 0, 0, 0]


def test_what_cannot_be_real_is_told():
    other = FRESH.head(300).reset_index(drop=True)
    other.loc[:29, "kind"] = "ash"
    other["rings"] = other["rings"] + 0.5
    other.loc[:14, "size"] = 1e6
    other["felled"] = other["felled"].astype(object).where(other.index > 0, None)
    found = judge(REAL, other[["girth", "size", "rings", "kind", "felled", "seen"]].assign(more=1))
    of = {column.name: column for column in found.columns}
    assert of["kind"].adherence == pytest.approx(0.9)
    assert of["size"].adherence <= 0.95
    assert of["felled"].adherence < 1.0
    assert not of["rings"].same_type and of["kind"].same_type
    assert found.structure == pytest.approx(5 / 9)
    assert (found.lacking, found.extra, found.same_order) == (("shade",), ("more",), False)
    told = " ".join(found.findings)
    for words in ("lacks shade", "has more beyond", "another type in rings", "kind no category", "another order"):
        assert words in told


def test_missing_cells_at_another_rate_are_told():
    other = FRESH.assign(girth=None)
    found = judge(REAL, other)
    assert found.missing < 0.9
    assert any("most of all in girth (100.0 % instead of" in text for text in found.findings)
    assert np.isnan(found.columns[1].shape)


def test_columns_of_another_type_are_read_where_they_can_be():
    text = OTHER.astype({"size": str, "felled": str, "rings": str}).assign(seen=OTHER["seen"].dt.strftime("%Y-%m-%d"))
    text.loc[0, "rings"] = "many"
    found, wanted = judge(REAL, text), judge(REAL, OTHER)
    for name in ("size", "felled", "seen"):
        place = list(REAL).index(name)
        assert found.columns[place].shape == pytest.approx(wanted.columns[place].shape)
        assert not found.columns[place].same_type
    assert found.columns[2].adherence == pytest.approx(1 - 1 / 300)
    numbers = judge(pd.DataFrame({"a": ["1", "2"] * 9}), pd.DataFrame({"a": [1.0, 2.0] * 9}))
    assert numbers.shapes == 1.0 and not numbers.columns[0].same_type


def test_odd_columns_are_judged():
    rng = np.random.default_rng(0)
    odd = pd.DataFrame(
        {
            "constant": np.ones(200),
            "missing": [None] * 200,
            "infinite": np.where(rng.random(200) < 0.1, np.inf, rng.normal(size=200)),
            "huge": rng.normal(size=200) * 1e140,
            "mixed": [1, "a", 2.5, None] * 50,
            "long": [f"row {i}" for i in range(200)],
            "time": [pd.Timestamp("2020-01-01 08:00") + pd.Timedelta(minutes=i) for i in range(200)],
            "wait": [pd.Timedelta(minutes=i) for i in range(200)],
            "grade": pd.Categorical(["low", "high"] * 100, categories=["low", "high"], ordered=True),
        }
    )
    found = judge(odd, odd.iloc[:100], holdout=odd, target="huge")
    json.dumps(found.to_json(), allow_nan=False)
    assert found.structure == 1.0 and found.validity == 1.0
    kinds = {column.name: column.kind for column in found.columns}
    assert [kinds[name] for name in ("constant", "missing", "time", "wait", "grade")] == [
        "whole", "category", "date", "date", "category",
    ]  # fmt: skip
    assert "Each column" in report.render_synthetic(found)
    one = judge(odd.iloc[:1], odd.iloc[:1])
    assert one.diagnostic == 1.0 and "Each column" in report.render_synthetic(one)


@pytest.mark.parametrize(("target", "name", "task"), [
    ("kind", "AUROC", "classification"), ("shade", "AUROC", "classification"), ("felled", "AUROC", "classification"),
    ("girth", "R2", "regression"),
])  # fmt: skip
def test_usefulness_is_that_of_real_rows_when_the_rows_are_real(target, name, task):
    found = judge(REAL, FRESH.iloc[:300], holdout=FRESH.iloc[300:], target=target).utility
    synthetic, real = found.scores[name]
    assert found.task == task and 200 < found.rows <= 300
    assert synthetic == pytest.approx(real, abs=0.25)
    if target in ("kind", "girth"):
        assert synthetic > 0.5


def test_shuffled_columns_are_useless():
    rng = np.random.default_rng(0)
    shuffled = pd.DataFrame({name: REAL[name].to_numpy()[rng.permutation(len(REAL))] for name in REAL})
    found = judge(REAL, shuffled, holdout=FRESH, target="kind")
    synthetic, real = found.utility.scores["AUROC"]
    assert real > 0.85 and synthetic < 0.7
    assert found.trends < 0.8 < found.shapes


def test_usefulness_of_one_class_and_without_a_holdout():
    found = judge(REAL, OTHER.assign(kind="oak"), holdout=FRESH, target="kind").utility
    assert found.scores["AUROC"][0] == 0.5
    assert judge(REAL.assign(kind="oak"), OTHER, target="kind").utility is None
    assert judge(REAL, OTHER, target="kind").utility.tested == 100


class Scores:
    """A model that gives each row what is in its column size."""

    def score_samples(self, X):
        return np.where(X["size"] > 10, X["size"], -np.inf)


def test_likelihood_of_the_holdout():
    found = judge(REAL, OTHER, holdout=FRESH, model=Scores()).likelihood
    known = FRESH["size"][FRESH["size"] > 10]
    assert (found.mean, found.rows, found.impossible) == (pytest.approx(known.mean()), 600, 600 - len(known))
    assert found.error == pytest.approx(known.std() / np.sqrt(len(known)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: judge(REAL, OTHER, model=Scores()), ConfigError, "holdout beside the model"),
        (lambda: judge(REAL, OTHER, target="no"), ConfigError, "got 'no'"),
        (lambda: judge(REAL, OTHER[[]]), DataError, "rows and columns in synthetic"),
        (lambda: judge(REAL.iloc[:0], OTHER), DataError, "rows and columns in real"),
        (lambda: judge(REAL, OTHER.add_prefix("x")), DataError, "a column that both tables have"),
        (lambda: judge(REAL, OTHER, holdout=FRESH.drop(columns="kind")), DataError, 'none named "kind"'),
        (lambda: judge(REAL, [1, 2]), DataError, "got list"),
        (lambda: judge(REAL, pa.table([[1], [2]], names=["a", "a"])), DataError, "a plain table"),
    ],
)
def test_misuse_is_told(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_page_shows_all_and_fetches_nothing():
    evil = "<script>alert('$x')</script>"
    tables = [table.rename(columns={"kind": evil}).replace("oak", evil) for table in (REAL, OTHER, FRESH)]
    found = judge(tables[0], tables[1], holdout=tables[2], target=evil)
    text = report.render_synthetic(found, title=evil, source=evil, card={evil: evil})
    parsed = Page(text)
    assert not {"script", "link", "iframe", "object", "embed"} & set(parsed.tags)
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in parsed.links)
    assert re.findall(r"<h2>(.*?)</h2>", text) == [
        "What was found", "Scores", "Each column", "Furthest off", "Closest rows", "Columns in numbers",
        "How this was measured",
    ]  # fmt: skip
    assert parsed.tags.count("svg") == 2
    assert text == report.render_synthetic(found, title=evil, source=evil, card={evil: evil})


def test_pictures_of_columns():
    rng = np.random.default_rng(0)
    data = {"kind": rng.integers(0, 12, 600), "size": rng.normal(size=600) * 1e6, "seen": REAL["seen"].to_numpy()}
    axes = plots.columns(data, data, levels={"kind": [f"a very long level {k}" for k in range(12)]})
    labels = [text.get_text() for text in axes[0].get_yticklabels()]
    assert len(labels) == 8 and labels[-1] == "5 more"
    assert sum(bar.get_width() for bar in axes[0].containers[0]) == pytest.approx(1.0)
    axes[0].figure.canvas.draw()
    assert any(text.get_text().endswith("M") for text in axes[1].get_xticklabels())
    assert any(re.fullmatch(r"20\d\d(-\d\d)?", text.get_text()) for text in axes[2].get_xticklabels())
    ax = plots.closest(np.full(10, 0.0), np.linspace(0, 1, 100))
    assert ax.containers[0][0].get_height() < 0.1 < ax.patches[-1].get_xy()[:, 1].max()
    with pytest.raises(ShapeError, match="in samples"):
        plots.columns(data, {"kind": [0]})


def test_bars_of_a_grid_hold_as_many_points_each():
    """Whole numbers over more levels than bars would otherwise stand in stripes."""
    ages = np.arange(17, 91).repeat(20).astype(float)
    axes = plots.columns({"age": ages}, {"age": ages})
    heights = [bar.get_height() for bar in axes[0].containers[0]]
    assert np.ptp(heights[1:-2]) == pytest.approx(0.0)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    REAL.to_csv("real.csv", index=False)
    OTHER.to_csv("synth.csv", index=False)
    FRESH.to_parquet("test.parquet", index=False)


def test_the_command_writes_the_page(files, capsys):
    words = ["report", "real.csv", "--synthetic", "synth.csv", "--holdout", "test.parquet", "--target", "kind"]
    assert main([*words, "-o", "page.html", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["quality"] == pytest.approx(0.8513389603153025)
    assert facts["utility"]["target"] == "kind" and facts["closest"]["share"] is not None
    assert "synth.csv" in Path("page.html").read_text(encoding="utf-8")
    assert main(["report", "real.csv", "--synthetic", "synth.csv", "-o", "page.html"]) == 0
    assert "cannot be said without a holdout" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    "estimator", [FlowDensity("realnvp", max_steps=2), FlowTable(max_steps=2)], ids=["numbers", "any"]
)
def test_the_command_scores_the_holdout_with_a_model(files, capsys, estimator):
    estimator.fit(REAL[["size", "rings"]] if isinstance(estimator, FlowDensity) else REAL).save("m.safetensors")
    words = ["--synthetic", "synth.csv", "--holdout", "test.parquet", "-m", "m.safetensors", "-o", "page.html"]
    assert main(["report", "real.csv", *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["likelihood"]["rows"] == 600


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["-o", "p.html"], 2, "expected a model or synthetic rows"),
        (["-o", "p.html", "--target", "kind"], 2, "mixed columns, beside --target"),
        (["-o", "p.html", "--holdout", "test.parquet"], 2, "mixed columns, beside --holdout"),
        (["-o", "synth.csv", "--synthetic", "synth.csv"], 2, ".html"),
        (["-o", "p.html", "--synthetic", "nothing.csv"], 3, "expected a file"),
        (["-o", "p.html", "--synthetic", "synth.csv", "--target", "no"], 2, "expected a target"),
    ],
)
def test_misuse_of_the_command_is_told(files, capsys, words, code, message):
    assert main(["report", "real.csv", *words]) == code
    assert message in capsys.readouterr().err
    assert not Path("p.html").exists()
