"""`unwarp posterior`: files of draws in, a posterior and a page out, and one line where that can't be."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from unwarp.applications import Posterior
from unwarp.cli import main

FAST = ["--flow", "maf", "--steps", "30"]


def chains(count: int = 4, rows: int = 100, apart: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    mu = rng.normal(size=(count, rows)) + apart * np.arange(count)[:, None]
    tau = np.exp(0.5 * mu + 0.4 * rng.normal(size=mu.shape))
    columns = {"chain": np.repeat(range(count), rows), "draw": np.tile(range(rows), count)}
    return pd.DataFrame(columns | {"mu": mu.ravel(), "tau": tau.ravel(), "lp__": 0.0})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.chdir(tmp_path)
    chains().to_csv("draws.csv", index=False)

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["posterior", *(str(word) for word in words)])
        return code, *capsys.readouterr()

    return run


@pytest.mark.slow
def test_draws_become_a_posterior_a_page_and_new_draws(run: Any, tmp_path: Path) -> None:
    code, out, err = run(
        "draws.csv", "-o", "q.safetensors", "--positive", "tau", "--report", "q.html", "--new", "new.parquet", *FAST
    )  # fmt: skip
    assert code == 0, err
    for words in ("mu   draws", "R-hat", "Held-out log density", "Evidence needs a log density", "q.html"):
        assert words in out
    page = (tmp_path / "q.html").read_text()
    assert "Checks" in page and "Pairs of columns" in page and "<script" not in page
    new = pd.read_parquet("new.parquet")
    assert list(new.columns) == ["mu", "tau"]
    assert (new.tau > 0).all()
    assert Posterior.load("q.safetensors").sample(5).keys() == {"mu", "tau"}


def test_json_says_the_same(run: Any) -> None:
    code, out, _ = run("draws.csv", "-o", "q.safetensors", "--ignore", "tau", "--json", *FAST)
    told = json.loads(out.splitlines()[-1])
    assert code == 0
    assert told["chains"] == 4
    assert told["evidence"] is None
    assert set(told["draws"]["mu"]) == {"mean", "sd", "q5", "q50", "q95", "r_hat", "effective"}
    assert told["flow"].keys() == {"mu"}
    assert isinstance(told["trust"], bool)


def test_what_speaks_against_it_is_said(run: Any) -> None:
    chains(apart=2.0).to_csv("apart.csv", index=False)
    code, out, err = run("apart.csv", "-o", "q.safetensors", *FAST)
    assert code == 0
    assert "warning: draws: expected chains that agree; got R-hat" in err
    assert "should not stand for the posterior as it is: the chains disagree" in out
    chains(1).to_csv("one.csv", index=False)
    code, out, err = run("one.csv", "-o", "q.safetensors", *FAST)
    assert code == 0
    assert "can't be judged" in err
    assert "there is one chain" in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["none.csv", "-o", "q.safetensors"], 3, "none.csv"),
        (["draws.csv", "-o", "q.csv"], 2, "ends in .safetensors"),
        (["draws.csv", "-o", "q.safetensors", "--ignore", "sigma"], 3, "expected parameters"),
        (["draws.csv", "-o", "q.safetensors", "--positive", "mu"], 3, "inside the parameters' bounds"),
        (["draws.csv", "-o", "q.safetensors", "--positive", "sigma"], 2, "got that of ['sigma']"),
        (["draws.csv", "-o", "q.safetensors", "--bounded", "mu:0"], 2, "--bounded NAME:LOW:HIGH"),
        (["draws.csv", "-o", "q.safetensors", "--positive", "tau", "--bounded", "tau:0:1"], 2, "one kind"),
        (["text.csv", "-o", "q.safetensors"], 3, "with --ignore"),
        (["draws.md", "-o", "q.safetensors"], 3, "ends in .nc (NetCDF), .csv"),
        (["none.nc", "-o", "q.safetensors"], 3, "expected a NetCDF file; got none"),
    ],
)
def test_errors_are_one_line(run: Any, words: list[str], code: int, said: str) -> None:
    chains().assign(kind="oak").to_csv("text.csv", index=False)
    Path("draws.md").write_text("# draws")
    found, _, err = run(*words, *FAST)
    lines = [line for line in err.splitlines() if line]
    assert found == code
    assert said in lines[-1]
    assert not Path("q.safetensors").exists()


def test_netcdf_without_xarray_names_the_extra(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("draws.nc").write_bytes(b"not read")
    monkeypatch.setitem(sys.modules, "xarray", None)
    code, _, err = run("draws.nc", "-o", "q.safetensors")
    assert code == 2
    assert 'pip install "unwarp[bayes]"' in err


def test_a_page_alone_needs_no_model_file(run: Any, tmp_path: Path) -> None:
    code, out, err = run("draws.csv", "--report", "page.html", "--positive", "tau", *FAST)
    assert (code, err) == (0, "")
    assert "report: page.html" in out and "model:" not in out
    assert "Recipe" in (tmp_path / "page.html").read_text()
