"""Every recipe for vectors on the same problems, with the same seconds: three shapes, two tables, one conditional one.

    UNWARP_DATA=... python benchmarks/families.py --budget 20

A cell is one recipe on one problem: held-out nats, seconds, parameters, the largest round-trip error, and how many
results were not finite over all seeds: those of the score, and `--checks` more that are trained for a shorter time and
only looked at for that. `--picture PATH` draws samples of the shapes, one row a recipe.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _record
import _tables
import numpy as np
import torch
from torch import Tensor

SHAPES = ("moons", "rings", "checkerboard")
TABLES = ("htru2", "california")
CONDITIONAL = "kin40k, y given x"
PROBLEMS = (*SHAPES, *TABLES, CONDITIONAL)
ELSEWHERE = {"circular", "sphere"}  # angles and directions
ALONE = {"gmm"}  # takes no context
ROWS = 8_000  # of a shape

# recipe -> what differs from the recipe's and the loop's defaults
OPTIONS: dict[str, dict[str, Any]] = {}
SETTINGS: dict[str, dict[str, Any]] = {}


@dataclass(frozen=True)
class Problem:
    """Rows for training, validation and test, each with its context; the truth where it is known."""

    train: tuple[Tensor, Tensor | None]
    validation: tuple[Tensor, Tensor | None]
    test: tuple[Tensor, Tensor | None]
    truth: float | None = None


def problem(name: str, seed: int) -> Problem:
    """The problem of that name, split for this seed."""
    if name in SHAPES:
        from unwarp.data import toy

        made = toy(name)
        generator = torch.Generator().manual_seed(seed)
        x = made.sample(3 * ROWS, generator=generator)
        truth = float(made.log_prob(x[2 * ROWS :]).mean())
        parts = [(part.float(), None) for part in x.split(ROWS)]
        return Problem(parts[0], (parts[1][0][:2_000], None), parts[2], truth)
    data = _tables.load("kin40k" if name == CONDITIONAL else name, seed)
    tensors = [torch.from_numpy(part) for part in (data.train, data.validation, data.test)]
    if name == CONDITIONAL:
        return Problem(*((rows[:, -1:], rows[:, :-1]) for rows in tensors))
    return Problem(*((rows, None) for rows in tensors))


def measure(recipe: str, name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Train and score the recipe once a seed; then on more seeds for a shorter time, to see whether all is finite."""
    runs = [train(recipe, name, seed, args.budget, args.test_rows) for seed in range(args.seeds)]
    more = range(args.seeds, args.seeds + args.checks)
    checked = [*runs, *(train(recipe, name, seed, args.check_budget, args.test_rows) for seed in more)]
    values = [run["test"] for run in runs]
    return {
        "test": float(np.mean(values)),
        "test_by_seed": values,
        "truth": runs[0]["truth"],
        "round_trip": max(run["round_trip"] for run in checked),
        "nonfinite": sum(run["nonfinite"] for run in checked),
        "finite_seeds": len(checked),
        "parameters": runs[0]["parameters"],
        "kind": runs[0]["kind"],
        "seconds": float(np.mean([run["seconds"] for run in runs])),
        "steps": float(np.mean([run["steps"] for run in runs])),
        "spec": runs[0]["spec"],
    }


def train(recipe: str, name: str, seed: int, budget: float, rows: int) -> dict[str, Any]:
    """One flow, trained for `budget` seconds and scored on at most `rows` held-out rows."""
    from unwarp import fit, flows

    data = problem(name, seed)
    x, context = data.train
    options = {"context": context.shape[1]} if context is not None else {}
    torch.manual_seed(seed)
    flow = flows.flow(recipe, x.shape[1], **OPTIONS.get(recipe, {}), **options)
    cpu = time.process_time()
    history = fit(
        flow, x, context=context, validation=tuple(t for t in data.validation if t is not None), seed=seed,
        baselines=(), **({"max_seconds": budget} | SETTINGS.get(recipe, {})),
    )  # fmt: skip
    seconds = time.process_time() - cpu
    return score(flow, *data.test, rows=rows) | {
        "steps": history.steps,
        "seconds": seconds,
        "truth": data.truth,
        "parameters": sum(p.numel() for p in flow.parameters() if p.requires_grad),
        "kind": flow.kind,
        "spec": flow.spec,
    }


def score(flow: Any, x: Tensor, context: Tensor | None, *, rows: int) -> dict[str, Any]:
    """Held-out nats, the largest round-trip error and the count of what is not finite, in float32."""
    x, context = x[:rows], None if context is None else context[:rows]
    few = None if context is None else context[:500]
    with torch.no_grad():
        log_prob = torch.cat([flow.log_prob(a, b) for a, b in _batches(x, context)])
        back = flow.transform.decode(flow.transform.encode(x[:500], few), few)
        drawn = flow.sample((500,) if few is None else (), few)
    error = (back - x[:500]).abs() / (1 + x[:500].abs().amax(-1, keepdim=True))
    finite = log_prob.isfinite()
    bad = int((~finite).sum()) + int((~back.isfinite()).sum()) + int((~drawn.isfinite()).sum())
    return {"test": float(log_prob[finite].double().mean()), "round_trip": float(error.max()), "nonfinite": bad}


def _batches(x: Tensor, context: Tensor | None) -> list[tuple[Tensor, Tensor | None]]:
    parts = x.split(2_000)
    return list(zip(parts, [None] * len(parts) if context is None else context.split(2_000), strict=True))


def summary(cells: dict[str, dict[str, Any]], recipes: list[str], problems: list[str]) -> str:
    """One line a recipe: nats on each problem, then the worst of the rest."""
    lines = []
    for recipe in recipes:
        own = [cells.get(f"{name}/{recipe}") for name in problems]
        shown = [cell for cell in own if cell is not None]
        if shown:
            lines.append([
                f"`{recipe}`",
                *["-" if cell is None else f"{cell['test']:.3f}" for cell in own],
                f"{shown[-1]['parameters']:,}",
                f"{max(cell['round_trip'] for cell in shown):.0e}",
                str(sum(cell["nonfinite"] for cell in shown)),
            ])  # fmt: skip
    truth = [next((c["truth"] for k, c in cells.items() if k.startswith(f"{name}/")), None) for name in problems]
    lines.append(["the truth", *["" if value is None else f"{value:.3f}" for value in truth], "", "", ""])
    return _record.table(lines, ["recipe", *problems, "parameters", "round trip", "not finite"])


def picture(path: Path, recipes: list[str], args: argparse.Namespace) -> None:
    """Samples of each shape, one row a recipe, after a short training."""
    from matplotlib.figure import Figure

    from unwarp import fit, flows

    figure = Figure(figsize=(2 * len(SHAPES), 2 * len(recipes)), layout="constrained")
    axes = figure.subplots(len(recipes), len(SHAPES), squeeze=False)
    for row, recipe in zip(axes, recipes, strict=True):
        for ax, name in zip(row, SHAPES, strict=True):
            data = problem(name, 0)
            torch.manual_seed(0)
            flow = flows.flow(recipe, 2, **OPTIONS.get(recipe, {}))
            settings = {"max_seconds": args.budget, "baselines": ()} | SETTINGS.get(recipe, {})
            fit(flow, data.train[0], seed=0, **settings)
            with torch.no_grad():
                ax.scatter(*flow.sample((3_000,)).T, s=0.5, color="#e2733a", linewidths=0)
            low, high = data.train[0].quantile(torch.tensor([0.001, 0.999]), 0)
            ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[])
        row[0].set_ylabel(recipe)
    figure.savefig(path, dpi=90)


def main() -> None:
    """Measure what is missing, then print the table."""
    from unwarp import flows

    vectors = [name for name in flows.names("vectors") if name not in ELSEWHERE]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipes", nargs="+", default=vectors, choices=vectors)
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=PROBLEMS)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--budget", type=float, default=20.0, help="seconds of training")
    parser.add_argument("--checks", type=int, default=4, help="further seeds, to see whether all is finite")
    parser.add_argument("--check-budget", type=float, default=2.0, help="seconds of training of those")
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu", help="what the budget counts")
    parser.add_argument("--test-rows", type=int, default=4_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rerun", action="store_true", help="measure stored cells again")
    parser.add_argument("--picture", type=Path, default=None, help="draw samples of the shapes instead")
    parser.add_argument("--quick", action="store_true", help="seconds; tests use it")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    if args.quick:
        args.recipes, args.problems, args.budget = ["nice", "maf"], ["moons"], min(args.budget, 2.0)
        args.checks = 0
        args.out = args.out or _record.SCRATCH / "families-quick.json"
    _record.use_clock(args.clock)
    torch.set_num_threads(args.threads)
    if args.picture is not None:
        picture(args.picture, args.recipes, args)
        return
    record = _record.Record("families", threads=args.threads, path=args.out)
    told = ("seeds", "budget", "checks", "check_budget", "clock", "test_rows")
    settings = {name: getattr(args, name) for name in told}
    for name in args.problems:
        for recipe in args.recipes:
            where = f"{name}/{recipe}"
            if name == CONDITIONAL and recipe in ALONE:
                continue
            if args.rerun or not record.has(where, settings):
                started = _record.now()
                record.put(where, measure(recipe, name, args), settings=settings, started=started)
                print(f"{where}: {record.cells()[where]['test']:.3f}", flush=True)
    print(summary(record.cells(), args.recipes, args.problems))


if __name__ == "__main__":
    main()
