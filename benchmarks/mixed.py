"""What a model of mixed tables keeps and costs: orders that disagree, members, rows of a rare kind, types and ranges.

    UNWARP_DATA=... python benchmarks/mixed.py --tables adult diamonds california --members 1 3

Log-likelihoods are of held-out rows, nats a row, in the measure of `synthetic.py`. Disagreement is the standard
deviation of a row's log-likelihood over four random orders of the columns, mean over the rows. Rare kinds of adult are
the two values, and the two limits, that the share of training rows nearest to 1 in 10,000 has.
"""

from __future__ import annotations

import argparse
import time
from itertools import combinations, product
from pathlib import Path
from typing import Any

import _record
import _synthesizers as synthesizers
import gaps
import numpy as np
import pandas as pd
import torch

RARE = 1e-4


def load(name: str, rows: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """At most so many rows of training, and 2,000 held-out ones."""
    return gaps.load(name, 0, rows, 2_000)


def keeps(drawn: pd.DataFrame, real: pd.DataFrame) -> float:
    """Share of the cells drawn that are of the type, within the range and of a level of their column."""
    fine = []
    for column in real:
        own, made = real[column], drawn[column]
        number = synthesizers.is_number(own)
        inside = made.between(own.min(), own.max()) if number else made.isin(own.dropna().unique())
        fine.append(float((inside | (made.isna() & own.isna().any())).mean()) * (made.dtype == own.dtype))
    return float(np.mean(fine)) if list(drawn) == list(real) else 0.0


def rare(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Two values, and two limits, that about 1 row in 10,000 has."""
    levels = [column for column in table if not synthesizers.is_number(table[column])]
    pairs = []
    for first, second in combinations(levels, 2):
        share = table.groupby([first, second]).size() / len(table)
        pairs.append((abs(np.log(share / RARE)).min(), abs(np.log(share / RARE)).idxmin(), (first, second)))
    _, values, names = min(pairs)
    limits = [
        ((table["age"] >= old) & (table["hours-per-week"] >= long)).mean()
        for old, long in product(range(60, 90), range(50, 99))
    ]
    best = int(np.argmin(abs(np.log(np.maximum(limits, 1e-9) / RARE))))
    old, long = list(product(range(60, 90), range(50, 99)))[best]
    return {
        "values": dict(zip(names, values, strict=True)),
        "limits": {"age": (old, None), "hours-per-week": (long, None)},
    }


def seconds_for_rare(model: Any, table: pd.DataFrame) -> dict[str, Any]:
    """Median processor seconds of five draws of 1,000 rows of each rare kind, and how rare the model thinks it is."""
    found: dict[str, Any] = {}
    for how, known in rare(table).items():
        took = []
        for seed in range(5):
            started = time.process_time()  # that of the wall, on a machine without other work
            model.given(known).sample(1_000, random_state=seed)
            took.append(time.process_time() - started)
        chance = model.given(known).probability()[0] if how == "limits" else _share(model, known)
        found[how] = {"known": str(known), "probability": chance, "seconds": float(np.median(took))}
    return found


def _share(model: Any, known: dict[str, Any]) -> float:
    """Probability of values, by the model."""
    return float(np.exp(model.given().log_prob(pd.DataFrame([known]))[0]))


def measure(name: str, members: int, args: argparse.Namespace) -> dict[str, Any]:
    """One model of one table."""
    from unwarp import FlowTable

    train, test = load(name, args.rows)
    clock = time.process_time()
    model = FlowTable(members=members, max_steps=args.steps, random_state=0).fit(train)
    found: dict[str, Any] = {"fit_seconds": time.process_time() - clock, "steps": model.n_iter_}
    scores = model.score_samples(test)
    found |= {"likelihood": scores.mean(), "error": scores.std() / np.sqrt(len(scores))}
    found |= {"disagreement": model.disagreement(test.iloc[:500]).mean()}
    found |= {"kept": keeps(model.sample(5_000, random_state=0), train)}
    return found | ({"rare": seconds_for_rare(model, train)} if name == "adult" else {})


def summary(cells: dict[str, dict[str, Any]]) -> str:
    """A line a table and number of members."""
    rows = []
    for key, cell in cells.items():
        kinds = [f"{cell['rare'][how]['seconds']:.2f}" if "rare" in cell else "-" for how in ("values", "limits")]
        likely = f"{cell['likelihood']:.3f} +- {cell['error']:.3f}"
        fitted = [f"{cell['steps']}", f"{cell['fit_seconds']:.0f}"]
        rows.append(
            [*key.split("/"), likely, f"{cell['disagreement']:.2f}", f"{100 * cell['kept']:.1f}", *kinds, *fitted]
        )
    header = "table|members|log-likelihood|disagreement|% kept|1,000 rows by rare values, cpu s|by rare limits|steps"
    header += "|fit, cpu s"
    return _record.table(rows, header.split("|"))


def main() -> None:
    """Measure what is missing, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables", nargs="+", default=list(gaps.TABLES[:-1]), choices=gaps.TABLES)
    parser.add_argument("--members", nargs="+", type=int, default=[1, 3])
    parser.add_argument("--rows", type=int, default=100_000, help="rows of training at most")
    parser.add_argument("--steps", type=int, default=None, help="of training; by default the model's own choice")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rerun", action="store_true", help="measure stored cells again")
    parser.add_argument("--quick", action="store_true", help="seconds on a made-up table; tests use it")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    if args.quick:
        args.tables, args.members, args.steps, args.rows = ["demo"], [1], 60, 800
        args.out = args.out or _record.SCRATCH / "mixed-quick.json"
    torch.set_num_threads(args.threads)
    record = _record.Record("mixed", threads=args.threads, path=args.out)
    for table in args.tables:
        for members in args.members:
            where, settings = f"{table}/{members}", {"rows": args.rows, "steps": args.steps}
            if args.rerun or not record.has(where, settings):
                started = _record.now()
                record.put(where, measure(table, members, args), settings=settings, started=started)
    print(summary(record.cells()))


if __name__ == "__main__":
    main()
