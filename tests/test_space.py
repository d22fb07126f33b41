"""Spaces: what they contain, and that their coordinates measure the volume that each of them names."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from unwarp import CIRCLE, POSITIVE, REAL, CholeskyFactor, CorrelationFactor, Interval, Ordered, Simplex, Space, Sphere
from unwarp.errors import ConfigError, UnwarpError

SPACES: dict[str, Space] = {
    "circle": Space((2,), CIRCLE),
    "sphere 2": Space((2,), Sphere(2)),
    "sphere 3": Space((3,), Sphere(3)),
    "sphere 5": Space((5,), Sphere(5)),
    "two spheres": Space((2, 3), Sphere(3)),
    "simplex": Space((4,), Simplex(4)),
    "ordered": Space((3,), Ordered(3)),
    "factor": Space((3, 3), CholeskyFactor(3)),
    "correlation": Space((4, 4), CorrelationFactor(4)),
    "mixed": Space((8,), (REAL, Sphere(3), CIRCLE, Simplex(2), POSITIVE)),
    "image": Space((2, 1, 2), (POSITIVE, Interval(0.0, 2.0))),
}


def by_gram(jacobian: Tensor) -> Tensor:
    """Area in space of a cell of coordinates."""
    return 0.5 * (jacobian.mT @ jacobian).logdet()


def by_entries(*which: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    """Volume of the listed entries of a cell of coordinates."""
    return lambda jacobian: torch.stack([jacobian[i] for i in which]).det().abs().log()


def lower(n: int, diagonal: int) -> list[tuple[int, ...]]:
    return [(i, j) for i, j in torch.tril_indices(n, n, diagonal).T.tolist()]


MEASURES = {
    "sphere 2": by_gram,
    "sphere 3": by_gram,
    "sphere 5": by_gram,
    "simplex": by_entries(*[(i,) for i in range(3)]),
    "ordered": by_entries(*[(i,) for i in range(3)]),
    "factor": by_entries(*lower(3, 0)),
    "correlation": by_entries(*lower(4, -1)),
}


@pytest.mark.parametrize("name", SPACES)
def test_coordinates_come_back(name: str) -> None:
    space = SPACES[name]
    x = space.draw(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert x.shape == (50, *space.shape)
    assert bool(space.contains(x).all())
    u, ladj = space.to_coordinates(x)
    assert bool(space.flat.contains(u).all())
    assert ladj.shape == (50,)
    again, back = space.from_coordinates(u)
    assert torch.allclose(again, x, atol=1e-12)
    assert torch.allclose(ladj, -back, atol=1e-12)
    assert bool(space.contains(space.center))


@pytest.mark.parametrize("name", MEASURES)
def test_coordinates_measure_volume(name: str) -> None:
    space = SPACES[name]
    for x in space.draw(5, generator=torch.Generator().manual_seed(1), dtype=torch.float64):
        u = space.to_coordinates(x)[0]
        jacobian = torch.func.jacrev(lambda v: space.from_coordinates(v)[0])(u)
        assert torch.allclose(space.from_coordinates(u)[1], MEASURES[name](jacobian), atol=1e-9)


@pytest.mark.parametrize("name", SPACES)
def test_what_is_moved_out_is_outside(name: str) -> None:
    space = SPACES[name]
    x = space.draw(20, generator=torch.Generator().manual_seed(0))
    assert not bool(space.contains(torch.full_like(x, torch.nan)).any())
    falling = torch.linspace(20, -20, space.entries).reshape(space.shape)
    assert not bool(space.contains(falling.expand_as(x)).any())


def test_angles_differ_around_the_circle() -> None:
    space = Space((2,), (CIRCLE, REAL))
    gap = space.difference(torch.tensor([3.1, 3.1]), torch.tensor([-3.1, -3.1]))
    assert torch.allclose(gap, torch.tensor([6.2 - 2 * math.pi, 6.2]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Sphere(1),
        lambda: Simplex(1),
        lambda: Space((4,), Sphere(3)),
        lambda: Space((4,), (Sphere(3),)),
        lambda: Space((2, 2), (CholeskyFactor(2),)),
        lambda: Space((3,), (REAL, REAL)),
    ],
)
def test_impossible_spaces_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert isinstance(caught.value, UnwarpError)
