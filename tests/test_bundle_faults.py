"""Saving while the disk, the system or the user strikes: the path holds the old file or the new one, whole."""

import errno
import json
import os
import resource
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

import pytest
import torch

from unwarp import _files, flows
from unwarp.errors import BundleError

CALLS = ("open", "write", "fsync", "replace", "close")


@cache
def version(number, hidden=32):
    """A flow whose every weight is `number`."""
    with torch.random.fork_rng(devices=[]):
        flow = flows.flow("maf", 2, layers=2, hidden=(hidden, hidden))
    with torch.no_grad():
        for value in flow.parameters():
            value.fill_(number)
    return flow


def version_in(path):
    """Which version the file holds; an error if it is none, or a mixture of two."""
    flow, config = flows.load_with_config(path)
    found = {value.item() for weights in flow.parameters() for value in weights.unique()}
    assert found == {config["training"]["version"]}
    return found.pop()


def save(number, path):
    flows.save(version(number), path, training={"version": number})


class Disk:
    """Counts the calls of `os` that saving makes, and lets some of them fail."""

    def __init__(self, monkeypatch, *, fails=(), error=errno.ENOSPC, short=False):
        self.count, self.fails, self.error, self.short = 0, fails, error, short
        self.log = []
        for name in CALLS:
            monkeypatch.setattr(_files.os, name, self.wrap(name, getattr(os, name)))

    def wrap(self, name, call):
        def wrapped(*args, **options):
            self.count += 1
            self.log.append(name)
            fail = self.count in self.fails
            if fail and name == "close":  # Linux closes all the same
                call(*args, **options)
            if fail:
                raise OSError(self.error, os.strerror(self.error))
            if self.short and name == "write":
                args = (args[0], args[1][: max(1, len(args[1]) // 3)])
            return call(*args, **options)

        return wrapped


def test_the_file_is_on_disk_before_its_name_is(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        disk = Disk(patch)
        save(1, tmp_path / "model")
    tail = [name for name in disk.log if name != "write"]
    assert tail == ["open", "fsync", "close", "replace", "open", "fsync", "close"]
    assert disk.log.index("replace") > max(i for i, name in enumerate(disk.log) if name == "write")


def refusal(path):
    """What saving says when it fails."""
    try:
        save(2, path)
    except BundleError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("forever", [False, True], ids=["once", "forever"])
def test_a_call_that_fails_leaves_the_old_file_or_the_new_one(tmp_path, monkeypatch, forever, error):
    path = tmp_path / "model"
    save(1, path)
    failures = 0
    for n in range(1, 1000):
        with monkeypatch.context() as patch:
            disk = Disk(patch, fails=range(n, 10**6) if forever else [n], error=error)
            said = refusal(path)
        if not said:
            break
        failures += 1
        assert str(path) in said
        assert os.strerror(error) in said
        assert version_in(path) == (2 if "replace" in disk.log[: n - 1] else 1)
        assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
        save(1, path)
    assert failures == disk.count > len(CALLS)
    assert version_in(path) == 2


def test_short_writes_are_completed(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        disk = Disk(patch, short=True)
        save(3, tmp_path / "model")
    assert disk.log.count("write") > 30
    assert version_in(tmp_path / "model") == 3


def test_a_limit_of_the_file_size_leaves_the_old_file(tmp_path):
    path = tmp_path / "model"
    save(1, path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        said = refusal(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.strerror(errno.EFBIG) in said
    assert version_in(path) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_an_interrupt_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model"
    save(1, path)

    def interrupted(file, data):
        raise KeyboardInterrupt

    monkeypatch.setattr(_files.os, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(2, path)
    assert version_in(path) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_writers_and_readers_at_once(tmp_path):
    path = tmp_path / "model"
    save(0, path)
    seen, errors = set(), []
    flows_of = [version(number) for number in range(4)]

    def write(number):
        for _ in range(5):
            flows.save(flows_of[number], path, training={"version": number})

    def read():
        for _ in range(10):
            seen.add(version_in(path))

    def guarded(work, *args):
        try:
            work(*args)
        except (OSError, ValueError, AssertionError) as error:  # a thread's error would be lost
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(write, number)) for number in range(4)]
    threads += [threading.Thread(target=guarded, args=(read,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert seen <= {0, 1, 2, 3}
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


# The parent imports torch once and forks; each child saves two versions by turns until it is killed.
KILL = """
import json, os, random, signal, sys, time
from pathlib import Path
path, paths, seed, count = sys.argv[1:]
sys.path[:0] = json.loads(paths)
import torch
torch.set_num_threads(1)
from unwarp import flows
from test_bundle_faults import version, version_in
rng = random.Random(int(seed))
old, new = version(1, 128), version(2, 128)
start = time.monotonic()
for _ in range(5):
    flows.save(old, path, training={"version": 1})
once = (time.monotonic() - start) / 5
found, left = [], 0
for _ in range(int(count)):
    child = os.fork()
    if not child:
        while True:
            flows.save(new, path, training={"version": 2})
            flows.save(old, path, training={"version": 1})
    time.sleep(rng.uniform(0.5, 5) * once)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    found.append(version_in(path))
    left += len(os.listdir(Path(path).parent)) > 1
flows.save(new, path, training={"version": 2})
print(json.dumps({"found": found, "left": left, "end": os.listdir(Path(path).parent)}))
"""


@pytest.mark.parametrize(("seed", "count"), [(0, 60), pytest.param(1, 600, marks=pytest.mark.slow)])
def test_sigkill_while_saving(tmp_path, seed, count):
    paths = json.dumps([str(Path(flows.__file__).parents[2]), str(Path(__file__).parent)])
    command = [sys.executable, "-c", KILL, str(tmp_path / "model"), paths, str(seed), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert len(report["found"]) == count
    assert set(report["found"]) == {1, 2}
    assert report["left"] > 0  # some kills did strike while a file was being written
    assert report["end"] == ["model"]
