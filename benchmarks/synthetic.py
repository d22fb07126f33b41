"""Synthetic rows of mixed tables, judged by `unwarp.applications.judge`, and held-out log-likelihoods.

    UNWARP_DATA=... python benchmarks/synthetic.py --tables adult diamonds --seeds 0 1 2

Every contestant sees the same rows of training and makes as many. Log-likelihoods are of what is observed in a held-out
row: probabilities of categories, and of the recorded value of every number, whose decimals are made whole first.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _record
import _synthesizers as synthesizers
import _tables
import numpy as np
import pandas as pd
import torch

ADULT = (
    "age workclass fnlwgt education education-num marital-status occupation relationship race sex "
    "capital-gain capital-loss hours-per-week native-country income"
)
DECIMALS = {"carat": 2, "depth": 1, "table": 1, "x": 2, "y": 2, "z": 2}
TARGETS = {"adult": "income", "diamonds": "price", "demo": "kind"}
CONTESTANTS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "independent": lambda _: synthesizers.Bootstrap(),
    "network": lambda _: synthesizers.Network(),
    "trees": lambda _: synthesizers.Trees(),
    "flow": lambda args: synthesizers.Flow(args.budget),
}


def load(name: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of training and held-out rows: adult as published, of diamonds a fifth is held out."""
    if name == "adult":
        return tuple(_adult(file) for file in ("adult.data.gz", "adult.test.gz"))  # pyright: ignore[reportReturnType]
    table = demo(seed) if name == "demo" else pd.read_csv(_tables.root() / "mixed_diamonds" / "diamonds.csv.gz")
    for column, places in DECIMALS.items():
        if column in table:
            table[column] = (table[column] * 10**places).round().astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(table))
    cut = len(table) // 5
    return table.iloc[order[cut:]].reset_index(drop=True), table.iloc[order[:cut]].reset_index(drop=True)


def _adult(file: str) -> pd.DataFrame:
    rows = pd.read_csv(
        _tables.root() / "mixed_adult" / file,
        names=ADULT.split(),
        skipinitialspace=True,
        na_values="?",
        skiprows=int("test" in file),
    )
    return rows.assign(income=rows["income"].str.rstrip("."))


def demo(seed: int) -> pd.DataFrame:
    """A small made-up table with a missing cell in twenty."""
    rng = np.random.default_rng(seed)
    size = rng.normal(40, 12, 1_500).round().astype(np.int64)
    kind = np.where(size + rng.normal(0, 8, len(size)) > 44, "oak", "elm").astype(object)
    shade = np.where(rng.random(len(size)) < 0.9, np.where(kind == "oak", "dark", "light"), "none").astype(object)
    shade[rng.random(len(size)) < 0.05] = None
    return pd.DataFrame({"size": size, "kind": kind, "shade": shade})


def measure(table: str, contestant: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """What one contestant's rows are worth."""
    from unwarp.applications import judge

    train, holdout = load(table, seed)
    started = time.perf_counter()
    model = CONTESTANTS[contestant](args).fit(train, seed)
    fitted = time.perf_counter()
    drawn = model.sample(len(train), seed)
    found: dict[str, Any] = {"fit_seconds": fitted - started, "sample_seconds": time.perf_counter() - fitted}
    scorer = model if model.score_samples is not None else None
    judgement = judge(train, drawn, holdout=holdout, target=TARGETS[table], model=scorer, seed=seed)
    told = judgement.to_json()
    names = ("quality", "shapes", "trends", "quality_all", "ceiling", "diagnostic", "validity", "missing")
    found |= {name: told[name] for name in names}
    found |= {"closest": told["closest"]["share"], "repeated": told["duplicates"]["share"]}
    found |= {"repeated_base": told["duplicates"]["base"], "utility": told["utility"], "likelihood": told["likelihood"]}
    found["worst_columns"] = {column.name: column.shape for column in judgement.worst_columns(3)}
    found["worst_pairs"] = {f"{pair.first} x {pair.second}": pair.score for pair in judgement.worst_pairs(3)}
    if isinstance(model, synthesizers.Network):
        found |= {"bins": model.bins, "alpha": model.alpha}
    return found


def summary(cells: dict[str, dict[str, Any]], tables: list[str]) -> str:
    """Means over the seeds."""
    texts = []
    for table in tables:
        rows = []
        for name in CONTESTANTS:
            some = [cell for key, cell in cells.items() if key.rsplit("/", 1)[0] == f"{table}/{name}"]
            if not some:
                continue
            measured = next(iter(some[0]["utility"]["synthetic"]))
            learned = [cell["utility"]["synthetic"][measured] for cell in some]
            real = [cell["utility"]["real"][measured] for cell in some]
            likely = [cell["likelihood"]["mean"] for cell in some if cell["likelihood"]]
            rows.append(
                [
                    name,
                    *(f"{np.mean([cell[key] for cell in some]):.4f}" for key in ("quality", "ceiling", "quality_all")),
                    *(f"{np.mean([cell[key] for cell in some]):.4f}" for key in ("shapes", "trends", "diagnostic")),
                    f"{np.mean([cell['closest'] for cell in some]):.3f}",
                    *(f"{100 * np.mean([cell[key] for cell in some]):.2f}" for key in ("repeated", "repeated_base")),
                    f"{measured} {np.mean(learned):.3f} ({np.mean(real):.3f})",
                    f"{np.mean(likely):.3f}" if likely else "-",
                    str(len(some)),
                ]
            )
        header = "rows of|quality|of fresh rows|all pairs|shapes|trends|diagnostic|closer to training|% repeated"
        header += "|% of fresh|learned from them (from real)|held-out log-likelihood|seeds"
        texts.append(f"{table}\n\n{_record.table(rows, header.split('|'))}")
    return "\n\n".join(texts)


def main() -> None:
    """Measure what is missing, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables", nargs="+", default=["adult", "diamonds"], choices=list(TARGETS))
    parser.add_argument("--contestants", nargs="+", default=list(CONTESTANTS), choices=list(CONTESTANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--budget", type=float, default=300.0, help="seconds of the flow's training")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rerun", action="store_true", help="measure stored cells again")
    parser.add_argument("--quick", action="store_true", help="seconds on a made-up table; tests use it")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    if args.quick:
        args.tables, args.seeds, args.budget = ["demo"], [0], min(args.budget, 5.0)
        args.out = args.out or _record.SCRATCH / "synthetic-quick.json"
    torch.set_num_threads(args.threads)
    record = _record.Record("synthetic", threads=args.threads, path=args.out)
    for table in args.tables:
        for contestant in args.contestants:
            if contestant == "flow" and not synthesizers.Flow.there():
                continue
            for seed in args.seeds:
                where = f"{table}/{contestant}/{seed}"
                settings = {"seed": seed} | ({"budget": args.budget} if contestant == "flow" else {})
                if args.rerun or not record.has(where, settings):
                    started = _record.now()
                    record.put(where, measure(table, contestant, seed, args), settings=settings, started=started)
                    print(f"{where}: quality {record.cells()[where]['quality']:.4f}", flush=True)
    print(summary(record.cells(), args.tables))


if __name__ == "__main__":
    main()
