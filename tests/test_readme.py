"""README, guides and manual pages: their examples run, their links lead somewhere, and nothing public is left out."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from unwarp import distributions, flows, networks, transforms, univariates

TOP = Path(__file__).parents[1]
PAGES = [TOP / "README.md", TOP / "CONTRIBUTING.md", TOP / "CHANGELOG.md", *sorted((TOP / "docs").glob("*.md"))]


def _examples(page: Path) -> doctest.DocTest:
    """The prompts of a page as one session, in the order of reading."""
    blocks = re.findall(r"```python\n(>>> .*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page.name, str(page), 0)


def _pages_with_examples() -> list[Path]:
    return [page for page in PAGES if _examples(page).examples]


@pytest.mark.parametrize("page", _pages_with_examples(), ids=lambda page: page.name)
def test_examples_run(page: Path) -> None:
    told: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    failed, _ = runner.run(_examples(page), out=told.append)
    assert failed == 0, "".join(told)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", ["README.md", "docs/flows.md"])
def test_every_recipe_has_its_line(page: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*arxiv\.org", (TOP / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == flows.names()


@pytest.mark.parametrize("package", [univariates, transforms, networks, distributions], ids=lambda p: p.__name__)
def test_every_part_has_its_line(package: object) -> None:
    page = (TOP / "docs" / "transforms.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", page))
    assert [name for name in package.__all__ if name not in named] == []


def test_the_changelog_begins_with_this_version() -> None:
    pyproject = (TOP / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.*)"$', pyproject, re.MULTILINE)
    released = re.search(r"^## \[(\d.*?)\]", (TOP / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None
    assert released is not None
    assert version[1] == released[1]
