"""The 25 posteriors with reference draws: log densities in torch, after their Stan files, and the draws."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unwarp import POSITIVE, REAL, Space
from unwarp.applications import Target

__all__ = ["Case", "load", "names"]

Columns = dict[str, Tensor]
Design = Callable[[Columns], tuple[Tensor, list[Tensor]]]


@dataclass(frozen=True)
class Case:
    """A posterior, its reference draws `(10, 1000, k)`, how draws by name become rows like them, and its data."""

    name: str
    target: Target
    draws: np.ndarray
    rows: Callable[[dict[str, np.ndarray]], np.ndarray]
    given: dict[str, np.ndarray]


def names(folder: Path) -> list[str]:
    """All that are there."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def load(folder: Path, name: str) -> Case:
    """One of them by its name."""
    with zipfile.ZipFile(folder / name / "data.json.zip") as archive:
        data = json.loads(archive.read(archive.namelist()[0]))
    with np.load(folder / name / "draws.npz") as held:
        draws = held["draws"]
    if name.startswith("eight_schools"):
        given = {key: np.array(data[key], dtype=float) for key in ("y", "sigma")}
        return Case(name, _schools(data), draws, _schools_rows, given)
    given = {key: torch.tensor(value, dtype=torch.float64) for key, value in data.items() if isinstance(value, list)}
    y, parts = _DESIGNS[name](given)
    design = torch.stack([torch.ones_like(y), *parts])
    known: dict[str, np.ndarray] = {"y": y.numpy(), "design": design.numpy()}
    if name.startswith("kilpisjarvi"):
        known["middle"] = np.array([data["pmualpha"], data["pmubeta"]])
        known["scale"] = np.array([data["psalpha"], data["psbeta"]])
    if name.startswith("kidiq-"):
        known["cauchy"] = np.array(2.5)
    target = _regression(y, design, known)
    return Case(name, target, draws, lambda found: np.column_stack([found["beta"], found["sigma"]]), known)


def _regression(y: Tensor, design: Tensor, given: dict[str, np.ndarray]) -> Target:
    """`y ~ normal(beta design, sigma)` with `design` of a row for each coefficient; priors where data name them."""
    k, n = design.shape
    prior = {key: torch.from_numpy(given[key]) for key in ("middle", "scale") if key in given}

    def log_density(x: Tensor) -> Tensor:
        beta, sigma = x[..., :k], x[..., k]
        value = -0.5 * (y - beta @ design).square().sum(-1) / sigma.square() - n * sigma.log()
        if prior:  # beta ~ normal(middle, scale)
            value = value - 0.5 * ((beta - prior["middle"]) / prior["scale"]).square().sum(-1)
        if "cauchy" in given:  # sigma ~ cauchy(0, 2.5)
            value = value - torch.log1p((sigma / 2.5).square())
        return value

    space = Space((k + 1,), (*[REAL] * k, POSITIVE))
    return Target.from_torch(log_density, space, names={"beta": (k,), "sigma": ()})


def _schools(data: dict[str, Any]) -> Target:
    y, error = (torch.tensor(data[key], dtype=torch.float64) for key in ("y", "sigma"))

    def log_density(x: Tensor) -> Tensor:
        raw, mu, tau = x[..., :8], x[..., 8], x[..., 9]
        theta = raw * tau.unsqueeze(-1) + mu.unsqueeze(-1)
        like = -0.5 * (((y - theta) / error).square() + raw.square()).sum(-1)
        return like - 0.5 * (mu / 5).square() - torch.log1p((tau / 5).square())

    space = Space((10,), (*[REAL] * 9, POSITIVE))
    return Target.from_torch(log_density, space, names={"theta_trans": (8,), "mu": (), "tau": ()})


def _schools_rows(found: dict[str, np.ndarray]) -> np.ndarray:
    theta = found["theta_trans"] * found["tau"][:, None] + found["mu"][:, None]
    return np.column_stack([theta, found["mu"], found["tau"]])


def _z(x: Tensor, times: float = 1.0) -> Tensor:
    return (x - x.mean()) / (times * x.std())


def _kid(hs: Callable[[Tensor], Tensor], iq: Callable[[Tensor], Tensor]) -> Design:
    def made(d: Columns) -> tuple[Tensor, list[Tensor]]:
        a, b = hs(d["mom_hs"]), iq(d["mom_iq"])
        return d["kid_score"], [a, b, a * b]

    return made


def _earnings(scale: float, *parts: Callable[[Columns], Tensor]) -> Design:
    return lambda d: (d["earn"].log() / scale, [part(d) for part in parts])


def _mesquite(*parts: Callable[[Columns], Tensor]) -> Design:
    return lambda d: (d["weight"].log(), [part(d) for part in parts])


def _log(key: str) -> Callable[[Columns], Tensor]:
    return lambda d: d[key].log()


def _own(key: str) -> Callable[[Columns], Tensor]:
    return lambda d: d[key]


def _nes(d: Columns) -> tuple[Tensor, list[Tensor]]:
    ages = [(d["age_discrete"] == level).double() for level in (2, 3, 4)]
    return d["partyid7"], [d["real_ideo"], d["race_adj"], *ages, d["educ1"], d["gender"], d["income"]]


def _volume(d: Columns) -> Tensor:
    return (d["diam1"] * d["diam2"] * d["canopy_height"]).log()


def _area(d: Columns) -> Tensor:
    return (d["diam1"] * d["diam2"]).log()


def _shape(d: Columns) -> Tensor:
    return (d["diam1"] / d["diam2"]).log()


_SIZES = ("diam1", "diam2", "canopy_height", "total_height", "density")
_DESIGNS: dict[str, Design] = {
    "earnings-earn_height": lambda d: (d["earn"], [d["height"]]),
    "earnings-log10earn_height": _earnings(math.log(10.0), _own("height")),
    "earnings-logearn_height": _earnings(1.0, _own("height")),
    "earnings-logearn_height_male": _earnings(1.0, _own("height"), _own("male")),
    "earnings-logearn_interaction": _earnings(1.0, _own("height"), _own("male"), lambda d: d["height"] * d["male"]),
    "earnings-logearn_interaction_z": _earnings(
        1.0, lambda d: _z(d["height"]), _own("male"), lambda d: _z(d["height"]) * d["male"]
    ),
    "earnings-logearn_logheight_male": _earnings(1.0, _log("height"), _own("male")),
    "kidiq-kidscore_interaction": lambda d: (d["kid_score"], [d["mom_hs"], d["mom_iq"], d["mom_hs"] * d["mom_iq"]]),
    "kidiq-kidscore_momhs": lambda d: (d["kid_score"], [d["mom_hs"]]),
    "kidiq-kidscore_momhsiq": lambda d: (d["kid_score"], [d["mom_hs"], d["mom_iq"]]),
    "kidiq-kidscore_momiq": lambda d: (d["kid_score"], [d["mom_iq"]]),
    "kidiq_with_mom_work-kidscore_interaction_c": _kid(lambda x: x - x.mean(), lambda x: x - x.mean()),
    "kidiq_with_mom_work-kidscore_interaction_c2": _kid(lambda x: x - 0.5, lambda x: x - 100),
    "kidiq_with_mom_work-kidscore_interaction_z": _kid(lambda x: _z(x, 2), lambda x: _z(x, 2)),
    "kidiq_with_mom_work-kidscore_mom_work": lambda d: (
        d["kid_score"],
        [(d["mom_work"] == level).double() for level in (2, 3, 4)],
    ),
    "kilpisjarvi_mod-kilpisjarvi": lambda d: (d["y"], [d["x"]]),
    "mesquite-logmesquite": _mesquite(*(_log(key) for key in _SIZES), _own("group")),
    "mesquite-logmesquite_logva": _mesquite(_volume, _area, _own("group")),
    "mesquite-logmesquite_logvas": _mesquite(
        _volume, _area, _shape, _log("total_height"), _log("density"), _own("group")
    ),
    "mesquite-logmesquite_logvash": _mesquite(_volume, _area, _shape, _log("total_height"), _own("group")),
    "mesquite-logmesquite_logvolume": _mesquite(_volume),
    "mesquite-mesquite": lambda d: (d["weight"], [*(d[key] for key in _SIZES), d["group"]]),
    "nes1980-nes": _nes,
    "nes2000-nes": _nes,
}
