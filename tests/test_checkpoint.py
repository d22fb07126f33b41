"""Checkpoints: a killed run goes on as if nothing had happened, and no other run takes its place."""

import dataclasses
import json
import math
import multiprocessing
import random
import signal
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from unwarp.distributions import Flow, Normal
from unwarp.errors import BundleError
from unwarp.networks import MLP
from unwarp.training import fit, likelihood, steps
from unwarp.training._checkpoint import read_checkpoint, write_checkpoint
from unwarp.transforms import ActNorm, Compose, Coupling, Standardize
from unwarp.univariates import Affine


class Forgetful(nn.Module):
    """A conditioner with dropout, so that a run's draws count too."""

    def __init__(self) -> None:
        super().__init__()
        self.net = MLP(1, 2, hidden=(16,))

    def forward(self, x, context=None):
        return self.net(nn.functional.dropout(x, 0.1, self.training), context)


def model() -> Flow:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        parts = [Standardize(2), ActNorm(2), Coupling(2, Affine(), Forgetful())]
    return Flow(Compose(parts), Normal(2))


def data() -> torch.Tensor:
    x = torch.randn(600, 2, generator=torch.Generator().manual_seed(0))
    return torch.stack([3 * x[:, 0] + 5, x[:, 0].square() + 0.3 * x[:, 1]], -1)


def stumble(flow, x, context=None, weight=None):
    """The likelihood, of which some batches are beyond repair: for a guard and roll-backs to remember."""
    value = likelihood(flow, x, context, weight)
    return value * torch.where((x[:, 0] > 14).any() & torch.tensor(flow.training), torch.nan, 1.0)


def run(path: Path | None, objective=likelihood, max_steps: int = 160, progress=None):
    torch.set_num_threads(1)
    flow = model()
    history = fit(
        flow,
        data(),
        objective,
        max_steps=max_steps,
        batch=64,
        lr=0.02,
        seed=7,
        checkpoint=path,
        checkpoint_seconds=1e-9,
        baselines=(),
        progress=progress,
    )
    return flow, history


def killable(path: Path, objective, done: Path) -> None:
    """Run to the end, pausing at each event, so that a kill comes before the end on any machine."""
    flow, history = run(path, objective, progress=lambda _: time.sleep(0.05))
    safetensors.torch.save_file({name: t.contiguous() for name, t in flow.state_dict().items()}, done)
    done.with_suffix(".json").write_text(json.dumps(history.to_json()))


def plain(history) -> dict:
    return json.loads(json.dumps(dataclasses.replace(history, seconds=0.0).to_json()))


def survive(kills: int, folder: Path, objective, rng: random.Random) -> tuple[int, dict, dict]:
    """Run in processes killed by SIGKILL at random moments; the kills that hit, the weights and the account."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["torch", "torch._dynamo", "unwarp.training"])
    path, done = folder / "run.safetensors", folder / "weights.safetensors"
    hits = 0
    while not done.exists() or not done.with_suffix(".json").exists():
        child = server.Process(target=killable, args=(path, objective, done))
        child.start()
        if hits < kills:
            before = path.stat().st_mtime_ns if path.exists() else 0
            while child.is_alive() and (path.stat().st_mtime_ns if path.exists() else 0) == before:
                time.sleep(0.001)  # it has gone on and saved at least once
            time.sleep(rng.random() * 0.15)
            child.kill()
        child.join()
        hits += child.exitcode == -signal.SIGKILL
        assert child.exitcode in (0, -signal.SIGKILL)
    account = json.loads(done.with_suffix(".json").read_text())
    return hits, safetensors.torch.load_file(done), account | {"seconds": 0.0}


def check_survival(kills: int, folder: Path, objective, seed: int) -> int:
    flow, history = run(None, objective)
    hits, weights, account = survive(kills, folder, objective, random.Random(seed))
    for name, tensor in flow.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    assert account == plain(history)
    return hits


@pytest.mark.parametrize(("objective", "kills"), [(likelihood, 3), (stumble, 2)])
def test_killed_and_resumed_is_never_killed(tmp_path, objective, kills):
    assert check_survival(kills, tmp_path, objective, 0) >= 1
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".tmp"] == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_killed_at_twenty_moments(tmp_path, seed):
    check_survival(5, tmp_path, (likelihood, stumble)[seed % 2], seed)


def test_the_stumbling_run_does_stumble():
    _, history = run(None, stumble)
    assert history.skipped > 0


@pytest.mark.parametrize("at", [1, 4, 9])
def test_left_and_taken_up_again(tmp_path, at):
    reference, expected = run(None)
    path = tmp_path / "run.safetensors"
    events = steps(model(), data(), max_steps=160, batch=64, lr=0.02, seed=7, checkpoint=path, checkpoint_seconds=1e-9)
    for _ in range(at):
        next(events)
    events.close()
    flow, history = run(path)
    assert plain(history) == plain(expected)
    assert all(
        torch.equal(a, b) for a, b in zip(reference.state_dict().values(), flow.state_dict().values(), strict=True)
    )


def test_a_finished_run_is_not_run_again(tmp_path):
    path = tmp_path / "run.safetensors"
    flow, first = run(path)
    stamp = path.stat().st_mtime_ns
    again, second = run(path)
    assert dataclasses.replace(first, seconds=0.0) == dataclasses.replace(second, seconds=0.0)
    assert path.stat().st_mtime_ns == stamp
    assert torch.equal(flow.log_prob(data()), again.log_prob(data()))


def test_an_unseeded_run_keeps_its_seed(tmp_path):
    path = tmp_path / "run.safetensors"
    seeds = {fit(model(), data(), max_steps=20, checkpoint=path, baselines=()).seed for _ in range(2)}
    assert len(seeds) == 1


def test_saves_follow_the_clock(tmp_path):
    path = tmp_path / "run.safetensors"
    events = steps(model(), data(), max_steps=60, seed=0, checkpoint=path, checkpoint_seconds=1e9)
    assert not [event for event in events if event.step < 60 and path.exists()]
    assert path.exists()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"seed": 8}, "seed"),
        ({"max_steps": 161}, "max_steps"),
        ({"lr": 0.01}, "lr"),
        ({"batch": 32}, "batch"),
        ({"x": data() + 1}, "data"),
        ({"validation": 0.2}, "held-out data"),
        ({"weight": torch.arange(1.0, 601.0)}, "data"),
        ({"objective": stumble}, "objective"),
        ({"flow": Flow(Standardize(2), Normal(2))}, "model"),
    ],
)
def test_another_run_is_refused(tmp_path, change, word):
    path = tmp_path / "run.safetensors"
    same = {"flow": model(), "x": data(), "max_steps": 20, "batch": 64, "lr": 0.02, "seed": 7, "checkpoint": path}
    fit(**same, baselines=())
    before = path.read_bytes()
    with pytest.raises(BundleError, match=rf"checkpoint of this run; got one with other .*{word}") as caught:
        fit(**(same | {"flow": model()} | change))
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_damage_is_noticed(tmp_path):
    path = tmp_path / "run.safetensors"
    fit(model(), data(), max_steps=20, seed=7, checkpoint=path, baselines=())
    whole = path.read_bytes()
    rng = random.Random(0)
    for _ in range(60):
        bad = bytearray(whole)
        if rng.random() < 0.3:
            bad = bad[: rng.randrange(len(bad))]
        else:
            bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        path.write_bytes(bad)
        with pytest.raises(BundleError, match="expected a training checkpoint"):
            read_checkpoint(path)
    path.write_bytes(b"\x80\x04N.")
    with pytest.raises(BundleError):
        fit(model(), data(), max_steps=20, seed=7, checkpoint=path)


def test_another_kind_of_file_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file({"w": torch.ones(2)}, path)
    with pytest.raises(BundleError, match="another kind of file"):
        fit(model(), data(), max_steps=20, seed=7, checkpoint=path)


def test_round_trip(tmp_path):
    tensors = {
        "a": torch.randn(3, 2, dtype=torch.float64), "b": torch.tensor(True), "c": torch.zeros(0),
        "d": torch.arange(3, dtype=torch.uint8), "e": torch.tensor(math.nan, dtype=torch.bfloat16),
    }  # fmt: skip
    path = tmp_path / "x.safetensors"
    assert read_checkpoint(path) is None
    write_checkpoint(path, tensors, {"n": 1, "curve": [[0, None], [1, 0.1]]})
    again, facts = read_checkpoint(path)
    assert facts == {"n": 1, "curve": [[0, None], [1, 0.1]]}
    for name, tensor in tensors.items():
        assert again[name].dtype == tensor.dtype
        assert torch.equal(again[name].nan_to_num(), tensor.nan_to_num())


def test_a_folder_that_cannot_be_written_ends_the_run_in_order(tmp_path):
    flow = model()
    with pytest.raises(OSError, match="gone"):
        fit(flow, data(), max_steps=60, seed=0, checkpoint=tmp_path / "gone" / "run", checkpoint_seconds=1e-9)
    assert not flow.training
    assert all(t.isfinite().all() for t in flow.state_dict().values())


def test_what_is_saved_is_finite(tmp_path):
    path, seen, calls = tmp_path / "run.safetensors", [], iter(range(10**9))

    def poison(flow, x, context=None, weight=None):
        if flow.training and next(calls) % 50 == 49:
            with torch.no_grad():
                next(flow.parameters()).mul_(torch.nan)
        return likelihood(flow, x, context, weight)

    settings = {"max_steps": 200, "batch": 64, "seed": 0, "checkpoint": path, "checkpoint_seconds": 1e-9}
    for event in steps(model(), data(), poison, **settings):
        seen.append(event.event)
        if path.exists():
            tensors, _ = read_checkpoint(path)
            assert all(t.isfinite().all() for name, t in tensors.items() if "guard" not in name)
    assert seen.count("rollback") >= 3
