"""The public names: sorted, present, documented, each in one place; and what an import does to its surroundings."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from torch.nn import Module

import unwarp
from unwarp import flows
from unwarp.univariates import Univariate

SOURCE = Path(unwarp.__file__).parent
PACKAGES = sorted(
    path.stem if path.is_file() else path.name
    for path in SOURCE.iterdir()
    if not path.name.startswith("_") and (path.suffix == ".py" or (path / "__init__.py").exists())
)
INNER = {
    name: sorted(path.parent.name for path in (SOURCE / name).glob("_*/__init__.py"))
    for name in PACKAGES
    if (SOURCE / name).is_dir()
}


def package(name: str) -> ModuleType:
    return importlib.import_module(f"unwarp.{name}")


def in_order(names: list[str]) -> list[str]:
    """Constants, then classes, then the rest, each by the alphabet."""
    return sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))


@pytest.mark.parametrize("name", PACKAGES)
def test_names_are_sorted_and_exist(name: str) -> None:
    module = package(name)
    assert list(module.__all__) == in_order(module.__all__)
    assert [missing for missing in module.__all__ if missing not in vars(module)] == []


@pytest.mark.parametrize("name", [name for name, inner in INNER.items() if inner])
def test_a_door_offers_what_its_inner_doors_do(name: str) -> None:
    inner = [package(f"{name}.{part}") for part in INNER[name]]
    for module in inner:
        assert module.__doc__
        assert list(module.__all__) == in_order(module.__all__)
        assert [public for public in module.__all__ if vars(module)[public] is not vars(package(name))[public]] == []
    assert sorted(package(name).__all__) == sorted(public for module in inner for public in module.__all__)


def test_top_level_is_short() -> None:
    assert list(unwarp.__all__) == in_order(unwarp.__all__)
    assert [missing for missing in unwarp.__all__ if not hasattr(unwarp, missing)] == []
    own = [name for name in unwarp.__all__ if not inspect.ismodule(getattr(unwarp, name))]
    assert len(own) <= 30


def test_each_thing_has_one_public_path() -> None:
    """Besides the top level, no object is offered by two packages."""
    homes: dict[int, list[str]] = {}
    for name in PACKAGES:
        module = package(name)
        for public in module.__all__:
            thing = getattr(module, public)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                homes.setdefault(id(thing), []).append(f"{name}.{public}")
    assert [paths for paths in homes.values() if len(paths) > 1] == []


@pytest.mark.parametrize("name", PACKAGES)
def test_public_names_are_documented(name: str) -> None:
    module = package(name)
    assert module.__doc__
    for public in module.__all__:
        thing = getattr(module, public)
        if inspect.isclass(thing):
            assert vars(thing).get("__doc__"), public
            for member, value in vars(thing).items():
                if not member.startswith("_") and inspect.isfunction(value):
                    assert inspect.getdoc(getattr(thing, member)), f"{public}.{member}"
        elif inspect.isfunction(thing):
            assert thing.__doc__, public


@pytest.mark.parametrize("name", ["univariates", "transforms", "distributions", "networks"])
def test_classes_say_when_to_use_them_and_show_it(name: str) -> None:
    for public in package(name).__all__:
        thing = getattr(package(name), public)
        if inspect.isclass(thing) and issubclass(thing, (Module, Univariate)) and not inspect.isabstract(thing):
            text = inspect.getdoc(thing) or ""
            assert ">>>" in text, f"{public} has no example"
            assert "Use it" in text or name == "distributions", f"{public} does not say when to use it"
            assert "Shapes:" in text or public in {"Compose", "Inverse", "Flow"}, f"{public} has no shapes"


@pytest.mark.parametrize("name", PACKAGES)
def test_switches_are_words(name: str) -> None:
    """No public function of ours takes a boolean switch by position; scikit-learn's own method names keep theirs."""
    for public in package(name).__all__:
        thing = getattr(package(name), public)
        if inspect.isfunction(thing):
            for parameter in inspect.signature(thing).parameters.values():
                assert not isinstance(parameter.default, bool), f"{public}({parameter.name}=...)"


@pytest.mark.parametrize("name", flows.names())
def test_recipes_take_everything_but_the_size_by_name(name: str) -> None:
    first, *rest = inspect.signature(getattr(flows, name)).parameters.values()
    assert first.name == "features"
    assert {parameter.kind for parameter in rest} == {inspect.Parameter.KEYWORD_ONLY}


QUIET_IMPORT = """
import logging, os, random, signal, sys, warnings
import numpy, pyarrow, pydantic, rich.console, safetensors.torch, sklearn.base, sklearn.utils, torch, typer
def world():
    return {
        "dtype": torch.get_default_dtype(), "threads": torch.get_num_threads(), "grad": torch.is_grad_enabled(),
        "torch": torch.get_rng_state().tolist(), "python": random.getstate(), "numpy": str(numpy.random.get_state()),
        "deterministic": torch.are_deterministic_algorithms_enabled(), "errors": numpy.geterr(),
        "environment": dict(os.environ), "logging": tuple(logging.getLogger().handlers),
        "interrupt": signal.getsignal(signal.SIGINT), "warnings": list(warnings.filters),
    }
before = world()
import unwarp
import unwarp.cli
after = world()
changed = [name for name in before if before[name] != after[name]]
print(changed, sorted({"matplotlib", "polars", "fastapi", "optuna", "torchdiffeq", "torch._dynamo"} & set(sys.modules)))
"""


def test_import_is_quiet_and_touches_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", QUIET_IMPORT], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("[] []", "", 0)


LIGHT_IMPORT = """
import sys
import unwarp
import unwarp.cli
light = set(sys.modules)
unwarp.flow, unwarp.fit, unwarp.save
heavy = {"torch", "sklearn", "scipy", "pandas", "pyarrow", "pydantic"}
print(sorted(heavy & light), sorted(heavy & set(sys.modules) - {"torch", "pydantic"}))
"""


def test_what_is_heavy_is_imported_when_it_is_needed() -> None:
    """Help comes at once, and flows need neither scikit-learn nor tables."""
    done = subprocess.run([sys.executable, "-c", LIGHT_IMPORT], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[] []", "")


MODULES = """
import sys
import torch
before = set(sys.modules)
import unwarp
unwarp.flow, unwarp.fit
print(len(set(sys.modules) - before), unwarp.flows._recipe._model.cache_info().currsize)
"""
HELP = "import sys, unwarp.cli; unwarp.cli.main(['--help']); print(len(sys.modules), file=sys.stderr)"


def test_starting_takes_few_modules() -> None:
    """Counted rather than timed: modules beyond torch's, bounds of options made before any is used, those of help."""
    done = subprocess.run([sys.executable, "-c", MODULES], capture_output=True, text=True, check=True)
    modules, made = map(int, done.stdout.split())
    assert modules <= 250 and made == 0
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    assert int(done.stderr) <= 450


def test_the_top_level_says_what_it_lacks() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        unwarp.nothing  # noqa: B018
    assert set(unwarp.__all__) <= set(dir(unwarp))
    assert unwarp.errors.UnwarpError is unwarp.UnwarpError
