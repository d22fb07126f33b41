"""Posteriors from log densities alone: 25 with reference draws, a funnel, and a density of 65,536 modes.

    UNWARP_DATA=... scripts/bench vi

One configuration of ours everywhere, `fit_posterior(target, max_steps=1000)`, and 20,000 plain draws of each, not
weighted. Of each parameter: how far its mean is from that of all 10,000 reference draws, in their standard deviations,
and how far the log of its standard deviation is from theirs; `worst mean` and `worst sd` are the largest over the
parameters after division by the largest of the same figure over the ten reference chains of 1,000 draws, so 1 means: as
far off as the worst single chain. `off by` is the larger of the two before the division.

The funnel is Neal's in 10 dimensions, v ~ N(0, 9) and x ~ N(0, e^v): masses of v beyond -6 and 6 (2.28 % each). The
many wells are 16 pairs of a double well and a normal coordinate: the mass of the right well of each pair (84.43 %), and
of the four combinations of each two pairs; a mode is lost where a well or a combination has less than half its mass.

NumPyro's guides get as many processor seconds as ours took, compilation not counted; see `_peers_numpyro.run`.
"""

from __future__ import annotations

import argparse
import math
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import _peers_numpyro as peers
import _posteriordb
import _record
import _tables
import numpy as np
import torch
from torch import Tensor

from unwarp.applications import Target, effective_size, fit_posterior, importance_sampling, pareto_smoothed

BESIDE = (
    "eight_schools-eight_schools_noncentered", "kilpisjarvi_mod-kilpisjarvi", "mesquite-logmesquite",
    "earnings-logearn_interaction_z", "kidiq_with_mom_work-kidscore_interaction_z", "nes2000-nes", "funnel",
)  # fmt: skip
DRAWS = 20_000
PAIRS = 16


def funnel(x: Tensor) -> Tensor:
    """Neal's funnel, normalised."""
    v, rest = x[..., 0], x[..., 1:]
    square = (v / 3).square() + rest.square().sum(-1) * (-v).exp()
    return -0.5 * (square + rest.shape[-1] * v + x.shape[-1] * math.log(2 * math.pi)) - math.log(3)


def many_wells(x: Tensor) -> Tensor:
    """Pairs of a double well and a normal coordinate, not normalised."""
    a, b = x[..., 0::2], x[..., 1::2]
    return (-a.pow(4) + 6 * a.square() + 0.5 * a - 0.5 * b.square()).sum(-1)


def wells_truth() -> tuple[float, float]:
    """Log evidence of all pairs, and the mass of a right well."""
    grid = np.linspace(-6, 6, 400_001)
    density = np.exp(-(grid**4) + 6 * grid**2 + 0.5 * grid)
    whole = np.trapezoid(density, grid)
    return PAIRS * math.log(whole * math.sqrt(2 * math.pi)), float(np.trapezoid(density * (grid > 0), grid) / whole)


def of_reference(rows: np.ndarray, case: _posteriordb.Case) -> dict[str, float]:
    """Means and standard deviations beside those of the reference, and beside the spread of its chains."""
    whole = case.draws.reshape(-1, case.draws.shape[-1])
    middle, scale = whole.mean(0), whole.std(0)

    def away(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.abs(draws.mean(0) - middle) / scale, np.abs(np.log(draws.std(0) / scale))

    chains = [away(chain) for chain in case.draws]
    mean, sd = away(rows)
    return {
        "mean_off": mean.max(), "sd_off": sd.max(),
        "worst_mean": (mean / np.max([m for m, _ in chains], 0)).max(),
        "worst_sd": (sd / np.max([s for _, s in chains], 0)).max(),
    }  # fmt: skip


def of_weights(log_weight: np.ndarray) -> dict[str, float]:
    """What importance weights say."""
    value, error = importance_sampling(log_weight)
    return {
        "elbo": log_weight.mean(), "k": pareto_smoothed(log_weight)[1],
        "effective": effective_size(log_weight) / len(log_weight), "log_z": value, "log_z_error": error,
    }  # fmt: skip


def of_funnel(u: np.ndarray) -> dict[str, float]:
    """The two ends of the funnel."""
    v = u[:, 0]
    return {"neck": (v < -6).mean(), "mouth": (v > 6).mean(), "v_mean": v.mean(), "v_sd": v.std()}


def of_wells(u: np.ndarray) -> dict[str, float]:
    """Masses of wells and of their combinations, beside the truth."""
    log_z, right = wells_truth()
    side = u[:, 0::2] > 0
    shares = [(np.mean(side[:, i]), right) for i in range(PAIRS)] + [
        (np.mean(~side[:, i]), 1 - right) for i in range(PAIRS)
    ]
    for i, j in combinations(range(PAIRS), 2):
        for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
            truth = (right if a else 1 - right) * (right if b else 1 - right)
            shares.append((np.mean((side[:, i] == a) & (side[:, j] == b)), truth))
    found, truth = np.array(shares).T
    return {
        "right_least": side.mean(0).min(), "right_most": side.mean(0).max(), "right_truth": right,
        "least_share": (found / truth).min(), "most_share": (found / truth).max(), "true_log_z": log_z,
    }  # fmt: skip


def of_case(name: str) -> tuple[Target, _posteriordb.Case | None]:
    """The density, and its reference if there is one."""
    if name == "funnel":
        return Target.from_torch(funnel, 10), None
    if name == "many wells":
        return Target.from_torch(many_wells, 2 * PAIRS), None
    case = _posteriordb.load(_tables.root() / "posterior_posteriordb", name)
    return case.target, case


def figures(name: str, u: Tensor, log_weight: np.ndarray) -> dict[str, float]:
    """All that is told about draws of unconstrained coordinates."""
    target, case = of_case(name)
    found = of_weights(log_weight)
    if case is None:
        return found | (of_funnel if name == "funnel" else of_wells)(u.numpy())
    x = target.to_constrained(u)[0].numpy()
    parts = np.split(x, np.cumsum([math.prod(shape) for shape in target.sizes.values()])[:-1], -1)
    named = {n: part.reshape(len(x), *shape) for (n, shape), part in zip(target.sizes.items(), parts, strict=True)}
    return found | of_reference(case.rows(named), case)


def ours(name: str, steps: int, seed: int) -> dict[str, Any]:
    """One posterior by `fit_posterior`."""
    target, _ = of_case(name)
    taken: list[int] = []
    clock, wall = time.process_time(), time.perf_counter()
    model = fit_posterior(
        target,
        max_steps=steps,
        random_state=seed,
        progress=lambda s: taken.append(s.step) if s.event == "done" else None,
    )
    seconds, wall = time.process_time() - clock, time.perf_counter() - wall
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        u, log_q = model.flow.sample_and_log_prob((DRAWS,), generator=generator)
        log_weight = (target.log_density(u) - log_q).numpy()
    told = model.diagnose()
    found = figures(name, u, np.where(np.isfinite(log_weight), log_weight, -np.inf))
    return found | {"lost": told.lost, "trust": told.trust, "seconds": seconds, "wall": wall, "steps": sum(taken)}


def theirs(name: str, guide: str, seconds: float, seed: int) -> dict[str, Any]:
    """One posterior by a guide of NumPyro's."""
    target, case = of_case(name)
    kind = "funnel" if case is None else "schools" if name.startswith("eight") else "regression"
    density = peers.log_densities(kind, {} if case is None else case.given)
    found = peers.run(guide, density, target.dim, seconds, DRAWS, seed)
    weights = np.where(np.isfinite(found["log_weight"]), found["log_weight"], -np.inf)
    u = torch.from_numpy(found["u"])
    if case is not None:  # both take the log of a positive parameter, up to its own form
        x = torch.cat([u[:, :-1], u[:, -1:].exp()], -1)
        u = target.to_unconstrained(x)[0]
    made = figures(name, u, weights) | {"seconds": found["seconds"], "steps": found["steps"]}
    if case is None:  # there the funnel is not normalised
        made["true_log_z"] = math.log(3) + 0.5 * target.dim * math.log(2 * math.pi)
    return made


def summary(cells: dict[str, dict[str, Any]]) -> str:
    """A line a posterior and method, and how many of ours are within the spread and have a good k."""
    rows = []
    for key in sorted(cells, key=lambda key: (key.split("/")[1] != "unwarp", key)):
        name, method = key.split("/")
        cell = {
            k: float(v) if isinstance(v, str) else v
            for k, v in cells[key].items()
            if k not in ("settings", "machine", "versions", "commit", "started")
        }
        how = _marginals(name, cell)
        truth = cell.get("true_log_z", 0.0)
        z = f"{cell['log_z'] - truth:+.3f}" if name in ("funnel", "many wells") else "-"
        rows.append([name, method, how, f"{cell['k']:.2f}", f"{cell['effective']:.2f}", z, f"{cell['seconds']:.0f}"])
    header = ["posterior", "method", "marginals", "k", "effective", "log Z error", "cpu s"]
    mine = [cell for key, cell in cells.items() if key.endswith("/unwarp") and "worst_mean" in cell]
    within = sum(cell["worst_mean"] <= 1 and cell["worst_sd"] <= 1 for cell in mine)
    good = sum(float(cell["k"]) < 0.7 for cell in mine)
    said = f"within the spread of chains: {within} of {len(mine)}; k below 0.7: {good} of {len(mine)}"
    return _record.table(rows, header) + "\n\n" + said


def _marginals(name: str, cell: dict[str, Any]) -> str:
    if name == "funnel":
        ends = f"neck {100 * cell['neck']:.1f} %, mouth {100 * cell['mouth']:.1f} %"
        return f"v {cell['v_mean']:.2f} +- {cell['v_sd']:.2f}, {ends}"
    if name == "many wells":
        wells = f"right wells {cell['right_least']:.3f} to {cell['right_most']:.3f}"
        return f"{wells}, shares {cell['least_share']:.2f} to {cell['most_share']:.2f} of the truth"
    off = max(cell["mean_off"], cell["sd_off"])
    return f"mean {cell['worst_mean']:.3g}, sd {cell['worst_sd']:.3g} of the worst chain, off by {off:.2g}"


def main() -> None:
    """Measure what is missing, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", default=None, help="names; all by default")
    parser.add_argument("--guides", nargs="*", default=list(peers.GUIDES), choices=peers.GUIDES)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rerun", action="store_true", help="measure stored cells again")
    parser.add_argument("--quick", action="store_true", help="seconds on the funnel alone; tests use it")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    if args.quick:
        args.only, args.guides, args.steps = ["funnel"], [], 40
        args.out = args.out or _record.SCRATCH / "vi-quick.json"
    elif args.guides:
        peers.start()
    torch.set_num_threads(args.threads)
    record = _record.Record("vi", threads=args.threads, path=args.out)
    names = args.only or ["funnel", "many wells", *_posteriordb.names(_tables.root() / "posterior_posteriordb")]
    settings = {"seed": args.seed, "steps": args.steps}
    for name in names:
        if args.rerun or not record.has(f"{name}/unwarp", settings):
            began = _record.now()
            record.put(f"{name}/unwarp", ours(name, args.steps, args.seed), settings=settings, started=began)
            print(name, {k: v for k, v in record.cells()[f"{name}/unwarp"].items() if isinstance(v, float)}, flush=True)
    for guide in args.guides:
        for name in [name for name in BESIDE if name in names]:
            seconds = record.cells()[f"{name}/unwarp"]["seconds"]
            where, given = f"{name}/{guide}", settings | {"seconds": seconds}
            if args.rerun or not record.has(where, given):
                began = _record.now()
                record.put(where, theirs(name, guide, seconds, args.seed), settings=given, started=began)
                print(where, {k: v for k, v in record.cells()[where].items() if isinstance(v, float)}, flush=True)
    print(summary(record.cells()))


if __name__ == "__main__":
    main()
