"""Hostile numbers: round trips of extreme rows in float32, and flows whose weights were shaken.

    python benchmarks/numerics.py                # unwarp, zuko, nflows
    python benchmarks/numerics.py --libraries unwarp

Each flow is trained in float32 on a table with one heavy tail. Then (a) rows with |x| up to 1e6 are mixed with ordinary
ones: round trip error |f^-1(f(x)) - x| / max(1, |x|), element by element, and whether log_prob is finite; (b) all
weights get N(0, 0.3^2) noise: residual |f(f^-1(z)) - z| for latent rows z ~ N(0, 1), anything non-finite, exceptions.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _record
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

MODELS = ("nsf coupling", "nsf autoregressive", "maf")
LIBRARIES = ("unwarp", "zuko", "nflows")
BAR = 1e-4
FEATURES = 6


@dataclass(frozen=True)
class Map:
    """A trained flow, and its three functions between raw rows and the latent."""

    flow: nn.Module
    forward: Callable[[nn.Module, Tensor], Tensor]
    inverse: Callable[[nn.Module, Tensor], Tensor]
    log_prob: Callable[[nn.Module, Tensor], Tensor]


def rows(n: int, seed: int) -> Tensor:
    """Correlated, curved columns; the last has Student-t tails with two degrees of freedom."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, FEATURES, generator=generator, dtype=torch.float64)
    x[:, 1] = 0.8 * x[:, 0] + 0.6 * x[:, 1]
    x[:, 2] = 0.3 * x[:, 2] + 0.5 * x[:, 0] ** 2
    chi = torch.randn(n, 2, generator=generator, dtype=torch.float64).square().sum(1)
    x[:, -1] = x[:, -1] / (chi / 2).sqrt()
    return x.float()


def hostile(n: int, seed: int) -> Tensor:
    """Ordinary rows, half of which have one, two or all entries blown up to magnitudes between 1 and 1e6."""
    generator = torch.Generator().manual_seed(seed)
    x = rows(n, seed)
    size = 10 ** (6 * torch.rand(n, FEATURES, generator=generator))
    sign = torch.where(torch.rand(n, FEATURES, generator=generator) < 0.5, -1.0, 1.0)
    place = torch.rand(n, FEATURES, generator=generator).argsort(1)
    count = torch.tensor([0, 0, 0, 1, 2, FEATURES])[torch.arange(n) % 6].unsqueeze(1)
    return torch.where(place < count, size * sign, x)


def unwarp(model: str, x: Tensor, args: argparse.Namespace) -> Map:
    """unwarp's recipe at its defaults, trained by its own ``fit``; it sees raw rows."""
    from unwarp import fit, flow

    recipe, _, structure = model.partition(" ")
    built = flow(recipe, FEATURES, **({"structure": structure} if structure else {}))
    fit(built, x, max_seconds=args.budget, seed=0)
    return Map(
        built,
        forward=lambda f, x: f.transform(x)[0],
        inverse=lambda f, z: f.transform.inverse(z)[0],
        log_prob=lambda f, x: f.log_prob(x),
    )


def zuko(model: str, x: Tensor, args: argparse.Namespace) -> Map:
    """zuko's flow at its defaults behind a standardisation."""
    from zuko.flows import MAF, NSF

    built = MAF(FEATURES) if model == "maf" else NSF(FEATURES, passes=2 if model == "nsf coupling" else None)
    flow = _Standardized(built, x)
    return _peer(
        flow,
        lambda f, x: f.flow().transform(x),
        lambda f, z: f.flow().transform.inv(z),
        lambda f, x: f.flow().log_prob(x),
        x,
        args,
    )


def nflows(model: str, x: Tensor, args: argparse.Namespace) -> Map:
    """nflows's coupling or masked transforms with 5 layers behind a standardisation."""
    from speed import nflows as build

    flow = _Standardized(build(model, FEATURES, 5, 64).flow, x)
    return _peer(
        flow,
        lambda f, x: f.flow.transform_to_noise(x),
        lambda f, z: f.flow._transform.inverse(z)[0],
        lambda f, x: f.flow.log_prob(x),
        x,
        args,
    )


class _Standardized(nn.Module):
    def __init__(self, flow: nn.Module, x: Tensor) -> None:
        super().__init__()
        self.flow = flow
        self.register_buffer("mean", x.mean(0))
        self.register_buffer("std", x.std(0))


def _peer(flow: nn.Module, forward: Any, inverse: Any, log_prob: Any, x: Tensor, args: argparse.Namespace) -> Map:
    from _contestants import train
    from _tables import Split

    def encode(f: nn.Module, rows: Tensor) -> Tensor:
        return (rows - f.mean) / f.std

    split = Split(*(part.numpy() for part in encode(flow, x).split([len(x) - 2000, 1000, 1000])))
    density = _Density(flow, log_prob)
    train(density, split, lr=1e-3, batch=256, budget=args.budget, clock=args.clock, seed=0)
    flow.eval()
    return Map(
        flow,
        lambda f, x: forward(f, encode(f, x)),
        lambda f, z: inverse(f, z) * f.std + f.mean,
        lambda f, x: log_prob(f, encode(f, x)) - f.std.log().sum(),
    )


class _Density(nn.Module):
    def __init__(self, flow: nn.Module, log_prob: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.flow, self.log_prob = flow, log_prob

    def forward(self, x: Tensor) -> Tensor:
        return self.log_prob(self.flow, x)


BUILDERS = {"unwarp": unwarp, "zuko": zuko, "nflows": nflows}


def round_trip(one: Map, x: Tensor) -> dict[str, Any]:
    """Worst relative error of data -> latent -> data, in all entries and in the ordinary ones, and of log_prob."""
    try:
        with torch.no_grad():
            back = one.inverse(one.flow, one.forward(one.flow, x))
            log_prob = one.log_prob(one.flow, x)
    except (AssertionError, RuntimeError, ValueError) as error:
        return {"exception": type(error).__name__, "passed": False}
    error = (back.double() - x.double()).abs() / x.double().abs().clamp_min(1)
    rowwise = (back.double() - x.double()).abs().amax(1) / x.double().abs().amax(1).clamp_min(1)
    finite = bool(torch.isfinite(log_prob).all()) and bool(torch.isfinite(back).all())
    return {
        "error": float(error.nan_to_num(float("inf")).max()),
        "error_of_row": float(rowwise.nan_to_num(float("inf")).max()),
        "bad_entries": float((error > BAR).double().mean()),
        "nonfinite_log_prob": int((~torch.isfinite(log_prob)).sum()),
        "nonfinite_rows": int((~torch.isfinite(back)).any(1).sum()),
        "passed": finite and float(error.max()) <= BAR,
    }


def shaken(one: Map, args: argparse.Namespace) -> dict[str, Any]:
    """Worst residual, count of non-finite rows and of exceptions over flows with noise on every weight."""
    worst, broken, exceptions = 0.0, 0, 0
    for seed in range(args.shakes):
        generator = torch.Generator().manual_seed(seed)
        flow = copy.deepcopy(one.flow)
        z = torch.randn(args.rows, FEATURES, generator=generator)
        try:
            with torch.no_grad():
                for parameter in flow.parameters():
                    parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
                x = one.inverse(flow, z)
                again = one.forward(flow, x)
                log_prob = one.log_prob(flow, x)
        except (AssertionError, RuntimeError, ValueError):
            exceptions += 1
            continue
        finite = torch.isfinite(x).all(1) & torch.isfinite(again).all(1) & torch.isfinite(log_prob)
        broken += int((~finite).sum())
        if bool(finite.any()):
            worst = max(worst, float((again - z)[finite].abs().max()))
    return {
        "residual": worst,
        "nonfinite_rows": broken,
        "exceptions": exceptions,
        "flows": args.shakes,
        "passed": worst <= BAR and broken == 0 and exceptions == 0,
    }


def summary(cells: dict[str, dict[str, Any]]) -> str:
    """One line a flow."""
    lines = []
    for name, c in cells.items():
        trip, shake = c["round_trip"], c["shaken"]
        lines.append(
            [
                name,
                trip.get("exception") or f"{float(trip['error']):.1e}",
                "-" if "exception" in trip else f"{float(trip['error_of_row']):.1e}",
                "-" if "exception" in trip else str(trip["nonfinite_log_prob"] + trip["nonfinite_rows"]),
                f"{float(shake['residual']):.1e}",
                str(shake["nonfinite_rows"]),
                f"{shake['exceptions']} of {shake['flows']}",
                "yes" if trip["passed"] and shake["passed"] else "NO",
            ]
        )
    trip = ["round trip", "of the row", "non-finite"]
    shake = ["shaken: residual", "non-finite", "exceptions"]
    return _record.table(lines, ["flow", *trip, *shake, "within 1e-4"])


def main() -> None:
    """Measure the flows that are missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--libraries", nargs="+", default=list(LIBRARIES), choices=LIBRARIES)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--budget", type=float, default=30.0, help="seconds of training for each flow")
    parser.add_argument("--clock", choices=("cpu", "wall"), default="wall", help="what the budget counts")
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--shakes", type=int, default=20, help="noisy copies of each flow")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rerun", action="store_true", help="measure stored cells again")
    parser.add_argument("--quick", action="store_true", help="one small flow; tests use it")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    if args.quick:
        args.models, args.budget, args.rows, args.shakes = ["nsf coupling"], 4.0, 600, 3
        args.out = args.out or _record.SCRATCH / "numerics-quick.json"
    _record.use_clock(args.clock)
    torch.set_num_threads(args.threads)
    record = _record.Record("numerics", threads=args.threads, path=args.out)
    settings = {name: getattr(args, name) for name in ("budget", "clock", "rows", "shakes")}
    for library in args.libraries:
        for model in args.models:
            where = f"{library} {model}"
            if args.rerun or not record.has(where, settings):
                started = _record.now()
                one = BUILDERS[library](model, rows(20_000, 0), args)
                figures = {"round_trip": round_trip(one, hostile(args.rows, 1)), "shaken": shaken(one, args)}
                record.put(where, figures, settings=settings, started=started)
    print(summary(record.cells()))


if __name__ == "__main__":
    main()
