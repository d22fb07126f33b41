import dataclasses
import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from unwarp import flows
from unwarp.cli import main
from unwarp.doctor import _check
from unwarp.estimators import FlowDensity

RNG = np.random.default_rng(0)
FAST = ["--steps", "4"]


def trees(rows=300):
    rng = np.random.default_rng(1)
    height = rng.normal(12.0, 3.0, rows)
    return pd.DataFrame({"height": height, "girth": np.exp(0.1 * height + rng.normal(0, 0.1, rows))})


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a table and a model of it."""
    folder = tmp_path_factory.mktemp("home")
    trees().to_csv(folder / "trees.csv", index=False)
    assert (
        main(["fit", str(folder / "trees.csv"), "-o", str(folder / "trees.safetensors"), "--flow", "realnvp", *FAST])
        == 0
    )
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
    """The exit code, and on standard error the one line that says what was expected, what came and what to do."""
    found, out, err = result
    lines = err.splitlines()
    assert found == code, err
    assert len(lines) == 1, err
    assert all(part in lines[0] for part in parts), err
    assert "Traceback" not in err
    assert out == ""
    return True


# What the commands do


def test_fit_tells_how_it_did_beside_plain_models(run, home, tmp_path):
    code, out, err = run("fit", home / "trees.csv", "-o", "m.safetensors", *FAST)
    assert code == 0
    assert err == ""
    assert "height: real" in out
    assert "girth" in out
    for word in ("flow", "gaussian", "mixture", "nats a row"):
        assert word in out
    assert "The flow" in out  # gains, or is not worth it
    assert "model: m.safetensors" in out
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_fit_is_repeatable(run, home):
    for name in ("a", "b"):
        assert run("fit", home / "trees.csv", "-o", f"{name}.safetensors", *FAST, "--seed", "3")[0] == 0
    run("score", home / "trees.csv", "-m", "a.safetensors", "-o", "a.csv")
    run("score", home / "trees.csv", "-m", "b.safetensors", "-o", "b.csv")
    assert Path("a.csv").read_text(encoding="utf-8") == Path("b.csv").read_text(encoding="utf-8")


def test_fit_as_json_is_lines_of_json_that_end_in_the_result(run, home):
    code, out, err = run("fit", home / "trees.csv", "-o", "m.safetensors", *FAST, "--json")
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert err == ""
    assert {"done", "result"} <= {event["event"] for event in events}
    assert 1 <= events[-1]["history"]["steps"] <= 4  # patience may end it
    assert set(events[-1]["history"]["baselines"]) >= {"gaussian", "mixture"}
    assert set(events[-1]["columns"]) == {"height", "girth"}


def test_fit_takes_what_is_known_about_columns(run):
    frame = trees().assign(share=RNG.uniform(size=300), rings=RNG.poisson(9, 300), kind="oak")
    frame.to_parquet("t.parquet")
    words = [
        "--ignore",
        "kind",
        "--bounded",
        "share:0:1",
        "--integer",
        "rings",
        "--positive",
        "girth",
        "--real",
        "height",
    ]
    code, out, err = run("fit", "t.parquet", "-o", "m.safetensors", *FAST, *words)
    assert code == 0, err
    for line in ("share: bounded 0 to 1", "rings: integer", "girth: positive", "height: real"):
        assert line in out


def test_a_bounded_column_may_have_colons_in_its_name(run):
    trees().assign(**{"a:b": RNG.uniform(size=300)}).to_csv("t.csv", index=False)
    assert "a:b: bounded 0 to 1" in run("fit", "t.csv", "-o", "m.safetensors", *FAST, "--bounded", "a:b:0:1")[1]


def test_fit_goes_on_from_a_checkpoint(run, home):
    words = ["fit", home / "trees.csv", "-o", "m.safetensors", "--checkpoint", "run.ckpt", *FAST]
    assert run(*words)[0] == 0
    assert Path("run.ckpt").exists()
    assert run(*words)[0] == 0


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_score_gives_the_log_density_of_each_row(run, home, suffix):
    code, out, err = run("score", home / "trees.csv", "-m", home / "trees.safetensors", "-o", f"s.{suffix}")
    assert (code, err) == (0, "")
    read = pd.read_csv if suffix == "csv" else pd.read_parquet
    scores = read(f"s.{suffix}")
    assert list(scores) == ["log_prob"]
    wanted = FlowDensity.load(home / "trees.safetensors").score_samples(pd.read_csv(home / "trees.csv"))
    assert scores["log_prob"].to_numpy() == pytest.approx(wanted, rel=1e-12)
    assert f"row {wanted.argmin() + 1}" in out


def test_score_in_float32_says_what_that_changes(run, home):
    code, out, _ = run("score", home / "trees.csv", "-m", home / "trees.safetensors", "-o", "s.csv", "--float32")
    assert code == 0 and "float32 is within" in out
    _, out, _ = run("score", home / "trees.csv", "-m", home / "trees.safetensors", "-o", "s.csv", "--float32", "--json")
    wanted = FlowDensity.load(home / "trees.safetensors").score_samples(pd.read_csv(home / "trees.csv"))
    assert 0 < json.loads(out)["float32_error"] < 1e-2
    assert pd.read_csv("s.csv")["log_prob"].to_numpy() == pytest.approx(wanted, abs=1e-2)


def test_score_finds_columns_by_name_in_any_order_among_others(run, home):
    run("score", home / "trees.csv", "-m", home / "trees.safetensors", "-o", "a.csv")
    pd.read_csv(home / "trees.csv").assign(kind="oak")[["kind", "girth", "height"]].to_csv("t.csv", index=False)
    assert run("score", "t.csv", "-m", home / "trees.safetensors", "-o", "b.csv")[0] == 0
    assert Path("a.csv").read_text(encoding="utf-8") == Path("b.csv").read_text(encoding="utf-8")


def test_score_in_batches_equals_score_at_once(run, home, monkeypatch):
    run("score", home / "trees.csv", "-m", home / "trees.safetensors", "-o", "a.csv")
    monkeypatch.setattr("unwarp.estimators._scores._BATCH", 7)
    run("score", home / "trees.csv", "-m", home / "trees.safetensors", "-o", "b.csv")
    assert pd.read_csv("a.csv").to_numpy() == pytest.approx(pd.read_csv("b.csv").to_numpy(), abs=1e-9)


def test_rows_that_cannot_be_have_minus_infinity_and_are_counted(run):
    trees().assign(shop=7.0).to_csv("t.csv", index=False)
    code, _, err = run("fit", "t.csv", "-o", "m.safetensors", *FAST)
    assert code == 0
    assert err.startswith("warning: ")
    assert "shop" in err
    trees(4).assign(shop=[7.0, 8.0, 7.0, 7.0]).to_csv("new.csv", index=False)
    code, out, _ = run("score", "new.csv", "-m", "m.safetensors", "-o", "s.csv", "--json")
    assert code == 0
    assert json.loads(out)["impossible"] == 1
    assert np.isneginf(pd.read_csv("s.csv")["log_prob"][1])
    assert np.isfinite(pd.read_csv("s.csv")["log_prob"][[0, 2, 3]]).all()


def test_sample_draws_rows_with_the_columns_of_the_table(run, home):
    assert run("sample", "-m", home / "trees.safetensors", "-n", 20, "-o", "a.csv", "--seed", 5)[0] == 0
    assert run("sample", "-m", home / "trees.safetensors", "-n", 8, "-o", "b.csv", "--seed", 5)[0] == 0
    assert run("sample", "-m", home / "trees.safetensors", "-n", 8, "-o", "c.csv", "--seed", 6)[0] == 0
    a, b, c = (pd.read_csv(f"{name}.csv") for name in "abc")
    assert list(a) == ["height", "girth"]
    assert len(a) == 20
    pd.testing.assert_frame_equal(a.head(8), b)  # row i depends on the seed and i alone
    assert not np.allclose(b, c)


def test_show_tells_what_is_in_a_file(run, home):
    code, out, _ = run("show", home / "trees.safetensors")
    assert code == 0
    for word in ("digests ok", "height", "girth", "torch", "gaussian", "seed 0", "options"):
        assert word in out
    facts = json.loads(run("show", home / "trees.safetensors", "--json")[1])
    assert facts["digests"] == "ok"
    assert facts["spec"]["features"] == 2
    assert [column["name"] for column in facts["columns"]] == ["height", "girth"]


def test_show_describes_a_flow_without_columns(run):
    from unwarp import flow
    from unwarp.flows import save

    save(flow("nice", 2, layers=1, hidden=(4,)), "bare.safetensors")
    code, out, _ = run("show", "bare.safetensors")
    assert code == 0
    assert "nice of 2 features" in out
    assert fails(run("sample", "-m", "bare.safetensors", "-o", "r.csv"), 4, "bare.safetensors")


def test_check_judges_a_model_and_its_rows(run, home, monkeypatch):
    monkeypatch.setattr(_check, "MAP_LAWS", _check.MAP_LAWS[:3])  # the laws have tests of their own
    monkeypatch.setattr(_check, "LAWS", ())
    monkeypatch.setattr(_check, "DENSITY_LAWS", ())
    code, out, _ = run("check", home / "trees.safetensors", "--data", home / "trees.csv")
    assert code == 0, out
    assert "round trip" in out
    assert "300 of 300 rows can be trusted" in out


def test_check_ends_with_1_when_a_law_is_broken(run, home, monkeypatch):
    from unwarp.doctor import Figure, Report, Row

    broken = Report("Flow", (Row("round trip", "There and back.", Figure(1.0, 1e-9)),), 0.1)
    monkeypatch.setattr("unwarp.doctor.check", lambda _: broken)
    code, out, _ = run("check", home / "trees.safetensors", "--json")
    assert code == 1
    assert json.loads(out)["passed"] is False


def test_report_writes_one_page(run, home):
    code, out, err = run("report", home / "trees.csv", "-m", home / "trees.safetensors", "-o", "page.html")
    assert (code, err) == (0, "")
    assert "Strangest rows" in out
    page = Path("page.html").read_text(encoding="utf-8")
    for word in ("Calibration", "Strangest rows", "Training", "Model card", "trees.csv", "<svg"):
        assert word in page


def test_fit_with_a_report_shows_ignored_numbers_beside_the_strangest_rows(run):
    trees().assign(code=range(1000, 1300), kind="oak").to_csv("t.csv", index=False)
    words = ["--ignore", "code", "--ignore", "kind", "--report", "page.html", "--json"]
    code, out, err = run("fit", "t.csv", "-o", "m.safetensors", *FAST, *words)
    assert code == 0, err
    result = json.loads(out.splitlines()[-1])
    assert result["findings"]["coverage"]["0.9"] > 0.5
    strangest = result["findings"]["strange"][0]["row"]
    assert f"<td>{999 + strangest}</td>" in Path("page.html").read_text(encoding="utf-8")


def test_help_and_version(run):
    assert "fit" in run()[1]
    assert "fit" in run("--help")[1]
    assert "--bounded" in run("fit", "--help")[1]
    assert run("--version")[1].startswith("unwarp")


# Bad tables


def put(text, name="t.csv"):
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())


GOOD = "".join(f"{a:.3f},{b:.3f}\n" for a, b in RNG.normal(size=(40, 2)))


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("", ["t.csv", "empty"]),
        ("a,b\n", ["t.csv", "header"]),
        ("a,b\n1,2\n", ["one row"]),
        ("a,b\n" + "1,2\n" * 20, ["same values in every row"]),
        ("a,a\n" + GOOD, ["t.csv", "a"]),
        ("a,b\n" + GOOD + "inf,1\n", ['"a"', "inf", "line 42", "--ignore a"]),
        ("a,b\n" + GOOD + "1e308,1\n", ['"a"', "1e+308", "line 42"]),
        ("a,b\n" + GOOD + "1,oak\n", ['"b"', "oak", "line 42", "--ignore b"]),
        (b"a,b\n1,\xff\xfe\xe9\n2,3\n", ["t.csv", "UTF-8"]),
        ("a,b\n1,2\n1,2,3\n", ["t.csv", "line 3"]),
        (b"\x80\x04\x95\x00\x00\x00\x00", ["t.csv"]),
    ],
    ids=[
        "empty",
        "header",
        "one-row",
        "constant",
        "names",
        "inf",
        "huge",
        "text",
        "utf8",
        "ragged",
        "binary",
    ],
)
def test_bad_tables_are_refused_in_one_line(run, tmp_path, content, parts):
    put(content)
    assert fails(run("fit", "t.csv", "-o", "m.safetensors", *FAST), 3, *parts)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("a,b\n" + GOOD + "1,\n", ['"b"', "line 42", "--ignore b", "Without --flow nice"]),
        ("a,b\n" + "".join(f"{i}.5,\n" for i in range(20)), ['"b"', "--ignore b", "Without --flow nice"]),
    ],
    ids=["missing", "all-missing"],
)
def test_gaps_are_refused_by_a_flow(run, tmp_path, content, parts):
    put(content)
    assert fails(run("fit", "t.csv", "-o", "m.safetensors", "--flow", "nice", *FAST), 3, *parts)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_equal_and_constant_columns_are_warned_of_and_left_out(run):
    trees().assign(again=lambda frame: frame["height"], shop=1.0).to_csv("t.csv", index=False)
    code, out, err = run("fit", "t.csv", "-o", "m.safetensors", *FAST)
    assert code == 0
    lines = err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("warning: ") for line in lines)
    assert "copy" in out
    assert "constant" in out
    assert run("sample", "-m", "m.safetensors", "-n", 5, "-o", "r.csv")[0] == 0
    rows = pd.read_csv("r.csv")
    assert np.array_equal(rows["again"], rows["height"])
    assert (rows["shop"] == 1).all()


def test_a_parquet_file_that_is_none(run):
    put("a,b\n1,2\n", "t.parquet")
    assert fails(run("fit", "t.parquet", "-o", "m.safetensors"), 3, "t.parquet")


def test_missing_and_odd_paths_of_tables(run, tmp_path):
    assert fails(run("fit", "none.csv", "-o", "m.safetensors"), 3, "none.csv")
    (tmp_path / "folder.csv").mkdir()
    assert fails(run("fit", "folder.csv", "-o", "m.safetensors"), 3, "folder")
    put("a,b\n" + GOOD, "t.xlsx")
    assert fails(run("fit", "t.xlsx", "-o", "m.safetensors"), 3, "t.xlsx", ".csv")


def test_unicode_names_of_files_and_columns(run):
    trees().rename(columns={"height": "höhe 高さ $x$"}).to_csv("bäume 木.csv", index=False)
    assert run("fit", "bäume 木.csv", "-o", "modell 木.safetensors", *FAST, "--report", "seite.html")[0] == 0
    assert run("sample", "-m", "modell 木.safetensors", "-n", 3, "-o", "r.csv")[0] == 0
    assert pd.read_csv("r.csv").columns[0] == "höhe 高さ $x$"


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("height\n1\n", ["girth"]),
        ("height,girth\n1,\n", ['"girth"', "missing"]),
        ("height,girth\n1,oak\n", ['"girth"', "oak", "line 2"]),
        ("", ["empty"]),
    ],
    ids=["missing-column", "missing-value", "text", "empty"],
)
def test_tables_that_cannot_be_scored(run, home, tmp_path, content, parts):
    put(content)
    result = run("score", "t.csv", "-m", home / "trees.safetensors", "-o", "s.csv")
    assert fails(result, 3, *parts)
    assert "--ignore" not in result[2]
    assert fails(run("report", "t.csv", "-m", home / "trees.safetensors", "-o", "p.html"), 3, *parts)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


# Bad model files


def as_pickle(path):
    path.write_bytes(pickle.dumps({"a": 1}))


def as_zip(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a", "b")


def as_text(path):
    path.write_text("height,girth\n1,2\n")


def as_empty(path):
    path.write_bytes(b"")


def as_folder(path):
    path.mkdir()


@pytest.mark.parametrize("make", [as_pickle, as_zip, as_text, as_empty, as_folder])
def test_files_that_are_no_models(run, home, tmp_path, make):
    make(tmp_path / "m.safetensors")
    assert fails(run("show", "m.safetensors"), 4, "m.safetensors")
    assert fails(run("sample", "-m", "m.safetensors", "-o", "r.csv"), 4, "m.safetensors")
    assert fails(run("score", home / "trees.csv", "-m", "m.safetensors", "-o", "s.csv"), 4, "m.safetensors")
    assert fails(run("check", "m.safetensors"), 4, "m.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_missing_and_damaged_models(run, home, tmp_path):
    assert fails(run("show", "none.safetensors"), 4, "none.safetensors")
    content = bytearray((home / "trees.safetensors").read_bytes())
    content[-5] ^= 1
    (tmp_path / "m.safetensors").write_bytes(content)
    assert fails(run("show", "m.safetensors"), 4, "m.safetensors")
    (tmp_path / "m.safetensors").write_bytes(content[:-100])
    assert fails(run("sample", "-m", "m.safetensors", "-o", "r.csv"), 4, "m.safetensors")


# Bad usage


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["fit"], ["unwarp fit", "data"]),
        (["fit", "t.csv"], ["--output"]),
        (["fit", "t.csv", "-o", "m.safetensors", "--step", "3"], ["--step"]),
        (["fit", "t.csv", "-o", "m.safetensors", "--steps", "many"], ["--steps"]),
        (["fit", "t.csv", "-o", "m.safetensors", "--steps", "0"], ["--steps"]),
        (["fit", "t.csv", "-o", "m.safetensors", "--seconds", "-1"], ["--seconds"]),
        (["fit", "t.csv", "-o", "m.safetensors", "--flow", "nfs"], ["nfs", "nsf"]),
        (["fit", "t.csv", "-o", "m.safetensors", "--bounded", "a:0"], ["--bounded COLUMN:LOW:HIGH", "a:0"]),
        (["fit", "t.csv", "-o", "m.safetensors", "--positive", "a", "--real", "a"], ["'a'", "one kind"]),
        (["sample", "-m", "m.safetensors", "-n", "0", "-o", "r.csv"], ["--rows"]),
        (["fly"], ["fly"]),
        (["--fast"], ["--fast"]),
    ],
    ids=lambda value: "-".join(value)[:60] if isinstance(value, list) else None,
)
def test_usage_errors_are_one_line_too(run, words, parts):
    put("a,b\n" + GOOD)
    assert fails(run(*words), 2, *parts)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--ignore", "c"], ['"c"']),
        (["--positive", "c"], ['"c"']),
        (["--positive", "a"], ['"a"']),
        (["--bounded", "a:0:0.001"], ['"a"']),
        (["--integer", "a"], ['"a"']),
        (["--ignore", "a", "--ignore", "b"], []),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_columns_that_are_not_what_the_options_say(run, words, parts):
    put("a,b\n" + GOOD)
    assert fails(run("fit", "t.csv", "-o", "m.safetensors", *FAST, *words), 3, *parts)


def test_outputs_that_cannot_be_written_are_told_before_the_work(run, home, tmp_path):
    table, model = home / "trees.csv", home / "trees.safetensors"
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "folder.safetensors").mkdir()
    assert fails(run("fit", table, "-o", "folder.safetensors"), 2, "folder.safetensors", "got a folder")
    assert fails(run("fit", table, "-o", "no/m.safetensors"), 2, "'no'", "Make it first")
    assert fails(run("fit", table, "-o", "m.pkl"), 2, ".safetensors")
    assert fails(run("fit", table, "-o", "m.safetensors", "--report", "no/p.html"), 2, "'no'")
    assert fails(run("fit", table, "-o", "m.safetensors", "--report", "p.pdf"), 2, ".html")
    assert fails(run("score", table, "-m", model, "-o", "folder.csv"), 2, "got a folder")
    assert fails(run("score", table, "-m", model, "-o", "no/s.csv"), 2, "'no'")
    assert fails(run("score", table, "-m", model, "-o", "s.xlsx"), 2, ".csv")
    assert fails(run("sample", "-m", model, "-o", "no/r.csv"), 2, "'no'")
    assert fails(run("report", table, "-m", model, "-o", "p.txt"), 2, ".html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.csv", "folder.safetensors"]


def test_no_command_overwrites_its_input(run, home, tmp_path):
    (tmp_path / "t.csv").write_bytes((home / "trees.csv").read_bytes())
    (tmp_path / "link.csv").symlink_to("t.csv")
    before = (tmp_path / "t.csv").read_bytes()
    assert fails(run("score", "t.csv", "-m", home / "trees.safetensors", "-o", "./t.csv"), 2, "input itself")
    assert fails(run("score", "t.csv", "-m", home / "trees.safetensors", "-o", "link.csv"), 2, "input itself")
    assert fails(run("fit", "t.csv", "-o", "m.safetensors", "--checkpoint", "t.csv"), 2, "input itself")
    assert (tmp_path / "t.csv").read_bytes() == before


def test_devices_are_no_place_for_a_file(run, home):
    assert fails(run("fit", home / "trees.csv", "-o", "m.safetensors", "--checkpoint", os.devnull), 2, "device or pipe")


# Faults


@pytest.mark.parametrize(
    "words",
    [
        ["fit", "{}/trees.csv", "-o", "out.safetensors", *FAST],
        ["score", "{}/trees.csv", "-m", "{}/trees.safetensors", "-o", "out.csv"],
        ["sample", "-m", "{}/trees.safetensors", "-o", "out.parquet"],
        ["report", "{}/trees.csv", "-m", "{}/trees.safetensors", "-o", "out.html"],
    ],
    ids=lambda words: words[0],
)
def test_a_full_disk_leaves_the_old_file_and_no_other(run, home, tmp_path, monkeypatch, words):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    old = tmp_path / words[words.index("-o") + 1]
    old.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    assert fails(run(*(word.format(home) for word in words)), 1, old.name, "no space left on device")
    assert old.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == [old.name]


def test_training_that_does_not_settle_writes_nothing(run, home, tmp_path, monkeypatch):
    fit = FlowDensity.fit

    def diverges(self, *args, **kwargs):
        fit(self, *args, **kwargs)
        self.history_ = dataclasses.replace(self.history_, stopped="diverged")
        return self

    monkeypatch.setattr(FlowDensity, "fit", diverges)
    assert fails(run("fit", home / "trees.csv", "-o", "m.safetensors", *FAST), 5, "trees.csv")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_scoring_writes_nothing(run, home, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(FlowDensity, "score_samples", interrupted)
    words = ["score", home / "trees.csv", "-m", home / "trees.safetensors", "-o", "s.csv"]
    assert fails(run(*words), 130, "interrupted")
    assert list(tmp_path.iterdir()) == []


def test_what_nobody_thought_of_is_one_line_and_with_debug_a_traceback(run, home, monkeypatch):
    def wrong(*_, **__):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(FlowDensity, "sample", wrong)
    assert fails(
        run("sample", "-m", home / "trees.safetensors", "-o", "r.csv"), 1, "RuntimeError: two lines", "UNWARP_DEBUG"
    )
    monkeypatch.setenv("UNWARP_DEBUG", "1")
    code, _, err = run("sample", "-m", home / "trees.safetensors", "-o", "r.csv")
    assert code == 1
    assert "Traceback" in err


def test_a_missing_matplotlib_is_told_before_the_work(run, home, tmp_path, monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert fails(run("fit", home / "trees.csv", "-o", "m.safetensors", "--report", "p.html"), 2, "unwarp[plot]")
    assert list(tmp_path.iterdir()) == []


def started(*words, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "unwarp", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_ctrl_c_while_fitting_ends_with_130_and_writes_nothing(home, tmp_path):
    words = ["fit", home / "trees.csv", "-o", tmp_path / "m.safetensors", "--seconds", "300", "--json"]
    with started(*words) as process:
        assert process.stdout.readline().startswith('{"event"')
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert len(err.splitlines()) == 1
    assert "interrupted" in err
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_leaves_gets_no_traceback(home):
    with started("show", home / "trees.safetensors") as process:
        process.stdout.close()
        err = process.stderr.read()
        process.wait(timeout=120)
    assert process.returncode == 1
    assert err == ""


def test_help_lists_the_recipes_for_tables(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    code, out, _ = run("fit", "--help")
    assert code == 0
    assert [name for name in flows.names("tables") if name not in out] == []


def test_bench_measures_machine_and_flows(run, home):
    code, out, err = run("bench", "realnvp", "--features", "2", "--batch", "8", "--seconds", "0.001", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["limits"]["gemm"] > 0
    assert [one["subject"] for one in found["flows"]] == ["realnvp"]
    assert list(found["flows"][0]["tasks"]) == ["train", "log_prob", "sample", "sample_and_log_prob"]
    code, out, _ = run("bench", "-m", home / "trees.safetensors", "--seconds", "0.001")
    assert code == 0
    assert "trees.safetensors" in out
    assert "GFLOP/s" in out
    assert fails(run("bench", "nfs"), 2, "nfs")
    assert fails(run("bench", "-m", "none.safetensors"), 4, "none.safetensors")
    assert fails(run("bench", "--batch", "0"), 2, "--batch")


def test_commands_are_summed_up_by_their_own_words():
    """The list of commands is told without importing them, so it is held to what they say."""
    from importlib import import_module

    from unwarp.cli._app import _COMMANDS

    for name, (module, says) in _COMMANDS.items():
        told = getattr(import_module(f"unwarp.cli.{module}"), name).__doc__
        assert told.startswith(says.rstrip(".")), name
