"""Seconds of a training step, log_prob and sample: unwarp against zuko and nflows at one size, interleaved in one run.

    python benchmarks/speed.py                 # 8 and 64 features
    python benchmarks/speed.py --features 64 --rounds 9

Each round times every library once in turn (A B C A B C ...), so drifts of the machine meet all alike; the ratio to
unwarp is taken inside a round, and its median and quartiles over the rounds are reported.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _record
import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

MODELS = ("nsf coupling", "nsf autoregressive", "maf")
TASKS = ("train", "log_prob", "sample")
LIBRARIES = ("unwarp", "zuko", "nflows")
BAR = 6.0  # sample / log_prob of the autoregressive nsf at 64 features, batch 512, 5 layers of 128, 128


class Timed:
    """One library's flow with the three things that are timed."""

    def __init__(self, flow: nn.Module, log_prob: Callable[[Tensor], Tensor], sample: Callable[[int], Tensor]) -> None:
        self.flow, self.log_prob, self.sample = flow, log_prob, sample
        self.optimiser = torch.optim.Adam(flow.parameters(), lr=1e-4)
        self.parameters = sum(p.numel() for p in flow.parameters())

    def run(self, task: str, x: Tensor) -> None:
        """One training step on the rows, their log-densities, or as many samples."""
        if task == "train":
            self.optimiser.zero_grad(set_to_none=True)
            (-self.log_prob(x).mean()).backward()
            self.optimiser.step()
            return
        with torch.no_grad():
            self.log_prob(x) if task == "log_prob" else self.sample(len(x))


def unwarp(model: str, features: int, layers: int, hidden: int) -> Timed:
    """unwarp's recipe at the common size."""
    from unwarp import flow

    recipe, _, structure = model.partition(" ")
    options: dict[str, Any] = {"layers": layers, "hidden": (hidden, hidden)}
    built = flow(recipe, features, **options, **({"structure": structure, "bins": 8} if structure else {}))
    return Timed(built, built.log_prob, lambda n: built.sample((n,)))


def zuko(model: str, features: int, layers: int, hidden: int) -> Timed:
    """zuko's NSF (2 passes make it a coupling) or MAF at the common size."""
    from zuko.flows import MAF, NSF

    options: dict[str, Any] = {"transforms": layers, "hidden_features": (hidden, hidden)}
    if model == "maf":
        built = MAF(features, **options)
    else:
        built = NSF(features, bins=8, passes=2 if model == "nsf coupling" else None, **options)
    return Timed(built, lambda x: built().log_prob(x), lambda n: built().sample((n,)))


def nflows(model: str, features: int, layers: int, hidden: int) -> Timed:
    """nflows's coupling or masked transforms with a permutation between them, at the common size."""
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow
    from nflows.nn.nets import MLP
    from nflows.transforms import CompositeTransform, RandomPermutation
    from nflows.transforms.autoregressive import (
        MaskedAffineAutoregressiveTransform,
        MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
    )
    from nflows.transforms.coupling import PiecewiseRationalQuadraticCouplingTransform
    from nflows.utils.torchutils import create_alternating_binary_mask

    masked = {"features": features, "hidden_features": hidden, "num_blocks": 1, "use_residual_blocks": False}
    spline = {"num_bins": 8, "tails": "linear", "tail_bound": 5.0}

    def net(inputs: int, outputs: int) -> nn.Module:
        return _WithContext(MLP((inputs,), (outputs,), [hidden, hidden]), hidden)

    def layer(i: int) -> nn.Module:
        if model == "maf":
            return MaskedAffineAutoregressiveTransform(**masked)
        if model == "nsf autoregressive":
            return MaskedPiecewiseRationalQuadraticAutoregressiveTransform(**masked, **spline)
        mask = create_alternating_binary_mask(features, even=i % 2 == 0)
        return PiecewiseRationalQuadraticCouplingTransform(mask, net, **spline)

    parts = [part for i in range(layers) for part in (layer(i), RandomPermutation(features))]
    built = Flow(CompositeTransform(parts), StandardNormal([features]))
    return Timed(built, built.log_prob, built.sample)


class _WithContext(nn.Module):
    """nflows hands its conditioner a context and reads its width; its plain MLP knows neither."""

    def __init__(self, net: nn.Module, hidden: int) -> None:
        super().__init__()
        self.net, self.hidden_features = net, hidden

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.net(x)


BUILDERS = {"unwarp": unwarp, "zuko": zuko, "nflows": nflows}


def measure(model: str, features: int, args: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each library and task over the rounds, and the ratios to unwarp inside each round."""
    torch.manual_seed(0)
    x = torch.randn(args.batch, features)
    timed = {name: BUILDERS[name](model, features, args.layers, args.hidden) for name in args.libraries}
    figures: dict[str, Any] = {"parameters": {name: one.parameters for name, one in timed.items()}}
    for task in TASKS:
        repeats = {}
        for name, one in timed.items():
            one.run(task, x)
            start = time.perf_counter()
            one.run(task, x)
            repeats[name] = max(1, int(args.slice / (time.perf_counter() - start)))
        rounds: dict[str, list[float]] = {name: [] for name in timed}
        for _ in range(args.rounds):
            for name, one in timed.items():
                start = time.perf_counter()
                for _ in range(repeats[name]):
                    one.run(task, x)
                rounds[name].append((time.perf_counter() - start) / repeats[name])
        figures[task] = {name: _spread(np.array(seconds)) for name, seconds in rounds.items()}
        if "unwarp" in rounds:
            ours = np.array(rounds["unwarp"])
            figures[task]["ratio"] = {n: _spread(np.array(s) / ours) for n, s in rounds.items() if n != "unwarp"}
    return figures


def _spread(values: np.ndarray) -> dict[str, float]:
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": median, "low": low, "high": high}


def one_pass(args: argparse.Namespace) -> dict[str, Any]:
    """How many times the seconds of log_prob a sample of the autoregressive nsf takes, at the size of the bar."""
    from unwarp import flow

    torch.manual_seed(0)
    built = flow("nsf", 64, structure="autoregressive", layers=5, hidden=(128, 128))
    x = torch.randn(512, 64)
    seconds: dict[str, list[float]] = {"log_prob": [], "sample": []}
    with torch.no_grad():
        for i in range(args.rounds + 1):
            for task, call in (("log_prob", lambda: built.log_prob(x)), ("sample", lambda: built.sample((512,)))):
                start = time.perf_counter()
                call()
                if i:
                    seconds[task].append(time.perf_counter() - start)
    ratio = _spread(np.array(seconds["sample"]) / np.array(seconds["log_prob"]))
    return {
        "log_prob": _spread(np.array(seconds["log_prob"])),
        "sample": _spread(np.array(seconds["sample"])),
        "ratio": ratio,
        "bar": BAR,
        "passed": ratio["median"] <= BAR,
    }


def summary(cells: dict[str, dict[str, Any]]) -> str:
    """Milliseconds of each library, and how many times unwarp's seconds its peers take."""
    lines = []
    for where, figures in cells.items():
        for task in TASKS if "train" in figures else ():
            times = figures[task]
            line = [where, task]
            for name in LIBRARIES:
                ratio = times.get("ratio", {}).get(name)
                extra = f" ({ratio['median']:.2f}x, {ratio['low']:.2f} to {ratio['high']:.2f})" if ratio else ""
                line.append(f"{1e3 * times[name]['median']:.1f} ms{extra}" if name in times else "-")
            lines.append([*line, " ".join(f"{n} {c:,}" for n, c in figures["parameters"].items())])
    text = _record.table(lines, ["model, features", "task", *LIBRARIES, "parameters"])
    single = cells.get("one pass")
    if single:
        ratio = single["ratio"]
        text += (
            f"\nautoregressive nsf, 64 features, batch 512: sample takes {ratio['median']:.2f} times log_prob"
            f" ({ratio['low']:.2f} to {ratio['high']:.2f}; at most {single['bar']:g}): "
            + ("passed" if single["passed"] else "MISSED")
        )
    return text


def main() -> None:
    """Time every model and size, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--features", nargs="+", type=int, default=[8, 64])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--libraries", nargs="+", default=list(LIBRARIES), choices=LIBRARIES)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--slice", type=float, default=0.5, help="seconds of one library's turn in a round, about")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu", help="what is counted")
    parser.add_argument("--rerun", action="store_true", help="measure stored cells again")
    parser.add_argument("--quick", action="store_true", help="seconds on small flows; tests use it")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    if args.quick:
        args.features, args.batch, args.hidden, args.layers, args.rounds, args.slice = [4], 64, 16, 2, 2, 0.01
        args.out = args.out or _record.SCRATCH / "speed-quick.json"
    _record.use_clock(args.clock)
    torch.set_num_threads(args.threads)
    record = _record.Record("speed", threads=args.threads, path=args.out)
    names = ("batch", "layers", "hidden", "rounds", "clock", "libraries")
    settings = {name: getattr(args, name) for name in names}
    for features in args.features:
        for model in args.models:
            where = f"{model}, {features}"
            if args.rerun or not record.has(where, settings):
                record.put(where, measure(model, features, args), settings=settings, started=_record.now())
    if "unwarp" in args.libraries and not args.quick and (args.rerun or not record.has("one pass", settings)):
        record.put("one pass", one_pass(args), settings=settings, started=_record.now())
    print(summary(record.cells()))


if __name__ == "__main__":
    main()
