"""Results on disk: one JSON a benchmark, with the machine, versions, commit and settings that made each cell."""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import math
import os
import platform
import shutil
import subprocess
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SCRATCH = ROOT / "build" / "bench"
PACKAGES = ("torch", "numpy", "scikit-learn", "unwarp", "zuko", "nflows")


def machine(*, threads: int) -> dict[str, Any]:
    """The processor's model, its cores, the threads in use, memory and operating system."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_gib": round(memory, 1),
        "system": f"{platform.system()} {platform.release()}",
        "isa": torch.backends.cpu.get_cpu_capability(),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages whose figures are reported (absent ones are left out)."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The commit of the checkout, with ``+`` if the library's sources differ from it; ``unknown`` outside git."""

    def git(*words: str) -> str:
        command = ["git", *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "src") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Record:
    """The cells of one benchmark, merged into its own JSON one at a time, so a run that stops can go on later.

    Args:
        benchmark: The name, which is also the file's: ``results/{benchmark}.json``.
        threads: Threads that torch uses.
        path: Another file to write instead.
    """

    def __init__(self, benchmark: str, *, threads: int, path: Path | None = None) -> None:
        self.benchmark = benchmark
        self.threads = threads
        self.path = path or RESULTS / f"{benchmark}.json"
        self.started = now()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.read()

    def read(self) -> dict[str, Any]:
        """All that is stored: ``{"benchmark": ..., "cells": {...}, ...}``."""
        if not self.path.exists():
            return {"benchmark": self.benchmark, "cells": {}}
        stored = json.loads(self.path.read_text())
        if stored.get("benchmark") != self.benchmark:
            holds = stored.get("benchmark")
            raise SystemExit(f"{self.path}: holds {holds!r}, not {self.benchmark!r}. Choose another --out.")
        return stored

    def cells(self) -> dict[str, dict[str, Any]]:
        """The stored cells by key."""
        return self.read()["cells"]

    def has(self, key: str, settings: dict[str, Any]) -> bool:
        """Whether this cell was already measured with these settings."""
        cell = self.cells().get(key)
        return cell is not None and cell["settings"] == settings

    def put(self, key: str, figures: dict[str, Any], *, settings: dict[str, Any], started: str | None = None) -> None:
        """Store one cell: its figures beside the settings, commit, versions, machine and start time that made them."""
        made = {
            "settings": settings,
            "commit": commit(),
            "started": started or self.started,
            "machine": machine(threads=self.threads),
            "versions": versions(),
        }
        with self._locked() as stored:
            stored["cells"][key] = {**figures, **made}

    def note(self, **notes: Any) -> None:
        """Store figures about the whole benchmark beside its cells."""
        with self._locked() as stored:
            stored.update(notes)

    @contextmanager
    def _locked(self) -> Iterator[dict[str, Any]]:
        SCRATCH.mkdir(parents=True, exist_ok=True)
        with (SCRATCH / f"{self.path.stem}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            stored = self.read()
            yield stored
            stored["cells"] = dict(sorted(stored["cells"].items()))
            text = json.dumps(_plain(stored), indent=1, allow_nan=False) + "\n"
            temporary = SCRATCH / f"{self.path.stem}.tmp"
            temporary.write_text(text)
            shutil.move(temporary, self.path)


def _plain(value: Any) -> Any:
    """JSON-ready: floats to 6 significant digits, non-finite ones to their names."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.generic, torch.Tensor)):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    return value


class Clock:
    """Seconds since it was made, by the wall or by this process's own processor time.

    On one thread of an idle machine both agree; on a busy one only processor time gives every contestant the same work.
    """

    def __init__(self, kind: str) -> None:
        self.read = time.process_time if kind == "cpu" else time.perf_counter
        self.start = self.read()

    def __call__(self) -> float:
        return self.read() - self.start


def use_clock(kind: str) -> None:
    """Let every budget in this process run on processor time; call it before the library under test is imported."""
    if kind == "cpu":
        time.perf_counter = time.process_time
        time.monotonic = time.process_time
        time.time = time.process_time


def table(rows: list[list[str]], header: list[str]) -> str:
    """Aligned columns for a terminal or a Markdown page."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [header, *rows]]
    return "\n".join(f"| {line} |" for line in [lines[0], " | ".join("-" * width for width in widths), *lines[1:]])
