"""Processes that take turns: each holds the flows of one environment and runs them when it is asked to.

The driver starts one `Worker` for each environment. Requests and answers are lines of JSON; between two requests a
worker sleeps, so whatever is measured has its processors to itself. Run as a script, this file is the worker:

    python benchmarks/_turns.py MODULE THREADS
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, TextIO

FOLDER = Path(__file__).resolve().parent
SLOW = 2.0  # seconds of a call that is not made more often than it must


class Absent(Exception):  # noqa: N818
    """A library that has no such model, and why its cell stays empty."""


class Worker:
    """The driver's end of a worker.

    Args:
        python: The interpreter of the environment.
        module: The module of this folder that builds flows there.
        threads: Threads that it may use, each on a processor of its own.
    """

    def __init__(self, python: str, module: str, threads: int) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
        environment["OMP_WAIT_POLICY"] = "passive"
        command = [python, str(FOLDER / "_turns.py"), module, str(threads)]
        self.process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, what: str, **details: Any) -> dict[str, Any]:
        """The worker's answer; ``{"error": ...}`` where it could not do what was asked."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"do": what, **details}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        return json.loads(line) if line else {"error": f"the process ended with {self.process.wait()}"}

    def close(self) -> None:
        """Let the worker end."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait(timeout=60)


class _Service:
    """The worker's end: what can be asked for is a method."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.built: dict[str, Any] = {}

    def build(self, library: str, model: str, size: dict[str, Any]) -> dict[str, Any]:
        """Make a library's flow, which stays until the next `clear`."""
        flow = self.module.build(library, model, size)
        self.built[library] = flow
        return {"parameters": flow.parameters, "note": flow.note, "version": flow.version}

    def clear(self) -> dict[str, Any]:
        """Forget all flows."""
        self.built.clear()
        self.module.clear()
        gc.collect()
        return {}

    def warm(self, library: str, task: str) -> dict[str, Any]:
        """Seconds of the first call, with whatever is compiled in it, and of the next ones."""
        compiles = self.module.COMPILES or (task == "train" and library.endswith("compiled"))
        first = then = self.run(library, task, 1)["wall"]
        for _ in range(2):
            if then < SLOW or (compiles and then == first):
                then = self.run(library, task, 1)["wall"]
        return {"first": first, "then": then}

    def run(self, library: str, task: str, times: int) -> dict[str, Any]:
        """Seconds a call, by the wall and of this process's processors."""
        flow = self.built[library]
        call = getattr(flow, task)
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(times):
            call()
        return {"wall": (time.perf_counter() - wall) / times, "cpu": (time.process_time() - cpu) / times}

    def work(self, library: str, task: str) -> dict[str, Any]:
        """Floating-point operations of the matrix products of a call, and how many operations it starts."""
        return self.module.work(getattr(self.built[library], task))

    def memory(self, library: str, model: str, size: dict[str, Any]) -> dict[str, Any]:
        """MiB that a training step needs beyond what is there before and after it, in a fork without a past."""
        self.module.preload(library)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                flow = self.module.build(library, model, size)
                flow.train()  # compiles, and makes the optimiser's state
                before = _forget_peak()
                flow.train()
                flow.train()
                answer = {"mib": (_status("VmHWM") - before) / 1024}
            except BaseException as error:  # noqa: BLE001
                answer = {"error": _reason(error)}
            os.write(writer, json.dumps(answer).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as answers:
            line = answers.read()
        _, status = os.waitpid(child, 0)
        return json.loads(line) if line else {"error": f"the process ended with {status}"}

    def limits(self, seconds: float) -> dict[str, Any]:
        """What the machine can do."""
        return self.module.limits(seconds)


def _forget_peak() -> int:
    """Resident KiB once freed memory is given back; the peak begins anew."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def _reason(error: BaseException) -> str:
    text = next(iter(str(error).strip().splitlines()), "")[:200]
    return text if isinstance(error, Absent) else f"{type(error).__name__}: {text}"


def version(package: str) -> str:
    """The version of an installed package."""
    return importlib.metadata.version(package)


def _serve(answers: TextIO) -> None:
    module, threads = sys.argv[1], int(sys.argv[2])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    sys.path.insert(0, str(FOLDER))
    service = _Service(importlib.import_module(module))
    service.module.start(threads)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(service, request.pop("do"))(**request)
        except KeyboardInterrupt:
            return
        except BaseException as error:  # noqa: BLE001 - a peer may raise anything; its cell says what
            answer = {"error": _reason(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    sys.modules["_turns"] = sys.modules["__main__"]
    private = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes elsewhere
    _serve(private)
