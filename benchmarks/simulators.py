"""Posteriors of five simulators of the sbibm benchmark: how far from the reference, how fast, and are they calibrated?

    UNWARP_DATA=... scripts/bench simulators --sizes 1000 10000 --seeds 0

One fixed configuration, `NPE(prior)` as it is. Simulators are those of the package sbibm; reference posteriors and
observations are its own. C2ST is its classifier two-sample test (`_two_samples.py`), the mean over ten observations:
0.5 is perfect, 1 the worst; of 10,000 draws for two parameters, as published, of 2,000 for more. Published figures
are those of its authors, with their rerun of gaussian_mixture. sbi's own NPE with a spline flow, at its defaults,
trains on the same simulations in the same process, for its time; with --judge its posteriors are judged too. Both use
one thread; processor seconds are compared, as other work on the machine does not change them. Leakage is the share of
a million draws outside the prior's support. Calibration is judged by 500 fresh simulations.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _record
import _tables
import numpy as np
import torch
from _two_samples import c2st

TASKS = ("gaussian_mixture", "two_moons", "slcp", "gaussian_linear", "gaussian_linear_uniform")
PUBLISHED = {  # mean C2ST of NPE and SNPE with neural spline flows, by task and number of simulations
    "gaussian_linear": {1000: (0.694, 0.652), 10000: (0.552, 0.544)},
    "gaussian_linear_uniform": {1000: (0.696, 0.631), 10000: (0.553, 0.527)},
    "gaussian_mixture": {1000: (0.716, 0.669), 10000: (0.615, 0.551)},
    "two_moons": {1000: (0.725, 0.643), 10000: (0.606, 0.554)},
    "slcp": {1000: (0.975, 0.965), 10000: (0.901, 0.845)},
}
DRAWS = {"gaussian_mixture": 10_000, "two_moons": 10_000}  # of each posterior; of those of more parameters 2,000
CHECKED, LEAKS, TOY = 500, 1_000_000, "toy"


def prior_of(task: Any) -> Any:
    """The task's prior."""
    from unwarp.applications import Box, Independent

    params = task.prior_params
    if "low" in params:
        return Box(params["low"].numpy(), params["high"].numpy())
    law = torch.distributions.MultivariateNormal(params["loc"], precision_matrix=params["precision_matrix"])
    return Independent({"theta": law})


class Toy:
    """A simulator for `--quick`: a shift with normal noise, whose posterior is normal too."""

    def __init__(self) -> None:
        self.prior_params = {"loc": torch.zeros(2), "precision_matrix": torch.eye(2)}

    def get_prior(self) -> Callable[..., torch.Tensor]:
        """Draws of the prior."""

        def draw(num_samples: int) -> torch.Tensor:
            return torch.randn(num_samples, 2)

        return draw

    def get_simulator(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Data of parameters."""
        return lambda theta: theta + torch.randn(theta.shape)


def reference(name: str, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Reference draws, `(10, draws, d)`, and observations."""
    if name == TOY:
        observed = np.zeros((2, 2))
        return np.random.default_rng(0).normal(0, 0.5**0.5, (2, draws, 2)), observed
    stored = np.load(_tables.root() / "posterior_sbibm" / f"{name}.npz")
    return stored["reference"][:, :draws].astype(np.float64), stored["observation"]


def simulations(name: str, count: int, seed: int) -> tuple[Any, np.ndarray, np.ndarray]:
    """The task, parameters and data."""
    if name == TOY:
        task: Any = Toy()
    else:
        import sbibm  # pyright: ignore[reportMissingImports]

        task = sbibm.get_task(name)
    torch.manual_seed(seed)
    theta = task.get_prior()(num_samples=count)
    return task, theta.numpy().astype(np.float64), task.get_simulator()(theta).numpy()


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What it returns, and how long it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    made = work()
    return made, {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def ours(name: str, count: int, seed: int, draws: int) -> dict[str, Any]:
    """The library's posterior: seconds, C2ST at each observation, leakage, calibration."""
    from unwarp.applications import NPE

    task, theta, x = simulations(name, count, seed)
    prior = prior_of(task)
    model, seconds = timed(lambda: NPE(prior, random_state=seed).fit(theta, x))
    truth, observed = reference(name, draws)
    made, sampling = timed(lambda: [model.posterior(o).sample(draws, random_state=seed) for o in observed])
    _, ten_thousand = timed(lambda: model.posterior(observed[0]).sample(10_000))
    scores = c2st(truth, np.stack(made))
    outside = 0
    if "low" in task.prior_params:
        low, high = task.prior_params["low"].numpy(), task.prior_params["high"].numpy()
        some = model.posterior(observed[0]).sample(LEAKS)
        outside = int(((some < low) | (some > high)).any(1).sum())
    _, fresh, data = simulations(name, CHECKED, 10_000 + seed)
    checks = model.check(fresh, data)
    return {
        "c2st": scores.tolist(), "mean": scores.mean(), "error": scores.std(ddof=1) / len(scores) ** 0.5,
        "seconds": seconds,
        "sampling": {"draws": draws * len(observed), **sampling}, "ten_thousand": ten_thousand,
        "outside": outside, "of": LEAKS, "p": checks.p, "coverage_90": checks.coverage(0.9),
        "conservatism": checks.conservatism, "trust": checks.trust,
    }  # fmt: skip


def theirs(name: str, count: int, seed: int, draws: int, *, judge: bool) -> dict[str, Any]:
    """sbi's posterior on the same simulations."""
    from sbi.inference import NPE  # pyright: ignore[reportMissingImports]
    from sbi.utils import BoxUniform  # pyright: ignore[reportMissingImports]

    task, theta, x = simulations(name, count, seed)
    params = task.prior_params
    if "low" in params:
        prior = BoxUniform(params["low"], params["high"])
    else:
        prior = torch.distributions.MultivariateNormal(params["loc"], precision_matrix=params["precision_matrix"])
    torch.manual_seed(seed)

    def train() -> Any:
        inference = NPE(prior, density_estimator="nsf", show_progress_bars=False)
        inference.append_simulations(torch.from_numpy(theta).float(), torch.from_numpy(x))
        inference.train()
        return inference

    inference, seconds = timed(train)
    found: dict[str, Any] = {"seconds": seconds, "epochs": inference._summary["epochs_trained"][-1]}
    if judge:
        truth, observed = reference(name, draws)
        posterior = inference.build_posterior()
        made = [
            posterior.sample((draws,), x=torch.from_numpy(o).float(), show_progress_bars=False).numpy()
            for o in observed
        ]
        scores = c2st(truth, np.stack(made).astype(np.float64))
        found |= {"c2st": scores.tolist(), "mean": scores.mean(), "error": scores.std(ddof=1) / len(scores) ** 0.5}
    return found


def summary(cells: dict[str, dict[str, Any]]) -> str:
    """A line a task, number of simulations and seed."""
    rows: list[list[str]] = []
    for key, cell in cells.items():
        name, count, seed, library = key.split("/")
        if library != "unwarp":
            continue
        peer = cells.get(f"{name}/{count}/{seed}/sbi")
        npe, snpe = PUBLISHED.get(name, {}).get(int(count), (None, None))
        cpu = cell["seconds"]["cpu"]
        of_sbi = f"{cpu / peer['seconds']['cpu']:.2f} of {peer['seconds']['cpu']:.0f}" if peer else "-"
        rows.append([
            name, count, seed, f"{cell['settings']['draws']:,}", f"{cell['mean']:.3f} +- {cell['error']:.3f}",
            _figure(npe), _figure(snpe), f"{cpu:.1f}", of_sbi, str(cell["outside"]),
            f"{min(1.0, min(cell['p'].values()) * len(cell['p'])):.3f}", f"{100 * cell['coverage_90']:.0f}",
            f"{cell['ten_thousand']['cpu']:.2f}",
        ])  # fmt: skip
    rows.sort(key=lambda row: (int(row[1]), row[0], int(row[2])))
    header = [
        "task", "simulations", "seed", "draws", "C2ST", "NPE, published", "SNPE, published", "cpu s",
        "share of sbi's s", "outside of 1e6", "p of calibration", "90 % holds", "s for 10,000 draws",
    ]  # fmt: skip
    return _record.table(rows, header)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def main() -> None:
    """Measure what is missing, and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=(*TASKS, TOY))
    parser.add_argument("--sizes", nargs="+", type=int, default=[1_000, 10_000])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--libraries", nargs="+", default=["unwarp", "sbi"], choices=("unwarp", "sbi"))
    parser.add_argument("--draws", type=int, default=None, help="of each posterior, for C2ST")
    parser.add_argument("--judge", action="store_true", help="C2ST of sbi's posteriors too")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rerun", action="store_true", help="measure stored cells again")
    parser.add_argument("--quick", action="store_true", help="seconds on a made-up simulator; tests use it")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    if args.quick:
        args.tasks, args.sizes, args.libraries, args.draws = [TOY], [300], ["unwarp"], 500
        args.out = args.out or _record.SCRATCH / "simulators-quick.json"
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    record = _record.Record("simulators", threads=args.threads, path=args.out)
    for count in args.sizes:
        for seed in args.seeds:
            for name in args.tasks:
                draws = args.draws or DRAWS.get(name, 2_000)
                for library in args.libraries:
                    where = f"{name}/{count}/{seed}/{library}"
                    settings: dict[str, Any] = {"seed": seed, "draws": draws}
                    settings |= {"judge": args.judge} if library == "sbi" else {}
                    if args.rerun or not record.has(where, settings):
                        started = _record.now()
                        if library == "unwarp":
                            figures = ours(name, count, seed, draws)
                        else:
                            figures = theirs(name, count, seed, draws, judge=args.judge)
                        record.put(where, figures, settings=settings, started=started)
                        told = {k: record.cells()[where].get(k) for k in ("mean", "seconds")}
                        print(where, told, flush=True)
    print(summary(record.cells()))


if __name__ == "__main__":
    main()
