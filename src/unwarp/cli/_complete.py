"""``unwarp complete``: a table with its gaps filled."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import pyarrow as pa
import typer

from unwarp.cli._out import TABLES, Failure, check_output, say, writing
from unwarp.cli._rows import Data, Json, Model, Output
from unwarp.data import read_table, write_table
from unwarp.estimators import FlowTable, load_estimator


def complete(
    data: Data,
    *,
    model: Model,
    output: Output,
    copies: Annotated[
        int, typer.Option(min=1, max=1000, help="Fill so many times; of more than one, column copy says which.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Makes the draws repeatable.")] = 0,
    as_json: Json = False,
) -> None:
    """Fill the gaps of a table with draws given the rest of each row. Cells that are there stay.

    Copies differ where cells are uncertain: what is computed from each, and then compared, tells by how much.
    """
    check_output(output, suffixes=TABLES, inputs=(data, model))
    estimator = load_estimator(model)
    if not isinstance(estimator, FlowTable):
        raise Failure(f"{model}: expected a model of mixed columns; got one of numbers. Fit it with --flow mixed.")
    table = read_table(data, kinds="any")
    if copies > 1 and "copy" in table.column_names:
        raise Failure(f"{data}: expected no column 'copy' beside --copies; got one. Rename it.", 3)
    wanted = [column.name for column in estimator.schema_.modelled if column.name in table.column_names]
    gaps = {name: int(np.count_nonzero(table[name].is_null(nan_is_null=True))) for name in wanted}
    filled = (estimator.complete(table, random_state=seed + copy) for copy in range(copies))
    with writing(output):
        write_table(output, (_numbered(rows, copy) if copies > 1 else rows for copy, rows in enumerate(filled, 1)))
    holed = {name: count for name, count in gaps.items() if count}
    facts = {"output": str(output), "rows": len(table), "copies": copies, "gaps": holed, "seed": seed}
    named = ", ".join(f"{name} {count:,}" for name, count in holed.items())
    text = f"{len(table)} rows, {sum(holed.values()):,} gaps filled" + (f": {named}" if named else "")
    text += f"; {copies} copies, one after the other" if copies > 1 else ""
    say(facts, f"{text}\nrows: {output}", as_json=as_json)


def _numbered(rows: pa.Table, copy: int) -> pa.Table:
    return rows.add_column(0, "copy", pa.array([copy] * len(rows)))
