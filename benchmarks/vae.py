"""Variational autoencoders of MNIST with flows as prior and as posterior, by the importance-weighted bound.

    python benchmarks/vae.py                             # some five minutes of one processor for each of 15 models
    python benchmarks/vae.py --rows gaussian/iaf --seeds 2   # one of them
    python benchmarks/vae.py --pictures docs/images      # and samples and reconstructions of the first seed

The model is that of `examples/vae.py`; encoder, decoder, steps and rate are the same for all variants, and so are the
first weights and the random numbers of a seed, for every flow starts as the identity. Pixels are
binary, drawn anew from the grey in training and once for the test images. Cells are stored one at a time; models are
kept under `build/bench/vae`, so pictures need no training again.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import _record
import numpy as np
import torch

PLAIN = "gaussian/mean-field"
ROWS = [PLAIN, "realnvp/mean-field", "gaussian/planar", "gaussian/iaf", "gaussian/spline"]  # prior/posterior
DRAWN = [PLAIN, "realnvp/mean-field", "gaussian/spline"]
SETTINGS = {"batch": 64, "lr": 2e-3, "hidden": 256, "binarised": 0}


def example() -> Any:
    """`examples/vae.py`."""
    spec = importlib.util.spec_from_file_location("example_vae", _record.ROOT / "examples" / "vae.py")
    if spec is None or spec.loader is None:
        raise SystemExit("vae: expected examples/vae.py beside benchmarks/; got none. Run it from a checkout.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for the module's names
    spec.loader.exec_module(module)
    return module


def measure(vae: Any, settings: dict[str, Any], row: str, seed: int, path: Path) -> dict[str, Any]:
    """Train one model, keep it, and bound what it says of the test images."""
    train, test = vae.images(settings["data"], binarised=settings["binarised"])
    prior, posterior = row.split("/")
    options = vae.Options(train.shape[1], settings["latent"], posterior, prior, settings["hidden"])
    began = time.process_time()
    how = {name: settings[name] for name in ("steps", "batch", "lr")}
    model = vae.trained(options, train, seed=seed, **how)
    seconds = time.process_time() - began
    path.parent.mkdir(parents=True, exist_ok=True)
    vae.save(model, path)
    test = test[: settings["test_rows"]]
    lower, weighted = vae.bounds(model, test, draws=settings["draws"], seed=1)
    error = math.sqrt(len(test))
    return {
        "elbo": float(lower.mean()),
        "elbo_se": float(lower.std()) / error,
        "bound": float(weighted.mean()),
        "bound_se": float(weighted.std()) / error,
        "train_seconds": seconds,
        "all_seconds": time.process_time() - began,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def pictures(vae: Any, folder: Path, models: Path, data: str) -> None:
    """Samples of models of the first seed, two lines each, and test images through codes and back, one line each."""
    _, test = vae.images(data)
    drawn, back = [], [test[:20]]
    for name in DRAWN:
        model = vae.load(stored(models, name, 0))
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            drawn.append(vae.tiled(model.means((40,), generator=generator), 20))
            back.append(model.reconstructions(test[:20], generator=generator))
    between = np.zeros((6, drawn[0].shape[1]))
    folder.mkdir(parents=True, exist_ok=True)
    vae.draw(np.concatenate([part for each in drawn for part in (each, between)][:-1]), folder / "vae-samples.png")
    vae.draw(vae.tiled(torch.cat(back), 20), folder / "vae-reconstructions.png")


def stored(models: Path, row: str, seed: int) -> Path:
    """Where a trained model is kept."""
    return models / f"{row.replace('/', '-')}-{seed}.safetensors"


def spread(values: list[float]) -> str:
    """Mean and standard error over seeds."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{statistics.mean(values):.2f} +- {error:.2f}"


def summary(cells: dict[str, dict[str, Any]]) -> str:
    """One line a variant; gains are over the mean-field model with the same seed and steps."""
    lines = []
    for row in ROWS:
        own = {key.split("/")[-1]: cell for key, cell in cells.items() if key.startswith(f"{row}/")}
        if not own:
            continue
        plain = row == PLAIN
        first = {seed: cells.get(f"{PLAIN}/{seed}") for seed in own}
        gains = [own[seed]["bound"] - cell["bound"] for seed, cell in first.items() if cell is not None]
        lines.append([
            *row.split("/"),
            str(next(iter(own.values()))["settings"]["steps"]),
            spread([cell["elbo"] for cell in own.values()]),
            spread([cell["bound"] for cell in own.values()]),
            "" if plain or not gains else spread(gains),
            "" if plain else f"{sum(gain > 0 for gain in gains)} of {len(gains)}",
            f"{max(cell['bound_se'] for cell in own.values()):.2f}",
            f"{statistics.mean(cell['train_seconds'] for cell in own.values()):.0f}",
        ])  # fmt: skip
    header = ["prior", "posterior", "steps", "ELBO", "weighted bound", "gain", "better", "images' s.e.", "processor s"]
    return _record.table(lines, header)


def main() -> None:
    """Measure what is missing, draw if asked, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--latent", type=int, default=16, help="numbers of a code")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--rows", nargs="+", default=ROWS, choices=ROWS, help="prior/posterior")
    parser.add_argument("--draws", type=int, default=200, help="K of the importance-weighted bound")
    parser.add_argument("--test-rows", type=int, default=1_000)
    parser.add_argument("--pictures", type=Path, default=None, help="folder for samples and reconstructions")
    parser.add_argument("--rerun", action="store_true", help="measure stored cells again")
    parser.add_argument("--quick", action="store_true", help="digits and few steps, in seconds; tests use it")
    parser.add_argument("--out", type=Path, default=None)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    chosen = {name: getattr(asked, name) for name in ("latent", "steps", "draws", "test_rows")}
    settings = {"data": "mnist", **chosen, **SETTINGS}
    if asked.quick:
        settings |= {"data": "digits", "steps": 20, "draws": 8, "test_rows": 40, "hidden": 32}
        asked.seeds, asked.out = asked.seeds[:1], asked.out or _record.SCRATCH / "vae-quick.json"
    vae, models = example(), _record.SCRATCH / ("vae-quick" if asked.quick else "vae")
    record = _record.Record("vae", threads=1, path=asked.out)
    for row in asked.rows:
        for seed in asked.seeds:
            where = f"{row}/{seed}"
            if asked.rerun or not record.has(where, settings):
                started = _record.now()
                figures = measure(vae, settings, row, seed, stored(models, row, seed))
                record.put(where, figures, settings=settings, started=started)
                print(f"{where}: {record.cells()[where]['bound']:.3f}", flush=True)
    if asked.pictures is not None:
        pictures(vae, asked.pictures, models, settings["data"])
    print(summary(record.cells()))


if __name__ == "__main__":
    main()
