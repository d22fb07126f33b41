"""Draws go in from ArviZ and xarray, and come back with the same names, shapes, dimensions and coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unwarp import POSITIVE
from unwarp.applications import Draws, Posterior, Target, fit_posterior
from unwarp.cli import main

az = pytest.importorskip("arviz")
xr = pytest.importorskip("xarray")

QUICK: dict[str, Any] = {"flow": "maf", "flow_options": {"layers": 1, "hidden": (16,)}, "max_steps": 100}
SCHOOLS = ["Choate", "Deerfield", "Andover"]


def dataset() -> Any:
    rng = np.random.default_rng(0)
    tau = rng.gamma(3.0, 1.0, (4, 250))
    theta = 5.0 + tau[..., None] * rng.normal(size=(4, 250, 3))
    return xr.Dataset(
        {"theta": (("chain", "draw", "school"), theta), "tau": (("chain", "draw"), tau)},
        {"chain": range(4), "draw": range(250), "school": SCHOOLS},
    )


def container(kind: str) -> Any:
    given = dataset()
    if kind == "tree":  # what ArviZ 1.x has
        return xr.DataTree.from_dict({"posterior": given, "sample_stats": xr.Dataset({"lp": given.tau})})
    if kind == "inference data":
        return az.InferenceData(posterior=given)
    if kind == "transposed":
        return given.transpose("school", "draw", "chain")
    return {"group": lambda: xr.DataTree.from_dict({"posterior": given}).posterior, "dataset": lambda: given}[kind]()


@pytest.mark.parametrize("kind", ["tree", "group", "dataset", "transposed", "inference data"])
def test_names_shapes_and_labels_come_back(kind: str) -> None:
    given = dataset()
    model = fit_posterior(container(kind), support={"tau": POSITIVE}, **QUICK)
    assert model.draws is not None
    np.testing.assert_array_equal(model.draws.named()["theta"], given.theta.values)
    found = model.to_xarray(200)
    assert found.theta.dims == ("chain", "draw", "school")
    assert found.school.values.tolist() == SCHOOLS
    assert found.sizes["chain"] == 4
    assert float(found.tau.min()) > 0
    assert float(abs(found.theta.mean() - 5.0)) < 0.8


def test_arviz_judges_what_comes_back() -> None:
    model = fit_posterior(dataset(), support={"tau": POSITIVE}, **QUICK)
    back = model.to_arviz(400)
    assert type(back).__name__ in ("InferenceData", "DataTree")
    summary = az.summary(back, kind="all")
    assert len(summary) == 4
    again = Draws.of(back)
    assert again.names == ("theta[Choate]", "theta[Deerfield]", "theta[Andover]", "tau")


def test_what_chains_are_worth_is_what_arviz_says() -> None:
    rng = np.random.default_rng(1)
    chains = rng.normal(size=(4, 1000))
    for i in range(1, 1000):
        chains[:, i] += 0.7 * chains[:, i - 1]
    draws = Draws.of({"x": chains})
    data = az.convert_to_dataset({"x": chains}) if getattr(az, "convert_to_dataset", None) else draws.to_xarray()
    assert draws.effective == pytest.approx(float(az.ess(data, method="mean")["x"]), rel=0.15)
    assert draws.r_hat[0] == pytest.approx(float(az.rhat(data)["x"]), abs=2e-3)


def test_labels_survive_the_file(tmp_path: Path) -> None:
    model = fit_posterior(container("tree"), support={"tau": POSITIVE}, **QUICK)
    model.save(tmp_path / "q.safetensors")
    found = Posterior.load(tmp_path / "q.safetensors").to_xarray(100)
    assert found.theta.dims == ("chain", "draw", "school")
    assert found.school.values.tolist() == SCHOOLS


def test_an_array_with_dimensions() -> None:
    found = Draws.of(dataset().theta)
    assert found.sizes == {"theta": (3,)}
    assert found.dims == {"theta": ("school",)}


def test_draws_of_other_parameters_stay_out_where_a_target_names_its_own() -> None:
    given = dataset().assign(twice=dataset().tau * 2)
    target = Target.from_torch(lambda x: 2 * x[:, 0].log() - x[:, 0], 1, names=["tau"])
    assert fit_posterior(given, target, **QUICK).sample(3).keys() == {"tau"}


@pytest.mark.parametrize("kind", ["tree", "dataset"])
def test_the_command_reads_and_writes_netcdf(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    container(kind).to_netcdf("draws.nc", engine="h5netcdf")
    words = ["posterior", "draws.nc", "-o", "q.safetensors", "--positive", "tau", "--flow", "maf", "--steps", "30"]
    assert main([*words, "--new", "new.nc"]) == 0
    assert "theta[Deerfield]" in capsys.readouterr().out
    again = Draws.of(xr.open_datatree("new.nc", engine="h5netcdf"))
    assert again.names == ("theta[Choate]", "theta[Deerfield]", "theta[Andover]", "tau")
    Path("bad.nc").write_bytes(b"\x89HDF\r\n\x1a\nbroken")
    assert main(["posterior", "bad.nc", "-o", "p.safetensors"]) == 3
    assert capsys.readouterr().err.count("\n") == 1
