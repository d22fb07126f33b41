"""``unwarp report``: a page about a model beside a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import typer

from unwarp import report as pages
from unwarp.cli._out import PAGES, check_output, need_matplotlib, say, writing
from unwarp.cli._rows import Data, Json, Model, read_rows
from unwarp.data import read_table
from unwarp.errors import DataError
from unwarp.estimators import FlowDensity
from unwarp.flows import read_config
from unwarp.report import Findings

_MOST = 100_000  # rows that a page is made of


def report(
    data: Data,
    *,
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write: NAME.html.", show_default=False)],
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Show this column beside the strangest rows; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML page: data beside samples, calibration, latents, training, the strangest rows."""
    check_output(output, suffixes=PAGES, inputs=(data, model))
    need_matplotlib()
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
