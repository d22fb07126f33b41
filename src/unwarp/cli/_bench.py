"""``unwarp bench``: what this machine can do, and how much of it flows reach."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unwarp import doctor
from unwarp.cli._out import say
from unwarp.flows import flow, load

_MODEL = "Measure the flow of this model file instead."


def bench(
    recipes: Annotated[
        list[str] | None, typer.Argument(help="Recipes for vectors: realnvp, maf and nsf by default.")
    ] = None,
    *,
    model: Annotated[Path | None, typer.Option("--model", "-m", help=_MODEL, show_default=False)] = None,
    features: Annotated[int, typer.Option(min=1, help="Of the recipes' flows.")] = 8,
    batch: Annotated[int, typer.Option(min=1, help="Rows at a time.")] = 512,
    seconds: Annotated[float, typer.Option(min=0.001, help="To spend on each figure.")] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure the machine, and how fast flows train, score and sample on it. OMP_NUM_THREADS sets the threads."""
    if model is not None:
        flows = [(str(model), load(model))]
    else:
        flows = [(name, flow(name, features)) for name in recipes or ("realnvp", "maf", "nsf")]
    machine = doctor.limits(seconds=seconds)
    found = [doctor.speed(one, batch=batch, seconds=seconds, name=name, machine=machine) for name, one in flows]
    facts = {"limits": machine.to_json(), "flows": [one.to_json() for one in found]}
    say(facts, "\n\n".join([f"machine: {machine}", *map(str, found)]), as_json=as_json)
