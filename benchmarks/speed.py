"""Seconds of a training step, log_prob and samples: unwarp against its peers in PyTorch and JAX, by turns in one run.

    python benchmarks/speed.py                                          # the rows that matter most, in 25 minutes
    python benchmarks/speed.py --models naf bnaf cnf glow --batch 64    # others; --features 2 8 64 512, --threads 1 2
    python benchmarks/speed.py --show                                   # the tables of what is stored, nothing measured
    python benchmarks/speed.py --show --page docs/speed.md --picture docs/images/speed.png

Every round times every library once (A B C A B C ...) while the others sleep, so drifts of the machine meet all alike;
ratios to unwarp are taken inside a round. Processor time and wall time are both kept, with quartiles
over the rounds. The machine's own limits are measured beside every row. A row is one cell of the results: what is
stored is skipped, so a run may be cut into rows and resumed.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import Any

import _record
import _speed_page
import numpy as np
from _turns import SLOW, Worker

MODELS = ("realnvp", "maf", "nsf coupling", "nsf autoregressive", "naf", "bnaf", "cnf", "glow")
FIRST = ("realnvp", "maf", "nsf coupling", "nsf autoregressive")
TASKS = ("train", "log_prob", "sample", "sample_and_log_prob")
TORCH = ("unwarp", "unwarp fit", "unwarp compiled", "zuko", "nflows", "normflows", "torchflows", "FrEIA")
JAX = ("FlowJAX", "distrax")
STEPS = ("unwarp fit", "unwarp compiled")  # these differ in training alone
COLOURS = 3  # of images


class Bench:
    """The workers of one number of threads.

    Args:
        threads: Of each worker.
        libraries: Which take part.
        jax: The interpreter with the peers in JAX.
    """

    def __init__(self, threads: int, libraries: list[str], jax: Path) -> None:
        self.libraries = libraries
        torch_side = [name for name in libraries if name in TORCH]
        jax_side = [name for name in libraries if name in JAX]
        self.missing = {} if jax.exists() or not jax_side else dict.fromkeys(jax_side, f"no {jax}")
        self.workers: dict[str, Worker] = {}
        self.fresh: dict[str, Worker] = {}  # these never compute: memory is measured in their forks
        for side, python, module in ((torch_side, sys.executable, "_peers_torch"), (jax_side, str(jax), "_peers_jax")):
            if side and side[0] not in self.missing:
                worker, fresh = (Worker(python, module, threads) for _ in range(2))
                self.workers |= dict.fromkeys(side, worker)
                self.fresh |= dict.fromkeys(side, fresh)

    def close(self) -> None:
        """Let the workers end."""
        for worker in {id(w): w for w in [*self.workers.values(), *self.fresh.values()]}.values():
            worker.close()

    def row(self, model: str, size: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
        """All figures of one model at one size."""
        cells: dict[str, dict[str, Any]] = {name: {"empty": why} for name, why in self.missing.items()}
        for name, worker in self.workers.items():
            answer = worker.ask("build", library=name, model=model, size=size)
            cells[name] = {"empty": answer["error"]} if "error" in answer else answer
        present = [name for name in self.libraries if "empty" not in cells[name]]
        limits = [self._limits()]
        for task in TASKS:
            self._task(task, [name for name in present if task == "train" or name not in STEPS], cells, args)
        limits.append(self._limits())
        for name in [name for name in present if name != "unwarp compiled"] if args.memory else ():
            answer = self.fresh[name].ask("memory", library=name, model=model, size=size)
            cells[name]["memory"] = answer.get("mib", answer.get("error"))
        for worker in {id(w): w for w in self.workers.values()}.values():
            worker.ask("clear")
        return {"libraries": cells, "limits": _best(limits)}

    def _limits(self) -> dict[str, float]:
        worker = self.workers.get("unwarp")
        return {} if worker is None else worker.ask("limits", seconds=0.1)

    def _task(self, task: str, present: list[str], cells: dict[str, dict[str, Any]], args: argparse.Namespace) -> None:
        """Time one task of all libraries, round by round."""
        repeats: dict[str, int] = {}
        slow: set[str] = set()  # two rounds do for these
        for name in present:
            warm = self.workers[name].ask("warm", library=name, task=task)
            if "error" in warm:
                cells[name][task] = {"empty": warm["error"]}
                continue
            if warm["then"] > args.longest:
                cells[name][task] = {"empty": f"a call takes {warm['then']:.0f} s"}
                continue
            repeats[name] = max(1, int(args.slice / warm["then"]))
            cells[name][task] = {"first": warm["first"]}
            slow |= {name} if warm["then"] > SLOW else set()
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in repeats}
        for i in range(args.rounds):
            for name, times in repeats.items():
                if i < 2 or name not in slow:
                    answer = self.workers[name].ask("run", library=name, task=task, times=times)
                    seconds[name].append((answer["cpu"], answer["wall"]))
        for name, pairs in seconds.items():
            cells[name][task] |= {"cpu": spread([p[0] for p in pairs]), "wall": spread([p[1] for p in pairs])}
            if name in TORCH and name not in slow:
                asked = self.workers[name].ask("work", library=name, task=task)
                cells[name][task] |= {} if "error" in asked else asked
            if "unwarp" in seconds and name != "unwarp":
                both = list(zip(pairs, seconds["unwarp"], strict=False))
                for clock, k in (("cpu", 0), ("wall", 1)):
                    cells[name][task][f"{clock}_ratio"] = spread([p[k] / ours[k] for p, ours in both])


def spread(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": median, "low": low, "high": high}


def _best(limits: list[dict[str, float]]) -> dict[str, float]:
    """The better of two measurements: the machine can do that."""
    better = {"dispatch": min}
    found = [one for one in limits if "gemm" in one]
    return {name: better.get(name, max)(one[name] for one in found) for name in (found[0] if found else ())}


def starting(rounds: int) -> dict[str, Any]:
    """Seconds of a fresh process that imports torch, or unwarp's main names too, or runs ``unwarp --help``.

    Modules are kept compiled, as an installed package's are.
    """
    import os
    import subprocess

    programs = {
        "torch": ["-c", "import torch"],
        "unwarp": ["-c", "import torch, unwarp; unwarp.flow, unwarp.fit"],
        "FlowDensity": ["-c", "import torch, unwarp; unwarp.FlowDensity"],
        "help": ["-m", "unwarp", "--help"],
    }
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for i in range(rounds + 1):
        for name, words in programs.items():
            before, start = os.times(), time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, capture_output=True, env=environment)  # noqa: S603
            wall, after = time.perf_counter() - start, os.times()
            cpu = after.children_user + after.children_system - before.children_user - before.children_system
            if i:
                taken[name].append((cpu, wall))
    cells: dict[str, Any] = {
        name: {"cpu": spread([p[0] for p in pairs]), "wall": spread([p[1] for p in pairs])}
        for name, pairs in taken.items()
    }
    for name in ("unwarp", "FlowDensity"):
        beyond = [(p[0] - t[0], p[1] - t[1]) for p, t in zip(taken[name], taken["torch"], strict=True)]
        cells[f"{name} beyond torch"] = {"cpu": spread([p[0] for p in beyond]), "wall": spread([p[1] for p in beyond])}
    return {"starting": cells, "bars": {"unwarp beyond torch": 0.3, "help": 0.4}}


def rows(args: argparse.Namespace) -> list[tuple[str, int, int, int]]:
    """Model, features, batch and threads of every row that is asked for, the most telling first."""
    found = []
    for threads in args.threads:
        for batch in args.batch:
            for features in args.features:
                models = [model for model in args.models if model != "glow" and (features < 512 or model == "maf")]
                found += [(model, features, batch, threads) for model in models]
            if "glow" in args.models:
                found += [("glow", COLOURS * side**2, batch, threads) for side in args.sides]
    return found


def parsed() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=list(FIRST), choices=MODELS)
    parser.add_argument("--features", nargs="+", type=int, default=[8, 64], help="2, 8, 64, and 512 for maf alone")
    parser.add_argument("--sides", nargs="+", type=int, default=[16], help="of glow's images, in pixels")
    parser.add_argument("--batch", nargs="+", type=int, default=[512, 64])
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--libraries", nargs="+", default=[*TORCH, *JAX], choices=[*TORCH, *JAX])
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--bins", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--slice", type=float, default=0.1, help="seconds of one library's turn in a round, about")
    parser.add_argument("--longest", type=float, default=20.0, help="seconds of a call, above which it is left out")
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True, help="peak memory of training")
    parser.add_argument("--jax", type=Path, default=_record.ROOT / ".venv-bench-jax" / "bin" / "python")
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu", help="what the tables show")
    parser.add_argument("--rerun", action="store_true", help="measure stored rows again")
    parser.add_argument("--show", action="store_true", help="measure nothing")
    parser.add_argument("--page", type=Path, help="also put the tables between the marks of this page")
    parser.add_argument("--picture", type=Path, help="also draw what is stored")
    parser.add_argument("--quick", action="store_true", help="seconds on small flows; tests use it")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    if args.quick:
        args.models, args.features, args.batch, args.hidden, args.layers = ["maf", "nsf coupling"], [4], [64], 16, 2
        args.rounds, args.slice = 2, 0.01
        args.out = args.out or _record.SCRATCH / "speed-quick.json"
    return args


def main() -> None:
    """Time every row that is not stored, then print the tables."""
    args = parsed()
    stored = _record.Record("speed", threads=1, path=args.out)
    settings = {name: getattr(args, name) for name in ("layers", "hidden", "bins", "rounds", "libraries")}
    bench: tuple[int, Bench] | None = None
    for model, features, batch, threads in () if args.show else rows(args):
        record = _record.Record("speed", threads=threads, path=args.out)
        where = f"{model}, {features} features, batch {batch}, {threads} thread{'s' * (threads > 1)}"
        if record.has(where, settings) and not args.rerun:
            continue
        if bench is None or bench[0] != threads:
            if bench is not None:
                bench[1].close()
            bench = threads, Bench(threads, args.libraries, args.jax)
        started, begun = _record.now(), time.perf_counter()
        side = math.isqrt(features // COLOURS)
        event = [COLOURS, side, side] if model == "glow" else [features]
        size = {"event": event, "batch": batch, "layers": args.layers, "hidden": args.hidden, "bins": args.bins}
        figures = bench[1].row(model, size, args)
        figures["row"] = {"model": model, "features": features, "batch": batch, "threads": threads}
        record.put(where, figures, settings=settings, started=started)
        print(f"{where}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    if bench is not None:
        bench[1].close()
    measured = args.show or args.quick or (stored.has("starting", {}) and not args.rerun)
    if not measured and "unwarp" in args.libraries:
        stored.put("starting", starting(args.rounds), settings={}, started=_record.now())
    text = _speed_page.page(stored.cells(), clock=args.clock)
    print(text)
    if args.page is not None:
        _speed_page.put(text, args.page)
    if args.picture is not None:
        _speed_page.draw(stored.cells(), args.picture, clock=args.clock)


if __name__ == "__main__":
    main()
