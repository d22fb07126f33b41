"""Distance from known truths: ``FlowDensity()`` at its defaults on ten synthetic densities.

    python benchmarks/truth.py                       # 20,000 rows to fit, 50,000 to test
    python benchmarks/truth.py --densities funnel

The figure is the mean over test rows of log p_true(x) - log p_model(x), an estimate of the Kullback-Leibler divergence
KL(p_true || p_model) in nats: what the held-out negative log-likelihood has above the entropy. Paired on the same rows,
its standard error is far below that of either term alone. A fit may take two minutes: of wall time, or of processor
time where the machine has other work.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import _record
import numpy as np
import torch

# name -> (bar in nats, whether the bar is for each dimension or for the whole row)
PER_FEATURE = 0.02
BARS: dict[str, tuple[float, str]] = {"student": (0.05, "total"), "checkerboard": (0.1, "per feature")}
SECONDS = 120.0


def bar(name: str) -> tuple[float, str]:
    """The most that a density's figure may be, and its unit."""
    return BARS.get(name, (PER_FEATURE, "per feature"))


def measure(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Fit one density's sample at the defaults and compare with its truth on fresh rows."""
    from unwarp import FlowDensity
    from unwarp.data import toy

    truth = toy(name)
    generator = torch.Generator().manual_seed(args.seed)
    x = truth.sample(args.rows, generator=generator).numpy()
    fresh = truth.sample(args.test_rows, generator=generator)
    options = {"max_seconds": args.max_seconds} if args.max_seconds else {}
    start, cpu = time.time(), time.process_time()
    model = FlowDensity(random_state=args.seed, **options).fit(x)
    seconds, cpu = time.time() - start, time.process_time() - cpu
    with torch.no_grad():
        exact = truth.log_prob(fresh).double().numpy()
    gap = exact - np.asarray(model.score_samples(fresh.numpy()), dtype=np.float64)
    features = x.shape[1]
    limit, unit = bar(name)
    total, se = float(gap.mean()), float(gap.std(ddof=1) / len(gap) ** 0.5)
    share = total if unit == "total" else total / features
    return {
        "features": features,
        "entropy": -exact.mean(),
        "nll": -(exact - gap).mean(),
        "gap": total,
        "gap_se": se,
        "gap_per_feature": total / features,
        "gap_per_feature_se": se / features,
        "bar": limit,
        "bar_unit": unit,
        "passed": bool(share <= limit and min(seconds, cpu) <= SECONDS),
        "seconds": seconds,
        "cpu_seconds": cpu,
    }


def summary(cells: dict[str, dict[str, Any]]) -> str:
    """One line a density."""
    lines = [
        [
            name,
            str(c["features"]),
            f"{float(c['entropy']):.3f}",
            f"{float(c['gap']):.4f} +- {float(c['gap_se']):.4f}",
            f"{float(c['gap_per_feature']):.4f} +- {float(c['gap_per_feature_se']):.4f}",
            f"{c['bar']:g} {c['bar_unit']}",
            "yes" if c["passed"] else "NO",
            f"{c['cpu_seconds']:.0f}",
            f"{c['seconds']:.0f}",
        ]
        for name, c in cells.items()
    ]
    header = [
        "density",
        "features",
        "entropy",
        "NLL - entropy",
        "per feature",
        "bar",
        "within",
        "processor s",
        "wall s",
    ]
    return _record.table(lines, header)


def main() -> None:
    """Measure the densities that are missing, then print the table."""
    from unwarp.data import toys

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--densities", nargs="+", default=None, choices=toys())
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--test-rows", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--max-seconds", type=float, default=None, help="of each fit; by default FlowDensity's own")
    parser.add_argument("--rerun", action="store_true", help="measure stored cells again")
    parser.add_argument("--quick", action="store_true", help="one density, few rows and seconds; tests use it")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    if args.quick:
        args.densities, args.rows, args.test_rows, args.max_seconds = ["rings"], 2000, 2000, 5.0
        args.out = args.out or _record.SCRATCH / "truth-quick.json"
    torch.set_num_threads(args.threads)
    record = _record.Record("truth", threads=args.threads, path=args.out)
    settings = {k: getattr(args, k) for k in ("rows", "test_rows", "seed", "max_seconds", "threads")}
    for name in args.densities or toys():
        if args.rerun or not record.has(name, settings):
            record.put(name, measure(name, args), settings=settings, started=_record.now())
            print(summary({name: record.cells()[name]}).splitlines()[-1], flush=True)
    print(summary(record.cells()))


if __name__ == "__main__":
    main()
