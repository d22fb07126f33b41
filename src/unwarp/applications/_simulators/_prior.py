"""Priors of a simulator's parameters, and their map to a standard normal law."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.distributions import Distribution as Law

from unwarp._random import Randomness
from unwarp._space import Interval, Space, Support
from unwarp.applications._simulators._laws import Piece, piece, read_law, within, written
from unwarp.errors import ConfigError, ShapeError

__all__ = ["Box", "Independent", "Prior", "coordinates", "prior_of"]

Floats = NDArray[np.float64]


class Prior(ABC):
    r"""A law of parameters, with a map to coordinates u in which the law is (about) a standard normal one.

    Flows live on u, so that no draw of a posterior can leave the prior's support, and a posterior that has learned
    nothing is the prior.

    Attributes:
        names: of the parameters, one for each column.
    """

    names: tuple[str, ...]

    @property
    def dim(self) -> int:
        """How many parameters there are."""
        return len(self.names)

    @property
    @abstractmethod
    def space(self) -> Space:
        """Where parameters live."""

    @abstractmethod
    def sample(self, n: int, *, random_state: int = 0) -> Floats:
        """Draws, `(n, dim)`."""

    @abstractmethod
    def to_normal(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        r"""u of parameters `(n, dim)` inside the support, float64, and $\log|\det du/d\theta|$ `(n,)`."""

    @abstractmethod
    def from_normal(self, u: Tensor) -> Tensor:
        """Parameters of u, strictly inside the support."""

    @abstractmethod
    def log_normal(self, u: Tensor) -> Tensor:
        """Log density of the prior at coordinates u, Jacobian included, nats."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Plain data from which `prior_of` makes it again.

        Raises:
            ConfigError: when a law has none.
        """

    def contains(self, theta: ArrayLike) -> NDArray[np.bool_]:
        """Which rows of `(n, dim)` are inside the support."""
        return self.space.contains(self.rows(theta)).numpy()

    def nudged(self, theta: ArrayLike) -> Floats:
        """Parameters `(n, dim)` that rounding put on an interval's end or just beyond, moved inside; others as is."""
        rows = self.rows(theta).numpy().copy()
        for i, support in enumerate(self.space.supports):
            if isinstance(support, Interval):
                slack = _ROUNDING * (support.high - support.low)
                near = (rows[:, i] >= support.low - slack) & (rows[:, i] <= support.high + slack)
                low, high = np.nextafter(support.low, np.inf), np.nextafter(support.high, -np.inf)
                rows[:, i] = np.where(near, np.clip(rows[:, i], low, high), rows[:, i])
        return rows

    def log_prob(self, theta: ArrayLike) -> Floats:
        """Log density of parameters `(n, dim)`, nats; minus infinity outside the support."""
        u, ladj, inside = coordinates(self, self.rows(theta))
        return torch.where(inside, self.log_normal(u) + ladj, -torch.inf).numpy()

    def rows(self, theta: ArrayLike) -> Tensor:
        """Parameters as a float64 tensor.

        Raises:
            ShapeError: when they are no matrix with a column for each parameter.
        """
        rows = torch.as_tensor(np.asarray(theta, dtype=np.float64))
        if rows.dim() != 2 or rows.shape[1] != self.dim:
            raise ShapeError(
                f"Prior: expected parameters of shape (n, {self.dim}); got {tuple(rows.shape)}. "
                f"Give a column each of {', '.join(self.names[:8])}."
            )
        return rows


class Independent(Prior):
    """Independent parameters, each with a law of `torch.distributions` or uniform on an interval.

    Use it for any prior that is a product: the usual case. Vectors with correlations go in as one law of several
    parameters, such as a `MultivariateNormal`.

    Args:
        laws: by name, a torch distribution, an `Interval` (uniform on it), or a pair (distribution, support): the
            support that is declared for it, which it must have. A law of a vector of k numbers names `name[0]` to
            `name[k-1]`.

    Raises:
        ConfigError: when a law is none, has another support than is declared, or is of whole numbers.

    Example:
        >>> from unwarp import Interval
        >>> prior = Independent({"rate": torch.distributions.LogNormal(0.0, 1.0), "share": Interval(0.0, 1.0)})
        >>> prior.names, bool(prior.contains([[1.0, 0.5], [1.0, 1.5]])[1])
        (('rate', 'share'), False)
        >>> float(prior.log_prob([[1.0, 0.5]])[0].round(4))  # that of the rate alone
        -0.9189
    """

    def __init__(self, laws: Mapping[str, Law | Interval | tuple[Law, Support]]) -> None:
        if not laws:
            raise ConfigError("Independent: expected a law for each parameter; got none. Name at least one.")
        self.laws = dict(laws)
        self._pieces: list[Piece] = []
        names: list[str] = []
        for name, given in laws.items():
            law, declared = given if isinstance(given, tuple) else (given, None)
            made = piece(name, within(law) if isinstance(law, Interval) else law, declared)
            self._pieces.append(made)
            names += [name] if made.width is None else [f"{name}[{i}]" for i in range(made.width)]
        self.names = tuple(names)

    @property
    def space(self) -> Space:
        return Space((self.dim,), tuple(s for part in self._pieces for s in part.supports))

    def sample(self, n: int, *, random_state: int = 0) -> Floats:
        with Randomness(random_state):
            return torch.cat([part.sample(n) for part in self._pieces], -1).numpy()

    def to_normal(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        found = [part.to_normal(x) for part, x in zip(self._pieces, self._split(theta), strict=True)]
        return torch.cat([u for u, _ in found], -1), torch.stack([ladj for _, ladj in found]).sum(0)

    def from_normal(self, u: Tensor) -> Tensor:
        return torch.cat([part.from_normal(x) for part, x in zip(self._pieces, self._split(u), strict=True)], -1)

    def log_normal(self, u: Tensor) -> Tensor:
        found = [part.log_normal(x) for part, x in zip(self._pieces, self._split(u), strict=True)]
        return torch.stack(found).sum(0)

    def to_json(self) -> dict[str, Any]:
        laws = {name: law[0] if isinstance(law, tuple) else law for name, law in self.laws.items()}
        return {"prior": "independent", "laws": [[name, written(name, law)] for name, law in laws.items()]}

    def __repr__(self) -> str:
        return f"Independent({', '.join(self.names)})"

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.split([part.width or 1 for part in self._pieces], -1)


class Box(Prior):
    r"""The uniform law on a box; $u = \Phi^{-1}((\theta - low) / (high - low))$.

    Use it where only ranges of the parameters are known.

    Args:
        low: smallest value of each parameter.
        high: largest value of each.
        names: of the parameters; by default `theta0`, `theta1` and so on.

    Raises:
        ConfigError: unless ends are finite with low below high, and names as many.

    Example:
        >>> prior = Box([-1.0, 0.0], [1.0, 5.0], names=["shift", "scale"])
        >>> theta = prior.sample(1000)
        >>> theta.shape, bool(prior.contains(theta).all()), float(prior.log_prob([[0.0, 9.0]])[0])
        ((1000, 2), True, -inf)
    """

    def __init__(self, low: ArrayLike, high: ArrayLike, *, names: Sequence[str] = ()) -> None:
        ends = [np.atleast_1d(np.asarray(end, dtype=np.float64)) for end in (low, high)]
        finite = all(end.ndim == 1 and np.isfinite(end).all() for end in ends)
        if not finite or ends[0].shape != ends[1].shape or not (ends[0] < ends[1]).all():
            raise ConfigError(
                f"Box: expected finite low < high for each parameter; got {low} and {high}. A prior without finite "
                "support is Independent, of laws that say so."
            )
        self.names = tuple(names) or tuple(f"theta{i}" for i in range(len(ends[0])))
        if len(self.names) != len(ends[0]) or len(set(self.names)) != len(self.names):
            raise ConfigError(f"Box: expected {len(ends[0])} different names; got {list(names)}. Name each once.")
        self.low, self.high = ends
        self._inner = Independent(
            {name: Interval(a, b) for name, a, b in zip(self.names, *(e.tolist() for e in ends), strict=True)}
        )

    @property
    def space(self) -> Space:
        return self._inner.space

    def sample(self, n: int, *, random_state: int = 0) -> Floats:
        u = np.random.default_rng(random_state).random((n, self.dim))
        return self._strictly(torch.from_numpy(self.low + (self.high - self.low) * u)).numpy()

    def to_normal(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        low, width = self._ends(theta)
        share = ((theta.double() - low) / width).clamp(_LEAST, 1 - _LEAST)
        u = torch.special.ndtri(share)
        return u, (0.5 * u.square() + _HALF_LOG_TAU - width.log()).sum(-1)

    def from_normal(self, u: Tensor) -> Tensor:
        low, width = self._ends(u)
        return self._strictly(low + width * torch.special.ndtr(u.double()))

    def log_normal(self, u: Tensor) -> Tensor:
        return (-0.5 * u.double().square() - _HALF_LOG_TAU).sum(-1)

    def to_json(self) -> dict[str, Any]:
        return {"prior": "box", "low": self.low.tolist(), "high": self.high.tolist(), "names": list(self.names)}

    def __repr__(self) -> str:
        return f"Box({self.low.tolist()}, {self.high.tolist()})"

    def _ends(self, like: Tensor) -> tuple[Tensor, Tensor]:
        low = torch.from_numpy(self.low).to(like.device)
        return low, torch.from_numpy(self.high).to(like.device) - low

    def _strictly(self, theta: Tensor) -> Tensor:
        """Inside the open box also after rounding."""
        low, high = np.nextafter(self.low, np.inf), np.nextafter(self.high, -np.inf)
        return theta.clamp(torch.from_numpy(low).to(theta), torch.from_numpy(high).to(theta))


_ROUNDING = 1e-6  # of an interval's width, that float32 may be off
_LEAST = 1e-15  # share of a box's width at which its edge counts as reached
_HALF_LOG_TAU = 0.9189385332046727


def coordinates(prior: Prior, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """u and log-determinant of parameters `(n, dim)`, and which are inside the support; elsewhere the centre's."""
    inside = prior.space.contains(theta)
    return *prior.to_normal(torch.where(inside.unsqueeze(-1), theta, prior.space.center.to(theta))), inside


def prior_of(spec: Any, where: str) -> Prior:
    """The prior that `Prior.to_json` describes.

    Raises:
        ConfigError: when the data describe none.
    """
    match spec:
        case {"prior": "box", "low": list(low), "high": list(high), "names": list(names)}:
            return Box(low, high, names=[str(name) for name in names])
        case {"prior": "independent", "laws": list(laws)}:
            return Independent({str(name): read_law(law, where) for name, law in laws})
        case _:
            raise ConfigError(f"{where}: expected a prior; got {str(spec)[:80]}. Fit and save anew.")
