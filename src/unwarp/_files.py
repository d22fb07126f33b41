"""Writing a file so that its path always holds the old content or the new one, whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import secrets
import time
from collections.abc import Generator, Iterable
from pathlib import Path

__all__ = ["write_atomically"]

_TEMP = re.compile(r"\.unwarp-(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-(?P<start>\d+)-[0-9a-f]{8}\.tmp")
_DAY = 86_400.0


def write_atomically(path: str | os.PathLike[str], chunks: Iterable[bytes | memoryview]) -> None:
    """Write `chunks` (flat bytes) to `path`, which at every moment holds the old file or the new one, whole.

    A temporary file in the same folder is written and synced, then renamed over `path`, and the folder is synced. Its
    name carries host, process and start time, so a later call sweeps what a killed process left. On an error it is
    removed and `path` stays as it was. A symbolic link is followed; the permissions are those of any new file (umask).

    Raises:
        OSError: when the folder or the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    _sweep(target.parent)
    temp = target.parent / _temp_name()
    try:
        _write(temp, chunks)
        temp.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temp.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # elsewhere a folder can't be opened
        with _opened(target.parent, os.O_RDONLY) as folder:
            os.fsync(folder)


def _write(temp: Path, chunks: Iterable[bytes | memoryview]) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with _opened(temp, flags) as file:
        for chunk in chunks:
            view = memoryview(chunk)
            while view:  # a write may be short
                view = view[os.write(file, view) :]
        os.fsync(file)


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Generator[int]:
    file = os.open(path, flags, 0o666)
    try:
        yield file
    finally:
        os.close(file)


def _sweep(folder: Path) -> None:
    """Remove the temporary files in `folder` of processes of this host that are gone."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            match = _TEMP.fullmatch(entry.name)
            if match and match["host"] == _host() and _gone(entry, int(match["pid"]), match["start"]):
                with contextlib.suppress(OSError):
                    Path(entry.path).unlink()


def _gone(entry: os.DirEntry[str], pid: int, start: str) -> bool:
    if Path("/proc/self/stat").exists():
        return _start(pid) != start
    return time.time() - entry.stat().st_mtime > _DAY  # no portable way to ask: old enough is gone


def _temp_name() -> str:
    return f".unwarp-{_host()}-{os.getpid()}-{_start(os.getpid()) or 0}-{secrets.token_hex(4)}.tmp"


def _host() -> str:
    return hashlib.blake2b(platform.node().encode(), digest_size=4).hexdigest()


def _start(pid: int) -> str | None:
    """When process `pid` started, in clock ticks since the machine did; None if it runs no more."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()
    return None if fields[0] in b"ZX" else fields[19].decode()
