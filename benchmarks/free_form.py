"""Training without Jacobians: seconds of a step, and what is reached on moons, beside the exact and the unbiased way.

    python benchmarks/free_form.py                       # seconds of a step for 8 and 64 features
    python benchmarks/free_form.py --features 256
    python benchmarks/free_form.py --steps 1000          # and held-out nats on moons after as many steps

Each round times every way once in turn; the least of the rounds is reported, in seconds of one processor.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--lr", type=float, default=None)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for features in asked.features:
        steppers = {way: stepper(way, features) for way in WAYS}
        rounds = [{way: step() for way, step in steppers.items()} for _ in range(asked.rounds)]
        for way in WAYS:
            print(
                f"{features} features, {way}: {1e3 * min(seconds[way] for seconds in rounds):.0f} ms a step", flush=True
            )
    if asked.steps:
        x = data.toy("moons").sample(10_000, generator=torch.Generator().manual_seed(0)).float()
        for way, make in WAYS.items():
            torch.manual_seed(0)
            flow, objective = make(2)
            history = fit(flow, x, objective, max_steps=asked.steps, lr=asked.lr, seed=0, baselines=())
            print(
                f"moons, {way}: {history.held_out:.3f} nats after {asked.steps} steps, {history.seconds:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
