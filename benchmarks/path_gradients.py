"""What gradients along the path cost and give: processor time of a step of `ReverseKL`, and the noise of its gradient.

    python benchmarks/path_gradients.py

Three ways take turns on one flow, with the sizes that `fit_posterior` takes: the total gradient; the path's, carried
along with the draws; and the path's by a second pass of the flow, as flows without couplings take it. Noise is the root
of the gradient's summed variances over many batches, after some steps towards a bent normal law.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _record
import numpy as np
import torch
from torch.func import functional_call

from unwarp import fit, flow
from unwarp.training import ReverseKL

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from unwarp.distributions import Flow

_DEEP = {"layers": 8, "hidden": (32, 32), "tails": "heavy"}
FLOWS: dict[str, tuple[str, dict[str, Any]]] = {
    "realnvp": ("realnvp", {**_DEEP, "mixing": "prewhiten"}),
    "realnvp with LU": ("realnvp", {**_DEEP, "mixing": "lu"}),
    "nsf": ("nsf", {"layers": 4, "hidden": (32, 32), "marginals": 16}),
}
FEATURES = (2, 10, 50)
DRAWS = 256


def bent(x: Tensor) -> Tensor:
    """A normal law whose coordinates follow the square of the first."""
    return -0.5 * (x[:, 0].square() + (x[:, 1:] - 0.3 * x[:, :1].square()).square().sum(-1))


def two_passes(model: Flow) -> Tensor:
    """The reverse divergence whose gradient goes along the path, by a second pass with parameters that stand still."""
    x = model.sample((DRAWS,))
    held = {name: p.detach() for name, p in model.named_parameters()}
    return (functional_call(model, held, (x,)) - bent(x)).mean()


def ways(model: Flow) -> dict[str, Callable[[], Tensor]]:
    """The loss of a step, each way."""
    rows = torch.zeros(DRAWS, model.space.shape[0], dtype=torch.float64)
    total, path = ReverseKL(bent, gradient="total"), ReverseKL(bent)
    return {
        "total": lambda: total(model, rows, None, None),
        "path": lambda: path(model, rows, None, None),
        "two passes": lambda: two_passes(model),
    }


def measure(name: str, features: int, rounds: int, steps: int) -> dict[str, Any]:
    """Milliseconds of a loss with its gradient, each way in turn; and the noise, relative to the total gradient's."""
    torch.manual_seed(0)
    recipe, options = FLOWS[name]
    model = flow(recipe, features, **options).double()
    rows = torch.zeros(DRAWS, features, dtype=torch.float64)
    settings = {"validation": 0, "batch": DRAWS, "lr": 3e-3, "max_steps": steps, "seed": 0, "baselines": ()}
    fit(model, rows, ReverseKL(bent), start="keep", **settings)
    model.train()
    parameters, losses = list(model.parameters()), ways(model)
    taken: dict[str, list[float]] = {way: [] for way in losses}
    found: dict[str, list[Tensor]] = {way: [] for way in losses}
    for i in range(rounds + 3):
        for way, loss in losses.items():
            cpu = time.process_time()
            grads = torch.autograd.grad(loss(), parameters, allow_unused=True, materialize_grads=True)
            if i >= 3:
                taken[way].append(1e3 * (time.process_time() - cpu))
                found[way].append(torch.cat([g.flatten() for g in grads]))
    noise = {way: float(torch.stack(rows).var(0).sum().sqrt()) for way, rows in found.items()}
    return {"ms": {way: float(np.median(times)) for way, times in taken.items()}, "noise": noise}


def main() -> None:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--flows", nargs="+", default=list(FLOWS), choices=list(FLOWS))
    parser.add_argument("--features", type=int, nargs="+", default=list(FEATURES))
    parser.add_argument("--rounds", type=int, default=60, help="of the three ways in turn")
    parser.add_argument("--steps", type=int, default=300, help="of training before")
    parser.add_argument("--rerun", action="store_true", help="measure stored cells again")
    parser.add_argument("--quick", action="store_true", help="seconds; tests use it")
    parser.add_argument("--out", type=Path, default=None)
    asked = parser.parse_args()
    if asked.quick:
        asked.features, asked.rounds, asked.steps = [2], 3, 3
        asked.out = asked.out or _record.SCRATCH / "path_gradients-quick.json"
    torch.set_num_threads(1)
    record = _record.Record("path_gradients", threads=1, path=asked.out)
    lines = []
    for name in asked.flows:
        for features in asked.features:
            where, settings = f"{name}, {features} features", {"rounds": asked.rounds, "steps": asked.steps}
            if asked.rerun or not record.has(where, settings):
                started = _record.now()
                record.put(where, measure(name, features, **settings), settings=settings, started=started)
            ms, noise = (record.cells()[where][what] for what in ("ms", "noise"))
            lines.append(
                [
                    where,
                    *[f"{ms[way]:.1f}" for way in ms],
                    f"{ms['path'] / ms['two passes']:.2f}",
                    f"{ms['path'] / ms['total']:.2f}",
                    f"{noise['path'] / noise['total']:.2f}",
                ]
            )
    header = ["flow", "total, ms", "path", "path by two passes", "one pass over two", "path over total", "noise"]
    print(_record.table(lines, header))


if __name__ == "__main__":
    main()
