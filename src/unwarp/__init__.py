"""unwarp: probability distributions with normalizing flows.

A flow is a chain of invertible maps `z = f(x)` from data to a simple latent; its exact density is
`log p(x) = log p(z) + log|det dz/dx|`.

    >>> model = flow("nsf", 2)
    >>> model.log_prob(torch.zeros(3, 2)).shape, model.sample((5,)).shape
    (torch.Size([3]), torch.Size([5, 2]))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unwarp import distributions, flows, functional, networks, training, transforms, univariates
    from unwarp._manifold import CholeskyFactor, CorrelationFactor, Ordered, Simplex, Sphere
    from unwarp._space import CIRCLE, POSITIVE, REAL, UNIT, Interval, Space
    from unwarp.distributions import Distribution, Flow, trace
    from unwarp.errors import UnwarpError
    from unwarp.estimators import FlowDensity, FlowOutlier, FlowTable
    from unwarp.flows import citation, flow, load, save
    from unwarp.training import fit, steps
    from unwarp.transforms import Transform

__all__ = [
    "CIRCLE",
    "POSITIVE",
    "REAL",
    "UNIT",
    "CholeskyFactor",
    "CorrelationFactor",
    "Distribution",
    "Flow",
    "FlowDensity",
    "FlowOutlier",
    "FlowTable",
    "Interval",
    "Ordered",
    "Simplex",
    "Space",
    "Sphere",
    "Transform",
    "UnwarpError",
    "citation",
    "distributions",
    "fit",
    "flow",
    "flows",
    "functional",
    "load",
    "networks",
    "save",
    "steps",
    "trace",
    "training",
    "transforms",
    "univariates",
]

_HOMES = {
    "_manifold": ("CholeskyFactor", "CorrelationFactor", "Ordered", "Simplex", "Sphere"),
    "_space": ("CIRCLE", "POSITIVE", "REAL", "UNIT", "Interval", "Space"),
    "distributions": ("Distribution", "Flow", "trace"),
    "errors": ("UnwarpError",),
    "estimators": ("FlowDensity", "FlowOutlier", "FlowTable"),
    "flows": ("citation", "flow", "load", "save"),
    "training": ("fit", "steps"),
    "transforms": ("Transform",),
}


_BESIDES = {"applications", "data", "doctor", "errors", "estimators", "plots", "report"}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: torch, scikit-learn and pydantic are heavy."""
    if name not in __all__ and name not in _BESIDES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = next((home for home, names in _HOMES.items() if name in names), None)
    module = importlib.import_module(f"unwarp.{home or name}")
    globals()[name] = module if home is None else vars(module)[name]
    return globals()[name]


def __dir__() -> list[str]:
    return [*globals(), *__all__]
