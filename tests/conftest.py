"""What holds for every test: small steps for hypothesis, one thread, and torch's global state as it was."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "fast", max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
settings.load_profile("fast")
torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin by ignoring it


def _world() -> dict[str, object]:
    return {
        "default dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "gradient mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "anomaly mode": torch.is_anomaly_enabled(),
        "matmul precision": torch.get_float32_matmul_precision(),
    }


@pytest.fixture(autouse=True)
def _global_state_stays() -> Iterator[None]:
    """A test that leaves torch's global state changed has failed."""
    before = _world()
    yield
    after = _world()
    changed = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
    assert not changed


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many laws were held over how many rows of the zoo."""
    held = [report.nodeid for report in terminalreporter.stats.get("passed", []) if "::test_law[" in report.nodeid]
    if held:
        pairs = [name.split("::test_law[", 1)[1].removesuffix("]").split("[", 1) for name in held]
        laws, rows = {law for law, _ in pairs}, {row for _, row in pairs}
        terminalreporter.write_line(f"{len(held):,} laws held: {len(laws)} laws over {len(rows)} rows of the zoo")
