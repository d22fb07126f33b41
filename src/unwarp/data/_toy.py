"""Ten synthetic densities whose log density is known exactly: for benchmarks, tests and teaching."""

from __future__ import annotations

import difflib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from unwarp.errors import ConfigError

_LOG_2PI = math.log(2 * math.pi)


class Toy(ABC):
    """A density with exact draws and an exact, normalised log density, in float64.

    Attributes:
        name: The word that `toy` knows it by.
        features: Length of an event.
        entropy: ``-E[log p(x)]`` in nats where a formula is known, otherwise None.
    """

    name: str
    features: int
    entropy: float | None = None

    @abstractmethod
    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """`n` draws, ``(n, features)`` float64."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """``log p(x)`` in nats, minus infinity where the density is 0; shapes ``(*batch, features) -> (*batch,)``."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(features={self.features})"


class Gaussian(Toy):
    """Independent normal columns whose locations and scales differ by six orders of magnitude."""

    name, features = "gaussian", 4

    def __init__(self) -> None:
        self.loc = torch.tensor([0.0, 1e3, -5.0, 0.02], dtype=torch.float64)
        self.scale = torch.tensor([1.0, 250.0, 1e-3, 1e-3], dtype=torch.float64)
        self.entropy = float((0.5 * (1 + _LOG_2PI) + self.scale.log()).sum())

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        return self.loc + self.scale * _normal((n, self.features), generator)

    def log_prob(self, x: Tensor) -> Tensor:
        return (_log_normal((x - self.loc) / self.scale) - self.scale.log()).sum(-1)


class Correlated(Toy):
    """A normal law whose neighbouring columns have correlation 0.9: ``x_i = 0.9 x_{i-1} + sqrt(0.19) e_i``."""

    name, features = "correlated", 21

    def __init__(self) -> None:
        self.entropy = self.features * 0.5 * (1 + _LOG_2PI) + (self.features - 1) * 0.5 * math.log(0.19)

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        noise = _normal((n, self.features), generator)
        columns = [noise[:, 0]]
        for i in range(1, self.features):
            columns.append(0.9 * columns[-1] + math.sqrt(0.19) * noise[:, i])
        return torch.stack(columns, -1)

    def log_prob(self, x: Tensor) -> Tensor:
        residual = (x[..., 1:] - 0.9 * x[..., :-1]) / math.sqrt(0.19)
        return _log_normal(x[..., 0]) + (_log_normal(residual) - 0.5 * math.log(0.19)).sum(-1)


class Rings(Toy):
    """Three concentric rings: a uniform angle, and a radius of 1, 2 or 3 with normal noise of 0.1.

    ``p(x) = p(r) / (2 pi r)``; a negative radius lies ten standard deviations away.
    """

    name, features = "rings", 2

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        ring = 1 + _index(n, 3, generator)
        r = (ring + 0.1 * _normal((n,), generator)).abs()
        angle = 2 * math.pi * _uniform((n,), generator)
        return torch.stack([r * angle.cos(), r * angle.sin()], -1)

    def log_prob(self, x: Tensor) -> Tensor:
        r = x.norm(dim=-1)
        centers = torch.arange(1, 4, dtype=x.dtype, device=x.device)
        radial = _log_normal((r[..., None] - centers) / 0.1).logsumexp(-1) - math.log(3 * 0.1)
        return radial - (2 * math.pi * r).log()


class Mixture(Toy):
    """Normal components of equal weight, with a location and a lower-triangular scale each."""

    def __init__(self, name: str, loc: Tensor, scale: Tensor) -> None:
        self.name, self.features = name, loc.shape[-1]
        self.loc, self.scale = loc, scale
        self._log_scale = scale.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        self._whitener = torch.linalg.inv(scale)

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        k = _index(n, len(self.loc), generator).long()
        noise = _normal((n, self.features), generator)
        return self.loc[k] + (self.scale[k] @ noise[..., None]).squeeze(-1)

    def log_prob(self, x: Tensor) -> Tensor:
        white = torch.einsum("kij,...kj->...ki", self._whitener, x[..., None, :] - self.loc)
        return (_log_normal(white).sum(-1) - self._log_scale).logsumexp(-1) - math.log(len(self.loc))


def _moons() -> Mixture:
    """Two interleaved half circles, each a chain of 24 normal components of scale 0.1."""
    angle = torch.linspace(0, math.pi, 24, dtype=torch.float64)
    upper = torch.stack([angle.cos(), angle.sin()], -1)
    lower = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], -1)
    return Mixture("moons", torch.cat([upper, lower]), 0.1 * torch.eye(2, dtype=torch.float64).expand(48, 2, 2))


def _mixture() -> Mixture:
    """Eight well separated, differently shaped normal components in 20 dimensions."""
    k, i, j = (torch.arange(size, dtype=torch.float64) for size in (8, 20, 20))
    loc = 3 * torch.sin(1.0 + 2.4 * k[:, None] + 1.7 * k[:, None] * i + 0.3 * i)
    mix = 0.3 * torch.cos(k[:, None, None] * i[:, None] + 2.1 * j + 0.7 * i[:, None] * j)
    size = 0.6 + 0.4 * torch.sin(3.1 * k[:, None] + i).abs()
    return Mixture("mixture", loc, mix.tril(-1) + torch.diag_embed(size))


class Funnel(Toy):
    """Neal's funnel: ``v ~ N(0, 3^2)`` and four columns ``N(0, exp(v))`` given v.

    Source: Neal, "Slice sampling", 2003, section 8; ours has 5 columns instead of 10.
    """

    name, features = "funnel", 5

    def __init__(self) -> None:
        self.entropy = self.features * 0.5 * (1 + _LOG_2PI) + math.log(3)

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        noise = _normal((n, self.features), generator)
        v = 3 * noise[:, :1]
        return torch.cat([v, (v / 2).exp() * noise[:, 1:]], -1)

    def log_prob(self, x: Tensor) -> Tensor:
        v, rest = x[..., :1], x[..., 1:]
        return (_log_normal(v / 3) - math.log(3)).squeeze(-1) + (_log_normal(rest * (-v / 2).exp()) - v / 2).sum(-1)


class StudentT(Toy):
    """The multivariate Student t law with two degrees of freedom: no variance, one scale for both columns."""

    name, features = "student", 2

    def __init__(self) -> None:
        self.entropy = _LOG_2PI + 2  # E[log(1 + |x|^2 / 2)] = 1

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        chi_square = -2 * _uniform((n, 1), generator).log()  # two degrees of freedom: an exponential law
        return _normal((n, self.features), generator) * (2 / chi_square).sqrt()

    def log_prob(self, x: Tensor) -> Tensor:
        return -2 * torch.log1p(x.square().sum(-1) / 2) - _LOG_2PI


class Checkerboard(Toy):
    """Uniform on the eight dark squares of a 4 by 4 board of side 8; its density is discontinuous."""

    name, features = "checkerboard", 2

    def __init__(self) -> None:
        self.entropy = math.log(32)

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        column, pair = _index(n, 4, generator), _index(n, 2, generator)
        corner = torch.stack([column, 2 * pair + column.remainder(2)], -1)
        return 2 * (corner + _uniform((n, 2), generator)) - 4

    def log_prob(self, x: Tensor) -> Tensor:
        square = ((x + 4) / 2).floor()
        dark = (square.sum(-1).remainder(2) == 0) & (x.abs() < 4).all(-1)
        return torch.where(dark, x.new_tensor(-math.log(32)), -math.inf)


class LogNormal(Toy):
    """Exponentials of three normal columns with correlation 0.8, of scales 0.5, 1 and 1.5."""

    name, features = "lognormal", 3

    def __init__(self) -> None:
        correlation = torch.full((3, 3), 0.8, dtype=torch.float64).fill_diagonal_(1.0)
        scale = torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64)
        self.cholesky = scale[:, None] * torch.linalg.cholesky(correlation)
        self.loc = torch.tensor([0.0, 3.0, -2.0], dtype=torch.float64)
        self._log_scale = self.cholesky.diagonal().log().sum()
        self.entropy = float(3 * 0.5 * (1 + _LOG_2PI) + self._log_scale + self.loc.sum())

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        return (self.loc + _normal((n, 3), generator) @ self.cholesky.T).exp()

    def log_prob(self, x: Tensor) -> Tensor:
        inside = (x > 0).all(-1)
        logs = torch.where(x > 0, x, 1.0).log()
        white = torch.linalg.solve_triangular(self.cholesky, (logs - self.loc)[..., None], upper=False).squeeze(-1)
        return torch.where(inside, _log_normal(white).sum(-1) - self._log_scale - logs.sum(-1), -math.inf)


class Bounded(Toy):
    """Three columns between 0 and 1 with Kumaraswamy laws, ``p(x) = a b x^(a-1) (1 - x^a)^(b-1)``.

    The second column's a and the third's b grow with the column before them.
    Source: Kumaraswamy, "A generalized probability density function for double-bounded random processes", 1980.
    """

    name, features = "bounded", 3

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        u = _uniform((n, 3), generator)
        columns: list[Tensor] = []
        for i in range(3):
            a, b = self._shape(i, columns[-1] if columns else u[:, 0])
            columns.append((-torch.expm1(torch.log1p(-u[:, i]) / b)).pow(1 / a))
        return torch.stack(columns, -1)

    def log_prob(self, x: Tensor) -> Tensor:
        inside = ((x > 0) & (x < 1)).all(-1)
        safe = torch.where((x > 0) & (x < 1), x, 0.5)
        total = torch.zeros_like(safe[..., 0])
        for i in range(3):
            a, b = self._shape(i, safe[..., max(i - 1, 0)])
            power = a * safe[..., i].log()
            total = total + (a * b).log() + power - safe[..., i].log() + (b - 1) * (-torch.expm1(power)).log()
        return torch.where(inside, total, -math.inf)

    @staticmethod
    def _shape(i: int, before: Tensor) -> tuple[Tensor, Tensor]:
        two = torch.full_like(before, 2.0)
        return ((two, 2.5 * two), (1.5 + 3 * before, two), (two, 1.5 + 4 * before))[i]


_TOYS: dict[str, Callable[[], Toy]] = {
    "gaussian": Gaussian,
    "correlated": Correlated,
    "rings": Rings,
    "moons": _moons,
    "funnel": Funnel,
    "student": StudentT,
    "checkerboard": Checkerboard,
    "lognormal": LogNormal,
    "bounded": Bounded,
    "mixture": _mixture,
}


def toys() -> list[str]:
    """Names of all synthetic densities.

    Example:
        >>> toys()[:3], len(toys())
        (['gaussian', 'correlated', 'rings'], 10)
    """
    return list(_TOYS)


def toy(name: str) -> Toy:
    """The synthetic density of that name.

    When to use it: to measure a model against the truth (the best possible mean log density is minus the entropy), to
    test code, or to show a flow at work.

    Raises:
        ConfigError: When there is no such density.

    Example:
        >>> moons = toy("moons")
        >>> x = moons.sample(100, generator=torch.Generator().manual_seed(0))
        >>> x.shape, moons.log_prob(x).shape
        (torch.Size([100, 2]), torch.Size([100]))
        >>> bool(moons.log_prob(x).mean() > moons.log_prob(x + 1).mean())
        True
    """
    if name in _TOYS:
        return _TOYS[name]()
    close = difflib.get_close_matches(name, toys(), n=1)
    hint = f'Did you mean "{close[0]}"?' if close else "unwarp.data.toys() lists all."
    raise ConfigError(f'toy("{name}"): expected the name of a density; got "{name}". {hint}')


def _normal(shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _uniform(shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    """Uniform draws strictly between 0 and 1."""
    return torch.rand(shape, generator=generator, dtype=torch.float64).clamp(2.0**-53, 1 - 2.0**-53)


def _index(n: int, high: int, generator: Generator | None) -> Tensor:
    return torch.randint(high, (n,), generator=generator).double()


def _log_normal(x: Tensor) -> Tensor:
    return -0.5 * (x.square() + _LOG_2PI)
