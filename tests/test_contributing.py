"""The worked example of CONTRIBUTING.md runs, and keeps the laws that it speaks of."""

from __future__ import annotations

import doctest
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from unwarp.networks import MLP
from unwarp.transforms import Coupling, Elementwise

GUIDE = Path(__file__).parents[1] / "CONTRIBUTING.md"


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    source = "\n\n".join(re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL))
    path = tmp_path_factory.mktemp("contributing") / "contributing_example.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def test_its_docstring_is_true(example: ModuleType) -> None:
    failed, tried = doctest.testmod(example)
    assert (failed, tried > 0) == (0, True)


def test_it_returns_what_it_came_from(example: ModuleType) -> None:
    f = example.Hinge()
    params = torch.randn(200, f.n_params, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = torch.linspace(-50, 50, 200, dtype=torch.float64)
    y, ladj = f.forward(x, params)
    back, ladj_back = f.inverse(y, params)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(ladj_back, -ladj)


def test_its_ladj_is_the_log_of_the_slope(example: ModuleType) -> None:
    f = example.Hinge()
    params = torch.randn(200, f.n_params, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = torch.linspace(-5, 5, 200, dtype=torch.float64, requires_grad=True)
    y, ladj = f.forward(x, params)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(ladj, slope.log())


def test_every_structure_takes_it(example: ModuleType) -> None:
    x = torch.linspace(-2, 2, 24).reshape(4, 6)
    for layer in (Coupling(6, example.Hinge(), MLP(3, 3)), Elementwise(6, example.Hinge())):
        z, ladj = layer(x)
        torch.testing.assert_close(z, x)  # zero parameters are the identity
        torch.testing.assert_close(ladj, torch.zeros(4))
