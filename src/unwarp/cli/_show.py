"""``unwarp show`` and ``unwarp check``: what a model or a table holds, and whether a model keeps the laws."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import torch
import typer

from unwarp import doctor
from unwarp.cli._out import Failure, check_output, say, writing
from unwarp.cli._rows import Json, as_array, read_rows
from unwarp.data import Encoding, Schema, infer_table, read_table
from unwarp.doctor import Audit
from unwarp.estimators import FlowDensity, FlowTable, load_estimator
from unwarp.flows import load_with_config

_TABLES = {".csv", ".tsv", ".txt", ".parquet", ".pq"}
_LOOK = 500  # rows whose scores are compared over orders of the columns

_Model = Annotated[Path, typer.Argument(help="A model file, as fit writes it.", show_default=False)]


def show(
    model: Annotated[Path, typer.Argument(help="A model file, as fit writes it, or a table.", show_default=False)],
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", show_default=False,
            help="Also write the columns here, NAME.toml or NAME.json, to be edited and given to fit --columns.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Show what is in a model file; all digests are checked on the way. Of a table, what its columns are, and why."""
    if output is not None:
        check_output(output, suffixes=(".toml", ".json"), inputs=(model,))
    if {suffix.lower() for suffix in model.suffixes} & _TABLES:
        schema = infer_table(read_table(model, kinds="any"))
        facts: dict[str, Any] = {"file": str(model), "columns": schema.to_json()}
        text = "\n".join([f"{model}: {len(schema.columns)} columns", *_columns(schema)])
    else:
        flow, config = load_with_config(model)
        parameters = sum(value.numel() for value in flow.parameters())
        facts = {"file": str(model), "bytes": model.stat().st_size, "parameters": parameters, "digests": "ok", **config}
        schema, text = Schema.from_json(config["columns"]) if config["columns"] else None, _describe(model, facts)
    if output is not None:
        if schema is None:
            raise Failure(f"{model}: expected a model of a table, for -o; got one without columns. Leave -o out.")
        with writing(output):
            schema.to_file(output)
        facts, text = facts | {"output": str(output)}, f"{text}\ncolumns: {output}"
    say(facts, text, as_json=as_json)


def check(
    model: _Model,
    *,
    data: Annotated[
        Path | None, typer.Option(help="A table: also tell on how many of its rows to rely.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Hold a model to the laws: inverses, log-determinants, mass one, samples like the density. Exits with 1 if not."""
    flow, config = load_with_config(model)
    estimator = load_estimator(model) if config["columns"] else None
    rows = None if data is None or estimator is None else read_rows(estimator, data)
    report = doctor.check(flow if estimator is None else estimator)
    facts, text = report.to_json(), str(report)
    if rows is not None and isinstance(estimator, FlowTable):
        facts["rows"], more = _ordered(estimator, rows)
        text = f"{text}\n\n{more}"
    elif rows is not None and isinstance(estimator, FlowDensity):
        audit = _audited(estimator, rows)
        facts["rows"] = {"trusted": int(audit.trusted.sum()), "all": len(rows)}
        text = f"{text}\n\n{audit}"
    say(facts, text, as_json=as_json)
    if not report.passed:
        raise typer.Exit(1)


def _ordered(estimator: FlowTable, rows: pa.Table) -> tuple[dict[str, Any], str]:
    """How many rows are possible, and how much their scores depend on the order of the columns."""
    some = rows.take(np.linspace(0, len(rows) - 1, min(len(rows), _LOOK)).astype(np.int64))
    possible = np.isfinite(estimator.score_samples(rows))
    spread = estimator.disagreement(some)[np.isfinite(estimator.score_samples(some))]
    half, most = (float(value) for value in np.quantile(spread, [0.5, 0.95])) if len(spread) else (None, None)
    facts = {"possible": int(possible.sum()), "all": len(rows), "order_median": half, "order_95": most}
    text = f"{facts['possible']} of {len(rows)} rows are possible"
    if half is not None:
        text += f"; other orders of the columns move scores by {half:.2f} nats (median; 95 %: {most:.2f})"
    return facts, text


def _audited(estimator: FlowDensity, rows: Any) -> Audit:
    """The rows that are possible under the model, as the flow sees them, judged one by one."""
    encoding = Encoding(estimator.schema_)
    values = as_array(rows)
    return doctor.audit(estimator.flow_, torch.from_numpy(encoding.events(values[encoding.possible(values)])))


def _describe(model: Path, facts: dict[str, Any]) -> str:
    spec = facts["spec"]
    options = ", ".join(f"{key}={value}" for key, value in spec["options"].items() if key not in {"support", "cells"})
    lines = [
        f"{model}: {spec['recipe']} of {spec['features']} features, schema {facts['unwarp']}",
        f"  {facts['parameters']:,} parameters in {facts['dtype']}, {facts['bytes']:,} bytes, digests ok",
        f"  options: {options}",
        "  made with " + ", ".join(f"{name} {version}" for name, version in facts["versions"].items()),
    ]
    if facts["columns"]:
        estimator = load_estimator(model)
        lines += ["columns:", *_columns(estimator.schema_), "training:"]
        lines += [f"  {line}" for line in estimator.history_.summary().splitlines()]
        lines.append(f"  seed {estimator.history_.seed}")
    return "\n".join(lines)


def _columns(schema: Schema) -> list[str]:
    """A line a column: what it is and why."""
    width = max(len(column.name) for column in schema.columns)
    kind = max(len(column.summary) for column in schema.columns)
    return [f"  {column.name:{width}}  {column.summary:{kind}}  {column.reason}".rstrip() for column in schema.columns]
