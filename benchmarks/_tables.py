"""Real tables for the comparison with peers: found under ``UNWARP_DATA``, dequantised once, split and standardised.

Columns that live on a grid get uniform noise of one grid step before anybody sees them, so no contestant is paid for
resolving ties. Repeated rows are dropped first (they would leak across the split), except in POWER, which keeps its
published protocol. Each seed has its own noise and its own 80/10/10 split, shared by all contestants.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Split:
    """One table, split and standardised by its training rows (POWER: by training and validation rows, as published)."""

    train: NDArray[np.float32]
    validation: NDArray[np.float32]
    test: NDArray[np.float32]


def root() -> Path:
    """The folder of real data that ``UNWARP_DATA`` names."""
    folder = os.environ.get("UNWARP_DATA")
    if not folder or not Path(folder).is_dir():
        raise SystemExit("UNWARP_DATA: expected a folder with the real tables; got none. Set it, or use --quick.")
    return Path(folder)


def _csv(path: str, *, header: bool) -> list[list[str]]:
    file = root() / path
    raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    text = raw.decode("utf-8-sig")
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    return rows[1:] if header else rows


def _numbers(rows: list[list[str]], columns: list[int]) -> NDArray[np.float64]:
    values = np.array([[float(row[j]) if row[j].strip() else np.nan for j in columns] for row in rows])
    return values[~np.isnan(values).any(1)]


def _galaxies() -> NDArray[np.float64]:
    return np.load(root() / "science_galaxies_pzflow/galaxies_100k.npz")["data"].astype(np.float64)


def _california() -> NDArray[np.float64]:
    return _numbers(_csv("tabular_california_housing/housing.csv.gz", header=True), list(range(9)))


def _kin40k() -> NDArray[np.float64]:
    return np.load(root() / "tabular_uci_regression/kin40k.npz")["data"].astype(np.float64)


def _abalone() -> NDArray[np.float64]:
    return _numbers(_csv("density_uci_small/abalone.csv", header=False), list(range(1, 9)))


def _htru2() -> NDArray[np.float64]:
    return _numbers(_csv("density_uci_small/pulsar_stars_HTRU2.csv", header=True), list(range(8)))


def _red_wine() -> NDArray[np.float64]:
    return _numbers(_csv("density_uci_small/winequality-red.csv", header=False), list(range(11)))


def _diamonds() -> NDArray[np.float64]:
    rows = _numbers(_csv("mixed_diamonds/diamonds.csv.gz", header=True), [0, 4, 5, 6, 7, 8, 9])
    return rows[(rows[:, 4:] > 0).all(1)]  # a width of zero millimetres is a missing value


def _waves() -> NDArray[np.float64]:
    return np.load(root() / "posterior_gw_o2/GW170104.npz")["samples"].astype(np.float64)


# name -> (reader, grid step of each column; 0 where the column is continuous)
SOURCES: dict[str, tuple[Callable[[], NDArray[np.float64]], tuple[float, ...]]] = {
    "galaxies": (_galaxies, (0.0,) * 7),
    "california": (_california, (0.01, 0.01, 1, 1, 1, 1, 1, 0.0001, 100)),
    "kin40k": (_kin40k, (0.0001,) * 9),
    "abalone": (_abalone, (0.005, 0.005, 0.005, 0.0005, 0.0005, 0.0005, 0.0005, 1)),
    "htru2": (_htru2, (1 / 128, 0, 0, 0, 1 / 1196, 0, 0, 0)),
    "red wine": (_red_wine, (0.1, 0.005, 0.01, 0.1, 0.001, 1, 1, 1e-5, 0.01, 0.01, 0.1)),
    "diamonds": (_diamonds, (0.01, 0.1, 1, 1, 0.01, 0.01, 0.01)),
    "waves": (_waves, (0.0,) * 14),
}
NAMES = ("power", *SOURCES)


def load(name: str, seed: int) -> Split:
    """The table ``name``, dequantised, shuffled and split for this seed."""
    if name == "power":
        loader = runpy.run_path(str(root() / "density_power" / "load_power.py"))["load"]
        return Split(*loader())
    read, steps = SOURCES[name]
    rng = np.random.default_rng(seed)
    rows = np.unique(read(), axis=0)
    rows = rows + rng.random(rows.shape) * np.array(steps)
    rng.shuffle(rows)
    held = len(rows) // 10
    train, validation, test = np.split(rows, [len(rows) - 2 * held, len(rows) - held])
    mean, std = train.mean(0), train.std(0)
    return Split(*(((part - mean) / std).astype(np.float32) for part in (train, validation, test)))


def demo(seed: int) -> Split:
    """A small made-up table for quick runs: three correlated, curved columns."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(2000, 3))
    rows[:, 1] += rows[:, 0] ** 2
    rows[:, 2] = np.exp(0.5 * rows[:, 2] + 0.3 * rows[:, 1])
    rows = (rows - rows.mean(0)) / rows.std(0)
    train, validation, test = np.split(rows.astype(np.float32), [1600, 1800])
    return Split(train, validation, test)
