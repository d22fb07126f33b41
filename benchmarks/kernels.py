"""Seconds with the fused kernels against seconds with their references in torch, interleaved in one run.

    python benchmarks/kernels.py                            # one thread, processor time
    python benchmarks/kernels.py --threads 2 --clock wall   # on an idle machine

The spline alone with its gradients, and flows of it: a training step, log_prob and sample. Each round times kernel and
reference in turn; the ratio reference / kernel is taken inside a round: its median and quartiles are reported.
"""

from __future__ import annotations

import argparse
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _record
import numpy as np
import torch

from unwarp import flow, functional, kernels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMES = tuple(kernels.status())
BOX = {"bound": 5.0, "min_bin": 1e-3, "min_slope": 1e-3}


@contextmanager
def by(side: str) -> Iterator[None]:
    """Splines by kernel or by reference."""
    fused = {name: getattr(functional, name) for name in NAMES}
    for name, function in fused.items():
        setattr(functional, name, function if side == "kernel" else function.__wrapped__)
    try:
        yield
    finally:
        for name, function in fused.items():
            setattr(functional, name, function)


def splines(dtype: torch.dtype) -> dict[str, Callable[[], object]]:
    """16,384 points in 8 bins: values of both directions, and values with all gradients."""
    x = 2 * torch.randn(16384, dtype=dtype)
    params = torch.randn(16384, 23, dtype=dtype)
    free = x.clone().requires_grad_(), params.clone().requires_grad_()
    ones = [torch.ones_like(x)] * 2
    return {
        "forward": lambda: functional.rational_quadratic(x, params, **BOX),
        "inverse": lambda: functional.rational_quadratic_inverse(x, params, **BOX),
        "forward and gradients": lambda: torch.autograd.grad(functional.rational_quadratic(*free, **BOX), free, ones),
    }


def flows(features: int, structure: str) -> dict[str, Callable[[], object]]:
    """Training step, log_prob and sample of a batch of 512; 5 layers of 8 bins, hidden 128 and 128."""
    built = flow("nsf", features, structure=structure, layers=5, bins=8, hidden=(128, 128))
    optimiser = torch.optim.Adam(built.parameters(), lr=1e-4)
    x = torch.randn(512, features)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        (-built.log_prob(x).mean()).backward()
        optimiser.step()

    def untaped(call: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            with torch.no_grad():
                call()

        return run

    return {
        "training step": step,
        "log_prob": untaped(lambda: built.log_prob(x)),
        "sample": untaped(lambda: built.sample((512,))),
    }


def measure(call: Callable[[], object], args: argparse.Namespace) -> dict[str, Any]:
    """Seconds by kernel and by reference, and their ratio inside each round."""
    rounds: dict[str, list[float]] = {"kernel": [], "reference": []}
    for i in range(args.rounds + 1):
        for side, seconds in rounds.items():
            with by(side):
                start, repeats = time.perf_counter(), 0
                while time.perf_counter() - start < args.slice or not repeats:
                    call()
                    repeats += 1
                if i:
                    seconds.append((time.perf_counter() - start) / repeats)
    ratios = np.array(rounds["reference"]) / np.array(rounds["kernel"])
    spread = dict(zip(("low", "median", "high"), np.quantile(ratios, [0.25, 0.5, 0.75]), strict=True))
    return {**{side: float(np.median(seconds)) for side, seconds in rounds.items()}, "ratio": spread}


def main() -> None:
    """Time everything, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--slice", type=float, default=0.2, help="seconds of one side's turn in a round, about")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu", help="what is counted")
    parser.add_argument("--rerun", action="store_true", help="measure stored cells again")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    missing = [reason for reason in kernels.status().values() if reason != "in use"]
    if missing:
        raise SystemExit(f"kernels: {missing[0]}")
    _record.use_clock(args.clock)
    torch.set_num_threads(args.threads)
    record = _record.Record("kernels", threads=args.threads, path=args.out)
    settings = {"rounds": args.rounds, "slice": args.slice, "clock": args.clock, "threads": args.threads}
    torch.manual_seed(0)
    subjects = {
        f"spline, {name}": splines(dtype) for name, dtype in (("float32", torch.float32), ("float64", torch.float64))
    }
    subjects |= {f"nsf {how}, {n} features": flows(n, how) for how in ("coupling", "autoregressive") for n in (8, 64)}
    for subject, tasks in subjects.items():
        for task, call in tasks.items():
            key = f"{subject}; {task}; threads {args.threads}"
            if args.rerun or not record.has(key, settings):
                record.put(key, measure(call, args), settings=settings, started=_record.now())
    lines = [
        [
            *key.removesuffix(f"; threads {cell['settings']['threads']}").split("; "),
            str(cell["settings"]["threads"]),
            *(f"{1e3 * cell[side]:.3g} ms" for side in ("kernel", "reference")),
            "{median:.2f} ({low:.2f} to {high:.2f})".format(**cell["ratio"]),
        ]
        for key, cell in record.cells().items()
    ]
    print(_record.table(lines, ["what", "task", "threads", "kernel", "reference", "times faster"]))


if __name__ == "__main__":
    main()
