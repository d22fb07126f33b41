"""The commands under one name, and what becomes of their errors."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from unwarp.cli._out import Failure, one_line
from unwarp.errors import BundleError, ConfigError, NotConvergedError, UnwarpError

__all__ = ["app", "main"]

_UsageError = typer.BadParameter.__mro__[1]  # typer carries its own copy of click or uses the one beside it

_COMMANDS = {
    "fit": ("_fit", "Fit a flow to a table and write the model."),
    "score": ("_score", "Write the log density of each row in nats."),
    "verify": ("_score", "Prove that a folder of scores has each row of the table once."),
    "sample": ("_rows", "Draw rows from a model."),
    "complete": ("_complete", "Fill the gaps of a table with draws given the rest of each row."),
    "outliers": ("_outliers", "Find the strange rows of a table and name the columns at fault."),
    "posterior": ("_posterior", "Learn a posterior from a sampler's draws, and say whether to believe it."),
    "report": ("_report", "Write one self-contained HTML page."),
    "show": ("_show", "Show what is in a model file."),
    "check": ("_show", "Hold a model to the laws."),
    "bench": ("_bench", "Measure the machine, and how fast flows train, score and sample on it."),
}


class _Later(TyperCommand):
    """A command whose module, and with it torch, is imported when it is called: help comes at once."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        name = str(self.name)
        one = typer.Typer(add_completion=False)
        one.command(name)(vars(import_module(f"unwarp.cli.{_COMMANDS[name][0]}"))[name])
        return typer.main.get_command(one).make_context(info_name, args, parent=parent, **extra)


class _Commands(TyperGroup):
    """All commands, none of them imported yet."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: _Later(name, help=says) for name, (_, says) in _COMMANDS.items()}


app = typer.Typer(
    name="unwarp",
    cls=_Commands,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Exact densities of tables: fit a normalizing flow, score rows with it, draw new ones.",
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - as typer calls it
    if wanted:
        try:
            typer.echo(f"unwarp {version('unwarp')}")
        except PackageNotFoundError:  # run from the source tree
            typer.echo("unwarp, not installed")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (BundleError, 4),
    (NotConvergedError, 5),
    (ConfigError, 2),
    (UnwarpError, 3),
)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        args: the words after ``unwarp``; by default those of the process.

    Example:
        >>> main(["sample"])
        2
    """
    args = list(sys.argv[1:] if args is None else args) or ["--help"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.showwarning = _show_warning
            code = app(args, prog_name="unwarp", standalone_mode=False)
            sys.stdout.flush()
    except BrokenPipeError:
        _let_go_of_stdout()
        return 1
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 1
    except BaseException as error:  # noqa: BLE001 - each becomes one line
        if os.environ.get("UNWARP_DEBUG") == "1":
            traceback.print_exc()
        message, code = _explain(error)
        typer.echo(one_line(message), err=True)
        return code
    if code == 130:  # how later versions of typer hand on Ctrl-C
        typer.echo(_INTERRUPTED, err=True)
    return code if isinstance(code, int) else 0


def _explain(error: Any) -> tuple[str, int]:
    """The line and the exit code for an error."""
    if isinstance(error, Failure):
        return str(error), error.code
    if isinstance(error, _UsageError):
        where = error.ctx.command_path if error.ctx is not None else "unwarp"
        got = one_line(error.format_message()).rstrip(".?")
        return f"{where}: expected a call as its help tells; got: {got}. Run: {where} --help", 2
    for kind, code in _CODES:
        if isinstance(error, kind):
            return str(error), code
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return _INTERRUPTED, 130
    if isinstance(error, MemoryError):
        return "unwarp: expected enough memory; got too little. Use fewer rows, or a smaller flow.", 1
    what = f"{type(error).__name__}: {error}"
    return f"unwarp: expected no internal error; got {what}. Set UNWARP_DEBUG=1 to see where, and report it.", 1


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    typer.echo(f"warning: {one_line(str(message))}", err=True)


def _let_go_of_stdout() -> None:
    """Give what is still buffered nowhere to fail, once the reader has closed the pipe."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, sys.stdout.fileno())
    os.close(sink)


_INTERRUPTED = (
    "unwarp: expected to finish; got interrupted. Nothing was written; with --checkpoint PATH a fit goes on later."
)
