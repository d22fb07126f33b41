"""Training without Jacobians: seconds of a step, and what is reached on moons, beside the exact and the unbiased way.

    python benchmarks/free_form.py                       # seconds of a step for 8 and 64 features
    python benchmarks/free_form.py --features 256
    python benchmarks/free_form.py --steps 1000          # and held-out nats on moons after as many steps

Each round times every way once in turn; the least of the rounds is reported, in seconds of one processor.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import _record
import torch
from torch import nn

from unwarp import data, fit, flows, networks
from unwarp.distributions import Flow
from unwarp.training import FreeForm, Objective, likelihood

ROWS = 256
WAYS: dict[str, Callable[[int], tuple[Flow, Objective]]] = {
    "freeform, likelihood": lambda d: (flows.freeform(d), likelihood),
    "freeform, FreeForm": lambda d: (flows.freeform(d), FreeForm(networks.MLP(d, d))),
    "resflow, likelihood": lambda d: (flows.resflow(d), likelihood),
    "resflow, roulette": lambda d: (flows.resflow(d, ladj="roulette"), likelihood),
    "resflow, FreeForm": lambda d: (flows.resflow(d), FreeForm(networks.MLP(d, d))),
}


def stepper(way: str, features: int) -> Callable[[], float]:
    """A function that makes one training step and gives its seconds."""
    flow, objective = WAYS[way](features)
    own = list(objective.parameters()) if isinstance(objective, nn.Module) else []
    optimiser = torch.optim.AdamW([*flow.parameters(), *own], lr=1e-4)
    x = torch.randn(ROWS, features)

    def step() -> float:
        began = time.process_time()
        optimiser.zero_grad()
        objective(flow, x, None, None).backward()
        optimiser.step()
        return time.process_time() - began

    return step


def step_seconds(features: int, rounds: int) -> dict[str, dict[str, float]]:
    """Seconds of a step of each way: the least and the median of the rounds."""
    steppers = {way: stepper(way, features) for way in WAYS}
    taken = [{way: step() for way, step in steppers.items()} for _ in range(rounds)]
    return {
        way: {"least": min(one[way] for one in taken), "median": statistics.median(one[way] for one in taken)}
        for way in WAYS
    }


def reached(way: str, steps: int) -> dict[str, float]:
    """Held-out nats on moons after as many steps, and the seconds they took."""
    x = data.toy("moons").sample(10_000, generator=torch.Generator().manual_seed(0)).float()
    torch.manual_seed(0)
    flow, objective = WAYS[way](2)
    history = fit(flow, x, objective, max_steps=steps, seed=0, baselines=())
    return {"nats": float(history.held_out), "seconds": history.seconds}


def main() -> None:
    """Measure what is missing, then print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--rerun", action="store_true", help="measure stored cells again")
    parser.add_argument("--out", type=Path, default=None)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    record = _record.Record("free_form", threads=1, path=asked.out)
    for features in asked.features:
        settings, where = {"rounds": asked.rounds, "rows": ROWS, "seed": None}, f"a step, {features} features"
        if asked.rerun or not record.has(where, settings):
            record.put(where, step_seconds(features, asked.rounds), settings=settings, started=_record.now())
    for way in WAYS if asked.steps else ():
        settings, where = {"steps": asked.steps, "seed": 0}, f"moons, {asked.steps} steps, {way}"
        if asked.rerun or not record.has(where, settings):
            record.put(where, reached(way, asked.steps), settings=settings, started=_record.now())
    for where, cell in record.cells().items():
        if "nats" in cell:
            print(f"{where}: {cell['nats']:.3f} nats, {cell['seconds']:.0f} s")
        else:
            print(where + ": " + "; ".join(f"{way} {1e3 * cell[way]['least']:.0f} ms" for way in WAYS if way in cell))


if __name__ == "__main__":
    main()
