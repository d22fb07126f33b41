"""Seconds from the raw table to a held-out likelihood: FlowDensity beside zuko's, nflows' and FlowJAX's loops.

    UNWARP_DATA=... python benchmarks/race.py                       # everything that is not stored yet
    UNWARP_DATA=... python benchmarks/race.py --tables htru2 --contestants unwarp --seeds 0
    python benchmarks/race.py --show --page benchmarks/README.md

A peer leaves a trail: the test log-likelihood of the weights that it would return after so many seconds, scored when it
is done. unwarp's schedule follows its budget, so it runs anew with each of a ladder of budgets; whole fits count.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _record
import _tables
import numpy as np
import torch
from _contestants import SIZES, build, log_prob, train

from peers import chosen, key

if TYPE_CHECKING:
    from _tables import Split

PEERS = ("zuko", "nflows", "FlowJAX")
CLOCKS = ("cpu", "wall")  # as in a trail
MARKS = ("<!-- race: begin -->", "<!-- race: end -->")
# FlowJAX's documentation: masked autoregressive splines of 8 knots on [-4, 4], 8 layers of width 50, batches of 100,
# and a rate of 1e-3; 3e-3 with batches of 256 is tried on one table.
JAX = ({"lr": 1e-3, "batch": 100}, {"lr": 3e-3, "batch": 256})
BOTH = "htru2"
FLOW = {"flow": "masked_autoregressive_flow", "interval": 4, "points": 40}


def main() -> None:
    """Run the cells that are missing, then print the table."""
    args = arguments()
    _record.use_clock(args.clock)
    torch.set_num_threads(1)
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # the first optimiser imports for seconds: nobody's budget
    record = _record.Record("race", threads=1, path=args.out)
    for seed in () if args.show else args.seeds:
        for table in args.tables:
            data = _tables.demo(seed) if table == "demo" else _tables.load(table, seed)
            for contestant in args.contestants:
                for choice, budget in runs(contestant, table, seed, args):
                    cell(record, contestant, table, data, seed, choice, budget, args)
    text = summary(record.cells(), args.clock)
    print(text)
    if args.page is not None:
        page = args.page.read_text()
        before, after = page.split(MARKS[0])[0], page.split(MARKS[1])[1]
        args.page.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    names = [*_tables.NAMES, "demo"]
    parser.add_argument("--tables", nargs="+", default=["htru2", "california", "power"], choices=names)
    parser.add_argument("--contestants", nargs="+", choices=[*PEERS, "unwarp"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--budgets", nargs="+", type=float, default=[120], help="seconds of the peers")
    parser.add_argument("--ladder", nargs="+", type=float, default=[4, 8, 15, 24, 60], help="unwarp's max_seconds")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="what the budgets count")
    parser.add_argument("--test-rows", type=int, default=10_000, help="at most that many test rows")
    parser.add_argument("--jax", type=Path, default=_record.ROOT / ".venv-bench-jax" / "bin" / "python")
    parser.add_argument("--rerun", action="store_true", help="measure stored cells again")
    parser.add_argument("--show", action="store_true", help="measure nothing")
    parser.add_argument("--page", type=Path, help="also put the table between the marks of this page")
    parser.add_argument("--quick", action="store_true", help="seconds on a made-up table; tests use it")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    if args.quick:
        args.tables, args.seeds, args.budgets, args.ladder = ["demo"], [0], [2], [1]
        args.out = args.out or _record.SCRATCH / "race-quick.json"
    args.contestants = args.contestants or (["zuko", "unwarp"] if args.quick else [*PEERS, "unwarp"])
    return args


def runs(contestant: str, table: str, seed: int, args: argparse.Namespace) -> list[tuple[dict[str, Any], float]]:
    """Settings and budgets to run: those of peers in PyTorch are the best that ``peers`` found."""
    if contestant == "unwarp":
        return [({}, budget) for budget in args.ladder]
    if contestant == "FlowJAX":
        if not args.jax.exists():
            return []
        return [(choice, max(args.budgets)) for choice in (JAX if (table, seed) == (BOTH, 0) else JAX[:1])]
    if args.quick:
        choice = {"size": next(iter(SIZES[contestant])), "lr": 3e-3}
    else:
        choice = chosen(_record.Record("peers", threads=1).cells(), contestant, table)
    return [(choice, budget) for budget in args.budgets]


def cell(
    record: _record.Record,
    contestant: str,
    table: str,
    data: Split,
    seed: int,
    choice: dict[str, Any],
    budget: float,
    args: argparse.Namespace,
) -> None:
    """Run one contestant once and store its trail, unless that is stored already."""
    where = f"{key(table, contestant, seed, choice)}/{budget:g}"
    settings = {"budget": budget, "clock": args.clock, "test_rows": args.test_rows}
    if record.has(where, settings) and not args.rerun:
        return
    started = _record.now()
    torch.manual_seed(seed)
    if contestant == "unwarp":
        figures = run_unwarp(data, seed, budget, args)
    elif contestant == "FlowJAX":
        figures = run_jax(data, seed, choice, budget, args)
    else:
        figures = run_torch(contestant, data, seed, choice, budget, args)
    figures |= {"contestant": contestant, "table": table, "seed": seed, "choice": choice}
    record.put(where, figures, settings=settings, started=started)
    last = figures["trail"][-1]
    print(f"{where}: test {last[2]:.3f} after {last[0]:.1f} s of processor, {last[1]:.1f} s of wall", flush=True)


def run_unwarp(data: Split, seed: int, budget: float, args: argparse.Namespace) -> dict[str, Any]:
    """``FlowDensity`` with that budget: one point, at the end of the whole fit."""
    from unwarp import FlowDensity

    rows = np.concatenate([data.train, data.validation])
    held_out = len(data.validation) / len(rows)
    cpu, wall = time.process_time(), time.time_ns()
    model = FlowDensity(max_seconds=budget, validation_fraction=held_out, random_state=seed).fit(rows)
    point = [time.process_time() - cpu, (time.time_ns() - wall) / 1e9]
    point.append(float(np.mean(model.score_samples(data.test[: args.test_rows]))))
    spec = model.flow_.spec["options"]
    return {"trail": [point], "steps": model.n_iter_, "base": spec["base"], "training": model.history_.seconds}


def run_torch(
    library: str, data: Split, seed: int, choice: dict[str, Any], budget: float, args: argparse.Namespace
) -> dict[str, Any]:
    """A peer in the loop that ``peers`` trains it by."""
    states: list[tuple[float, float, dict[str, Any]]] = []
    cpu, wall = time.process_time(), time.time_ns()
    flow = build(library, data.train.shape[1], **SIZES[library][choice["size"]])
    batch = min(512 if choice["size"] == "paper" else 256, len(data.train) // 4)

    def kept(state: dict[str, Any]) -> None:
        states.append((time.process_time() - cpu, (time.time_ns() - wall) / 1e9, state))

    figures = train(flow, data, lr=choice["lr"], batch=batch, budget=budget, clock=args.clock, seed=seed, kept=kept)
    test, trail = torch.from_numpy(data.test[: args.test_rows]), []
    for seconds, passed, state in states:
        flow.load_state_dict(state)
        values = log_prob(flow, test)
        trail.append([seconds, passed, float(values[np.isfinite(values)].mean())])
    return figures | {"trail": trail, "parameters": sum(p.numel() for p in flow.parameters())}


def run_jax(data: Split, seed: int, choice: dict[str, Any], budget: float, args: argparse.Namespace) -> dict[str, Any]:
    """FlowJAX's `fit_to_data`, in a process of its own."""
    options = {**FLOW, **choice, "budget": budget, "clock": args.clock, "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "split.npz"
        np.savez(path, train=data.train, validation=data.validation, test=data.test[: args.test_rows])
        script = Path(__file__).parent / "_race_jax.py"
        command = [str(args.jax), str(script), str(path), json.dumps(options)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    return json.loads(done.stdout.splitlines()[-1])


def reached(found: list[dict[str, Any]], target: float, clock: int) -> float | None:
    """The fewest seconds after which one of these runs had reached the target."""
    times = [point[clock] for one in found for point in one["trail"] if point[2] >= target]
    return min(times, default=None)


def summary(cells: dict[str, dict[str, Any]], clock: str) -> str:
    """A line for each table, seed and peer: its best; seconds of both to get there, and to the best peer's best."""
    cells = {name: cell for name, cell in cells.items() if cell["settings"]["clock"] == clock}
    lines: list[list[str]] = []
    for table, seed in dict.fromkeys((c["table"], c["seed"]) for c in cells.values()):
        here = [c for c in cells.values() if (c["table"], c["seed"]) == (table, seed)]
        found = {name: [c for c in here if c["contestant"] == name] for name in (*PEERS, "unwarp")}
        tops = {name: max(p[2] for c in found[name] for p in c["trail"]) for name in PEERS if found[name]}
        if not tops or not found["unwarp"]:
            continue
        for name, top in tops.items():
            line = [table, str(seed), name, f"{top:.3f}"]
            for target in (top, max(tops.values())):
                line += _race(found[name], found["unwarp"], target, CLOCKS.index(clock))
            lines.append(line)
    header = ["table", "seed", "peer", "its best, nats", "it takes, s", "unwarp, s", "ratio"]
    return _record.table(lines, [*header, "to the best peer's, s", "unwarp, s", "ratio"])


def _race(theirs: list[dict[str, Any]], ours: list[dict[str, Any]], target: float, clock: int) -> list[str]:
    spent = max(c["settings"]["budget"] for c in theirs)
    a, b = reached(theirs, target, clock), reached(ours, target, clock)
    ratio = "-" if b is None else f"{(a or spent) / b:.1f}" if a else f"> {spent / b:.1f}"
    return [f"{a:.0f}" if a else f"> {spent:.0f}", "never" if b is None else f"{b:.1f}", ratio]


if __name__ == "__main__":
    main()
