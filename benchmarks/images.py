"""Every recipe for images on 8 x 8 digits and on MNIST: bits per dimension on held-out images after the same seconds.

    UNWARP_DATA=... python benchmarks/images.py --budget 60

Budgets are far below the papers'; their figures stand beside ours to show the distance, not to claim it. Digits come
with scikit-learn, MNIST is found under `UNWARP_DATA`. `--pictures FOLDER` draws samples, one row a recipe.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import _record
import _tables
import numpy as np
import torch
from torch import Tensor

DATA = ("digits", "mnist")
VALUES = {"digits": 17, "mnist": 256}

# (recipe, data) -> what differs from the defaults of the recipe and of the loop
OPTIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("flowpp", "mnist"): {"hidden": (32, 32)},
    ("glow", "mnist"): {"hidden": (32, 32)},
    ("jet", "digits"): {"patch": 2},
    ("jet", "mnist"): {"patch": 4},
    ("nsf_image", "mnist"): {"hidden": (32, 32)},
    ("realnvp_image", "mnist"): {"hidden": (32, 32)},
    ("residual_image", "digits"): {"lipschitz": 0.7},  # half the passes of 0.9: 0.15 bits better after 15 seconds
    ("residual_image", "mnist"): {"lipschitz": 0.7, "hidden": (32, 32)},
    ("tarflow", "digits"): {"patch": 2},
    ("tarflow", "mnist"): {"patch": 4},
}
SETTINGS: dict[tuple[str, str], dict[str, Any]] = {  # a batch of 512 would leave few steps in a budget of minutes
    (recipe, "mnist"): {"batch": 32} for recipe, name in OPTIONS if name == "mnist"
}
PUBLISHED = {"realnvp_image": 1.06, "glow": 1.05, "residual_image": 0.97}  # MNIST, bits per dimension, from the papers


def images(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Training, validation and test images of whole numbers, `(n, 1, height, width)`."""
    if name == "digits":
        from sklearn.datasets import load_digits

        x = np.random.default_rng(0).permutation(load_digits().images).astype(np.float32)[:, None]
        parts = np.split(x, [1_400, 1_550])
    else:
        stored = np.load(_tables.root() / "image_mnist" / "mnist.npz")
        parts = [stored[key].astype(np.float32).reshape(-1, 1, 28, 28) for key in ("x_train", "x_val", "x_test")]
    train, validation, test = (torch.from_numpy(np.ascontiguousarray(part)) for part in parts)
    return train, validation[:1_000], test[:1_000]


def independent(train: Tensor, test: Tensor, values: int) -> float:
    """Bits per dimension of one histogram a pixel, with one count added to each value."""
    first = values * torch.arange(train[0].numel())
    counts = torch.bincount((train.long().flatten(1) + first).flatten(), minlength=values * len(first)) + 1.0
    log_prob = (counts / (len(train) + values)).log2()
    return float(-log_prob[test.long().flatten(1) + first].mean())


def made(recipe: str, name: str, shape: tuple[int, ...]) -> Any:
    """The flow of a recipe for one of the data sets."""
    from unwarp import flows

    return flows.flow(recipe, shape, values=VALUES[name], **OPTIONS.get((recipe, name), {}))


def trained(recipe: str, name: str, seed: int, budget: float) -> tuple[Any, dict[str, Any]]:
    """The flow after `budget` seconds, and how it got there."""
    from unwarp import fit

    train, validation, _ = images(name)
    torch.manual_seed(seed)
    flow = made(recipe, name, tuple(train.shape[1:]))
    cpu = time.process_time()
    settings = {"max_seconds": budget, "baselines": ()} | SETTINGS.get((recipe, name), {})
    history = fit(flow, train, validation=(validation[:300],), seed=seed, **settings)
    return flow, {"seconds": time.process_time() - cpu, "steps": history.steps}


def scored(flow: Any, test: Tensor, draws: int) -> tuple[dict[str, Any], Tensor]:
    """Bits per dimension, how far images come back from latents (in whole values), what is not finite, and draws."""
    from unwarp.distributions import estimate

    with torch.no_grad():
        nats = torch.cat([estimate(flow, part, draws=draws).value for part in test.split(100)])
        drawn = flow.sample((64,))
        back = flow.transform.decode(flow.transform.encode(test[:100]))
    bits = -nats / test[0].numel() / np.log(2)
    finite = bits.isfinite()
    return {
        "bits": float(bits[finite].mean()),
        "bits_se": float(bits[finite].std() / finite.sum().sqrt()),
        "round_trip": float((back - test[:100]).abs().max()),
        "nonfinite": int((~finite).sum()) + sum(int((~x.isfinite()).sum()) for x in (drawn, back)),
    }, drawn


def measure(recipe: str, name: str, args: argparse.Namespace) -> tuple[dict[str, Any], Tensor]:
    """Train, score and draw."""
    train, _, test = images(name)
    flow, course = trained(recipe, name, args.seed, args.budget)
    figures, drawn = scored(flow, test[: args.test_rows], args.draws)
    return {
        **figures,
        **course,
        "independent": independent(train, test, VALUES[name]),
        "published": PUBLISHED.get(recipe) if name == "mnist" else None,
        "kind": flow.kind,
        "parameters": sum(p.numel() for p in flow.parameters() if p.requires_grad),
        "spec": flow.spec,
    }, drawn


def checked(recipe: str, name: str, args: argparse.Namespace) -> dict[str, Any]:
    """The worst of more seeds, trained for a shorter time."""
    test = images(name)[2][:100]
    seeds = range(args.seed + 1, args.seed + 1 + args.checks)
    found = [scored(trained(recipe, name, seed, args.check_budget)[0], test, 2)[0] for seed in seeds]
    return {
        "bits_by_seed": [each["bits"] for each in found],
        "round_trip": max(each["round_trip"] for each in found),
        "nonfinite": sum(each["nonfinite"] for each in found),
        "seeds": len(found),
    }


def grid(path: Path, rows: dict[str, Tensor]) -> None:
    """Sixteen samples of each recipe, one row each."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 0.62 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    for ax, (recipe, drawn) in zip(axes, rows.items(), strict=True):
        ax.imshow(torch.cat(list(drawn[:16, 0]), -1).numpy(), cmap="gray_r", vmin=0, vmax=float(drawn.quantile(0.999)))
        ax.set(xticks=[], yticks=[])
        ax.set_ylabel(recipe, rotation=0, ha="right", va="center", size=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def summary(cells: dict[str, dict[str, Any]], names: list[str]) -> str:
    """One line a recipe."""
    lines = []
    for recipe in sorted({key.split("/")[1] for key in cells}):
        own = [cells.get(f"{name}/{recipe}") for name in names]
        all_seeds = [*own, *(cells.get(f"{name}/{recipe}/more seeds") for name in names)]
        if any(own):
            last = next(cell for cell in reversed(own) if cell)
            lines.append([
                f"`{recipe}`",
                *["-" if c is None else f"{c['bits']:.2f} +- {c['bits_se']:.2f}" for c in own],
                "-" if last["published"] is None else f"{last['published']:.2f}",
                f"{last['parameters']:,}",
                last["kind"],
                f"{max((c['round_trip'] for c in all_seeds if c and 'round_trip' in c), default=0):g}",
                str(sum(c["nonfinite"] for c in all_seeds if c)),
            ])  # fmt: skip
    plain = [next((c["independent"] for k, c in cells.items() if k.startswith(f"{name}/")), None) for name in names]
    lines.append(["independent pixels", *["-" if v is None else f"{v:.2f}" for v in plain], "", "", "exact", "", ""])
    return _record.table(
        lines, ["recipe", *names, "published (MNIST)", "parameters", "kind", "round trip", "not finite"]
    )


def main() -> None:
    """Measure what is missing, draw samples, then print the table."""
    from unwarp import flows

    known = flows.names("images")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipes", nargs="+", default=known, choices=known)
    parser.add_argument("--data", nargs="+", default=list(DATA), choices=DATA)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of training")
    parser.add_argument("--checks", type=int, default=4, help="further seeds, to see whether all is finite")
    parser.add_argument("--check-budget", type=float, default=5.0, help="seconds of training for each of those")
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu", help="what the budget counts")
    parser.add_argument("--test-rows", type=int, default=300)
    parser.add_argument("--draws", type=int, default=8, help="of the noise, for bounds")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rerun", action="store_true", help="measure stored cells again")
    parser.add_argument("--pictures", type=Path, default=None, help="folder for samples of what is measured")
    parser.add_argument("--quick", action="store_true", help="seconds; tests use it")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    if args.quick:
        args.data, args.recipes, args.budget, args.test_rows = ["digits"], ["glow"], min(args.budget, 3.0), 20
        args.checks, args.check_budget = 1, 1.0
        args.out = args.out or _record.SCRATCH / "images-quick.json"
    _record.use_clock(args.clock)
    torch.set_num_threads(args.threads)
    record = _record.Record("images", threads=args.threads, path=args.out)
    settings = {name: getattr(args, name) for name in ("seed", "budget", "clock", "test_rows", "draws")}
    for name in args.data:
        rows: dict[str, Tensor] = {}
        for recipe in args.recipes:
            where = f"{name}/{recipe}"
            if args.rerun or not record.has(where, settings):
                started = _record.now()
                figures, rows[recipe] = measure(recipe, name, args)
                record.put(where, figures, settings=settings, started=started)
                print(f"{where}: {record.cells()[where]['bits']:.3f}", flush=True)
            more = settings | {"checks": args.checks, "check_budget": args.check_budget}
            if args.checks and (args.rerun or not record.has(f"{where}/more seeds", more)):
                started = _record.now()
                record.put(f"{where}/more seeds", checked(recipe, name, args), settings=more, started=started)
        if rows and args.pictures is not None:
            grid(args.pictures / f"{name}.png", rows)
    print(summary(record.cells(), args.data))


if __name__ == "__main__":
    main()
