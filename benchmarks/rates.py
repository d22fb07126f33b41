"""Which learning rate suits each recipe: held-out nats after a fixed number of steps, at a few rates.

    UNWARP_DATA=... python benchmarks/rates.py --steps 300

`unwarp.flows._rates` holds what this finds, where it is not the usual 1e-2.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import _record
import torch
from families import ELSEWHERE, OPTIONS, problem, score

RATES = (3e-3, 1e-2, 3e-2, 1e-1)
PROBLEMS = ("moons", "htru2")


def measure(recipe: str, name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Train once at each rate."""
    from unwarp import fit, flows

    data = problem(name, args.seed)
    found: dict[str, Any] = {}
    for rate in args.rates:
        torch.manual_seed(args.seed)
        flow = flows.flow(recipe, data.train[0].shape[1], **OPTIONS.get(recipe, {}))
        cpu = time.process_time()
        fit(
            flow, data.train[0], validation=(data.validation[0][:1_000],), seed=args.seed, lr=rate, baselines=(),
            max_steps=args.steps, max_seconds=args.most,
        )  # fmt: skip
        found[f"{rate:g}"] = score(flow, *data.test, rows=1_000)["test"]
        found["seconds"] = time.process_time() - cpu
    return found


def main() -> None:
    """Measure what is missing, then print the table."""
    from unwarp import flows

    known = [name for name in flows.names("vectors") if name not in ELSEWHERE]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipes", nargs="+", default=known, choices=known)
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS))
    parser.add_argument("--rates", nargs="+", type=float, default=list(RATES))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--most", type=float, default=12.0, help="seconds of training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu", help="what the seconds count")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="seconds; tests use it")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    if args.quick:
        args.recipes, args.problems, args.steps, args.rates = ["planar"], ["moons"], 20, [1e-2]
        args.out = args.out or _record.SCRATCH / "rates-quick.json"
    _record.use_clock(args.clock)
    torch.set_num_threads(args.threads)
    record = _record.Record("rates", threads=args.threads, path=args.out)
    settings = {name: getattr(args, name) for name in ("seed", "steps", "most", "clock", "rates")}
    lines = []
    for name in args.problems:
        for recipe in args.recipes:
            where = f"{name}/{recipe}"
            if not record.has(where, settings):
                started = _record.now()
                record.put(where, measure(recipe, name, args), settings=settings, started=started)
            cell = record.cells()[where]
            lines.append([where, *[f"{cell[f'{rate:g}']:.3f}" for rate in args.rates]])
            print(" ".join(lines[-1]), flush=True)
    print(_record.table(lines, ["problem/recipe", *[f"{rate:g}" for rate in args.rates]]))


if __name__ == "__main__":
    main()
