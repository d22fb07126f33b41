"""How far is log Z from the truth, and is it trusted when it should be?

    scripts/bench evidence                     # all cells that are missing
    scripts/bench evidence --from draws        # flows learned from 10,000 exact draws, with bridge sampling
    scripts/bench evidence --from density      # flows learned from the log density alone, in 1,000 steps of 256 draws
    scripts/bench evidence --from bad          # built cases that must not be trusted, and two controls
    scripts/bench evidence --quick             # two cells in seconds

Bars: |log Z - truth| at most 0.05 nats and at most 3 standard errors wherever it is trusted; every bad case untrusted.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _record
import numpy as np
import torch
from torch import Tensor

from unwarp.applications import Evidence, Target, fit_posterior

CHAINS, DRAWS = 4, 2_500
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Law:
    """A density up to a constant, the log of its integral, and exact draws `(n, dim)` of it."""

    dim: int
    log_density: Callable[[Tensor], Tensor]
    log_z: float
    draw: Callable[[np.random.Generator, int], np.ndarray]

    def target(self) -> Target:
        return Target.from_torch(self.log_density, self.dim)

    def chains(self, seed: int, draws: int = DRAWS) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return self.draw(rng, CHAINS * draws).reshape(CHAINS, draws, self.dim)


def gaussian(dim: int, condition: float = 100.0) -> Law:
    """Turned at random, with standard deviations from 1 to the root of the condition number."""
    turn = np.linalg.qr(np.random.default_rng(dim).normal(size=(dim, dim)))[0]
    scale = np.geomspace(1.0, math.sqrt(condition), dim)
    into = torch.from_numpy(turn / scale)

    def log_density(x: Tensor) -> Tensor:
        return -0.5 * (x @ into.to(x)).square().sum(-1)

    log_z = 0.5 * dim * math.log(2 * math.pi) + float(np.log(scale).sum())
    return Law(dim, log_density, log_z, lambda rng, n: (rng.normal(size=(n, dim)) * scale) @ turn.T)


def funnel(dim: int) -> Law:
    """v of standard deviation 3, and the others of variance e^v."""

    def log_density(x: Tensor) -> Tensor:
        v, rest = x[..., 0], x[..., 1:]
        return -v.square() / 18 - 0.5 * (rest.square().sum(-1) * (-v).exp() + (dim - 1) * v)

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        v = 3 * rng.normal(size=(n, 1))
        return np.concatenate([v, np.exp(v / 2) * rng.normal(size=(n, dim - 1))], 1)

    return Law(dim, log_density, 0.5 * dim * math.log(2 * math.pi) + math.log(3.0), draw)


def mixture(dim: int, shares: tuple[float, ...] = (0.4, 0.3, 0.2, 0.1), apart: float = 5.0) -> Law:
    """Round clusters of unequal shares at the ends of two axes."""
    center = np.zeros((len(shares), dim))
    for k in range(len(shares)):
        center[k, k // 2 % dim] = apart * (-1) ** k
    log_share, where = torch.tensor(shares).double().log(), torch.from_numpy(center)

    def log_density(x: Tensor) -> Tensor:
        each = -0.5 * (x.unsqueeze(-2) - where.to(x)).square().sum(-1)
        return torch.logsumexp(each + log_share.to(x), -1)

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        return center[rng.choice(len(shares), n, p=shares)] + rng.normal(size=(n, dim))

    return Law(dim, log_density, 0.5 * dim * math.log(2 * math.pi) + math.log(sum(shares)), draw)


def student(dim: int, freedom: float) -> Law:
    """A multivariate t."""

    def log_density(x: Tensor) -> Tensor:
        return -0.5 * (freedom + dim) * torch.log1p(x.square().sum(-1) / freedom)

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.normal(size=(n, dim)) / np.sqrt(rng.chisquare(freedom, (n, 1)) / freedom)

    whole = math.lgamma(freedom / 2) - math.lgamma((freedom + dim) / 2) + 0.5 * dim * math.log(freedom * math.pi)
    return Law(dim, log_density, whole, draw)


def banana(dim: int) -> Law:
    """The second coordinate is bent along the square of the first, whose standard deviation is 10."""

    def log_density(x: Tensor) -> Tensor:
        bent = x[..., 1] + 0.03 * (x[..., 0].square() - 100)
        return -0.5 * (x[..., 0].square() / 100 + bent.square() + x[..., 2:].square().sum(-1))

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        x = rng.normal(size=(n, dim))
        x[:, 0] *= 10
        x[:, 1] -= 0.03 * (x[:, 0] ** 2 - 100)
        return x

    return Law(dim, log_density, 0.5 * dim * math.log(2 * math.pi) + math.log(10.0), draw)


LAWS: dict[str, Callable[[], Law]] = {
    "gaussian 2-D": lambda: gaussian(2),
    "banana 4-D": lambda: banana(4),
    "mixture of 4, 5-D": lambda: mixture(5),
    "student t_3 4-D": lambda: student(4, 3.0),
    "gaussian 10-D": lambda: gaussian(10),
    "funnel 10-D": lambda: funnel(10),
    "gaussian 50-D": lambda: gaussian(50),
}


def from_draws(name: str, seed: int) -> tuple[Evidence, float]:
    law = LAWS[name]()
    return fit_posterior(law.chains(seed), law.target(), random_state=seed).log_evidence(random_state=seed), law.log_z


def from_density(name: str, seed: int) -> tuple[Evidence, float]:
    law = LAWS[name]()
    return fit_posterior(law.target(), max_steps=1000, random_state=seed).log_evidence(random_state=seed), law.log_z


def _one_mode(seed: int) -> tuple[Evidence, float]:
    """Draws of the larger of two modes alone."""
    both = mixture(5, (0.6, 0.4))
    law = Law(5, both.log_density, both.log_z, lambda rng, n: np.r_[5.0, 0, 0, 0, 0] + rng.normal(size=(n, 5)))
    return fit_posterior(law.chains(seed), law.target(), random_state=seed).log_evidence(random_state=seed), law.log_z


def _heavy(seed: int) -> tuple[Evidence, float]:
    """Tails of a Cauchy law under a flow of normal tails."""
    law = student(4, 1.0)
    found = fit_posterior(law.chains(seed), law.target(), flow="realnvp", random_state=seed)
    return found.log_evidence(random_state=seed), law.log_z


def _few(seed: int) -> tuple[Evidence, float]:
    """A hundred draws in ten dimensions."""
    law = gaussian(10)
    return fit_posterior(law.chains(seed, 25), law.target(), random_state=seed).log_evidence(), law.log_z


def _wrong(seed: int, factor: float = 1.3) -> tuple[Evidence, float]:
    """Draws of another density: the target is wider."""
    law = gaussian(5)
    target = Target.from_torch(lambda x: law.log_density(x / factor), 5)
    found = fit_posterior(law.chains(seed), target, random_state=seed).log_evidence(random_state=seed)
    return found, law.log_z + 5 * math.log(factor)


def _stuck(seed: int) -> tuple[Evidence, float]:
    """Each chain stays in its own mode, so that the shares of the modes are wrong."""
    law = mixture(5)
    center = np.zeros((4, 1, 5))
    for k in range(4):
        center[k, 0, k // 2] = 5.0 * (-1) ** k
    chains = center + np.random.default_rng(seed).normal(size=(4, DRAWS, 5))
    return fit_posterior(chains, law.target(), random_state=seed).log_evidence(random_state=seed), law.log_z


def _untrained(seed: int) -> tuple[Evidence, float]:
    """A flow of a few steps."""
    law = funnel(10)
    return fit_posterior(law.target(), max_steps=20, random_state=seed).log_evidence(random_state=seed), law.log_z


def _rescaled(seed: int) -> tuple[Evidence, float]:
    """A control: the density times e^400."""
    law = banana(4)
    target = Target.from_torch(lambda x: law.log_density(x) + 400.0, 4)
    found = fit_posterior(law.chains(seed), target, random_state=seed).log_evidence(random_state=seed)
    return found, law.log_z + 400.0


def _chain(seed: int) -> tuple[Evidence, float]:
    """A control: chains of a random walk, whose draws depend on each other."""
    law = gaussian(2, 4.0)
    rng, x = np.random.default_rng(seed), law.chains(seed, 1)[:, 0]
    kept, height = [], law.log_density(torch.from_numpy(x)).numpy()
    for _ in range(10 * DRAWS):
        other = x + 1.5 * rng.normal(size=x.shape)
        new = law.log_density(torch.from_numpy(other)).numpy()
        taken = np.log(rng.random(len(x))) < new - height
        x, height = np.where(taken[:, None], other, x), np.where(taken, new, height)
        kept.append(x)
    draws = np.stack(kept, 1)[:, ::2]
    return fit_posterior(draws, law.target(), random_state=seed).log_evidence(random_state=seed), law.log_z


BAD: dict[str, tuple[bool, Callable[[int], tuple[Evidence, float]]]] = {
    "control: random-walk chains": (True, _chain),
    "control: density times e^400": (True, _rescaled),
    "draws of one mode of two": (False, _one_mode),
    "Cauchy tails, a flow of normal ones": (False, _heavy),
    "100 draws in 10-D": (False, _few),
    "draws of a narrower density": (False, _wrong),
    "each chain in a mode of its own": (False, _stuck),
    "20 steps on a funnel's density": (False, _untrained),
}


def cells(kind: str) -> list[tuple[str, bool | None, Callable[[int], tuple[Evidence, float]]]]:
    if kind == "bad":
        return [(name, trust, make) for name, (trust, make) in BAD.items()]
    make = from_draws if kind == "draws" else from_density
    return [(name, None, lambda seed, name=name: make(name, seed)) for name in LAWS]


def measured(make: Callable[[int], tuple[Evidence, float]], seed: int) -> dict[str, Any]:
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found, truth = make(seed)
    seconds = time.process_time() - began
    return found.to_json() | {"truth": truth, "gap": found.value - truth, "seconds": seconds}


def shown(stored: dict[str, Any]) -> None:
    for kind in ("draws", "density", "bad"):
        rows = []
        for name, wanted, _ in cells(kind):
            found = [cell for key, cell in stored.items() if key.rsplit(", seed", 1)[0] == f"{kind}: {name}"]
            if not found:
                continue
            gaps, errors = [float(c["gap"]) for c in found], [float(c["error"]) for c in found]
            ok = [abs(g) <= 0.05 and abs(g) <= 3 * e for g, e in zip(gaps, errors, strict=True)]
            trusted = [bool(c["trust"]) for c in found]
            right = sum(t == (o if wanted is None else wanted) for t, o in zip(trusted, ok, strict=True))
            rows.append([
                name, " ".join(f"{g:+.4f}" for g in gaps), f"{statistics.mean(errors):.4f}",
                f"{max(float(c['pareto_k']) for c in found):.2f}", f"{sum(ok)} of {len(ok)}",
                f"{sum(trusted)} of {len(trusted)}", f"{right} of {len(found)}",
                f"{statistics.mean(float(c['seconds']) for c in found):.0f}",
            ])  # fmt: skip
        if rows:
            header = ["from " + kind if kind != "bad" else "built case", "log Z - truth, by seed", "standard error"]
            header += ["largest k", "within the bar", "trusted", "trust right", "processor s"]
            print(_record.table(rows, header), end="\n\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="kinds", nargs="+", default=["draws", "bad", "density"])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--only", nargs="+", default=None, help="names of cells")
    parser.add_argument("--rerun", action="store_true", help="measure stored cells again")
    parser.add_argument("--quick", action="store_true", help="two cells, written elsewhere")
    parser.add_argument("--out", type=Path, default=None)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.quick:
        asked.kinds, asked.seeds, asked.only = ["draws", "bad"], [0], ["gaussian 2-D", "100 draws in 10-D"]
        asked.out = asked.out or _record.SCRATCH / "evidence.json"
    record = _record.Record("evidence", threads=1, path=asked.out)
    for seed in asked.seeds:
        for kind in asked.kinds:
            for name, _, make in cells(kind):
                settings, key = {"seed": seed, "draws": CHAINS * DRAWS}, f"{kind}: {name}, seed {seed}"
                if (asked.only and name not in asked.only) or (record.has(key, settings) and not asked.rerun):
                    continue
                record.put(key, measured(make, seed), settings=settings, started=_record.now())
                cell = record.cells()[key]
                print(f"{key}: {cell['gap']:+.4f} +- {cell['error']:.4f}, k {cell['pareto_k']}, trust {cell['trust']}"
                      f" {cell['reasons']} {cell['seconds']:.0f} s", flush=True)  # fmt: skip
    shown(record.cells())


if __name__ == "__main__":
    main()
