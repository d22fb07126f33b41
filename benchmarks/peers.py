"""Held-out log-likelihood on real tables: unwarp, zuko, nflows and Gaussian mixtures with the same seconds each.

UNWARP_DATA=... python benchmarks/peers.py                          # everything that is not stored yet
UNWARP_DATA=... python benchmarks/peers.py --tables power --contestants zuko mixture --seeds 0
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
from _contestants import RATES, SIZES, build, log_prob, mixture, sizes, train

if TYPE_CHECKING:
    from _tables import Split
    from numpy.typing import NDArray

CONTESTANTS = ("mixture", "zuko", "nflows", "unwarp")


def main() -> None:
    """Run the cells that are missing, then print the table."""
    args = arguments()
    _record.use_clock(args.clock)
    torch.set_num_threads(args.threads)
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # the first optimiser imports for seconds: nobody's budget
    record = _record.Record("peers", threads=args.threads, path=args.out)
    for table in args.tables:
        for seed in args.seeds:
            data = _tables.demo(seed) if table == "demo" else _tables.load(table, seed)
            for contestant in args.contestants:
                compete(record, contestant, table, data, seed, args)
    pairs(record)
    print(summary(record.cells()))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables", nargs="+", default=list(_tables.NAMES), choices=[*_tables.NAMES, "demo"])
    parser.add_argument("--contestants", nargs="+", default=list(CONTESTANTS), choices=CONTESTANTS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of training for each flow")
    parser.add_argument("--clock", choices=("cpu", "wall"), default="wall", help="what the budget counts")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--test-rows", type=int, default=50_000, help="at most that many test rows")
    parser.add_argument("--rerun", action="store_true", help="measure stored cells again")
    parser.add_argument("--quick", action="store_true", help="seconds on a made-up table; tests use it")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    if args.quick:
        args.tables, args.seeds, args.budget = ["demo"], [0], min(args.budget, 3.0)
        args.out = args.out or _record.SCRATCH / "peers-quick.json"
    return args


def compete(
    record: _record.Record, contestant: str, table: str, data: Split, seed: int, args: argparse.Namespace
) -> None:
    """Run one contestant on one split; a peer library first finds its settings on the validation rows of seed 0."""
    if contestant not in SIZES:
        cell(record, contestant, table, data, seed, args, {})
        return
    if args.quick:
        cell(record, contestant, table, data, seed, args, {"size": sizes(contestant, 0)[0], "lr": RATES[0]})
        return
    first = data if seed == 0 else _tables.load(table, 0)
    for size in sizes(contestant, len(data.train)):
        cell(record, contestant, table, first, 0, args, {"size": size, "lr": RATES[0]})
    size = chosen(record.cells(), contestant, table)["size"]
    for rate in RATES[1:]:
        if chosen(record.cells(), contestant, table)["lr"] == RATES[0]:
            cell(record, contestant, table, first, 0, args, {"size": size, "lr": rate})
    if seed != 0:
        cell(record, contestant, table, data, seed, args, chosen(record.cells(), contestant, table))


def key(table: str, contestant: str, seed: int, choice: dict[str, Any]) -> str:
    """Where a cell is stored: ``power/zuko 3x64 0.001/0``."""
    return f"{table}/{' '.join([contestant, *map(str, choice.values())])}/{seed}"


def chosen(cells: dict[str, dict[str, Any]], library: str, table: str) -> dict[str, Any]:
    """A library's size and learning rate with the best validation score on seed 0."""
    tried = [c for c in cells.values() if (c["contestant"], c["table"], c["seed"]) == (library, table, 0)]
    return max(tried, key=lambda c: c["validation"])["choice"]


def cell(
    record: _record.Record,
    contestant: str,
    table: str,
    data: Split,
    seed: int,
    args: argparse.Namespace,
    choice: dict[str, Any],
) -> None:
    """Train, score the test rows and store the figures, unless they are stored already."""
    where = key(table, contestant, seed, choice)
    settings = {"budget": args.budget, "clock": args.clock, "test_rows": args.test_rows}
    if record.has(where, settings) and not args.rerun:
        return
    started, wall, cpu = _record.now(), time.time_ns(), time.process_time()
    score, figures = fitted(contestant, data, seed, args, choice)
    figures["fit_cpu_seconds"] = time.process_time() - cpu
    figures["fit_wall_seconds"] = (time.time_ns() - wall) / 1e9
    rows = score(data.test[: args.test_rows])
    finite = rows[np.isfinite(rows)]
    held = score(data.validation[:20_000])
    figures |= {
        "contestant": contestant,
        "table": table,
        "seed": seed,
        "choice": choice,
        "test": finite.mean(),
        "test_se": finite.std(ddof=1) / len(finite) ** 0.5,
        "nonfinite": len(rows) - len(finite),
        "validation": held[np.isfinite(held)].mean(),
        "shape": [len(data.train), len(data.validation), len(rows), data.train.shape[1]],
    }
    folder = rows_path(where).parent
    folder.mkdir(parents=True, exist_ok=True)
    np.save(rows_path(where), rows.astype(np.float32))
    record.put(where, figures, settings=settings, started=started)
    took = f"{figures['fit_cpu_seconds']:.0f} s of processor, {figures['fit_wall_seconds']:.0f} s of wall"
    print(f"{where}: test {figures['test']:.3f} +- {figures['test_se']:.3f} ({took})", flush=True)


def rows_path(where: str) -> Path:
    """Where the test rows' log-densities of one cell are kept, for paired differences."""
    return _record.SCRATCH / "peers" / f"{where.replace('/', '-').replace(' ', '_')}.npy"


def fitted(
    contestant: str, data: Split, seed: int, args: argparse.Namespace, choice: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """A function from rows to log-densities, and figures about the fit."""
    torch.manual_seed(seed)
    if contestant == "mixture":
        model, figures = mixture(data, seed=seed, components=4 if args.quick else 20)
        return lambda x: model.score_samples(x.astype(np.float64)), figures
    if contestant == "unwarp":
        return fitted_unwarp(data, seed, args)
    flow = build(contestant, data.train.shape[1], **SIZES[contestant][choice["size"]])
    batch = 512 if choice["size"] == "paper" else 256
    batch = min(batch, len(data.train) // 4)
    figures = train(flow, data, lr=choice["lr"], batch=batch, budget=args.budget, clock=args.clock, seed=seed)
    figures |= {"parameters": sum(p.numel() for p in flow.parameters()), "batch": batch}
    return lambda x: log_prob(flow, torch.from_numpy(x)), figures


def fitted_unwarp(data: Split, seed: int, args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """``FlowDensity`` at its defaults, with the budget, and as many rows held out as the others have for validation."""
    from unwarp import FlowDensity

    rows = np.concatenate([data.train, data.validation])
    held_out = len(data.validation) / len(rows)
    model = FlowDensity(max_seconds=args.budget, validation_fraction=held_out, random_state=seed).fit(rows)

    def score(x: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(model.score_samples(x), dtype=np.float64)

    figures = {
        "steps": model.n_iter_,
        "parameters": sum(p.numel() for p in model.flow_.parameters()),
        "spec": model.flow_.spec,
    }
    return score, figures


def pairs(record: _record.Record) -> None:
    """Store unwarp's lead over each rival on the same test rows, with its standard error."""
    cells, found = record.cells(), {}
    for where, one in cells.items():
        ours = key(one["table"], "unwarp", one["seed"], {})
        if ours in cells and where != ours and rows_path(where).exists() and rows_path(ours).exists():
            lead = np.load(rows_path(ours)).astype(np.float64) - np.load(rows_path(where)).astype(np.float64)
            lead = lead[np.isfinite(lead)]
            found[where] = {"lead": lead.mean(), "se": lead.std(ddof=1) / len(lead) ** 0.5}
    record.note(pairs={**record.read().get("pairs", {}), **found})


def summary(cells: dict[str, dict[str, Any]]) -> str:
    """One line a table: mean test log-likelihood over seeds +- its spread (the s.e. of one run; number of runs)."""
    lines = []
    for table in dict.fromkeys(c["table"] for c in cells.values()):
        line = [table]
        for contestant in CONTESTANTS:
            runs = [c for c in cells.values() if (c["table"], c["contestant"]) == (table, contestant)]
            if contestant in SIZES and runs:
                best = chosen(cells, contestant, table)
                runs = [c for c in runs if c["choice"] == best]
            if not runs:
                line.append("-")
                continue
            tests = np.array([c["test"] for c in runs])
            spread = f" +- {tests.std(ddof=1):.3f}" if len(tests) > 1 else ""
            line.append(f"{tests.mean():.3f}{spread} ({np.mean([c['test_se'] for c in runs]):.3f}; {len(runs)})")
        lines.append(line)
    return _record.table(lines, ["table", *CONTESTANTS])


if __name__ == "__main__":
    main()
