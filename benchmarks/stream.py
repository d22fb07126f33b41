"""Does scoring a table larger than memory stay flat, and does a run that is killed lose or double a row?

A Parquet file of random rows is scored by the command line into a folder of parts; the run is ended by SIGKILL, begun
again, and verified against the table. Memory is the peak of the process beside that of one that only imports torch.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _record
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS, CHUNK = 8, 1_000_000


def rows(chunk: int, count: int) -> pa.Table:
    """Rows of a chunk: bent, skewed and correlated columns."""
    z = np.random.default_rng([7, chunk]).normal(size=(count, COLUMNS))
    z[:, 1::2] += 0.5 * z[:, ::2] ** 2
    z[:, 2] += 0.8 * z[:, 0]
    return pa.table({f"x{i}": np.exp(z[:, i]) if i == 5 else z[:, i] for i in range(COLUMNS)})


def make_table(path: Path, count: int, group: int) -> None:
    """The table, written a chunk at a time."""
    with pq.ParquetWriter(path, rows(0, 1).schema) as writer:
        for start in range(0, count, CHUNK):
            writer.write_table(rows(start // CHUNK, min(CHUNK, count - start)), row_group_size=group)


def make_model(data: Path, path: Path, args: argparse.Namespace) -> None:
    """A flow of the recipe, fitted for a few steps to a uniform sample: how well is not the question here."""
    from unwarp import FlowDensity
    from unwarp.data import TableFile

    sample = TableFile(data).sample(min(args.rows, 50_000), seed=0)
    FlowDensity(args.recipe, max_steps=args.steps, random_state=0).fit(sample).save(path)


def peak(process: subprocess.Popen[str], until: Callable[[], bool] = lambda: False) -> tuple[float, float]:
    """Wait for a process, or kill it once `until` says so; its peak of resident memory in MiB and processor seconds."""
    highest, ticks, status = 0, 0, Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        with contextlib.suppress(OSError):
            found = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
            highest = max([highest, *(int(line.split()[1]) for line in found)])
            times = status.with_name("stat").read_text().rpartition(")")[2].split()[11:13]
            ticks = max(ticks, sum(map(int, times)))
        if until():
            process.send_signal(signal.SIGKILL)
            process.wait()
        time.sleep(0.05)
    return highest / 1024, ticks / os.sysconf("SC_CLK_TCK")


def started(*words: str | Path, threads: int) -> subprocess.Popen[str]:
    """A Python process; what it prints is kept."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, *map(str, words)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)  # noqa: S603


def measure(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """One run that is killed, one that goes on, and the proof."""
    data, model, parts = folder / "table.parquet", folder / "model.safetensors", folder / "scores"
    make_table(data, args.rows, args.group)
    make_model(data, model, args)
    torch, _ = peak(started("-c", "import torch; torch.randn(512, 512) @ torch.randn(512, 512)", threads=args.threads))
    options = ["--part", str(args.part), "--json", *(["--float32"] if args.precision == "float32" else [])]
    words = ["-m", "unwarp", "score", data, "-m", model, "-o", parts, *options]
    wanted = max(1, round(args.killed * -(-args.rows // args.part)))

    def enough() -> bool:
        return len(list(parts.glob("_part-*.json"))) >= wanted

    first = started(*words, threads=args.threads)
    first_peak, _ = peak(first, enough)
    assert first.returncode == -signal.SIGKILL, "the first run ended before it was killed"
    kept = {path: path.stat().st_mtime_ns for path in parts.glob("_part-*.json")}
    begun = time.perf_counter()
    second = started(*words, threads=args.threads)
    second_peak, processor = peak(second)
    seconds = time.perf_counter() - begun
    told = json.loads(second.communicate()[0])
    begun = time.perf_counter()
    proof = started("-m", "unwarp", "verify", parts, "--data", data, "--json", threads=args.threads)
    proof_peak, _ = peak(proof)
    verified = json.loads(proof.communicate()[0])
    now = args.rows - sum(json.loads(path.read_text())["rows"] for path in kept)
    return {
        "file_mib": data.stat().st_size / 2**20,
        "parts": told["parts"],
        "parts_before_kill": told["found"],
        "parts_after": told["written"],
        "old_parts_untouched": all(path.stat().st_mtime_ns == when for path, when in kept.items()),
        "rows_scored": told["rows"],
        "rows_in_folder": pq.read_table(parts).num_rows,
        "complete": verified["complete"] and proof.returncode == 0,
        "differences": differences(data, model, parts, args),
        "rows_per_second": now / seconds,
        "rows_per_processor_second": now / processor,
        "seconds_after_kill": seconds,
        "verify_seconds": time.perf_counter() - begun,
        "torch_mib": torch,
        "beyond_torch_mib": {
            "killed": first_peak - torch, "resumed": second_peak - torch, "verify": proof_peak - torch,
        },
        "float32_error": told.get("float32_error"),
    }  # fmt: skip


def differences(data: Path, model: Path, parts: Path, args: argparse.Namespace) -> float:
    """The largest difference in nats from scores in float64, over some rows throughout the table."""
    from unwarp import FlowDensity
    from unwarp.data import TableFile

    starts = np.linspace(0, args.rows - 100, 50).astype(int)
    scores = pq.read_table(parts)["log_prob"].to_numpy()
    tables = TableFile(data).batches([(int(start), int(start) + 100) for start in starts])
    estimator, worst = FlowDensity.load(model), 0.0
    for start, table in zip(starts, tables, strict=True):
        worst = max(worst, float(np.abs(estimator.score_samples(table) - scores[start : start + 100]).max()))
    return worst


def main() -> None:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--group", type=int, default=1_000_000, help="rows of a row group")
    parser.add_argument("--part", type=int, default=262_144)
    parser.add_argument("--recipe", default="nsf")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--precision", choices=("float64", "float32"), default="float32")
    parser.add_argument("--killed", type=float, default=0.1, help="share of the parts after which the run is killed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="seconds; tests use it")
    parser.add_argument("--rerun", action="store_true")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    if args.quick:
        args.rows, args.group, args.part, args.recipe, args.steps = 40_000, 7_000, 500, "nice", 5
        args.out = args.out or _record.SCRATCH / "stream-quick.json"
    record = _record.Record("stream", threads=args.threads, path=args.out)
    names = ("group", "part", "recipe", "steps", "precision", "killed", "threads")
    settings = {name: getattr(args, name) for name in names}
    key = f"{args.rows} rows of {COLUMNS} columns"
    if args.rerun or not record.has(key, settings):
        folder = _record.SCRATCH / "stream"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        begun = _record.now()
        record.put(key, measure(folder, args), settings=settings, started=begun)
        shutil.rmtree(folder)
    lines = []
    for name, cell in record.cells().items():
        lost = cell["complete"] and cell["rows_in_folder"] == cell["rows_scored"]
        beyond = max(cell["beyond_torch_mib"].values())
        lines.append(
            [
                name,
                f"{cell['rows_per_second']:,.0f}",
                f"{cell['rows_per_processor_second']:,.0f}",
                f"{beyond:,.0f}",
                "no" if lost else "yes",
            ]
        )
    print(_record.table(lines, ["table", "rows/s", "rows/processor s", "MiB beyond torch", "lost or doubled"]))


if __name__ == "__main__":
    main()
