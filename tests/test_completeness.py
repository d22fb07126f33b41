"""Nothing public is left out: every class is in the zoo, every recipe in the zoo, the README and the docs."""

from __future__ import annotations

import inspect
import re
from functools import cache
from pathlib import Path

import pytest
from torch import nn

import laws
import zoo
from unwarp import distributions, flows, networks, transforms, univariates
from unwarp.transforms import Autoregressive, Coupling, Elementwise
from unwarp.univariates import Univariate

ROOT = Path(__file__).parent.parent
CLASSES = [
    pytest.param(thing, id=f"{package.__name__.split('.')[-1]}.{name}")
    for package in (distributions, networks, transforms, univariates)
    for name, thing in inspect.getmembers(package, inspect.isclass)
    if name in package.__all__ and issubclass(thing, (nn.Module, Univariate)) and not inspect.isabstract(thing)
]


@cache
def shown() -> set[type]:
    """The classes of all objects in the zoo and of all their parts."""
    found: set[type] = set()
    for row in zoo.ZOO:
        module: nn.Module = laws.fresh(row)
        for part in module.modules():
            found.add(type(part))
            if isinstance(part, (Coupling, Autoregressive, Elementwise)):
                found.add(type(part.univariate))
    return found


@pytest.mark.parametrize("thing", CLASSES)
def test_class_is_in_the_zoo(thing: type) -> None:
    assert thing in shown(), f"add a row for {thing.__name__} to tests/zoo/"


@cache
def recipes_shown() -> set[str]:
    specs = [laws.fresh(row).spec for row in zoo.DISTRIBUTIONS if isinstance(laws.fresh(row), distributions.Flow)]
    return {spec["recipe"] for spec in specs if spec is not None}


@pytest.mark.parametrize("name", flows.names())
def test_recipe_is_in_the_zoo(name: str) -> None:
    assert name in recipes_shown()


@pytest.mark.parametrize("name", flows.names())
def test_recipe_is_in_the_readme_table(name: str) -> None:
    rows = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert any(f"`{name}`" in row.split("|")[1] for row in rows), f"give {name} a row in README's table of flows"


@pytest.mark.parametrize("name", flows.names())
def test_recipe_is_in_the_docs(name: str) -> None:
    pages = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.rst")]
    assert any(re.search(rf"\b{name}\b", page.read_text(encoding="utf-8")) for page in pages)


@pytest.mark.parametrize("name", flows.names("vectors"))
def test_recipe_for_vectors_is_drawn_in_the_ideas(name: str) -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "ideas").glob("plot_*.py"))
    assert f'"{name}"' in pages, f"train {name} on a page of docs/ideas and draw it by plots.warp"


def test_every_law_bites_somewhere() -> None:
    """No law is skipped by all of the zoo, save the one for bounds, which has its own case."""
    silent = {law.__name__ for _, law in laws.pairs()} - {"is_a_bound"}
    for row, law in laws.pairs():
        if law.__name__ in silent and law.__name__ != "compiles" and law(laws.subject(row)).verdict == "pass":
            silent.discard(law.__name__)
        if silent <= {"compiles"}:
            return
    assert silent <= {"compiles"}
