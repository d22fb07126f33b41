"""The shape of the source: who imports whom, what may be subclassed, how long things are, and what is never called."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "unwarp"
FILES = sorted(SOURCE.rglob("*.py"))
NAMES = [str(path.relative_to(SOURCE)) for path in FILES]

FOUNDATION = {"errors", "_check", "_random", "_space", "_manifold", "_files"}
MATHEMATICS = FOUNDATION | {"functional"}
BELOW: dict[str, set[str]] = {
    "errors": set(),
    "_space": {"errors"},
    "_check": {"errors", "_space"},
    "_manifold": {"errors", "_check", "_space"},
    "_files": {"errors"},
    "_random": set(),
    "kernels": {"errors"},
    "functional": FOUNDATION | {"kernels"},
    "univariates": MATHEMATICS,
    "networks": MATHEMATICS,
    "transforms": MATHEMATICS | {"univariates"},
    "distributions": MATHEMATICS | {"transforms"},
    "flows": MATHEMATICS | {"univariates", "networks", "transforms", "distributions"},
    "training": MATHEMATICS | {"transforms", "distributions"},
    "data": FOUNDATION | {"transforms"},
    "plots": FOUNDATION | {"distributions"},
}
UP_TO_FIVE = set(BELOW) - {"kernels"}
BELOW |= dict.fromkeys(("applications", "estimators", "doctor", "report"), UP_TO_FIVE)
BELOW |= {name: set(BELOW) - {"kernels"} for name in ("cli", "studio")}
BELOW |= {"__main__": {"cli"}, "__init__": set(BELOW) - {"kernels", "cli", "studio", "__main__"}}

INNER: dict[str, dict[str, set[str]]] = {
    "applications": {"_posteriors": set(), "_simulators": {"_posteriors"}, "_synthesis": set()},
}

OPTIONAL = {
    "matplotlib",
    "pyod",
    "pandas",
    "polars",
    "onnx",
    "fastapi",
    "uvicorn",
    "optuna",
    "sdmetrics",
    "xarray",
    "arviz",
    "h5netcdf",
    "jax",
    "numpyro",
}
MATHEMATICAL = {"errors", "_check", "_space", "functional", "univariates", "networks", "transforms", "distributions"}
NEVER_CALLED = {"eval", "exec", "print", "hasattr", "breakpoint"}
NEVER_IMPORTED = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "skops"}
LONGEST_FILE, LONGEST_BODY = 400, 50


@cache
def tree(name: str) -> ast.Module:
    return ast.parse((SOURCE / name).read_text(encoding="utf-8"))


def part_of(name: str) -> str:
    """The package or module of the table that a file belongs to."""
    return name.split("/", maxsplit=1)[0].removesuffix(".py")


def imports(node: ast.AST) -> Iterator[str]:
    """Every module or name that is imported anywhere inside `node`, absolute."""
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"line {child.lineno}: a relative import"
            yield from (f"{child.module}.{alias.name}" for alias in child.names)


@pytest.mark.parametrize("name", NAMES)
def test_imports_point_downward(name: str) -> None:
    part = part_of(name)
    used = {dotted.split(".")[1] for dotted in imports(tree(name)) if dotted.startswith("unwarp.")}
    assert part in BELOW, f"{part}: give it a place in the table"
    assert used - BELOW[part] - {part} == set()
    assert "unwarp" not in imports(tree(name)), "import what you need by its own path"


@pytest.mark.parametrize("name", NAMES)
def test_packages_are_entered_by_their_door(name: str) -> None:
    """A name with an underscore is for the folder that holds it and those within, save for types of base classes."""
    for dotted in imports(tree(name)):
        steps = dotted.split(".")
        for i in range(1, len(steps)):
            if steps[0] == "unwarp" and steps[i].startswith("_") and steps[i] != "_base":
                assert (SOURCE / name).is_relative_to(SOURCE.joinpath(*steps[1:i])), dotted


def test_inner_packages_have_a_place() -> None:
    """A package within a package is private and in the table above, and beside it there is the public door alone."""
    found = {path.parent.relative_to(SOURCE) for path in FILES if path.name == "__init__.py"}
    assert {path for path in found if len(path.parts) > 1} == {Path(a, b) for a in INNER for b in INNER[a]}
    for outer, inner in INNER.items():
        assert {path.name for path in FILES if path.parent == SOURCE / outer} == {"__init__.py"}
        assert all(name.startswith("_") for name in inner)


@pytest.mark.parametrize("name", [name for name in NAMES if part_of(name) in INNER])
def test_inner_imports_point_downward(name: str) -> None:
    outer, *rest = Path(name).parts
    known = INNER[outer]
    used = {dotted.split(".")[2] for dotted in imports(tree(name)) if dotted.startswith(f"unwarp.{outer}.")}
    assert used <= (known[rest[0]] | {rest[0]} if len(rest) > 1 else set(known))


@pytest.mark.parametrize("name", [name for name in NAMES if part_of(name) in MATHEMATICAL])
def test_mathematics_needs_torch_alone(name: str) -> None:
    for dotted in imports(tree(name)):
        top = dotted.split(".")[0]
        assert top in {"unwarp", "torch", "torchdiffeq"} or top in sys.stdlib_module_names, dotted


@pytest.mark.parametrize("name", NAMES)
def test_optional_packages_are_imported_where_they_are_used(name: str) -> None:
    for node in tree(name).body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not is_type_checking(node):
            assert {dotted.split(".")[0] for dotted in imports(node)} & OPTIONAL == set()


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


@pytest.mark.parametrize("name", NAMES)
def test_never_called(name: str) -> None:
    for node in ast.walk(tree(name)):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: assert"
        if isinstance(node, ast.Call):
            assert not (isinstance(node.func, ast.Name) and node.func.id in NEVER_CALLED), f"line {node.lineno}"
            text = ast.unparse(node.func)
            assert text not in {"torch.load", "torch.save", "torch.export.load"}, f"line {node.lineno}"
            words = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert words.get("allow_pickle", "False") == "False", f"line {node.lineno}: allow_pickle"
            assert words.get("shell", "False") == "False", f"line {node.lineno}: shell"
    assert {dotted.split(".")[0] for dotted in imports(tree(name))} & NEVER_IMPORTED == set()
    assert not any(dotted.endswith(".*") for dotted in imports(tree(name))), "import *"


@pytest.mark.parametrize("name", NAMES)
def test_global_state_is_left_alone(name: str) -> None:
    """No setter of global state is called; seeding is allowed where `fork_rng` puts the old state back."""
    setters = ("set_default_dtype", "set_default_device", "set_num_threads", "use_deterministic_algorithms")
    seeders = ("torch.manual_seed", "torch.seed", "np.random.seed", "numpy.random.seed", "random.seed")
    forked = {
        id(child)
        for node in ast.walk(tree(name))
        if isinstance(node, ast.With) and any("fork_rng" in ast.unparse(item) for item in node.items)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Call):
            text = ast.unparse(node.func)
            assert not text.endswith(setters), f"line {node.lineno}: {text}"
            assert text not in seeders or id(node) in forked, f"line {node.lineno}: {text}"


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_immutable(name: str) -> None:
    for node in ast.walk(tree(name)):
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            for default in [*node.args.defaults, *node.args.kw_defaults]:
                assert not isinstance(default, (ast.List, ast.Dict, ast.Set, ast.ListComp)), f"line {node.lineno}"


@pytest.mark.parametrize("name", NAMES)
def test_lengths(name: str) -> None:
    lines = (SOURCE / name).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST_FILE
    for node in ast.walk(tree(name)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert length <= LONGEST_BODY, f"{node.name}: {length} lines"


@pytest.mark.parametrize("name", NAMES)
def test_files_have_a_subject(name: str) -> None:
    assert not {"utils", "helpers", "common", "core", "misc"} & {
        part.strip("_") for part in Path(name).with_suffix("").parts
    }
    assert ast.get_docstring(tree(name)), "say in a line what the file holds"


def classes() -> dict[str, ast.ClassDef]:
    found = [node for name in NAMES for node in ast.walk(tree(name)) if isinstance(node, ast.ClassDef)]
    return {node.name: node for node in found}


def test_a_class_is_abstract_or_final() -> None:
    """What is subclassed inside the package has something abstract; errors and sets of options are the exceptions."""
    errors = {node.name for node in tree("errors.py").body if isinstance(node, ast.ClassDef)}
    known = classes()
    for node in known.values():
        for base in node.bases:
            parent = ast.unparse(base).split(".")[-1].split("[")[0]
            ours = not ast.unparse(base).startswith("torch.")
            if ours and parent in known and parent not in errors:
                assert is_abstract(known[parent]), f"{node.name} is a subclass of {parent}, which is not abstract"


def is_abstract(node: ast.ClassDef) -> bool:
    bases = {ast.unparse(base).split(".")[-1].split("[")[0] for base in node.bases}
    marks = {ast.unparse(mark).split(".")[-1] for member in node.body for mark in getattr(member, "decorator_list", [])}
    return bool({"ABC", "Protocol", "TypedDict"} & bases) or "abstractmethod" in marks
