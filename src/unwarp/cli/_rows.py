"""``unwarp sample``, and what commands that take rows share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import typer

from unwarp.cli._known import known_of
from unwarp.cli._out import TABLES, Failure, check_output, say, writing
from unwarp.data import read_table, write_table
from unwarp.errors import DataError
from unwarp.estimators import FlowDensity, FlowTable, load_estimator

_LEAVE_OUT = re.compile(r" or leave (it|them) out with --ignore .*\.$", re.DOTALL)

Data = Annotated[Path, typer.Argument(help="A table: CSV or Parquet.", show_default=False)]
Model = Annotated[Path, typer.Option("--model", "-m", help="A model file, as fit writes it.", show_default=False)]
Output = Annotated[Path, typer.Option("--output", "-o", help="The table to write: CSV or Parquet.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def sample(
    *,
    model: Model,
    output: Output,
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, max=10**9, help="How many rows to draw.")] = 1000,
    given: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=VALUE",
            help="What is known of a column: a value, LOW:HIGH, or A|B; may be repeated. For mixed columns.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Makes the draw repeatable.")] = 0,
    as_json: Json = False,
) -> None:
    """Draw rows from a model; row i depends on the seed and i alone, so more rows begin with the same ones."""
    check_output(output, suffixes=TABLES, inputs=(model,))
    estimator = load_estimator(model)
    facts: dict[str, Any] = {"output": str(output), "rows": rows, "seed": seed}
    if isinstance(estimator, FlowTable):
        law = estimator.given(known_of(estimator.schema_, given or ()))
        drawn = law.sample(rows, random_state=seed)
        chance, error = law.probability()
        facts |= {"given": list(given or ()), "probability": chance, "probability_error": error}
    elif given:
        raise Failure(
            f"{model}: expected a model of mixed columns for --given; got one of numbers. Fit it with --flow mixed."
        )
    else:
        drawn = estimator.schema_.table(estimator.sample(rows, random_state=seed))
    with writing(output):
        write_table(output, drawn)
    text = f"{rows} rows drawn with seed {seed}" + (f", given {', '.join(given)}" if given else "")
    say(facts, f"{text}\nrows: {output}", as_json=as_json)


def read_rows(estimator: FlowDensity | FlowTable, data: Path) -> Any:
    """The rows of a file with the columns of a model: a table, or an array where the model was fitted to one."""
    if isinstance(estimator, FlowTable):
        return read_table(data, columns=columns_of(estimator), kinds="any")
    try:
        table = read_table(data, columns=estimator.schema_.names)
    except DataError as error:  # a model needs all of its columns
        raise DataError(_LEAVE_OUT.sub(".", str(error))) from error
    return table if "feature_names_in_" in vars(estimator) else as_array(table)


def columns_of(estimator: FlowDensity | FlowTable) -> list[str]:
    """Names of the columns that a model wants."""
    return [column.name for column in estimator.schema_.columns if column.role != "ignored"]


def as_array(rows: Any) -> Any:
    """A table's values, (rows, columns)."""
    return np.column_stack([column.to_numpy() for column in rows.columns]) if isinstance(rows, pa.Table) else rows
