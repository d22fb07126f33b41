"""``unwarp fit``: a table in, a model file out, and what was found."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Annotated, Any

import typer

from unwarp.cli._columns import Taken, declared, take
from unwarp.cli._out import PAGES, Failure, check_output, need_matplotlib, say, writing
from unwarp.cli._report import write_report
from unwarp.cli._synthetic import write_judgement
from unwarp.data import Schema
from unwarp.errors import NotConvergedError
from unwarp.estimators import FlowDensity, FlowTable
from unwarp.flows import names, read_config
from unwarp.training import Step, json_lines, progress_bar

_Data = Annotated[Path, typer.Argument(help="The table: CSV or Parquet.", show_default=False)]
_Output = Annotated[
    Path, typer.Option("--output", "-o", help="The model to write: NAME.safetensors.", show_default=False)
]
_Columns = list[str] | None


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
    periodic: Annotated[
        _Columns, typer.Option(metavar="COLUMN:LOW:HIGH", help="It goes round: HIGH is LOW again.")
    ] = None,
    categorical: Annotated[_Columns, typer.Option(metavar="COLUMN", help="It holds categories.")] = None,
    ordinal: Annotated[
        _Columns, typer.Option(metavar='"COLUMN:A<B<C"', help="It holds categories in order; numbers need no list.")
    ] = None,
    boolean: Annotated[_Columns, typer.Option(metavar="COLUMN", help="It holds two values, as yes and no.")] = None,
    date: Annotated[_Columns, typer.Option(metavar="COLUMN", help="It holds dates or times in ISO form.")] = None,
    columns: Annotated[
        Path | None,
        typer.Option(help="What the columns are: TOML or JSON, as show DATA -o writes it.", show_default=False),
    ] = None,
    flow: Annotated[str, typer.Option(help=f"The recipe: auto, mixed, {', '.join(names('tables'))}.")] = "auto",
    members: Annotated[
        int, typer.Option(min=1, max=64, help="Networks of a mixed model, whose differences show what chance does.")
    ] = 1,
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
    """Fit a flow to a table and write the model; tells how it does on rows kept from training, beside plain models.

    Finite numbers without gaps get a flow; columns of any other kind, or with gaps, the joint law of mixed columns.
    """
    check_output(output, suffixes=(".safetensors",), inputs=(data, checkpoint, columns))
    if checkpoint is not None:
        check_output(checkpoint, inputs=(data, columns))
    if report is not None:
        check_output(report, suffixes=PAGES, inputs=(data, checkpoint, columns))
        need_matplotlib()
    known = declared(
        real=real, positive=positive, integer=integer, bounded=bounded, periodic=periodic, categorical=categorical,
        ordinal=ordinal, boolean=boolean, date=date,
    )  # fmt: skip
    schema = None if columns is None else Schema.from_file(columns)
    taken = take(data, ignore=ignore or (), most=rows, seed=seed, flow=flow, known=known, schema=schema)
    _announce(taken, seed, as_json=as_json)
    budget: dict[str, Any] = {"max_seconds": seconds, "max_steps": steps, "random_state": seed}
    if taken.schema is not None:
        model = FlowTable(schema=taken.schema, members=members, **budget)
    elif members == 1:
        model = FlowDensity(flow, columns=known, **budget)
    else:
        raise Failure("unwarp fit: expected --members with mixed columns; got numbers alone. Add --flow mixed.")
    with progress_of(as_json=as_json) as progress:
        model.fit(taken.table, progress=progress, checkpoint=checkpoint)
    if model.history_.interrupted:
        raise KeyboardInterrupt
    if not model.history_.converged:
        advice = " Try --flow maf." if taken.schema is None else " Look at the columns."
        raise NotConvergedError(f"fit: expected training to settle; got a loss that kept going bad in {data}.{advice}")
    with writing(output):
        model.save(output)
    facts, text = _told(model, output)
    if report is not None:
        if isinstance(model, FlowTable):
            found: Any = write_judgement(data, None, report, model=output, seed=seed)
        else:
            found = write_report(
                model, data, report, table=taken.table, drawn_from=taken.drawn_from, labels=tuple(ignore or ()),
                versions=read_config(output)["versions"],
            )  # fmt: skip
        facts |= {"report": str(report), "findings": found.to_json()}
        text = f"{text}\n\n{found.summary()}\nreport: {report}"
    say(facts, text, as_json=as_json)


def _announce(taken: Taken, seed: int, *, as_json: bool) -> None:
    """Say, before the work, what is fitted to what."""
    rows = len(taken.table)
    if taken.drawn_from is not None:
        facts = {"event": "sample", "rows": rows, "of": taken.drawn_from, "seed": seed}
        text = f"{rows:,} of {taken.drawn_from:,} rows, drawn uniformly with seed {seed}"
        say(facts, text, as_json=as_json)
    if taken.schema is not None:
        text = f"mixed columns, as {taken.why}: fitting the joint law of FlowTable"
        say({"event": "mixed", "why": taken.why}, text, as_json=as_json)


@contextlib.contextmanager
def progress_of(*, as_json: bool) -> Generator[Callable[[Step], object]]:
    """What shows the steps of a training: a bar, or lines of JSON."""
    if as_json:
        yield json_lines(lambda line: typer.echo(line, nl=False))
    else:
        with progress_bar() as show:
            yield show


def _told(model: FlowDensity | FlowTable, output: Path) -> tuple[dict[str, object], str]:
    """What to say about a fitted model: facts and text."""
    history = model.history_
    columns = [f"  {c.name}: {c.summary}" + (f" ({c.reason})" if c.reason else "") for c in model.schema_.columns]
    recipe = "mixed" if isinstance(model, FlowTable) else (model.flow_.spec or {}).get("recipe")
    facts: dict[str, object] = {
        "event": "result",
        "model": str(output),
        "recipe": recipe,
        "columns": {column.name: column.summary for column in model.schema_.columns},
        "history": history.to_json(),
    }
    text = [f"{len(columns)} columns", *columns, f"{recipe}: {history.summary()}", f"model: {output}"]
    return facts, "\n".join(text)
