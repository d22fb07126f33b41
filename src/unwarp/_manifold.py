"""Sets of vectors and matrices: spheres, simplices, ordered vectors, and factors of covariances and correlations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from unwarp import _check
from unwarp._space import CIRCLE, POSITIVE, REAL, UNIT, Interval, Manifold, Space, Support
from unwarp.errors import ConfigError, SpaceError

__all__ = ["CholeskyFactor", "CorrelationFactor", "Ordered", "Simplex", "Sphere", "fill_lower", "side_by_side"]

_SIGNED = Interval(-1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Sphere(Manifold):
    r"""Unit vectors of n entries; volume is surface area.

    Coordinates are cylindrical: the angle of the first two entries, and for each further entry k its share
    $r_k = x_k / \sqrt{x_0^2 + \dots + x_k^2}$. Area is $\prod_k (1 - r_k^2)^{(k - 2)/2}$ of the coordinates' volume.

    Args:
        features: n, at least 2.

    Raises:
        ConfigError: if `features < 2`.

    Source: Rezende et al., *Normalizing Flows on Tori and Spheres*, 2020, arXiv:2002.02428, section 2.3.1.
    """

    features: int

    def __post_init__(self) -> None:
        _check.at_least("Sphere", "features", self.features, 2)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.features,)

    @property
    def center(self) -> Tensor:
        return torch.full(self.shape, self.features**-0.5)

    @property
    def special(self) -> Tensor:
        eye = torch.eye(self.features, dtype=torch.float64)
        near = F.normalize(eye + 1e-6 * torch.ones_like(eye), dim=-1)
        return torch.cat([eye, -eye, near, -near])

    @property
    def coordinates(self) -> tuple[Support, ...]:
        return (CIRCLE, *[_SIGNED] * (self.features - 2))

    def contains(self, x: Tensor) -> Tensor:
        return (x.square().sum(-1) - 1).abs() <= 4 * _roundings(x)

    def draw(
        self, batch: Sequence[int], *, generator: Generator | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        x = torch.randn((*batch, self.features), generator=generator, dtype=dtype)
        return F.normalize(x, dim=-1)

    def to_coordinates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second, rest = x.split([1, 1, self.features - 2], -1)
        plane = first.square() + second.square()
        upto = plane + rest.square().cumsum(-1)
        tiny = torch.finfo(x.dtype).tiny  # up to which no direction is left: any will do
        lost, none = plane <= tiny, upto <= tiny
        angle = torch.atan2(torch.where(lost, 0.0, second), torch.where(lost, 1.0, first))
        share = _inside(torch.where(none, 0.0, rest) * torch.where(none, 1.0, upto).rsqrt())
        return torch.cat([angle, share], -1), -self._log_area(share)

    def from_coordinates(self, u: Tensor) -> tuple[Tensor, Tensor]:
        angle, share = u.split([1, self.features - 2], -1)
        rest = ((1 - share) * (1 + share)).sqrt()
        left = rest.flip(-1).cumprod(-1).flip(-1)  # of the norm, before entry k
        left = torch.cat([left, torch.ones_like(angle)], -1)
        around = torch.cat([angle.cos(), angle.sin()], -1) * left[..., :1]
        return torch.cat([around, share * left[..., 1:]], -1), self._log_area(share)

    def _log_area(self, share: Tensor) -> Tensor:
        if share.shape[-1] < 2:  # of the first, the power is 0
            return share.new_zeros(share.shape[:-1])
        share = share[..., 1:]
        power = 0.5 * torch.arange(1, share.shape[-1] + 1, dtype=share.dtype, device=share.device)
        return (power * (1 - share * share).log()).sum(-1)


@dataclass(frozen=True, slots=True)
class Simplex(Manifold):
    """Vectors of n positive entries that add up to one; volume is that of the first n - 1 entries.

    Coordinates are the shares of a stick that is broken n - 1 times: each entry's share of what those before it left.

    Args:
        features: n, at least 2.

    Raises:
        ConfigError: if `features < 2`.
    """

    features: int

    def __post_init__(self) -> None:
        _check.at_least("Simplex", "features", self.features, 2)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.features,)

    @property
    def center(self) -> Tensor:
        return torch.full(self.shape, 1 / self.features)

    @property
    def special(self) -> Tensor:
        eye = torch.eye(self.features, dtype=torch.float64)
        return torch.cat([(1 - n * low) * eye + low for n in (self.features,) for low in (1e-3, 1e-6)])

    @property
    def coordinates(self) -> tuple[Support, ...]:
        return (UNIT,) * (self.features - 1)

    def contains(self, x: Tensor) -> Tensor:
        return (x > 0).all(-1) & ((x.sum(-1) - 1).abs() <= _roundings(x))

    def draw(
        self, batch: Sequence[int], *, generator: Generator | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        return torch.randn((*batch, self.features), generator=generator, dtype=dtype).softmax(-1)

    def to_coordinates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        left = x.flip(-1).cumsum(-1).flip(-1)[..., :-1]  # of the stick, before entry k
        return x[..., :-1] / left, -left.log().sum(-1)

    def from_coordinates(self, u: Tensor) -> tuple[Tensor, Tensor]:
        left = torch.cat([torch.ones_like(u[..., :1]), (1 - u).cumprod(-1)], -1)
        return torch.cat([u * left[..., :-1], left[..., -1:]], -1), left[..., :-1].log().sum(-1)


@dataclass(frozen=True, slots=True)
class Ordered(Manifold):
    """Vectors of n increasing entries, equal ones where a step is below rounding; volume is that of the entries.

    Coordinates are the first entry and the steps.

    Args:
        features: n, at least 1.

    Raises:
        ConfigError: if `features < 1`.
    """

    features: int

    def __post_init__(self) -> None:
        _check.at_least("Ordered", "features", self.features, 1)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.features,)

    @property
    def center(self) -> Tensor:
        return torch.arange(self.features) - 0.5 * (self.features - 1)

    @property
    def special(self) -> Tensor:
        return torch.stack([self.center.double() * scale for scale in (1e-6, 1.0, 1e6)])

    @property
    def coordinates(self) -> tuple[Support, ...]:
        return (REAL, *[POSITIVE] * (self.features - 1))

    def contains(self, x: Tensor) -> Tensor:
        return x.isfinite().all(-1) & (x.diff(dim=-1) >= 0).all(-1)

    def draw(
        self, batch: Sequence[int], *, generator: Generator | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        u = torch.randn((*batch, self.features), generator=generator, dtype=dtype)
        return torch.cat([u[..., :1], (0.5 * u[..., 1:]).exp()], -1).cumsum(-1)

    def to_coordinates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([x[..., :1], x.diff(dim=-1)], -1), x.new_zeros(x.shape[:-1])

    def from_coordinates(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return u.cumsum(-1), u.new_zeros(u.shape[:-1])


@dataclass(frozen=True, slots=True)
class CholeskyFactor(Manifold):
    """Lower triangular n x n matrices with a positive diagonal; volume is that of the entries on and below it.

    They stand for covariance matrices. Coordinates are those entries, row by row.

    Args:
        features: n, at least 1.

    Raises:
        ConfigError: if `features < 1`.
    """

    features: int

    def __post_init__(self) -> None:
        _check.at_least("CholeskyFactor", "features", self.features, 1)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.features, self.features)

    @property
    def center(self) -> Tensor:
        return torch.eye(self.features)

    @property
    def special(self) -> Tensor:
        below = torch.ones(self.shape, dtype=torch.float64).tril(-1)
        eye = torch.eye(self.features, dtype=torch.float64)
        return torch.stack([eye, 1e-6 * eye, 1e6 * eye, eye + 1e6 * below, 1e-3 * (eye + below)])

    @property
    def coordinates(self) -> tuple[Support, ...]:
        return tuple(POSITIVE if i == j else REAL for i in range(self.features) for j in range(i + 1))

    def contains(self, x: Tensor) -> Tensor:
        above, positive = x.triu(1), x.diagonal(dim1=-2, dim2=-1) > 0
        return x.isfinite().all(-1).all(-1) & (above == 0).all(-1).all(-1) & positive.all(-1)

    def draw(
        self, batch: Sequence[int], *, generator: Generator | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        x = torch.randn((*batch, *self.shape), generator=generator, dtype=dtype).tril()
        return x.tril(-1) + (0.5 * x.diagonal(dim1=-2, dim2=-1)).exp().diag_embed()

    def to_coordinates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        row, column = torch.tril_indices(self.features, self.features, device=x.device).unbind(0)
        return x[..., row, column], x.new_zeros(x.shape[:-2])

    def from_coordinates(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return fill_lower(u, self.features, 0), u.new_zeros(u.shape[:-1])


@dataclass(frozen=True, slots=True)
class CorrelationFactor(Manifold):
    r"""Lower triangular n x n matrices with a positive diagonal and rows of length one; volume is that of the entries
    below the diagonal.

    They stand for correlation matrices. Coordinates are canonical partial correlations, row by row: each entry's share
    $L_{ij} / \sqrt{1 - \sum_{k<j} L_{ik}^2}$ of what is left of its row.

    Args:
        features: n, at least 2.

    Raises:
        ConfigError: if `features < 2`.

    Source: Lewandowski, Kurowicka and Joe, *Generating random correlation matrices*, 2009, section 2.
    """

    features: int

    def __post_init__(self) -> None:
        _check.at_least("CorrelationFactor", "features", self.features, 2)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.features, self.features)

    @property
    def center(self) -> Tensor:
        return torch.eye(self.features)

    @property
    def special(self) -> Tensor:
        u = torch.tensor([0.0, 0.5, 0.999, -0.999], dtype=torch.float64).unsqueeze(-1).expand(-1, len(self.coordinates))
        return self.from_coordinates(u)[0]

    @property
    def coordinates(self) -> tuple[Support, ...]:
        return (_SIGNED,) * (self.features * (self.features - 1) // 2)

    def contains(self, x: Tensor) -> Tensor:
        lower = (x.triu(1) == 0).all(-1).all(-1) & (x.diagonal(dim1=-2, dim2=-1) > 0).all(-1)
        return lower & ((x.square().sum(-1) - 1).abs() <= _roundings(x)).all(-1)

    def draw(
        self, batch: Sequence[int], *, generator: Generator | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        u = torch.randn((*batch, len(self.coordinates)), generator=generator, dtype=dtype)
        return self.from_coordinates((0.5 * u).tanh())[0]

    def to_coordinates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        row, column = torch.tril_indices(self.features, self.features, -1, device=x.device).unbind(0)
        left = x.square().flip(-1).cumsum(-1).flip(-1)[..., row, column]  # of the row's square, before entry ij
        return x[..., row, column] * left.rsqrt(), -0.5 * left.log().sum(-1)

    def from_coordinates(self, u: Tensor) -> tuple[Tensor, Tensor]:
        row, column = torch.tril_indices(self.features, self.features, -1, device=u.device).unbind(0)
        share = fill_lower(u, self.features, -1)
        rest = (1 - share * share).cumprod(-1)
        left = torch.cat([torch.ones_like(rest[..., :1]), rest[..., :-1]], -1).sqrt()
        eye = torch.eye(self.features, dtype=u.dtype, device=u.device)
        return left * (share + eye), left[..., row, column].log().sum(-1)


def side_by_side(
    where: str, spaces: Sequence[Space], features: Sequence[Sequence[int]] | None = None
) -> tuple[Space, tuple[int, ...]]:
    """The space of vectors whose entries `features[i]` live in `spaces[i]`, and all entries, one space's after
    another's; without `features`, the spaces' entries follow each other.
    """
    if not spaces or any(len(space.shape) != 1 for space in spaces):
        shapes = [space.shape for space in spaces]
        raise SpaceError(f"{where}: expected parts on vectors; got shapes {shapes}. Flatten their events first.")
    sizes = [space.shape[0] for space in spaces]
    if features is None:
        features = [range(sum(sizes[:i]), sum(sizes[: i + 1])) for i in range(len(sizes))]
    order = tuple(i for group in features for i in group)
    if [len(group) for group in features] != sizes or sorted(order) != list(range(sum(sizes))):
        raise ConfigError(
            f"{where}: expected features to share 0 to {sum(sizes) - 1} out to parts of {sizes}; "
            f"got {[list(group) for group in features]}. List every feature once."
        )
    at: dict[int, Support | Manifold] = {}
    for space, group in zip(spaces, features, strict=True):
        starts = [sum(space.widths[:i]) for i in range(len(space.widths))]
        for s, start, width in zip(space.supports, starts, space.widths, strict=True):
            own = list(group)[start : start + width]
            if own != list(range(own[0], own[0] + width)):
                raise ConfigError(f"{where}: expected {s} on features in a row; got {own}. Put them in a row.")
            at[own[0]] = s
    return Space((sum(sizes),), tuple(at[i] for i in sorted(at))), order


def fill_lower(u: Tensor, n: int, diagonal: int) -> Tensor:
    """The n x n matrix whose entries on and below `diagonal` are `u: (*batch, d)`, row by row; zero elsewhere."""
    row, column = torch.tril_indices(n, n, diagonal, device=u.device).unbind(0)
    place = torch.zeros(n, n, dtype=torch.long, device=u.device)
    place[row, column] = torch.arange(1, len(row) + 1, device=u.device)
    return F.pad(u, (1, 0))[..., place.flatten()].unflatten(-1, (n, n))


def _inside(share: Tensor) -> Tensor:
    """Numbers that never round to -1 or 1."""
    top = 1 - torch.finfo(share.dtype).eps
    return share.clamp(-top, top)


def _roundings(x: Tensor) -> float:
    return math.sqrt(torch.finfo(x.dtype).eps)
