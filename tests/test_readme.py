"""README, guides and manual pages: their examples run, their links lead somewhere, and nothing public is left out."""

from __future__ import annotations

import doctest
import math
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from unwarp import cli, distributions, flows, networks, transforms, univariates

TOP = Path(__file__).parents[1]
PAGES = [TOP / "README.md", TOP / "CONTRIBUTING.md", TOP / "CHANGELOG.md", *sorted((TOP / "docs").glob("*.md"))]
LONG = {"README.md", "command-line.md"}  # they fit models
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


class Checker(doctest.OutputChecker):
    """Numbers with a point may differ by a tenth, for machines round differently; durations and steps at will."""

    number = re.compile(r"-?\d+\.\d*")

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        want, got = (re.sub(r"\d+ steps left out.*\n", "", text) for text in (want, got))
        want, got = (re.sub(r"[\d.]+ (s|steps)\b", r"some \1", text) for text in (want, got))
        if super().check_output(want, got, optionflags):
            return True
        shape = [re.sub(r"\s", "", self.number.sub("#", text)) for text in (want, got)]
        values = [[float(number) for number in self.number.findall(text)] for text in (want, got)]
        alike = super().check_output(shape[0], shape[1], optionflags) and len(values[0]) == len(values[1])
        return alike and all(math.isclose(a, b, rel_tol=0.1) for a, b in zip(*values, strict=True))


def _examples(page: Path) -> doctest.DocTest:
    """The prompts of a page as one session, in the order of reading."""
    blocks = re.findall(r"```python\n(>>> .*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page.name, str(page), 0)


def _commands(page: Path) -> list[tuple[str, str]]:
    """The calls of the command line on a page, each with what it prints."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return re.findall(r"^\$ (unwarp .*?)\n(.*?)(?=^\$ |\Z)", "\n".join(blocks), re.DOTALL | re.MULTILINE)


def _pages(read: Callable[[Path], object]) -> list[object]:
    marks = dict.fromkeys(LONG, (pytest.mark.slow,))
    return [pytest.param(page, id=page.name, marks=marks.get(page.name, ())) for page in PAGES if read(page)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader of the pages works: with the tables that they name."""
    shutil.copytree(TOP / "examples" / "data", tmp_path / "examples" / "data")
    shutil.copy(TOP / "examples" / "data" / "pulsars.csv", tmp_path)
    (tmp_path / "trees.csv").write_text("height,kind\n12.5,oak\n9.25,elm\n")
    jobs = ["clerk", "cook", "", "smith"]
    people = [f"{20 + i % 41},{jobs[i % 4]},{'FR' if i % 3 else 'DE'},19{50 + i % 49}-02-03" for i in range(80)]
    (tmp_path / "people.csv").write_text("\n".join(["age,job,country,born", *people]))
    rng = np.random.default_rng(0)
    walk = [f"{i % 4},{mu},{np.exp(mu / 2 + 0.3 * rng.normal())}" for i, mu in enumerate(rng.normal(size=400))]
    (tmp_path / "draws.csv").write_text("\n".join(["chain,mu,tau", *walk]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", _pages(lambda page: _examples(page).examples))
def test_examples_run(page: Path) -> None:
    told: list[str] = []
    runner = doctest.DocTestRunner(Checker(), optionflags=FLAGS)
    failed, _ = runner.run(_examples(page), out=told.append)
    assert failed == 0, "".join(told)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", _pages(_commands))
def test_commands_print_what_the_page_says(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for call, want in _commands(page):
        cli.main(shlex.split(call)[1:])
        printed = capsys.readouterr()
        got = printed.out or printed.err
        assert Checker().check_output(want, got, FLAGS), f"{call}\n{got}"


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
