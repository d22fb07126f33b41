"""The laws, as users get them from `unwarp.doctor`, and the zoo's objects in the two states that laws ask about."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

import torch

import zoo
from unwarp.distributions import Distribution
from unwarp.doctor._check import Law, laws_of
from unwarp.doctor._subject import Module, Subject, perturbed, subject_of
from unwarp.transforms import Elementwise
from unwarp.univariates import Univariate

__all__ = ["Law", "fresh", "laws_of", "pairs", "subject", "trained"]


def fresh(row: str) -> Module:
    """The row's object as it is before training, the same at every call; a scalar map as a layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = zoo.ZOO[row]()
    return Elementwise(2, made) if isinstance(made, Univariate) else made


def trained(row: str, scale: float = 0.2) -> Module:
    """The row's object as if trained: adapted to draws of its own space, then with noise on every parameter."""
    module = fresh(row)
    generator = torch.Generator().manual_seed(0)
    space = module.space if isinstance(module, Distribution) else module.domain
    x = space.draw(200, generator=generator)
    context = None if module.context_shape is None else torch.randn(200, *module.context_shape, generator=generator)
    module.adapt(x, context)
    return perturbed(module, scale=scale)


@cache
def subject(row: str, scale: float = 0.2) -> Subject:
    """The row's trained object, ready for the laws."""
    made = subject_of(trained(row, scale), fresh=lambda: fresh(row))
    return replace(made, truth=partial(zoo.TRUTHS[row], made.module)) if row in zoo.TRUTHS else made


def pairs() -> list[tuple[str, Law]]:
    """Every row of the zoo with every law that concerns it."""
    return [(row, law) for row in zoo.ZOO for law in laws_of(subject(row))]
