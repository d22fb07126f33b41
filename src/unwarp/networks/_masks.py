"""Who sees whom inside a masked network: the order of its outputs, and the masks of its layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from unwarp.errors import ConfigError

__all__ = ["Plan", "along", "in_passes"]


class Plan(NamedTuple):
    """What a masked network is built from; inputs and outputs are in the order of the steps.

    Attributes:
        steps: which features' outputs are known together, step by step.
        masks: of each layer, `(outputs, inputs)`; the last has one row for each feature.
        ready: for each hidden layer, after how many steps each of its units is known, ascending.
    """

    steps: tuple[tuple[int, ...], ...]
    masks: list[Tensor]
    ready: list[Tensor]


def in_passes(features: int, passes: int, hidden: Sequence[int], *, context: bool) -> Plan:
    """Consecutive groups of features, as even as can be; each sees all groups before it."""
    bounds = [features * k // passes for k in range(passes + 1)]
    steps = tuple(tuple(range(a, b)) for a, b in pairwise(bounds))
    group = torch.arange(passes).repeat_interleave(torch.tensor([len(step) for step in steps]))
    lowest = 0 if context or passes == 1 else 1
    ready = [_spread(size, lowest, passes - 1) for size in hidden]
    layers = [group + 1, *ready, group]
    return Plan(steps, [b.unsqueeze(-1) >= a for a, b in pairwise(layers)], ready)


def along(features: int, adjacency: Iterable[tuple[int, int]], hidden: Sequence[int], *, context: bool) -> Plan:
    """Features by their depth in the graph of the pairs (child, parent); each sees its parents alone.

    A hidden unit sees the parents of one feature, or of several that have the same. Each such set has one unit at
    least in every layer, and feeds on the units of its subsets.
    """
    parents = _parents(features, adjacency)
    depth = _depths(parents)
    order = sorted(range(features), key=depth.__getitem__)
    steps = tuple(tuple(level) for _, level in groupby(order, depth.__getitem__))
    kinds = sorted(
        {frozenset(group) for group in parents if group or context} or {frozenset[int]()},
        key=lambda kind: (max((depth[i] + 1 for i in kind), default=0), sorted(kind)),
    )
    place = {i: position for position, i in enumerate(order)}
    sees = torch.zeros(len(kinds), features)
    for row, kind in enumerate(kinds):
        sees[row, [place[i] for i in kind]] = 1.0
    known = torch.tensor([max((depth[i] + 1 for i in kind), default=0) for kind in kinds])
    wanted = torch.zeros(features, features)
    for i, group in enumerate(parents):
        wanted[place[i], [place[j] for j in group]] = 1.0
    chosen = [torch.arange(n := max(size, len(kinds))) * len(kinds) // n for size in hidden]
    layers = [torch.eye(features), *(sees[index] for index in chosen), wanted]
    masks = [b @ a.mT == a.sum(-1) for a, b in pairwise(layers)]  # is a's set within b's?
    return Plan(steps, masks, [known[index] for index in chosen])


def _parents(features: int, adjacency: Iterable[tuple[int, int]]) -> list[set[int]]:
    parents: list[set[int]] = [set() for _ in range(features)]
    for child, parent in adjacency:
        if not (0 <= child < features and 0 <= parent < features):
            raise ConfigError(
                f"MaskedMLP: expected adjacency to hold pairs (child, parent) of 0 to {features - 1}; "
                f"got {(child, parent)}. Count features from 0."
            )
        parents[child].add(parent)
    return parents


def _depths(parents: Sequence[set[int]]) -> list[int]:
    """The length of the longest way to each feature, in time that grows with the pairs."""
    children: list[list[int]] = [[] for _ in parents]
    for child, group in enumerate(parents):
        for parent in group:
            children[parent].append(child)
    waits = [len(group) for group in parents]
    depth = [0] * len(parents)
    known = [i for i, count in enumerate(waits) if not count]
    for i in known:  # grows while it is read
        for child in children[i]:
            depth[child] = max(depth[child], depth[i] + 1)
            waits[child] -= 1
            if not waits[child]:
                known.append(child)
    left = {i for i, count in enumerate(waits) if count}
    if left:
        raise ConfigError(
            f"MaskedMLP: expected adjacency without a cycle; got {_cycle(parents, left)}. Take one of these away."
        )
    return depth


def _cycle(parents: Sequence[set[int]], left: set[int]) -> str:
    """One cycle among the features that are left, each of which waits for another."""
    place: dict[int, int] = {}
    at = min(left)
    while at not in place:
        place[at] = len(place)
        at = min(parents[at] & left)
    way = [*list(place)[place[at] :], at]
    way = way if len(way) <= 12 else [*way[:6], "...", *way[-5:]]
    return " <- ".join(map(str, way))


def _spread(size: int, low: int, high: int) -> Tensor:
    """`size` whole numbers evenly spaced from low to high, sorted."""
    if size == 1:
        return torch.full((1,), high)
    return low + (torch.arange(size) * (high - low) + (size - 1) // 2).div(size - 1, rounding_mode="floor")
