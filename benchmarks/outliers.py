"""How well strange rows are told from normal ones, at which false discovery rate, and which column is blamed.

    UNWARP_DATA=... python benchmarks/outliers.py detect --sets 45_wine 42_WBC
    UNWARP_DATA=... python benchmarks/outliers.py blame --sets 29_Pima
    python benchmarks/outliers.py rate --repeats 50

`detect` is ADBench's one-class protocol: fit to a random half of the normal rows, score the others and all anomalies,
columns standardised by the training rows. `blame` swaps one value of fresh normal rows for one drawn from within the
column's range, where that leaves the row among the 5 % strangest. `rate` counts false discoveries on synthetic tables.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _record
import numpy as np
import torch
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity, LocalOutlierFactor, NearestNeighbors

MEASURES = ("log_prob", "latent", "typicality")


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels (1 is strange) of a set of ADBench."""
    path = Path(os.environ["UNWARP_DATA"]) / "anomaly_adbench" / f"{name}.npz"
    with np.load(path) as file:
        return file["X"].astype(np.float64), file["y"].astype(int)


def halves(x: np.ndarray, y: np.ndarray, seed: int, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training rows, test rows and their labels, standardised."""
    normal = np.random.default_rng(seed).permutation(np.flatnonzero(y == 0))
    train, rest = normal[: len(normal) // 2][:most], normal[len(normal) // 2 :]
    test = np.concatenate([rest, np.flatnonzero(y == 1)])
    scale = x[train].std(axis=0)
    x = (x - x[train].mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    return x[train], x[test], y[test]


def nearest(train: np.ndarray, test: np.ndarray, _: int) -> np.ndarray:
    """Distance to the fifth neighbour."""
    return NearestNeighbors(n_neighbors=min(5, len(train))).fit(train).kneighbors(test)[0][:, -1]


def mixture(train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """Minus the log density of a mixture with the best BIC."""
    sizes = [k for k in (1, 2, 4, 8) if k * 10 <= len(train)] or [1]
    made = [GaussianMixture(k, reg_covar=1e-3, random_state=seed).fit(train) for k in sizes]
    return -min(made, key=lambda model: model.bic(train)).score_samples(test)


RIVALS: dict[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = {
    "forest": lambda a, b, seed: -IsolationForest(random_state=seed).fit(a).score_samples(b),
    "knn": nearest,
    "lof": lambda a, b, _: -LocalOutlierFactor(min(20, len(a) - 1), novelty=True).fit(a).score_samples(b),
    "mixture": mixture,
    "kde": lambda a, b, _: -KernelDensity(bandwidth="scott").fit(a).score_samples(b),
}


def pyod() -> dict[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]]:
    """ECOD, COPOD and HBOS, where PyOD is installed."""
    if importlib.util.find_spec("pyod") is None:
        return {}
    from pyod.models import copod, ecod, hbos

    made = {"ecod": ecod.ECOD, "copod": copod.COPOD, "hbos": hbos.HBOS}
    return {name: lambda a, b, _, kind=kind: kind().fit(a).decision_function(b) for name, kind in made.items()}


def auroc(y: np.ndarray, strangeness: np.ndarray) -> float:
    """Area under the curve; what is not finite is as strange as can be."""
    return float(roc_auc_score(y, np.nan_to_num(strangeness, nan=1e300, posinf=1e300)))


def detect(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """AUROC of every measure and rival on one set."""
    from unwarp import FlowOutlier

    train, test, y = halves(*load(name), args.seed, args.rows)
    found: dict[str, Any] = {"rows": len(train), "columns": train.shape[1]}
    started = time.process_time()
    model = FlowOutlier(trim=args.trim, max_seconds=args.most, random_state=args.seed).fit(train)
    found["seconds"] = time.process_time() - started
    for measure in MEASURES:
        model.measure = measure
        if measure == "typicality":
            model.center_ = float(np.median(model.density_.score_samples(train)))
        found[measure] = auroc(y, -model.score_samples(test))
    for rival, strangeness in (RIVALS | pyod()).items():
        found[rival] = auroc(y, strangeness(train, test, args.seed))
    return found


def blame(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Share of planted errors whose column is named first."""
    from unwarp import FlowOutlier

    x, y = load(name)
    x = x[y == 0]
    rng = np.random.default_rng(args.seed)
    x = x[rng.permutation(len(x))][: args.rows]
    train, fresh = x[: 3 * len(x) // 4], x[3 * len(x) // 4 :]
    model = FlowOutlier(trim=args.trim, max_seconds=args.most, random_state=args.seed).fit(train)
    columns = [j for j, column in enumerate(model.density_.schema_.columns) if column.role == "modelled"]
    place = rng.choice(columns, len(fresh))
    low, high = train.min(axis=0), train.max(axis=0)
    planted = fresh.copy()
    for i, j in enumerate(place):
        planted[i, j] = rng.uniform(low[j], high[j])
        if model.density_.schema_.columns[j].whole:
            planted[i, j] = round(planted[i, j])
    seen = np.flatnonzero(model.predict(planted) == -1)[:200]
    first = model.explain(planted[seen], why=1)["column"].to_pylist()
    right = [int(text[1:]) == place[row] for text, row in zip(first, seen, strict=True)]
    return {"planted": len(fresh), "seen": len(seen), "right": float(np.mean(right)) if right else 0.0}


def table_of(seed: int, rows: int, strange: int) -> tuple[np.ndarray, np.ndarray]:
    """A curved law of four columns, and rows of another at the end."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4))
    x[:, 1] += x[:, 0] ** 2
    x[:, 2] = np.exp(0.5 * x[:, 2] + 0.3 * x[:, 0])
    x[rows - strange :, 1] += rng.choice([-1, 1], strange) * rng.uniform(5, 9, strange)
    return x, np.arange(rows) >= rows - strange


def rate(kind: str, args: argparse.Namespace) -> dict[str, Any]:
    """Mean share of false discoveries and of strange rows found, at 0.05, over tables each with a fit of its own."""
    from unwarp import FlowOutlier

    shares, power = [], []
    for seed in range(args.repeats):
        model = FlowOutlier("maf", trim=args.trim, max_steps=args.steps, random_state=seed)
        x, strange = table_of(2 * seed, args.rows, args.rows // 20 if kind == "same" else 0)
        model.fit(x)
        if kind == "new":
            x, strange = table_of(2 * seed + 1, 1000, 100)
        found = model.outliers(fdr=0.05) if kind == "same" else model.outliers(x, fdr=0.05)
        shares.append(float((found & ~strange).sum() / max(found.sum(), 1)))
        power.append(float((found & strange).sum() / strange.sum()))
    error = float(np.std(shares) / np.sqrt(len(shares)))
    return {"false": float(np.mean(shares)), "false_error": error, "found": float(np.mean(power))}


def main() -> None:
    """Measure what is missing, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("detect", "blame", "rate"))
    parser.add_argument("--sets", nargs="+", default=["45_wine", "42_WBC", "29_Pima", "37_Stamps"])
    parser.add_argument("--kinds", nargs="+", default=["new", "same"], help="of rows that are judged: new, or of fit")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--rows", type=int, default=10_000, help="rows to fit to at most")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--most", type=float, default=None, help="seconds of training")
    parser.add_argument("--trim", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu", help="what the seconds count")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rerun", action="store_true", help="measure stored cells again")
    parser.add_argument("--quick", action="store_true", help="seconds, on synthetic tables")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    if args.quick:
        args.what, args.repeats, args.rows, args.steps = "rate", 1, 300, 5
        args.out = args.out or _record.SCRATCH / "outliers-quick.json"
    _record.use_clock(args.clock)
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    record = _record.Record("outliers", threads=args.threads, path=args.out)
    settings = {name: getattr(args, name) for name in ("seed", "rows", "most", "trim", "clock")}
    if args.what == "rate":
        settings |= {"repeats": args.repeats, "steps": args.steps}
    measure = {"detect": detect, "blame": blame, "rate": rate}[args.what]
    for name in args.kinds if args.what == "rate" else args.sets:
        where = f"{args.what}/{name}" + ("" if args.trim == 0.05 else f"/trim {args.trim:g}")
        if args.rerun or not record.has(where, settings):
            started = _record.now()
            record.put(where, measure(name, args), settings=settings, started=started)
        cell = record.cells()[where]
        made = ("settings", "commit", "started", "machine", "versions")
        figures = {key: value for key, value in cell.items() if key not in made}
        print(where, " ".join(f"{key} {value:.3f}" for key, value in figures.items()), flush=True)


if __name__ == "__main__":
    main()
