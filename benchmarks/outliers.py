"""How well strange rows are told from normal ones, at which false discovery rate, and which column is blamed.

    UNWARP_DATA=... python benchmarks/outliers.py detect --sets 45_wine 42_WBC
    UNWARP_DATA=... python benchmarks/outliers.py blame --sets 29_Pima
    python benchmarks/outliers.py rate --repeats 50

`detect` follows ADBench, columns standardised by the training rows: "semi" fits to a random half of the normal rows
(without trimming, as they are known to be right) and scores the others and all anomalies, "unsupervised" fits to all
rows and judges them; `--show` prints the tables. `blame` swaps one value of fresh normal rows for one drawn from within
the column's range, where that leaves the row among the 5 % strangest. `rate` counts false discoveries on synthetic
tables.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import _record
import numpy as np
import torch
from _detectors import rivals
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_auc_score

MEASURES = ("combined", "log_prob", "near", "broad", "columns", "background", "typicality")
QUICK: dict[str, Any] = {
    "flow": "maf", "flow_options": {"layers": 2, "hidden": (32,), "base": "mixture", "components": 8},
    "noise": 0.1, "max_steps": 60,
}  # fmt: skip
SETS = (
    *("12_fault", "14_glass", "18_Ionosphere", "20_letter", "22_magic.gamma", "23_mammography", "26_optdigits"),
    *("28_pendigits", "29_Pima", "2_annthyroid", "32_shuttle", "37_Stamps", "38_thyroid", "40_vowels", "42_WBC"),
    *("43_WDBC", "44_Wilt", "45_wine", "46_WPBC", "47_yeast", "4_breastw", "6_cardio", "7_Cardiotocography"),
)


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels (1 is strange) of a set of ADBench."""
    path = Path(os.environ["UNWARP_DATA"]) / "anomaly_adbench" / f"{name}.npz"
    with np.load(path) as file:
        return file["X"].astype(np.float64), file["y"].astype(int)


def semi(x: np.ndarray, y: np.ndarray, seed: int, most: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """A random half of the normal rows to train on; the others and all strange ones, and their labels."""
    rng = np.random.default_rng(seed)
    normal = rng.permutation(np.flatnonzero(y == 0))
    train, rest = normal[: len(normal) // 2][:most], normal[len(normal) // 2 :]
    test = rng.permutation(np.concatenate([rest, np.flatnonzero(y == 1)]))[:most]
    x = standardised(x, train)
    return x[train], x[test], y[test]


def unsupervised(
    x: np.ndarray, y: np.ndarray, seed: int, most: int
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """All rows to train on, which are those to judge."""
    train = np.random.default_rng(seed).permutation(len(x))[:most]
    return standardised(x, train)[train], None, y[train]


def standardised(x: np.ndarray, train: np.ndarray) -> np.ndarray:
    """In deviations of the training rows from their mean."""
    scale = x[train].std(axis=0)
    return (x - x[train].mean(axis=0)) / np.where(scale > 0, scale, 1.0)


def graded(y: np.ndarray, strangeness: np.ndarray) -> dict[str, float]:
    """Area under the ROC curve and average precision; what is not finite is as strange as can be."""
    finite = np.nan_to_num(strangeness, nan=1e300, posinf=1e300)
    return {"auroc": float(roc_auc_score(y, finite)), "ap": float(average_precision_score(y, finite))}


def detect(split: str, name: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Every measure and rival on one set."""
    from unwarp import FlowOutlier

    train, test, y = {"semi": semi, "unsupervised": unsupervised}[split](*load(name), seed, args.rows)
    found: dict[str, Any] = {"rows": len(train), "features": train.shape[1]}
    started = time.process_time()
    model = FlowOutlier(**QUICK, trim=0.0 if split == "semi" else args.trim, random_state=seed).fit(train)
    found["seconds"] = time.process_time() - started
    if test is None:
        found["combined"], found["log_prob"] = graded(y, -model.scores_), graded(y, -model.depths_)
    else:
        seen = model._seen(test)  # all that the measures need, once
        for measure in MEASURES:
            model.measure = measure
            found[measure] = graded(y, -model._of(seen))
    for rival, strangeness in rivals().items():
        found[rival] = graded(y, strangeness(train, test, seed))
    return found


def summary(cells: dict[str, dict[str, Any]], split: str) -> str:
    """The table of one split: means over sets and seeds, mean rank beside the rivals, share of sets above a forest."""
    cells = {key: cell for key, cell in cells.items() if key.startswith(f"detect/{split}/")}
    if not cells:
        return ""
    sets = sorted({key.split("/")[2] for key in cells})
    methods = [name for name in (*MEASURES, *rivals()) if all(name in cell for cell in cells.values())]

    def means(what: str) -> np.ndarray:
        by_set = [[cell for key, cell in cells.items() if key.split("/")[2] == name] for name in sets]
        return np.array([[np.mean([cell[method][what] for cell in of]) for method in methods] for of in by_set])

    area, precision = means("auroc"), means("ap")
    own = [k for k, name in enumerate(methods) if name in MEASURES]
    others = [k for k in range(len(methods)) if k not in own]
    first, ranks = methods.index("combined"), {}
    for k in range(len(methods)):
        beside = [k if k in own else first, *others]
        ranks[k] = float(np.mean([rankdata(-row[beside])[beside.index(k)] for row in area]))
    rows = []
    for k in np.argsort(-area.mean(axis=0)):
        apart = area[:, first] - area[:, k]
        error = apart.std() / np.sqrt(len(sets))
        above = np.mean(area[:, k] > area[:, methods.index("forest")])
        rows.append([
            methods[k], f"{area[:, k].mean():.4f}", f"{precision[:, k].mean():.4f}", f"{ranks[int(k)]:.2f}",
            "-" if methods[k] == "forest" else f"{above:.0%}",
            "-" if k == first else f"{apart.mean():+.4f} ± {error:.4f}",
        ])  # fmt: skip
    header = ["score", "AUROC", "AP", "rank", "above the forest", "combined ahead by"]
    return f"{split}: {len(sets)} sets, {len(cells)} cells\n\n" + _record.table(rows, header)


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
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--splits", nargs="+", default=["semi", "unsupervised"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of detect")
    parser.add_argument("--show", action="store_true", help="print the tables of detect from what is stored")
    parser.add_argument("--kinds", nargs="+", default=["new", "same"], help="of rows that are judged: new, or of fit")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--rows", type=int, default=3_000, help="rows to fit to at most")
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
    if args.show:
        print("\n\n".join(summary(record.cells(), split) for split in ("semi", "unsupervised")))
        return
    settings = {name: getattr(args, name) for name in ("rows", "trim", "clock")}
    made = ("settings", "commit", "started", "machine", "versions")
    for where, measure, told in plan(args):
        asked = settings | told
        if args.rerun or not record.has(where, asked):
            started = _record.now()
            record.put(where, measure(), settings=asked, started=started)
        cell = record.cells()[where]
        figures = {
            key: value["auroc"] if isinstance(value, dict) else value for key, value in cell.items() if key not in made
        }
        print(where, " ".join(f"{key} {value:.3f}" for key, value in figures.items()), flush=True)


def plan(args: argparse.Namespace) -> list[tuple[str, Callable[[], dict[str, Any]], dict[str, Any]]]:
    """The cells: where each is kept, what measures it, and settings of its own."""
    if args.what == "detect":
        return [
            (f"detect/{split}/{name}/seed {seed}", partial(detect, split, name, seed, args), {"seed": seed})
            for seed in args.seeds for split in args.splits for name in args.sets
        ]  # fmt: skip
    if args.what == "blame":
        told = {"seed": args.seed, "most": args.most}
        return [(f"blame/{name}", partial(blame, name, args), told) for name in args.sets]
    told = {"repeats": args.repeats, "steps": args.steps}
    return [(f"rate/{kind}", partial(rate, kind, args), told) for kind in args.kinds]


if __name__ == "__main__":
    main()
