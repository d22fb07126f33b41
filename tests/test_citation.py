"""Citations: every recipe has one, every key is known, and no paper is there for nothing."""

from __future__ import annotations

import pytest

import unwarp
from unwarp import citation, distributions, flows, transforms, univariates
from unwarp.flows._papers import PAPERS
from unwarp.flows._references import SOURCES


@pytest.mark.parametrize("name", flows.names())
def test_recipe_has_a_source(name: str) -> None:
    assert SOURCES[name]


def test_table_is_whole() -> None:
    assert {key for keys in SOURCES.values() for key in keys} == set(PAPERS)
    public = {*flows.names(), *distributions.__all__, *transforms.__all__, *univariates.__all__}
    assert set(SOURCES) <= public
    assert list(PAPERS) == sorted(PAPERS)
    assert list(SOURCES) == sorted(SOURCES, key=lambda name: (not name[0].isupper(), name))


def test_citation_names_what_is_used_and_nothing_else() -> None:
    text = citation(flows.realnvp(2))
    assert "Real NVP" in text
    assert "1605.08803" in text
    assert "Spline" not in text
    assert "Spline" in citation(unwarp.flow("nsf", 2))
