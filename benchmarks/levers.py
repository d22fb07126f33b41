"""What each lever gives: held-out log-likelihood on real tables with one lever of unwarp's defaults off at a time.

    UNWARP_DATA=... python benchmarks/levers.py --tables california abalone

The flow is the larger of the two that ``FlowDensity()`` races on a table of that size, with its settings; each row
changes one thing. The other contender, a small flow on a fitted mixture, has a row of its own.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _record
import _tables
import numpy as np
import torch
from _contestants import log_prob

if TYPE_CHECKING:
    from _tables import Split

# lever -> (the recipe's options, the loop's arguments) in place of the defaults
LEVERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "all on": ({}, {}),
    "no whitening": ({"mixing": "none"}, {}),
    "light tails": ({"tails": "light"}, {}),
    "couplings": ({"structure": "coupling"}, {}),
    "slopes and bins from 1e-2": ({"floor": 1e-2}, {}),
    "mixture base": ({"base": "mixture", "components": 64}, {}),
    "no start from the data": ({}, {"start": "keep"}),
    "learning rate 1e-3": ({}, {"lr": 1e-3}),
    "learning rate 5e-3": ({}, {"lr": 5e-3}),
    "no averaged weights": ({}, {"average": 0.0}),
    "no weight decay": ({}, {"weight_decay": 0.0}),
}
CONTENDER = "small flow on a mixture"
TABLES = ("galaxies", "california", "abalone", "htru2")


def measure(lever: str, data: Split, args: argparse.Namespace) -> dict[str, Any]:
    """Fit with one lever off and score the test rows."""
    from unwarp import fit, flows

    candidates = flows.suited(len(data.train) + len(data.validation), data.train.shape[1])
    chosen = candidates[0 if lever == CONTENDER else -1]
    options, settings = ({}, {}) if lever == CONTENDER else LEVERS[lever]
    torch.manual_seed(args.seed)
    flow = flows.flow(chosen.recipe, data.train.shape[1], **(chosen.options | options))
    cpu = time.process_time()
    history = fit(
        flow,
        torch.from_numpy(data.train),
        validation=(torch.from_numpy(data.validation[:20_000]),),
        seed=args.seed,
        baselines=(),
        **(chosen.settings | {"max_steps": None, "max_seconds": args.budget} | settings),
    )
    cpu = time.process_time() - cpu
    test = log_prob(flow, torch.from_numpy(data.test[: args.test_rows]))
    finite = test[np.isfinite(test)]
    return {
        "test": finite.mean(),
        "test_se": finite.std(ddof=1) / len(finite) ** 0.5,
        "nonfinite": len(test) - len(finite),
        "steps": history.steps,
        "fit_cpu_seconds": cpu,
        "spec": flow.spec,
    }


def summary(cells: dict[str, dict[str, Any]], tables: list[str]) -> str:
    """One line a lever: what is lost without it on each table."""
    lines = []
    for lever in (*LEVERS, CONTENDER):
        line = [lever]
        for table in tables:
            base, cell = cells.get(f"{table}/all on"), cells.get(f"{table}/{lever}")
            if cell is None or base is None:
                line.append("-")
            elif lever == "all on":
                line.append(f"{cell['test']:.3f} +- {cell['test_se']:.3f}")
            else:
                line.append(f"{cell['test'] - base['test']:+.3f}")
        lines.append(line)
    return _record.table(lines, ["lever", *tables])


def main() -> None:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=[*_tables.NAMES, "demo"])
    parser.add_argument("--levers", nargs="+", default=[*LEVERS, CONTENDER], choices=[*LEVERS, CONTENDER])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of training")
    parser.add_argument("--clock", choices=("cpu", "wall"), default="wall", help="what the budget counts")
    parser.add_argument("--test-rows", type=int, default=50_000, help="at most that many test rows")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rerun", action="store_true", help="measure stored cells again")
    parser.add_argument("--quick", action="store_true", help="seconds on a made-up table; tests use it")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    if args.quick:
        args.tables, args.levers, args.budget = ["demo"], ["all on", "mixture base"], min(args.budget, 3.0)
        args.out = args.out or _record.SCRATCH / "levers-quick.json"
    _record.use_clock(args.clock)
    torch.set_num_threads(args.threads)
    record = _record.Record("levers", threads=args.threads, path=args.out)
    settings = {name: getattr(args, name) for name in ("seed", "budget", "clock", "test_rows")}
    for table in args.tables:
        data = _tables.demo(args.seed) if table == "demo" else _tables.load(table, args.seed)
        for lever in args.levers:
            where = f"{table}/{lever}"
            if args.rerun or not record.has(where, settings):
                started = _record.now()
                record.put(where, measure(lever, data, args), settings=settings, started=started)
                print(f"{where}: {record.cells()[where]['test']:.3f}", flush=True)
    print(summary(record.cells(), args.tables))


if __name__ == "__main__":
    main()
