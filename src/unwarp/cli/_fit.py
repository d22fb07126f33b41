"""``unwarp fit``: a table in, a model file out, and what was found."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import typer

from unwarp.cli._out import PAGES, Failure, check_output, need_matplotlib, say, writing
from unwarp.cli._report import write_report
from unwarp.data import TableFile, read_table
from unwarp.errors import NotConvergedError
from unwarp.estimators import FlowDensity
from unwarp.flows import names, read_config
from unwarp.training import Step, json_lines, progress_bar

_Data = Annotated[Path, typer.Argument(help="The table: CSV or Parquet.", show_default=False)]
_Output = Annotated[
    Path, typer.Option("--output", "-o", help="The model to write: NAME.safetensors.", show_default=False)
]
_Columns = list[str] | None

_LARGEST = 2 << 30  # bytes of rows that are fitted as they are; of more, a quarter of that is drawn
_COPIES = 12  # of its rows that a fit may have in memory


def fit(
    data: _Data,
    *,
    output: _Output,
    ignore: Annotated[_Columns, typer.Option(metavar="COLUMN", help="Leave a column out; may be repeated.")] = None,
    real: Annotated[_Columns, typer.Option(metavar="COLUMN", help="It is real, whatever it looks like.")] = None,
    positive: Annotated[
        _Columns, typer.Option(metavar="COLUMN", help="It is above 0: modelled on a log scale.")
    ] = None,
    bounded: Annotated[_Columns, typer.Option(metavar="COLUMN:LOW:HIGH", help="It lies between two bounds.")] = None,
    integer: Annotated[_Columns, typer.Option(metavar="COLUMN", help="It holds whole numbers.")] = None,
    flow: Annotated[str, typer.Option(help=f"The recipe: auto, {', '.join(names('tables'))}.")] = "auto",
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Train for so long at most.", show_default=False)
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Train for so many steps at most.", show_default=False)
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(
            min=2, help="Fit to so many rows at most, drawn uniformly; all that fit, if not said.", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Makes the run repeatable.")] = 0,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Save the run here now and then, and go on from there.", show_default=False)
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Also write a page about it: NAME.html.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines: what happens, then the result.")] = False,
) -> None:
    """Fit a flow to a table and write the model; tells how it does on rows kept from training, beside plain models."""
    check_output(output, suffixes=(".safetensors",), inputs=(data, checkpoint))
    if checkpoint is not None:
        check_output(checkpoint, inputs=(data,))
    if report is not None:
        check_output(report, suffixes=PAGES, inputs=(data, checkpoint))
        need_matplotlib()
    declared = _declared(real=real, positive=positive, integer=integer, bounded=bounded)
    table, drawn_from = _rows(data, ignore or (), rows, seed)
    if drawn_from is not None:
        facts = {"event": "sample", "rows": len(table), "of": drawn_from, "seed": seed}
        say(facts, f"{len(table):,} of {drawn_from:,} rows, drawn uniformly with seed {seed}", as_json=as_json)
    model = FlowDensity(flow, columns=declared, max_seconds=seconds, max_steps=steps, random_state=seed)
    with progress_of(as_json=as_json) as progress:
        model.fit(table, progress=progress, checkpoint=checkpoint)
    if model.history_.interrupted:
        raise KeyboardInterrupt
    if not model.history_.converged:
        raise NotConvergedError(
            f"fit: expected training to settle; got a loss that kept going bad in {data}. Try --flow maf."
        )
    with writing(output):
        model.save(output)
    facts, text = _told(model, output)
    if report is not None:
        found = write_report(
            model, data, report, table=table, drawn_from=drawn_from, labels=tuple(ignore or ()),
            versions=read_config(output)["versions"],
        )  # fmt: skip
        facts |= {"report": str(report), "findings": found.to_json()}
        text = f"{text}\n\n{found.summary()}\nreport: {report}"
    say(facts, text, as_json=as_json)


def _rows(data: Path, ignore: Sequence[str], most: int | None, seed: int) -> tuple[pa.Table, int | None]:
    """The rows to fit, and of how many they were drawn if not all are taken: a fit needs several times their memory."""
    file = TableFile(data, ignore=ignore)
    if most is None:
        room = min(_LARGEST, _memory() // _COPIES)
        if file.decoded <= room:
            return read_table(data, ignore=ignore), None
        most = max(1, room // (32 * len(file.names)))
    table = file.sample(most, seed=seed)
    return table, file.rows if file.rows > len(table) else None


def _memory() -> int:
    """Bytes of the machine's memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 8 << 30


def _declared(*, bounded: _Columns, **kinds: _Columns) -> dict[str, str]:
    """The kinds of columns as `FlowDensity` wants them."""
    found = [(name, kind) for kind, names in kinds.items() for name in names or ()]
    for text in bounded or ():
        name, _, bounds = text.partition(":") if text.count(":") == 2 else _split(text)
        found.append((name, f"bounded:{bounds}"))
    names = [name for name, _ in found]
    for name in names:
        if names.count(name) > 1:
            raise Failure(f"unwarp fit: expected one kind for column {name!r}; got two. Leave one out.")
    return dict(found)


def _split(text: str) -> tuple[str, str, str]:
    """COLUMN:LOW:HIGH, where the name may hold colons of its own."""
    name, *bounds = text.rsplit(":", 2)
    if len(bounds) != 2:
        raise Failure(f"unwarp fit: expected --bounded COLUMN:LOW:HIGH; got {text!r}. Give both bounds.")
    return name, ":", ":".join(bounds)


@contextlib.contextmanager
def progress_of(*, as_json: bool) -> Generator[Callable[[Step], object]]:
    """What shows the steps of a training: a bar, or lines of JSON."""
    if as_json:
        yield json_lines(lambda line: typer.echo(line, nl=False))
    else:
        with progress_bar() as show:
            yield show


def _told(model: FlowDensity, output: Path) -> tuple[dict[str, object], str]:
    """What to say about a fitted model: facts and text."""
    history = model.history_
    columns = [f"  {c.name}: {c.summary}" + (f" ({c.reason})" if c.reason else "") for c in model.schema_.columns]
    recipe = (model.flow_.spec or {}).get("recipe")
    facts: dict[str, object] = {
        "event": "result",
        "model": str(output),
        "recipe": recipe,
        "columns": {column.name: column.summary for column in model.schema_.columns},
        "history": history.to_json(),
    }
    text = [f"{len(columns)} columns", *columns, f"{recipe}: {history.summary()}", f"model: {output}"]
    return facts, "\n".join(text)
