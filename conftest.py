"""The names that every example in a docstring may use without importing them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import unwarp
from unwarp import distributions, flows, networks, transforms, univariates


@pytest.fixture(autouse=True)
def _public_names(doctest_namespace: dict[str, Any]) -> None:
    doctest_namespace["torch"] = torch
    for package in (unwarp, distributions, flows, networks, transforms, univariates):
        doctest_namespace.update({name: getattr(package, name) for name in package.__all__})
