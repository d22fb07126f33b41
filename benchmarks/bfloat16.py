"""Conditioners that multiply 16-bit numbers in training: seconds of a step, and held-out nats after as many steps.

    UNWARP_DATA=... python benchmarks/bfloat16.py

Both ways of a cell train in turn from the same weights on the same batches; seconds are those of one processor. What is
gained depends on the processor: the record says whether it has instructions for such products.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import _record
import _tables
import torch

from unwarp import fit, flow

TABLES = ("htru2", "california")
WIDTHS = (128, 512)
WAYS = ("full", "bfloat16")


def measure(table: str, width: int, steps: int, seeds: int) -> dict[str, Any]:
    """Held-out nats and milliseconds of a step, each way and seed."""
    data = _tables.load(table, 0)
    train, validation, test = (
        torch.as_tensor(part, dtype=torch.float32) for part in (data.train, data.validation, data.test)
    )
    nats: dict[str, list[float]] = {way: [] for way in WAYS}
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    gaps: list[float] = []
    for seed in range(seeds):
        scores = []
        for way in WAYS:
            torch.manual_seed(seed)
            model = flow("nsf", train.shape[1], hidden=(width, width))
            cpu = time.process_time()
            fit(
                model, train, validation=(validation,), max_steps=steps, seed=seed, batch=512, baselines=(),
                conditioners=way,
            )  # fmt: skip
            taken[way].append(1e3 * (time.process_time() - cpu) / steps)
            with torch.no_grad():
                scores.append(model.log_prob(test))
            nats[way].append(float(scores[-1].mean()))
        gaps.append(float((scores[1] - scores[0]).mean()))
    gap = torch.tensor(gaps)
    return {
        "nats": nats,
        "gap": float(gap.mean()),
        "gap_se": float(gap.std() / len(gap) ** 0.5) if len(gap) > 1 else None,
        "ms": {way: min(times) for way, times in taken.items()},
    }


def main() -> None:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables", nargs="+", default=list(TABLES))
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rerun", action="store_true", help="measure stored cells again")
    parser.add_argument("--out", type=Path, default=None)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    record = _record.Record("bfloat16", threads=1, path=asked.out)
    rows = []
    for table in asked.tables:
        for width in asked.widths:
            where, settings = f"{table}, hidden {width}", {"steps": asked.steps, "seeds": asked.seeds}
            if asked.rerun or not record.has(where, settings):
                started = _record.now()
                record.put(where, measure(table, width, **settings), settings=settings, started=started)
            cell = record.cells()[where]
            error = "" if cell["gap_se"] is None else f" +- {cell['gap_se']:.3f}"
            times = [f"{cell['ms'][way]:.1f}" for way in WAYS]
            rows.append(
                [where, *times, f"{cell['ms']['full'] / cell['ms']['bfloat16']:.2f}", f"{cell['gap']:+.3f}{error}"]
            )
    print(_record.table(rows, ["nsf on", "full, ms a step", "bfloat16", "ratio", "nats gained"]))


if __name__ == "__main__":
    main()
