"""The commands on tables with columns of any kind."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unwarp.cli import main
from unwarp.data import read_table, write_table
from unwarp.errors import ConfigError
from unwarp.estimators import FlowTable, TableOutlier, load_estimator

FAST = ["--steps", "30"]
NAMES = ["kind", "weight", "young", "born", "age", "shop"]


def pets(rows=120, gaps=0.1):
    rng = np.random.default_rng(0)
    kind = rng.choice(["cat", "dog", "a=b|c"], rows, p=[0.5, 0.3, 0.2])
    weight = np.where(kind == "cat", 4.0, 20.0) + rng.normal(size=rows)
    born = np.datetime64("2020-01-01") + rng.integers(0, 300, rows)
    return pa.table(
        {
            "kind": pa.array(kind, mask=rng.random(rows) < gaps),
            "weight": weight.round(2),
            "young": pa.array(rng.random(rows) < 0.4, mask=rng.random(rows) < gaps),
            "born": born.astype("datetime64[D]"),
            "age": pa.array(rng.integers(0, 15, rows), mask=rng.random(rows) < gaps),
            "shop": ["main street"] * rows,
        }
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a table as CSV and Parquet, and a model of it."""
    folder = tmp_path_factory.mktemp("pets")
    write_table(folder / "pets.csv", pets())
    write_table(folder / "pets.parquet", pets())
    assert main(["fit", str(folder / "pets.csv"), "-o", str(folder / "pets.safetensors"), *FAST]) == 0
    return folder


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a command in a folder of its own; gives exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UNWARP_DEBUG", raising=False)

    def run(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


def fails(result, code, *parts):
    found, out, err = result
    lines = err.splitlines()
    assert found == code, err
    assert len(lines) == 1, err
    assert all(part in lines[0] for part in parts), err
    assert out == ""
    return True


# fit


def test_a_table_that_is_not_all_numbers_is_told_and_fitted_whole(run, home):
    code, out, err = run("fit", home / "pets.csv", "-o", "m.safetensors", *FAST, "--members", 2)
    assert (code, err) == (0, "")
    first, *rest = out.splitlines()
    assert first.startswith("mixed columns, as column 'kind' holds text and gaps (and 4 more")
    for line in ("kind: categorical", "young: boolean", "born: date", "age: integer", "shop: constant"):
        assert any(line in one for one in rest), line
    model = load_estimator("m.safetensors")
    assert isinstance(model, FlowTable)
    assert model.model_.members == 2


def test_numbers_alone_go_to_a_flow_unless_asked_otherwise(run):
    pd.DataFrame({"a": np.random.default_rng(0).normal(size=60), "b": range(60)}).to_csv("t.csv", index=False)
    code, out, _ = run("fit", "t.csv", "-o", "m.safetensors", "--steps", 3)
    assert code == 0
    assert "mixed" not in out
    for words in (["--flow", "mixed"], ["--categorical", "b"]):
        code, out, _ = run("fit", "t.csv", "-o", "m.safetensors", "--steps", 3, *words)
        assert code == 0
        assert f"as {words[0]}" in out
        assert isinstance(load_estimator("m.safetensors"), FlowTable)


def test_truth_values_are_no_numbers_to_the_automatic_choice(run):
    table = pa.table({"a": np.random.default_rng(0).normal(size=60), "b": [True, False] * 30})
    for name in ("t.csv", "t.parquet"):
        write_table(name, table)
        assert "column 'b' holds truth values" in run("fit", name, "-o", "m.safetensors", "--steps", 3)[1]
        assert "mixed" not in run("fit", name, "-o", "m.safetensors", "--steps", 3, "--flow", "nice")[1]


def test_a_flow_for_numbers_refuses_other_columns_and_says_what_would_not(run, home):
    words = ["fit", home / "pets.csv", "-o", "m.safetensors", "--flow", "nsf"]
    assert fails(run(*words), 3, 'column "kind"', "line 2", "Without --flow nsf")
    words[1] = home / "pets.parquet"
    assert fails(run(*words), 3, 'column "kind"', "Without --flow nsf")


def test_a_word_among_numbers_is_told_with_its_line(run):
    Path("t.csv").write_text("a,b\n" + "".join(f"{i},{i * 7 % 50}.5\n" for i in range(60)) + "oak,1\n")
    assert fails(run("fit", "t.csv", "-o", "m.safetensors"), 3, 'column "a"', '"oak"', "line 62", '--categorical "a"')
    Path("t.csv").write_text("k,a\n" + "".join(f"x{i % 3},{i}.5\n" for i in range(60)) + "y,oak\n")
    assert fails(run("fit", "t.csv", "-o", "m.safetensors"), 3, 't.csv: expected numbers in column "a"', '"oak"')


def test_every_kind_can_be_declared(run):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "angle": rng.uniform(0, 360, 80),
            "zip": rng.choice([10001, 10002, 10003], 80),
            "size": rng.choice(["S", "M", "L"], 80),
            "a:b": rng.choice(["low", "high"], 80),
            "level": rng.choice([1, 2, 3], 80),
            "told": rng.choice([0, 1], 80),
            "day": np.datetime64("2024-01-01") + rng.integers(0, 90, 80).astype("timedelta64[D]"),
        }
    )
    frame.to_csv("t.csv", index=False)
    words = ["--periodic", "angle:0:360", "--categorical", "zip", "--ordinal", "size:S<M<L", "--ordinal", "level"]
    words += ["--ordinal", "a:b:low<high", "--boolean", "told", "--date", "day"]
    code, out, err = run("fit", "t.csv", "-o", "m.safetensors", "--steps", 2, *words)
    assert code == 0, err
    for line in (
        "angle: periodic 0 to 360", "zip: categorical", 'size: ordinal, "S" < "M" < "L"', "level: ordinal",
        'a:b: ordinal, "low" < "high"', "told: boolean", "day: date",
    ):  # fmt: skip
        assert line in out, line


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_columns_are_shown_written_edited_and_read(run, home, suffix):
    code, out, err = run("show", home / "pets.csv", "-o", f"c.{suffix}")
    assert (code, err) == (0, "")
    assert "every row holds this value" in out
    text = Path(f"c.{suffix}").read_text(encoding="utf-8")
    Path(f"c.{suffix}").write_text(text.replace("every row holds this value", "as I said"))
    code, out, _ = run("fit", home / "pets.csv", "-o", "m.safetensors", "--steps", 2, "--columns", f"c.{suffix}")
    assert code == 0
    assert "as --columns asks for it" in out
    assert "as I said" in out
    assert "as I said" in run("show", "m.safetensors", "-o", "again.toml")[1]
    assert "as I said" in Path("again.toml").read_text()
    assert json.loads(run("show", home / "pets.csv", "--json")[1])["columns"][0]["name"] == "kind"


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        (["--flow", "nsf", "--categorical", "kind"], 2, ["--categorical", "--flow nsf"]),
        (["--members", "0"], 2, ["--members"]),
        (["--columns", "none.toml"], 3, ["none.toml"]),
        (["--columns", "c.yaml"], 3, ["c.yaml", ".toml or .json"]),
        (["--columns", "bad.toml"], 3, ["bad.toml"]),
        (["--columns", "c.toml", "--real", "weight"], 2, ["--columns"]),
        (["--columns", "other.toml"], 3, ['"wheels"']),
        (["--ordinal", "<a"], 2, ["--ordinal"]),
        (["--ordinal", "kind:cat<dog"], 3, ['"kind"', "a=b|c"]),
        (["--periodic", "weight:0"], 2, ["--periodic COLUMN:LOW:HIGH"]),
        (["--date", "kind"], 3, ['"kind"', "dates"]),
        (["--boolean", "kind"], 3, ['"kind"', "two values"]),
        (["--boolean", "none"], 3, ['"none"']),
        (["--boolean", "kind", "--date", "kind"], 2, ["'kind'", "one kind"]),
    ],
    ids=lambda value: "-".join(value)[:50] if isinstance(value, list) else None,
)
def test_wishes_that_cannot_be(run, home, words, code, parts):
    run("show", home / "pets.csv", "-o", "c.toml")
    Path("bad.toml").write_text("[[columns]]\nname = 3\n")
    Path("other.toml").write_text('[[columns]]\nname = "wheels"\n')
    assert fails(run("fit", home / "pets.csv", "-o", "m.safetensors", *FAST, *words), code, *parts)
    assert not Path("m.safetensors").exists()


# score, sample, show, check


def test_scores_are_those_of_python_from_either_file_and_in_parts(run, home, monkeypatch):
    monkeypatch.setattr("unwarp.estimators._scores._BATCH", 7)
    wanted = load_estimator(home / "pets.safetensors").score_samples(pets())
    for name in ("pets.csv", "pets.parquet"):
        assert run("score", home / name, "-m", home / "pets.safetensors", "-o", "s.parquet")[0] == 0
        assert read_table("s.parquet")["log_prob"].to_numpy() == pytest.approx(wanted, abs=1e-9)
        folder = name.replace(".", "_")
        assert run("score", home / name, "-m", home / "pets.safetensors", "-o", folder, "--part", 50)[0] == 0
        assert run("verify", folder, "--data", home / name)[0] == 0
        assert pq.read_table(folder)["log_prob"].to_numpy() == pytest.approx(wanted, abs=1e-9)


def test_levels_never_seen_are_warned_of_once_with_their_row(run, home, monkeypatch):
    monkeypatch.setattr("unwarp.estimators._scores._BATCH", 10)
    frame = pets().to_pandas()
    frame.loc[[33, 55], "kind"] = "ox"
    frame.to_csv("t.csv", index=False)
    code, _, err = run("score", "t.csv", "-m", home / "pets.safetensors", "-o", "s.csv")
    assert code == 0
    assert len(err.splitlines()) == 1
    assert '"ox" of column "kind" in row 34' in err


@pytest.mark.parametrize(
    ("column", "cell", "parts"),
    [("weight", "heavy", ['"weight"', "heavy", "row 34"]), ("born", "2020-02-31", ['"born"', "2020-02-31", "row 34"])],
)
def test_cells_of_another_kind_are_told_with_their_place(run, home, monkeypatch, column, cell, parts):
    monkeypatch.setattr("unwarp.estimators._scores._BATCH", 10)
    frame = pets().to_pandas().astype(object)
    frame.loc[33, column] = cell
    frame.to_csv("t.csv", index=False)
    assert fails(run("score", "t.csv", "-m", home / "pets.safetensors", "-o", "s.csv"), 3, *parts)
    assert not Path("s.csv").exists()


def test_float32_is_for_flows(run, home):
    words = ["score", home / "pets.csv", "-m", home / "pets.safetensors", "-o", "s.csv", "--float32"]
    assert fails(run(*words), 2, "float64", "--float32")


def test_samples_have_the_columns_types_and_levels_of_the_table(run, home):
    for name in ("a.csv", "a.parquet"):
        code, out, _ = run("sample", "-m", home / "pets.safetensors", "-n", 50, "-o", name, "--seed", 3)
        assert code == 0
        assert "50 rows" in out
    table, real = pq.read_table("a.parquet"), read_table(home / "pets.csv", kinds="any")
    assert table.schema.names == NAMES
    assert table.schema.types == real.schema.types
    assert read_table("a.csv", kinds="any").to_pydict() == table.to_pydict()
    assert set(table["kind"].to_pylist()) <= {"cat", "dog", "a=b|c"}
    assert set(table["shop"].to_pylist()) == {"main street"}


def test_samples_agree_with_what_is_given(run, home):
    def drawn(*given):
        words = [word for one in given for word in ("--given", one)]
        assert run("sample", "-m", home / "pets.safetensors", "-n", 20, "-o", "a.parquet", *words)[0] == 0
        return pq.read_table("a.parquet").to_pandas()

    assert set(drawn("kind=a=b|c")["kind"]) == {"a=b|c"}
    assert set(drawn("kind=cat|dog", "young=true")["young"]) == {True}
    found = drawn("age=3:5", "born=2020-02-01:2020-03-01", "weight=4:")
    assert found["age"].between(3, 5).all()
    assert pd.to_datetime(found["born"]).between("2020-02-01", "2020-03-01").all()
    assert (found["weight"] >= 4).all()
    assert set(drawn("age=7")["age"]) == {7}


@pytest.mark.parametrize(
    ("given", "code", "parts"),
    [
        ("kind", 2, ["COLUMN=VALUE"]),
        ("kind=", 2, ["COLUMN=VALUE"]),
        ("knd=cat", 3, ['"knd"', '"kind"']),
        ("kind=ox", 3, ["'cat'", "'ox'"]),
        ("kind=cat|ox", 3, ["'ox'"]),
        ("young=maybe", 3, ["'maybe'"]),
        ("age=old", 3, ["a number", "'old'"]),
        ("age=5:3", 3, ["low <= high"]),
        ("born=soon", 3, ["a date", "'soon'"]),
        ("shop=main street", 3, ['"shop"']),
    ],
)
def test_what_cannot_be_given(run, home, given, code, parts):
    assert fails(run("sample", "-m", home / "pets.safetensors", "-o", "a.csv", "--given", given), code, *parts)


def test_show_gives_columns_and_reasons(run, home):
    code, out, _ = run("show", home / "pets.safetensors")
    assert code == 0
    for word in ("mixed of 5 features", "digests ok", "of the cells are missing", "seed 0"):
        assert word in out
    assert "cells=" not in out


def test_check_reports_on_a_mixed_model(run, home):
    code, out, err = run("check", home / "pets.safetensors", "--data", home / "pets.csv")
    assert (code, err) == (0, ""), out
    assert "6 laws hold, 0 broken" in out
    assert "120 of 120 rows are possible" in out


# complete, report


@pytest.mark.parametrize("name", ["pets.csv", "pets.parquet"])
def test_complete_fills_gaps_and_keeps_the_rest(run, home, name):
    table = read_table(home / name, kinds="any").append_column("note", pa.array(["x", None] * 60))
    write_table(name, table)
    out = f"out{Path(name).suffix}"
    code, told, err = run("complete", name, "-m", home / "pets.safetensors", "-o", out, "--copies", 2)
    assert (code, err) == (0, "")
    assert "2 copies" in told
    found = read_table(out, kinds="any")
    assert found.column_names == ["copy", *NAMES, "note"]
    assert found["copy"].to_pylist() == [1] * 120 + [2] * 120
    for part in (found.slice(0, 120), found.slice(120)):
        for column in NAMES:
            known = table[column].is_valid()
            assert part[column].null_count == 0
            assert part[column].filter(known).to_pylist() == table[column].filter(known).to_pylist()
        assert part["note"].to_pylist() == table["note"].to_pylist()
    assert found["age"].slice(0, 120).to_pylist() != found["age"].slice(120).to_pylist()


def test_complete_takes_a_column_without_any_cell(run, home):
    names = ["age", "kind", "weight"]  # that of weight had no gaps in the fit
    pets().to_pandas().assign(**dict.fromkeys(names)).to_csv("t.csv", index=False)
    assert run("complete", "t.csv", "-m", home / "pets.safetensors", "-o", "out.csv")[0] == 0
    found = read_table("out.csv", kinds="any")
    assert found.column_names == NAMES
    assert {name: found[name].null_count for name in NAMES} == dict.fromkeys(NAMES, 0)


def test_complete_wants_a_mixed_model_and_room_for_its_column(run, home):
    pd.DataFrame(np.random.default_rng(0).normal(size=(40, 2)), columns=["a", "b"]).to_csv("t.csv", index=False)
    run("fit", "t.csv", "-o", "m.safetensors", "--steps", 2)
    assert fails(run("complete", "t.csv", "-m", "m.safetensors", "-o", "out.csv"), 2, "--flow mixed")
    assert fails(run("sample", "-m", "m.safetensors", "-o", "r.csv", "--given", "a=1"), 2, "--flow mixed")
    assert fails(run("fit", "t.csv", "-o", "m.safetensors", "--members", 2), 2, "--flow mixed")
    pets().append_column("copy", pa.array(range(120))).to_pandas().to_csv("c.csv", index=False)
    words = ["complete", "c.csv", "-m", home / "pets.safetensors", "-o", "out.csv"]
    assert fails(run(*words, "--copies", 2), 3, "'copy'")
    assert run(*words)[0] == 0


def test_report_judges_rows_drawn_from_a_mixed_model(run, home):
    code, out, err = run("report", home / "pets.csv", "-m", home / "pets.safetensors", "-o", "p.html")
    assert (code, err) == (0, "")
    assert "Quality" in out
    assert "rows drawn from the model" in Path("p.html").read_text(encoding="utf-8")
    words = ["report", home / "pets.csv", "-m", home / "pets.safetensors", "-o", "p.html", "--label", "kind"]
    assert fails(run(*words), 2, "--label")


# outliers


def strange(rows):
    """A table of which one row is wrong: a cat that weighs more than any dog."""
    frame = pets(rows).to_pandas()
    frame.loc[17, ["kind", "weight"]] = ["cat", 60.0]
    return frame


@pytest.mark.slow
def test_outliers_finds_strange_rows_and_names_the_columns_at_fault(run):
    strange(300).to_csv("t.csv", index=False)
    words = ["outliers", "t.csv", "-o", "s.csv", "--steps", 200, "--seconds", 300, "--why", 2]
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert "row 18, p" in out
    assert "weight 60: usual" in out
    found = read_table("s.csv", kinds="any").to_pylist()
    assert next(line["column"] for line in found if line["row"] == 18) == "weight"


def test_outliers_judges_a_mixed_table_and_new_rows_by_its_model(run):
    strange(30).to_csv("t.csv", index=False)
    words = ["outliers", "t.csv", "-o", "s.parquet", "--steps", 3, "--save", "m.safetensors", "--json"]
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert {"mixed", "result"} <= {json.loads(line)["event"] for line in out.splitlines()}
    names = ["row", "p_value", "column", "value", "surprise", "usual_low", "usual_high", "likely"]
    assert pq.read_table("s.parquet").column_names == names
    code, out, err = run("outliers", "t.csv", "-m", "m.safetensors", "-o", "s.csv", "--fdr", "0.5", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["rows"] == 30
    assert isinstance(load_estimator("m.safetensors"), FlowTable)
    saved, table = TableOutlier.load("m.safetensors"), read_table("t.csv", kinds="any")
    assert ((saved.p_values(table) <= 0.05) == (saved.predict(table) < 0)).all()
    with pytest.raises(ConfigError, match="a loaded model holds none"):
        saved.outliers()


def test_outliers_wants_a_model_with_calibration(run, home):
    words = ["outliers", home / "pets.csv", "-m", home / "pets.safetensors", "-o", "s.csv"]
    assert fails(run(*words), 4, "calibration")
