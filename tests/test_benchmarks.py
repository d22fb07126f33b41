"""The benchmark scripts run, resume and keep their results apart."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


def load(name: str) -> Any:
    """A module of the benchmarks' folder, which is no package."""
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def recording() -> Any:
    return load("_record")


def test_cells_are_merged_and_carry_what_made_them(recording: Any, tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    settings = {"budget": 1.5}
    recording.Record("speed", threads=1, path=path).put("b", {"seconds": 2.0}, settings=settings)
    recording.Record("speed", threads=1, path=path).put("a", {"seconds": float("inf")}, settings=settings)
    stored = json.loads(path.read_text())
    assert list(stored["cells"]) == ["a", "b"]
    assert stored["cells"]["a"]["seconds"] == "inf"
    for what in ("settings", "commit", "started", "machine", "versions"):
        assert stored["cells"]["b"][what]
    assert stored["cells"]["b"]["machine"]["threads"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["speed.json"]


def test_a_cell_is_stored_for_its_settings_only(recording: Any, tmp_path: Path) -> None:
    record = recording.Record("speed", threads=1, path=tmp_path / "speed.json")
    record.put("a", {"seconds": 2.0}, settings={"budget": 1.5})
    assert record.has("a", {"budget": 1.5})
    assert not record.has("a", {"budget": 60.0})
    assert not record.has("b", {"budget": 1.5})


def test_results_of_another_benchmark_are_refused(recording: Any, tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    recording.Record("speed", threads=1, path=path).put("a", {"seconds": 2.0}, settings={})
    before = path.read_bytes()
    with pytest.raises(SystemExit, match="holds 'speed', not 'truth'"):
        recording.Record("truth", threads=1, path=path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("path", sorted((FOLDER / "results").glob("*.json")), ids=lambda path: path.stem)
def test_committed_results_are_whole(path: Path) -> None:
    stored = json.loads(path.read_text())
    assert stored["benchmark"] == path.stem
    assert stored["cells"]
    for cell in stored["cells"].values():
        assert {"settings", "commit", "started", "machine", "versions"} <= cell.keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "options", "row"),
    [
        ("truth", [], "rings"),
        ("numerics", ["--libraries", "unwarp"], "unwarp nsf coupling"),
        ("speed", ["--libraries", "unwarp"], "log_prob: nsf coupling"),
        ("peers", ["--contestants", "mixture", "unwarp"], "demo"),
        ("levers", [], "mixture base"),
        ("families", [], "maf"),
        ("images", [], "glow"),
        ("rates", [], "planar"),
        ("synthetic", ["--contestants", "independent", "network", "trees"], "network"),
        ("stream", [], "40000 rows"),
        ("gaps", ["--contestants", "iterative", "independent", "flow"], "independent"),
        ("mixed", [], "demo"),
        ("simulators", [], "toy"),
        ("vae", [], "mean-field"),
        ("vi", [], "funnel"),
        ("path_gradients", [], "realnvp"),
    ],
)
def test_script_runs_quickly_and_resumes(script: str, options: list[str], row: str, tmp_path: Path) -> None:
    out = tmp_path / f"{script}.json"
    source = str(FOLDER.parent / "src")
    command = [sys.executable, str(FOLDER / f"{script}.py"), "--quick", "--out", str(out), *options]
    environment = {**os.environ, "PYTHONPATH": source}
    first = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert first.returncode == 0, first.stderr
    assert row in first.stdout
    cells = json.loads(out.read_text())["cells"]
    assert cells
    again = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert again.returncode == 0, again.stderr
    assert json.loads(out.read_text())["cells"] == cells


def test_samples_are_told_apart_as_well_as_can_be() -> None:
    """Two normal laws, one standard deviation apart, by their middle: 69 % at best."""
    rng = np.random.default_rng(0)
    reference, drawn = rng.normal(size=(2, 2, 1500, 2))
    drawn[1, :, 0] += 1.0
    same, apart = load("_two_samples").c2st(reference, drawn)
    assert same == pytest.approx(0.5, abs=0.05)
    assert apart == pytest.approx(0.69, abs=0.04)


def test_speed_puts_its_tables_into_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    page = load("_speed_page")
    spread = {"median": 0.002, "low": 0.001, "high": 0.003}
    peer = {"cpu": spread, "wall": spread, "cpu_ratio": {"median": 1.5, "low": 1.4, "high": 1.6}}
    cell = {
        "row": {"model": "maf", "features": 8, "batch": 512, "threads": 1},
        "limits": {"gemm": 1e11, "copy": 1e10, "exp": 1e9, "dispatch": 1e-6},
        "machine": {"cpu": "a processor", "cores": 2, "memory_gib": 8.0, "system": "Linux"},
        "libraries": {
            "unwarp": {"parameters": 10, "memory": 3.0, "train": {"cpu": spread, "flop": 10**8, "operations": 100}},
            "zuko": {"parameters": 10, "train": peer},
            "FrEIA": {"empty": "FrEIA has no maf"},
        },
    }
    text = page.page({"a": cell}, clock="cpu")
    row = next(line for line in text.splitlines() if line.startswith("| train: maf"))
    told = [word.strip() for word in row.split("|")[1:-1]]
    assert told == ["train: maf", "8", "512", "1", "2 (1 to 3)", "50%", "55%", "1.50"]
    assert "10 (3 MiB)" in text
    assert "- FrEIA: FrEIA has no maf (maf)" in text
    there = tmp_path / "page.md"
    there.write_text("before\n<!-- tables: begin -->\nold\n<!-- tables: end -->\nafter\n")
    page.put(text, there)
    assert there.read_text() == f"before\n<!-- tables: begin -->\n{text}\n<!-- tables: end -->\nafter\n"
    page.draw({"a": cell}, tmp_path / "speed.png", clock="cpu")
    assert (tmp_path / "speed.png").stat().st_size > 1000


def test_images_are_read_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the archive's own names; a pixel that is always the same costs little, one that tells nothing all it can."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setenv("UNWARP_DATA", str(tmp_path))
    x = np.arange(256, dtype=np.uint8).repeat(784).reshape(-1, 28, 28)
    (tmp_path / "image_mnist").mkdir()
    np.savez(tmp_path / "image_mnist" / "mnist.npz", x_train=x, x_val=x[:3], x_test=x)
    bench = load("images")
    train, validation, test = bench.images("mnist")
    assert (train.shape, validation.shape) == ((256, 1, 28, 28), (3, 1, 28, 28))
    assert bench.independent(train, test, 256) == pytest.approx(8.0)
    assert bench.independent(0 * train, 0 * test, 256) == pytest.approx(np.log2(512 / 257), rel=1e-5)


def test_a_network_of_pairs_is_a_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sums to one over all rows that can be, a missing cell is summed over, and what was never seen is possible."""
    monkeypatch.syspath_prepend(str(FOLDER))
    made = importlib.import_module("_synthesizers")
    rng = np.random.default_rng(0)
    size = rng.integers(3, 9, 300)
    kind = np.where(size + rng.normal(0, 1, 300) > 6, "oak", "elm").astype(object)
    shade = np.where(rng.random(300) < 0.9, kind == "oak", rng.random(300) < 0.5).astype(str).astype(object)
    shade[:30] = None
    frame = pd.DataFrame({"size": size, "kind": kind, "shade": shade})
    model = made.Network().fit(frame, 0)
    names = {"size": np.arange(-40, 60), "kind": ["oak", "elm", "?"], "shade": ["True", "False", "?"]}
    rows = pd.MultiIndex.from_product(names.values(), names=names).to_frame(index=False)
    inside = (rows["size"] >= model.cells[0].low[0]) & (rows["size"] < model.cells[0].low[-1] + model.cells[0].wide[-1])
    assert np.exp(model.score_samples(rows[inside])).sum() == pytest.approx(1.0)
    row = pd.DataFrame({"size": [4] * 3, "kind": names["kind"], "shade": ["True"] * 3})
    gap = row.iloc[:1].assign(kind=None)
    assert np.exp(model.score_samples(gap)) == pytest.approx(np.exp(model.score_samples(row)).sum())
    assert model.score_samples(frame).mean() > made.Network(edges=False).fit(frame, 0).score_samples(frame).mean() + 0.5
    for contestant in (model, made.Bootstrap().fit(frame, 0), made.Trees().fit(frame, 0)):
        drawn = contestant.sample(200, 1)
        assert list(drawn) == list(frame) and drawn["size"].between(3, 8).all()
        assert set(drawn["shade"].dropna()) <= {"True", "False"}
