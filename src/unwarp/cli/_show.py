"""``unwarp show`` and ``unwarp check``: what a model file holds, and whether its model keeps the laws."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from unwarp import doctor
from unwarp.cli._out import say
from unwarp.cli._rows import Json, as_array, read_rows
from unwarp.data import Encoding
from unwarp.doctor import Audit
from unwarp.estimators import FlowDensity
from unwarp.flows import load_with_config

_Model = Annotated[Path, typer.Argument(help="A model file, as fit writes it.", show_default=False)]


def show(model: _Model, *, as_json: Json = False) -> None:
    """Show what is in a model file; all digests are checked on the way."""
    flow, config = load_with_config(model)
    parameters = sum(value.numel() for value in flow.parameters())
    facts = {"file": str(model), "bytes": model.stat().st_size, "parameters": parameters, "digests": "ok", **config}
    say(facts, _describe(model, facts), as_json=as_json)


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
    estimator = FlowDensity.load(model) if config["columns"] else None
    rows = None if data is None or estimator is None else read_rows(estimator, data)
    report = doctor.check(flow if estimator is None else estimator)
    facts, text = report.to_json(), str(report)
    if rows is not None and estimator is not None:
        audit = _audited(estimator, rows)
        facts["rows"] = {"trusted": int(audit.trusted.sum()), "all": len(rows)}
        text = f"{text}\n\n{audit}"
    say(facts, text, as_json=as_json)
    if not report.passed:
        raise typer.Exit(1)


def _audited(estimator: FlowDensity, rows: Any) -> Audit:
    """The rows that are possible under the model, as the flow sees them, judged one by one."""
    encoding = Encoding(estimator.schema_)
    values = as_array(rows)
    return doctor.audit(estimator.flow_, torch.from_numpy(encoding.events(values[encoding.possible(values)])))


def _describe(model: Path, facts: dict[str, Any]) -> str:
    spec = facts["spec"]
    options = ", ".join(f"{key}={value}" for key, value in spec["options"].items() if key != "support")
    lines = [
        f"{model}: {spec['recipe']} of {spec['features']} features, schema {facts['unwarp']}",
        f"  {facts['parameters']:,} parameters in {facts['dtype']}, {facts['bytes']:,} bytes, digests ok",
        f"  options: {options}",
        "  made with " + ", ".join(f"{name} {version}" for name, version in facts["versions"].items()),
    ]
    if facts["columns"]:
        estimator = FlowDensity.load(model)
        columns = estimator.schema_.columns
        width = max(len(column.name) for column in columns)
        kind = max(len(column.summary) for column in columns)
        lines.append("columns:")
        lines += [f"  {column.name:{width}}  {column.summary:{kind}}  {column.reason}".rstrip() for column in columns]
        lines.append("training:")
        lines += [f"  {line}" for line in estimator.history_.summary().splitlines()]
        lines.append(f"  seed {estimator.history_.seed}")
    return "\n".join(lines)
