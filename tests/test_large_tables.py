"""Scores of tables in pieces: flat memory, parts that survive a kill, and one function for a cluster's workers."""

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from unwarp.cli import main
from unwarp.data import TableFile, read_table, write_table
from unwarp.errors import ConfigError, DataError
from unwarp.estimators import (
    BatchScorer,
    FlowDensity,
    FlowTable,
    Tally,
    _scores,
    score_parts,
    score_table,
    verify_scores,
)

ROWS = 1000


def table(rows=ROWS):
    x = np.random.default_rng(0).normal(size=(rows, 2))
    return pa.table({"a": x[:, 0], "id": np.arange(rows), "b": x[:, 1] + x[:, 0]})


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A table, a model of it, and what its rows score."""
    folder = tmp_path_factory.mktemp("home")
    model = FlowDensity("nice", max_steps=3, random_state=0).fit(table().select(["a", "b"]))
    model.save(folder / "m.safetensors")
    pq.write_table(table(), folder / "t.parquet", row_group_size=130)
    np.save(folder / "scores.npy", model.score_samples(table().select(["a", "b"])))
    return folder


@pytest.fixture
def score(home, tmp_path, monkeypatch):
    """Scores the table in parts of 64 rows; many batches a part."""
    monkeypatch.setattr(_scores, "_BATCH", 20)

    def score(folder="parts", data=home / "t.parquet", **options):
        return score_parts(data, home / "m.safetensors", tmp_path / folder, **{"part": 64} | options)

    return score


def wanted(home):
    return np.load(home / "scores.npy")


def files(folder):
    """Content and time of writing of what a folder holds."""
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


# One file


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_scores_in_one_file(home, tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(_scores, "_BATCH", 20)
    monkeypatch.setattr(_scores, "_PART", 60)
    told = []
    tally = score_table(
        home / "t.parquet", home / "m.safetensors", tmp_path / f"s.{suffix}", progress=lambda *at: told.append(at)
    )
    read = pd.read_parquet if suffix == "parquet" else pd.read_csv
    assert read(tmp_path / f"s.{suffix}")["log_prob"].to_numpy() == pytest.approx(wanted(home), abs=1e-9)
    assert (tally.rows, tally.lowest_row) == (ROWS, wanted(home).argmin() + 1)
    assert tally.mean == pytest.approx(wanted(home).mean())
    assert told[0] == (20, ROWS)
    assert told[-1] == (ROWS, ROWS)


def test_a_bad_row_late_in_the_file_leaves_the_old_output(home, tmp_path, capsys):
    values = table().to_pandas()
    values.loc[900, "b"] = np.nan
    values.to_parquet(tmp_path / "t.parquet")
    (tmp_path / "s.csv").write_text("old")
    words = ["score", tmp_path / "t.parquet", "-m", home / "m.safetensors", "-o", tmp_path / "s.csv"]
    assert main([str(word) for word in words]) == 3
    assert "row 901. Clean the column." in capsys.readouterr().err
    assert (tmp_path / "s.csv").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"s.csv", "t.parquet"}


def test_tallies_add_up():
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores = rng.integers(-4, 0, size=30).astype(float)
        scores[rng.random(30) < 0.05] = -np.inf
        cut = int(rng.integers(1, 29))
        whole, first, second = Tally.of(scores), Tally.of(scores[:cut]), Tally.of(scores[cut:], start=cut)
        assert first + second == second + first == whole
        assert Tally.model_validate_json(whole.model_dump_json()) == whole
    assert Tally.of(np.full(2, -np.inf)).mean is None
    assert (Tally.of(np.zeros(1), float32_error=np.inf) + Tally.of(np.zeros(1))).float32_error is None


def test_tables_are_written_one_after_the_other(tmp_path):
    tables = [pa.table({"a": np.arange(3) + 3 * i}) for i in range(4)]
    for name in ("t.csv", "t.tsv", "t.parquet"):
        write_table(tmp_path / name, iter(tables))
        read = (
            pd.read_parquet if name.endswith("parquet") else lambda path: pd.read_csv(path, sep=None, engine="python")
        )
        assert read(tmp_path / name)["a"].tolist() == list(range(12))


# Parts


@pytest.mark.parametrize("shards", [1, 3, 20])
def test_parts_of_all_shards_are_the_scores_in_order(score, home, tmp_path, shards):
    runs = [score(shard=(i + 1, shards)) for i in reversed(range(shards))]
    assert sum(run.now for run in runs) == 16
    assert sum(run.tally.rows for run in runs if run.tally) == ROWS
    assert pq.read_table(tmp_path / "parts")["log_prob"].to_numpy() == pytest.approx(wanted(home), abs=1e-9)
    assert str(verify_scores(tmp_path / "parts", home / "t.parquet")).startswith("1,000 rows in 16 parts: nothing")


def test_scores_are_the_same_bytes_however_a_run_is_cut(score, tmp_path):
    score("once")
    for shard in ((2, 3), (1, 3), (1, 1)):
        score("cut", shard=shard)
    names = [path.name for path in (tmp_path / "once").iterdir()]
    assert len(names) == 33
    assert all((tmp_path / "cut" / name).read_bytes() == (tmp_path / "once" / name).read_bytes() for name in names)


def test_a_run_goes_on_after_the_last_whole_part(score, tmp_path, monkeypatch):
    written = []
    write = _scores.write_table

    def dies(path, rows):
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(path)
        write(path, rows)

    monkeypatch.setattr(_scores, "write_table", dies)
    with pytest.raises(KeyboardInterrupt):
        score()
    monkeypatch.setattr(_scores, "write_table", write)
    before = files(tmp_path / "parts")
    assert verify_scores(tmp_path / "parts").missing == tuple(range(5, 16))
    run = score()
    assert (run.before, run.now, run.tally.rows) == (5, 11, ROWS)
    assert files(tmp_path / "parts").items() >= before.items()
    assert verify_scores(tmp_path / "parts").complete
    assert score().now == 0


def test_what_is_missing_damaged_or_too_much_is_found_and_mended(score, home, tmp_path):
    folder = tmp_path / "parts"
    score()
    (folder / "part-00003.parquet").unlink()
    (folder / "_part-4.json").unlink()
    content = bytearray((folder / "part-00007.parquet").read_bytes())
    content[20] ^= 1
    (folder / "part-00007.parquet").write_bytes(content)
    (folder / "_part-8.json").write_bytes((folder / "_part-9.json").read_bytes())
    (folder / "_part-11.json").write_text("{")
    (folder / "copy.parquet").write_bytes((folder / "part-00000.parquet").read_bytes())
    found = verify_scores(folder)
    assert (found.missing, found.damaged, found.other) == ((3, 4), (7, 8, 11), ("copy.parquet",))
    assert "2 missing (3, 4), 3 damaged (7, 8, 11), 1 that do not belong there (copy.parquet)" in str(found)
    (folder / "copy.parquet").unlink()
    assert score().now == 5
    assert verify_scores(folder).complete
    assert pq.read_table(folder)["log_prob"].to_numpy() == pytest.approx(wanted(home), abs=1e-9)


def test_rows_that_have_changed_are_found(score, home, tmp_path):
    score(data=home / "t.parquet")
    values = table().to_pandas()
    values.loc[[5, 700], "a"] += 1e-9
    values.to_parquet(tmp_path / "new.parquet")
    assert verify_scores(tmp_path / "parts", tmp_path / "new.parquet").changed == (0, 10)
    table().to_pandas().drop(columns="id").to_parquet(tmp_path / "same.parquet")
    assert verify_scores(tmp_path / "parts", tmp_path / "same.parquet").complete
    pq.write_table(table(999), tmp_path / "short.parquet")
    with pytest.raises(DataError, match="1000 rows that was scored; got 999"):
        verify_scores(tmp_path / "parts", tmp_path / "short.parquet")


def test_a_folder_belongs_to_one_table_model_and_options(score, home, tmp_path):
    score()
    with pytest.raises(DataError, match="number of rows a part that it was begun with"):
        score(part=65)
    with pytest.raises(DataError, match="the precision that"):
        score(precision="float32")
    pq.write_table(table(999), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="the table that"):
        score(data=tmp_path / "t.parquet")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(DataError, match="one with files"):
        score("mine")
    with pytest.raises(DataError, match="none with a plan"):
        verify_scores(tmp_path / "mine")
    with pytest.raises(ConfigError, match="4/3"):
        score(shard=(4, 3))


def test_csv_in_parts(score, home, tmp_path):
    table().to_pandas().to_csv(tmp_path / "t.csv", index=False)
    score("parts", data=tmp_path / "t.csv", shard=(2, 2))
    score("parts", data=tmp_path / "t.csv")
    assert pq.read_table(tmp_path / "parts")["log_prob"].to_numpy() == pytest.approx(wanted(home), abs=1e-9)


# Tables of any kind


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """A mixed table, a model of it, and what its rows score."""
    folder = tmp_path_factory.mktemp("pets")
    rng = np.random.default_rng(0)
    kind = rng.choice(["cat", "dog", "hen"], 300)
    frame = pd.DataFrame({
        "kind": pd.Categorical(kind), "weight": rng.normal(size=300) + 5, "legs": np.where(kind == "hen", 2, 4),
        "shop": "here", "tame": rng.random(300) < 0.5,
        "born": pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(300), "D"),
    })  # fmt: skip
    frame.loc[::7, "weight"] = np.nan
    frame.loc[3::11, "kind"] = None
    table = pa.Table.from_pandas(frame, preserve_index=False)
    model = FlowTable(max_steps=4, random_state=0, hidden=16, blocks=1).fit(table)
    model.save(folder / "m.safetensors")
    pq.write_table(table, folder / "t.parquet", row_group_size=70)
    pa.csv.write_csv(table, folder / "t.csv")
    np.save(folder / "scores.npy", model.score_samples(table))
    return folder


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_mixed_tables_are_scored_in_pieces(pets, tmp_path, monkeypatch, name):
    monkeypatch.setattr(_scores, "_BATCH", 20)
    score_table(pets / name, pets / "m.safetensors", tmp_path / "s.parquet")
    found = pq.read_table(tmp_path / "s.parquet")["log_prob"].to_numpy()
    assert found == pytest.approx(np.load(pets / "scores.npy"), abs=1e-9)
    for shard in ((2, 2), (1, 2)):
        score_parts(pets / name, pets / "m.safetensors", tmp_path / "parts", part=50, shard=shard)
    assert pq.read_table(tmp_path / "parts")["log_prob"].to_numpy() == pytest.approx(found, abs=1e-9)
    assert verify_scores(tmp_path / "parts", pets / name).complete


def test_a_mixed_table_without_what_it_need_not_have(pets, tmp_path):
    short = pq.read_table(pets / "t.parquet").drop_columns(["shop"])
    pq.write_table(short, tmp_path / "t.parquet")
    score_table(tmp_path / "t.parquet", pets / "m.safetensors", tmp_path / "s.parquet")
    found = pq.read_table(tmp_path / "s.parquet")["log_prob"].to_numpy()
    assert found == pytest.approx(np.load(pets / "scores.npy"), abs=1e-9)
    pq.write_table(short.drop_columns(["weight"]), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="weight"):
        score_table(tmp_path / "t.parquet", pets / "m.safetensors", tmp_path / "s.parquet")


def test_rows_of_a_mixed_table_keep_their_numbers(pets, tmp_path, monkeypatch):
    monkeypatch.setattr(_scores, "_BATCH", 20)
    frame = pd.read_csv(pets / "t.csv", dtype=str)
    frame.loc[150:, "kind"] = "fox"
    frame.to_csv(tmp_path / "new.csv", index=False)
    with pytest.warns(UserWarning, match='"fox" of column "kind" in row 151') as told:
        score_table(tmp_path / "new.csv", pets / "m.safetensors", tmp_path / "s.parquet")
    assert len(told) == 1
    frame.loc[200, "weight"] = "heavy"
    frame.to_csv(tmp_path / "new.csv", index=False)
    with (
        pytest.warns(UserWarning, match="never seen"),
        pytest.raises(DataError, match=r'new\.csv: .*"weight"; got "heavy" in row 201'),
    ):
        score_table(tmp_path / "new.csv", pets / "m.safetensors", tmp_path / "s.parquet")


def test_a_sample_of_texts_has_types(pets):
    whole = read_table(pets / "t.csv", kinds="any")
    assert TableFile(pets / "t.csv", kinds="any").sample(1000).equals(whole)
    assert TableFile(pets / "t.csv", kinds="any").sample(50).schema == whole.schema


# On the command line


def test_shards_on_the_command_line(home, tmp_path, capsys):
    def run(*words):
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    words = ["score", home / "t.parquet", "-m", home / "m.safetensors", "-o", tmp_path / "parts", "--part", 300]
    code, out, err = run(*words, "--shard", "1/2", "--json")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    assert (facts["parts"], facts["written"], facts["rows"], facts["shard"]) == (4, 2, 600, "1/2")
    code, out, err = run("verify", tmp_path / "parts")
    assert (code, out) == (3, "")
    assert err.endswith("2 missing (1, 3). Run unwarp score again; remove what does not belong there.\n")
    code, out, _ = run("verify", tmp_path / "parts", "--json")
    assert code == 3
    assert json.loads(out)["missing"] == [1, 3]
    code, out, _ = run(*words)
    assert code == 0
    assert out.startswith("4 parts, 2 written now and 2 before: 1000 rows, mean log density")
    code, out, _ = run("verify", tmp_path / "parts", "--data", home / "t.parquet")
    assert code == 0
    assert out.strip().endswith(
        "1,000 rows in 4 parts: nothing missing, nothing doubled, and the rows are those of t.parquet"
    )
    for shard in ("3/2", "0/2", "one", "1/2/3"):
        assert run(*words, "--shard", shard)[0] == 2
    code, _, err = run(*words[:-3], tmp_path / "s.csv", "--shard", "1/2")
    assert code == 2
    assert "expected a folder for the parts of a shard" in err
    assert run("verify", tmp_path / "none")[0] == 3


@pytest.mark.slow
def test_a_run_that_is_killed_loses_nothing(home, tmp_path):
    """SIGKILL while parts are written; the next run keeps them."""
    words = ["score", home / "t.parquet", "-m", home / "m.safetensors", "-o", tmp_path / "parts", "--part", 4]
    with subprocess.Popen(
        [sys.executable, "-m", "unwarp", *map(str, words)], stdout=subprocess.DEVNULL, env={**os.environ}
    ) as run:
        until = time.monotonic() + 60
        while not (tmp_path / "parts" / "_part-9.json").exists() and time.monotonic() < until:
            time.sleep(0.005)
        run.send_signal(signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL
    before = {name: kept for name, kept in files(tmp_path / "parts").items() if name.startswith("_part-")}
    assert len(before) >= 10
    again = score_parts(home / "t.parquet", home / "m.safetensors", tmp_path / "parts", part=4)
    assert again.before >= len(before) > 0
    assert again.now == 250 - again.before > 0
    assert files(tmp_path / "parts").items() >= before.items()
    assert verify_scores(tmp_path / "parts", home / "t.parquet").complete
    assert not any(path.name.startswith(".") for path in (tmp_path / "parts").iterdir())
    assert pq.read_table(tmp_path / "parts")["log_prob"].to_numpy() == pytest.approx(wanted(home), abs=1e-9)


# Fits


def test_fit_to_a_sample(home, tmp_path, capsys, monkeypatch):
    words = [
        "fit",
        home / "t.parquet",
        "-o",
        tmp_path / "m.safetensors",
        "--ignore",
        "id",
        "--steps",
        2,
        "--flow",
        "nice",
    ]
    words = [str(word) for word in words]
    assert main([*words, "--rows", "200", "--seed", "3"]) == 0
    assert capsys.readouterr().out.startswith("200 of 1,000 rows, drawn uniformly with seed 3\n")
    assert main([*words, "--rows", "1000", "--json"]) == 0
    assert '"sample"' not in capsys.readouterr().out
    monkeypatch.setattr("unwarp.cli._columns._LARGEST", 1600)
    assert main([*words, "--json", "--report", str(tmp_path / "p.html")]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert first == {"event": "sample", "rows": 25, "of": ROWS, "seed": 0}
    assert "1,000 rows, of which 25 drawn at random" in (tmp_path / "p.html").read_text()


def test_fit_to_a_sample_of_csv(home, tmp_path, capsys):
    table().to_pandas().to_csv(tmp_path / "t.csv", index=False)
    words = ["fit", tmp_path / "t.csv", "-o", tmp_path / "m.safetensors", "--steps", 2, "--flow", "nice", "--rows", 300]
    assert main([*map(str, words)]) == 0
    assert capsys.readouterr().out.startswith("300 of 1,000 rows")
    assert "integer" in str(FlowDensity.load(tmp_path / "m.safetensors").schema_.columns)


# Clusters


@pytest.mark.parametrize("keep", [None, ["id"], []])
def test_a_scorer_adds_a_column_to_batches(home, keep):
    scorer = BatchScorer(home / "m.safetensors", keep=keep)
    batches = list(scorer(iter(table().to_batches(max_chunksize=300))))
    assert [batch.num_rows for batch in batches] == [300, 300, 300, 100]
    found = pa.Table.from_batches(batches)
    assert found.column_names == [*(table().column_names if keep is None else keep), "log_prob"]
    assert found["log_prob"].to_numpy() == pytest.approx(wanted(home), abs=1e-9)
    if keep != []:
        assert found["id"].to_pylist() == list(range(ROWS))
    empty = next(scorer(iter([table().to_batches()[0].slice(0, 0)])))
    assert empty.num_rows == 0
    assert empty.schema == found.schema


def test_a_scorer_says_what_is_wrong(home):
    scorer = BatchScorer(home / "m.safetensors")
    with pytest.raises(DataError, match="without 'b'"):
        list(scorer(table().select(["a"]).to_batches()))
    with pytest.raises(DataError, match="no column 'log_prob' yet"):
        scorer.table(scorer.table(table()))
    with pytest.raises(ConfigError, match="half"):
        BatchScorer(home / "m.safetensors", precision="half")


def test_a_scorer_of_a_model_of_an_array(tmp_path):
    x = np.random.default_rng(0).normal(size=(200, 2))
    model = FlowDensity("nice", max_steps=2, random_state=0).fit(x)
    found = BatchScorer(model, precision="float32").table(pa.table({"x1": x[:, 1], "x0": x[:, 0]}))
    assert found["log_prob"].to_numpy() == pytest.approx(model.score_samples(x), abs=1e-3)


def score_there(content, batch):
    """In another process: from the pickle alone."""
    return pa.Table.from_batches(pickle.loads(content)([batch]))["log_prob"].to_pylist()


@pytest.mark.slow
def test_a_scorer_goes_to_another_process(home):
    content = pickle.dumps(BatchScorer(home / "m.safetensors", keep=[]))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        parts = pool.starmap(score_there, [(content, batch) for batch in table().to_batches(max_chunksize=500)])
    assert np.concatenate(parts) == pytest.approx(wanted(home), abs=1e-9)


def test_dask_runs_a_scorer(home):
    dask = pytest.importorskip("dask.dataframe", reason="dask is not installed")
    scorer = BatchScorer(home / "m.safetensors", keep=["id"])

    def scored(frame):
        return scorer.table(pa.Table.from_pandas(frame, preserve_index=False)).to_pandas()

    frame = dask.from_pandas(table().to_pandas(), npartitions=3)
    found = frame.map_partitions(scored, meta={"id": "int64", "log_prob": "float64"}).compute()
    assert found["log_prob"].to_numpy() == pytest.approx(wanted(home), abs=1e-9)
