"""``unwarp score`` and ``unwarp verify``: tables of any size in, log densities out, in one file or in parts."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress as Bars

from unwarp.cli._out import TABLES, Failure, check_output, say, writing
from unwarp.cli._rows import Data, Json, Model
from unwarp.errors import DataError
from unwarp.estimators import ScoredParts, Tally, score_parts, score_table, verify_scores

_Shard = Annotated[
    str | None,
    typer.Option(
        metavar="I/N", help="Score the I-th of N shares of the parts; the output is a folder.", show_default=False
    ),
]
_Folder = Annotated[Path, typer.Argument(help="A folder of parts, as score writes it.", show_default=False)]


def score(
    data: Data,
    *,
    model: Model,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", show_default=False,
            help="The table to write: CSV or Parquet; or a folder (no suffix), with which a later run goes on.",
        ),
    ],
    shard: _Shard = None,
    part: Annotated[int, typer.Option(min=1, max=10**9, help="Rows of a part of a folder.")] = 262_144,
    float32: Annotated[bool, typer.Option("--float32", help="Compute in float32, and tell what that changes.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Write the log density of each row in nats, as column log_prob; columns are found by name, in any order.

    Tables may be larger than memory.
    """
    options: dict[str, Any] = {"precision": "float32" if float32 else "float64"}
    if shard is None and (output.suffix or output.is_file()):
        check_output(output, suffixes=TABLES, inputs=(data, model))
        with _bar() as options["progress"], writing(output):
            tally = score_table(data, model, output, **options)
        facts, text = _told(tally, float32=float32)
    else:
        numbers = _numbers(shard)
        _check_folder(output)
        with _bar() as options["progress"], writing(output):
            found = _in_parts(data, model, output, shard=numbers, part=part, **options)
        facts, text = _told_parts(found, numbers, float32=float32)
    say({"output": str(output)} | facts, f"{text}\nscores: {output}", as_json=as_json)


def verify(
    folder: _Folder,
    *,
    data: Annotated[
        Path | None,
        typer.Option(help="The table: also hold the rows to those that were scored.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Prove that a folder of scores has each row of the table once, none missing, none doubled. Exits with 3 if not."""
    found = verify_scores(folder, data)
    facts = {"folder": str(folder), "complete": found.complete, "rows": found.rows, "parts": found.parts}
    facts |= {"missing": found.missing, "damaged": found.damaged, "other": found.other, "changed": found.changed}
    if not found.complete and not as_json:
        raise DataError(f"{folder}: {found}. Run unwarp score again; remove what does not belong there.")
    say(facts | {"against": found.against}, f"{folder}: {found}", as_json=as_json)
    if not found.complete:
        raise typer.Exit(3)


def _in_parts(data: Path, model: Path, folder: Path, **options: Any) -> ScoredParts:
    try:
        return score_parts(data, model, folder, **options)
    except KeyboardInterrupt as error:
        raise Failure(
            f"{folder}: expected to finish; got interrupted. Run the same again: it goes on after the last part.", 130
        ) from error


def _numbers(shard: str | None) -> tuple[int, int]:
    """The I and N of I/N."""
    number, _, shards = (shard or "1/1").partition("/")
    if number.isdecimal() and shards.isdecimal() and 1 <= int(number) <= int(shards):
        return int(number), int(shards)
    raise Failure(f"unwarp score: expected --shard I/N, from 1/N to N/N; got {shard!r}. Correct it.")


def _check_folder(path: Path) -> None:
    """Make sure, before anything is computed, that there may be a folder at `path`."""
    if path.suffix.lower() in TABLES or path.is_file():
        raise Failure(f"{path}: expected a folder for the parts of a shard; got a file. Name a folder.")
    check_output(path / "part" if path.is_dir() else path)


def _told(tally: Tally, *, float32: bool) -> tuple[dict[str, Any], str]:
    """What to say about scores: facts and text."""
    facts = {"rows": tally.rows, "mean_log_prob": tally.mean, "impossible": tally.impossible}
    text = f"{tally.rows} rows" + (f", mean log density {tally.mean:.4f} nats" if tally.mean is not None else "")
    text += f"; the least likely is row {tally.lowest_row}"
    text += f"; {tally.impossible} are impossible (-inf)" if tally.impossible else ""
    if float32:
        facts |= {"float32_error": tally.float32_error}
        shown = "not" if tally.float32_error is None else f"within {tally.float32_error:.1g} nats of"
        text += f"; float32 is {shown} float64 on a sample of the rows"
    return facts | {"least_likely_row": tally.lowest_row}, text


def _told_parts(found: ScoredParts, shard: tuple[int, int], *, float32: bool) -> tuple[dict[str, Any], str]:
    """What to say about parts, of which this run has written some."""
    counts = {"parts": found.parts, "found": found.before, "written": found.now, "shard": "/".join(map(str, shard))}
    mine = found.before + found.now
    of = f" of {found.parts}" if shard[1] > 1 else ""
    text = f"{mine}{of} parts, {found.now} written now" + (f" and {found.before} before" if found.before else "")
    if found.tally is None:
        return counts | {"rows": 0}, f"{text}: there are more shards than parts"
    facts, rest = _told(found.tally, float32=float32)
    return counts | facts, f"{text}: {rest}"


@contextlib.contextmanager
def _bar() -> Generator[Any]:
    """What shows how many rows are done, on a terminal."""
    console = Console(stderr=True)
    with Bars(console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task("scoring", total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)
