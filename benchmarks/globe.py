"""How well does `sphere` at its defaults learn where earthquakes and floods happen?

    UNWARP_DATA=... python benchmarks/globe.py --seeds 0 1 2

Test nats are the mean of -log p by area on the unit sphere; uniform has log(4 pi) = 2.531. Each seed has its own split
into training, validation and test rows (80/10/10). Seconds are processor time of `fit` without baselines, one thread.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import _record
import _tables
import numpy as np
import torch
from torch import Tensor

from unwarp import fit, flow

FILES = {"earthquakes": ("quakes_all.csv", 4), "floods": ("flood.csv", 2)}  # lines before the first row


def places(name: str) -> Tensor:
    """Unit vectors, `(n, 3)`."""
    file, header = FILES[name]
    rows = np.loadtxt(_tables.root() / "manifold_earth" / file, delimiter=",", skiprows=header)
    latitude, longitude = torch.from_numpy(np.radians(rows)).unbind(-1)
    flat = latitude.cos()
    return torch.stack([flat * longitude.cos(), flat * longitude.sin(), latitude.sin()], -1)


def reached(name: str, seed: int, max_steps: int | None) -> dict[str, float]:
    """Nats on the three parts, after training at the defaults."""
    x = places(name)
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))]
    train, validation, test = x.tensor_split([int(0.8 * len(x)), int(0.9 * len(x))])
    torch.manual_seed(seed)
    model = flow("sphere", 3)
    began = time.process_time()
    history = fit(model, train.float(), validation=validation.float(), max_steps=max_steps, seed=seed, baselines=())
    seconds = time.process_time() - began
    with torch.no_grad():
        parts = {"train": train, "validation": validation, "test": test}
        nats = {part: -float(model.double().log_prob(rows).mean()) for part, rows in parts.items()}
    return {**nats, "steps": history.steps, "rows": len(train), "seconds": seconds}


def main() -> None:
    """Measure what is missing, then print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=FILES, default=list(FILES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=None, help="instead of fit's own number")
    parser.add_argument("--rerun", action="store_true", help="measure stored cells again")
    parser.add_argument("--out", type=Path, default=None)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    record = _record.Record("globe", threads=1, path=asked.out)
    for seed in asked.seeds:
        for name in asked.data:
            where, settings = f"{name}, seed {seed}", {"steps": asked.steps}
            if asked.rerun or not record.has(where, settings):
                record.put(where, reached(name, seed, asked.steps), settings=settings, started=_record.now())
    for where, cell in sorted(record.cells().items()):
        print(
            f"{where}: test {cell['test']:.3f}, validation {cell['validation']:.3f}, "
            f"training {cell['train']:.3f} nats; {cell['steps']} steps, {cell['seconds']:.0f} s"
        )


if __name__ == "__main__":
    main()
