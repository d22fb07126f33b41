"""``unwarp outliers``: the strange rows of a table, and which columns make them so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import typer

from unwarp.cli._columns import take
from unwarp.cli._fit import progress_of
from unwarp.cli._out import TABLES, check_output, say, writing
from unwarp.cli._rows import Data, Json, read_rows
from unwarp.data import Schema, read_table, write_table
from unwarp.estimators import FlowOutlier, FlowTable, TableOutlier, load_estimator

_SHOWN = 10  # rows in the text
_SECONDS = 30.0  # of training where rows are many: few rows are done sooner, and are better left to end by themselves
_MANY = 2_000
_WIDEST = 80  # letters of a value in the text
_TOGETHER = 200  # rows that are explained at once


def outliers(
    data: Data,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The strange rows to write: CSV or Parquet.", show_default=False)
    ],
    fdr: Annotated[float, typer.Option(min=1e-6, max=0.5, help="Share of those found that may be false.")] = 0.05,
    why: Annotated[int, typer.Option(min=1, max=10_000, help="Columns to name a row.")] = 3,
    most: Annotated[int, typer.Option(min=1, max=10**6, help="Explain so many rows at most, the strangest.")] = 300,
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="Judge by this model, as --save writes it.", show_default=False)
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Also write the model: NAME.safetensors.", show_default=False)
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Leave a column out; may be repeated.")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.1, help="Train for so long at most; 30 from 2000 rows, if not said.", show_default=False),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Train each flow for so many steps at most.", show_default=False)
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**31 - 1, help="Makes the run repeatable, if time does not end it.")
    ] = 0,
    as_json: Json = False,
) -> None:
    """Find the strange rows of a table and name the columns at fault, with what would have been usual there.

    Without --model the rows are judged among themselves; with it, beside the rows that the model was fitted to.
    """
    check_output(output, suffixes=TABLES, inputs=(data, model))
    if save is not None:
        check_output(save, suffixes=(".safetensors",), inputs=(data, model))
    if model is None:
        rows, schema = _taken(data, ignore or (), as_json=as_json)
        seconds = _SECONDS if seconds is None and (len(rows) >= _MANY or schema is not None) else seconds
        budget: dict[str, Any] = {"max_seconds": seconds, "max_steps": steps, "random_state": seed}
        judge = FlowOutlier(**budget) if schema is None else TableOutlier(schema=schema, **budget)
        with progress_of(as_json=as_json) as progress:
            judge.fit(rows, progress=progress)
        p, scores, found = judge.p_values(), judge.scores_, judge.outliers(fdr=fdr)
    else:
        judge = TableOutlier.load(model) if isinstance(load_estimator(model), FlowTable) else FlowOutlier.load(model)
        rows = read_rows(judge.table_ if isinstance(judge, TableOutlier) else judge.density_, data)
        p, scores, found = judge.p_values(rows), judge.score_samples(rows), judge.outliers(rows, fdr=fdr)
    if save is not None:
        with writing(save):
            judge.save(save)
    order = np.lexsort((scores, p))
    strange = order[found[order]][:most]
    lines = _explained(judge, rows, strange, why, p)
    with writing(output):
        write_table(output, lines)
    facts, text = _told(lines, int(found.sum()), int(order[0]) + 1, len(p), fdr)
    say({"event": "result", "output": str(output)} | facts, f"{text}\nstrange rows: {output}", as_json=as_json)


def _taken(data: Path, ignore: Sequence[str], *, as_json: bool) -> tuple[Any, Schema | None]:
    """All rows of the table, and what its columns are where they are not all numbers."""
    taken = take(data, ignore=ignore, most=None, seed=0, flow="auto", known={}, schema=None)
    if taken.drawn_from is not None:  # too large to be judged at once: say so
        return read_table(data, ignore=ignore, kinds="numbers" if taken.schema is None else "any"), taken.schema
    if taken.schema is not None:
        text = f"mixed columns, as {taken.why}: judging by the joint law of FlowTable"
        say({"event": "mixed", "why": taken.why}, text, as_json=as_json)
    return taken.table, taken.schema


def _explained(judge: FlowOutlier | TableOutlier, rows: Any, strange: np.ndarray, why: int, p: np.ndarray) -> pa.Table:
    """A line for each strange row and column at fault; rows are counted from 1."""
    chosen = [strange[start : start + _TOGETHER] for start in range(0, len(strange), _TOGETHER)]
    parts = [_lines(judge, rows, places, why, p) for places in chosen or [np.array([0])]]
    return pa.concat_tables(parts) if chosen else parts[0].slice(0, 0)


def _lines(judge: FlowOutlier | TableOutlier, rows: Any, places: np.ndarray, why: int, p: np.ndarray) -> pa.Table:
    some = rows.take(places) if isinstance(rows, pa.Table) else rows[places]
    lines = judge.explain(some, why=why)
    row = places[lines["row"].to_numpy()]
    return lines.set_column(0, "row", pa.array(row + 1)).add_column(1, "p_value", pa.array(p[row]))


def _told(lines: pa.Table, found: int, lowest: int, rows: int, fdr: float) -> tuple[dict[str, Any], str]:
    """What to say about what was found: facts and text."""
    facts: dict[str, Any] = {"rows": rows, "fdr": fdr, "strange": found, "strangest_row": lowest}
    if not found:
        return facts, f"{rows} rows, none strange at a false discovery rate of {fdr:g}; the strangest is row {lowest}"
    text = [f"{rows} rows, {found} strange at a false discovery rate of {fdr:g}"]
    seen: set[int] = set()
    for line in lines.to_pylist():
        if line["row"] not in seen:
            if len(seen) == _SHOWN:
                break
            seen.add(line["row"])
            text.append(f"row {line['row']}, p {line['p_value']:.2g}")
        ends = " to ".join(_shown(line[name]) for name in ("usual_low", "usual_high") if line[name] is not None)
        usual = f"usual {ends}, most likely {_shown(line['likely'])}"
        text.append(f"  {line['column']} {_shown(line['value'], 6)}: {usual} ({line['surprise']:.1f} nats)")
    return facts, "\n".join(text)


def _shown(value: object, digits: int = 4) -> str:
    """A number in so many digits; of words as many as there is room for."""
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    text = str(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."
