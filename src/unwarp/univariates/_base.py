"""What a scalar map is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from unwarp import functional
from unwarp._space import REAL, Support

__all__ = ["Univariate"]

_PAIRS = 14  # of a Newton step and a halving: two more than reach the last digit of the maps that are here


class Univariate(ABC):
    r"""A monotone scalar map $y = f(x; \theta)$ whose parameters are handed in.

    Final subclasses are frozen dataclasses over `unwarp.functional`: hashable, without tensors inside. They write
    `forward`, and `inverse` where there is a closed form; say `domain` and `codomain` where these are not the real
    line. Where `domain == codomain`, parameters of zero give the identity, so a zero-initialised network starts as
    the identity flow.

    Shapes: x, y and ladj `(...)`; params `(..., n_params)`. ladj is $\log|df/dx|$ of the direction called, in nats.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def n_params(self) -> int:
        """How many unconstrained parameters one scalar takes; 0 for a fixed map."""

    @property
    def domain(self) -> Support:
        """Where x lives; the real line unless a map says otherwise."""
        return REAL

    @property
    def codomain(self) -> Support:
        """Where y lives; the real line unless a map says otherwise."""
        return REAL

    @property
    def by_kernel(self) -> functional.ScalarMap | None:
        """How compiled code knows the map, where there is some for inverses of autoregressive layers."""
        return None

    @abstractmethod
    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """`y = f(x)` and `log|dy/dx|`."""

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """`x = f^-1(y)` and `log|dx/dy|`; found as a root, for increasing maps of the whole real line."""
        return functional.invert_increasing(lambda x: self.forward(x, params), y, pairs=_PAIRS)

    def guess(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """Parameters `(features, n_params)` to start from for `x: (n, features)`, `weight: (n,)`; here: zeros."""
        return x.new_zeros(x.shape[-1], self.n_params)
