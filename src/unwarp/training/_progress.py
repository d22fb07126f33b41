"""Consumers of a run's events: a bar for people, JSON lines for programs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from unwarp.training._history import Step

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["json_lines", "progress_bar"]


def json_lines(write: Callable[[str], object], *, every: float = 1.0) -> Callable[[Step], None]:
    """A consumer that writes events as lines of JSON: all but "train", which it writes now and then.

    Args:
        write: gets each line, newline included; such as `sys.stdout.write`.
        every: seconds between two "train" lines.

    Example:
        >>> lines = []
        >>> show = json_lines(lines.append)
        >>> show(Step("done", 5, 5, 1.0, 0.5, None, None, 0.0, 2.0, 0))
        >>> lines[0].startswith('{"event": "done", "step": 5')
        True
    """
    last = -every

    def show(step: Step) -> None:
        nonlocal last
        if step.event == "train":
            if step.seconds - last < every:
                return
            last = step.seconds
        write(json.dumps(step.to_json(), allow_nan=False) + "\n")

    return show


@contextlib.contextmanager
def progress_bar(console: Console | None = None) -> Generator[Callable[[Step], None], None, None]:
    """A consumer that draws a bar while the `with` block lasts; on standard error, and only if that is a terminal.

    Args:
        console: where to draw instead.

    Example:
        >>> with progress_bar() as show:
        ...     show(Step("train", 50, 100, 0.5, 1.25, None, None, 1e-3, 0.2, 0))
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = console or Console(stderr=True)
    columns = (BarColumn(), TextColumn("{task.percentage:3.0f}% {task.description}"), TimeElapsedColumn())
    hidden = not console.is_terminal
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("starting", total=1.0)

        def show(step: Step) -> None:
            best = "" if step.best is None else f", held out {step.best:.4f}"
            bar.update(task, completed=step.progress, description=f"step {step.step}: loss {step.loss:.4f}{best}")

        yield show
