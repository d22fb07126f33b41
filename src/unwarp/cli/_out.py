"""What the commands share: where they may write, how they speak, how they fail."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import typer

from unwarp.errors import UnwarpError

PAGES = (".html", ".htm")
TABLES = (".csv", ".tsv", ".parquet", ".pq")


class Failure(Exception):  # noqa: N818 - an end of the command, with its exit code
    """Ends a command with one line on standard error and an exit code."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


def say(facts: dict[str, Any], text: str, *, as_json: bool) -> None:
    """Print `text`, or the same as one line of JSON."""
    typer.echo(json.dumps(facts, allow_nan=False) if as_json else text)


def one_line(text: str) -> str:
    """`text` without line breaks or control characters."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def check_output(path: Path, *, suffixes: tuple[str, ...] = (), inputs: tuple[Path | None, ...] = ()) -> None:
    """Make sure, before anything is computed, that a file can be written at `path` and that it is no input."""
    if suffixes and path.suffix.lower() not in suffixes:
        raise Failure(
            f"{path}: expected a name that ends in {' or '.join(suffixes)}; got {path.name!r}. Choose another name."
        )
    if path.is_dir():
        raise Failure(f"{path}: expected a file to write; got a folder. Name a file in it.")
    if path.exists() and not path.is_file():
        raise Failure(f"{path}: expected a file to write; got a device or pipe. Choose another path.")
    if not path.parent.is_dir():
        raise Failure(f"{path}: expected a folder that exists; got {str(path.parent)!r}. Make it first.")
    if not os.access(path.parent, os.W_OK):
        raise Failure(f"{path}: expected a folder that can be written; got no permission. Choose another path.")
    for other in inputs:
        if other is not None and os.path.realpath(path) == os.path.realpath(other):
            raise Failure(f"{path}: expected an output beside the input; got the input itself. Choose another path.")


@contextlib.contextmanager
def writing(path: Path) -> Generator[None]:
    """Tell apart what the system refuses to write (exit code 1) from what is wrong with data and models."""
    try:
        yield
    except OSError as error:
        raise _refused(path, error) from error
    except UnwarpError as error:
        if isinstance(error.__cause__, OSError):
            raise _refused(path, error.__cause__) from error
        raise


def _refused(path: Path, error: OSError) -> Failure:
    why = (error.strerror or str(error)).lower()
    return Failure(f"{path}: expected a file that can be written; got: {why}. Free space or choose another path.", 1)


def need_matplotlib() -> None:
    """Fail before the work rather than after it where pictures cannot be drawn."""
    if importlib.util.find_spec("matplotlib") is None:
        raise Failure(
            'report: expected matplotlib for its pictures; it is not installed. Run: pip install "unwarp[plot]"'
        )
