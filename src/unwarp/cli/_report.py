"""``unwarp report``: a page about a model beside a table, or about synthetic rows beside real ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import typer

from unwarp import report as pages
from unwarp.cli._out import PAGES, Failure, check_output, need_matplotlib, say, writing
from unwarp.cli._rows import Data, Json, read_rows
from unwarp.cli._synthetic import write_judgement
from unwarp.data import read_table
from unwarp.errors import DataError
from unwarp.estimators import FlowDensity
from unwarp.flows import read_config
from unwarp.report import Findings

_MOST = 100_000  # rows that a page is made of


def report(
    data: Data,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write: NAME.html.", show_default=False)],
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="A model file, as fit writes it.", show_default=False)
    ] = None,
    synthetic: Annotated[
        Path | None, typer.Option(help="Judge the rows of this table beside those of DATA.", show_default=False)
    ] = None,
    holdout: Annotated[
        Path | None,
        typer.Option(help="Real rows that took no part in making the synthetic ones.", show_default=False),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Train on synthetic rows to predict this column.", show_default=False),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Show this column beside the strangest rows; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of what is drawn with --synthetic.")] = 0,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML page: data beside samples, calibration, latents, training, the strangest rows.

    With --synthetic it judges synthetic rows, whatever made them: likeness, ranges, copies, usefulness. With --holdout
    it can tell copies, and with --model too it scores the held-out rows. Of a model of mixed columns, rows are drawn
    and judged in the same way.
    """
    check_output(output, suffixes=PAGES, inputs=(data, model, synthetic, holdout))
    need_matplotlib()
    mixed = synthetic is None and model is not None and read_config(model)["spec"]["recipe"] == "mixed"
    if mixed and label:
        raise Failure("report: expected --label with a model of numbers; got one of mixed columns. Leave it out.")
    if synthetic is not None or mixed:
        told = write_judgement(data, synthetic, output, holdout=holdout, target=target, model=model, seed=seed)
        say({"report": str(output), **told.to_json()}, f"{told.summary()}\nreport: {output}", as_json=as_json)
        return
    if holdout is not None or target is not None:
        word = "--holdout" if holdout is not None else "--target"
        raise Failure(f"report: expected --synthetic, or a model of mixed columns, beside {word}; got none. Add one.")
    if model is None:
        raise Failure("report: expected a model or synthetic rows; got neither. Give --model or --synthetic.")
    estimator = FlowDensity.load(model)
    table = read_rows(estimator, data)
    labels = tuple(label or ())
    if labels:
        read_table(data, columns=list(labels))  # what was asked for by name must be there
    found = write_report(estimator, data, output, table=table, labels=labels, versions=read_config(model)["versions"])
    say({"report": str(output), "findings": found.to_json()}, f"{found.summary()}\nreport: {output}", as_json=as_json)


def write_report(
    model: FlowDensity,
    data: Path,
    output: Path,
    *,
    table: Any,
    drawn_from: int | None = None,
    labels: Sequence[str] = (),
    versions: dict[str, str] | None = None,
) -> Findings:
    """Examine `model` beside the rows of `table`, which came from `data` or were drawn from it; write a page."""
    history = model.history_
    rows, whole = len(table), drawn_from or len(table)
    if rows > _MOST:
        kept = np.sort(np.random.default_rng(0).choice(rows, _MOST, replace=False))
        table = table.take(kept) if isinstance(table, pa.Table) else table[kept]
    steps = np.array(history.validation).reshape(-1, 2)
    found = pages.examine(
        model,
        table,
        source=f"{data.name}, {whole:,} rows"
        + (f", of which {len(table):,} drawn at random" if whole > len(table) else ""),
        held_out=history.held_out,
        baselines=history.baselines,
        worth_it=history.worth_it,
        curve=(steps[:, 0], -steps[:, 1]) if len(steps) else None,
        card=_card(model, versions),
        kinds={
            column.name: ": ".join(filter(None, (column.summary, column.reason))) for column in model.schema_.columns
        },
        labels=_labels(data, labels) if whole <= _MOST else {},
    )
    with writing(output):
        pages.write(found, output, title=data.name)
    return found


def _labels(data: Path, names: Sequence[str]) -> dict[str, list[Any]]:
    """Columns that are shown beside the strangest rows; those that hold no numbers are left out."""
    found = {}
    for name in names:
        try:
            found[name] = read_table(data, columns=[name]).column(0).to_pylist()
        except DataError:
            continue
    return found


def _card(model: FlowDensity, versions: dict[str, str] | None) -> dict[str, str]:
    history, spec = model.history_, model.flow_.spec or {}
    options = ", ".join(f"{key}={value}" for key, value in spec.get("options", {}).items() if key != "support")
    parameters = sum(value.numel() for value in model.flow_.parameters())
    card = {
        "Recipe": f"{spec.get('recipe')} of {spec.get('features')} features",
        "Options": options,
        "Parameters": f"{parameters:,}",
        "Rows": f"{history.rows:,} to train on, {history.held_rows:,} held out",
        "Training": history.summary().splitlines()[0],
        "Seed": str(history.seed),
    }
    if versions:
        card["Versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    return card
