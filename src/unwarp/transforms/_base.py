"""What a map on whole events is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from unwarp._space import Space
from unwarp.functional import LinearStep

__all__ = ["Kind", "Loses", "Memory", "Transform"]

Kind = Literal["exact", "estimate", "bound"]
Loses = Literal["nothing", "forward", "inverse", "both"]
Memory = Literal["stored", "reversible"]


class Transform(nn.Module, ABC):
    r"""A map $z = f(x)$ from data to latent and its inverse, with $\log|\det \partial z/\partial x|$.

    Where a direction loses something, such as the fraction that rounding takes away, the other direction draws it at
    random, and ladj holds what makes `log p(x) = log p(z) + ladj` true: the log density of what the inverse fills in,
    or minus that of what forward fills in, which gives a lower bound.

    A final subclass calls `super().__init__()`, sets `domain` and `codomain`, and writes `forward` and `inverse`; both
    return the point and its ladj, computed together. It may override `encode`, `decode` where the ladj is dear,
    and `adapt`.

    Shapes: x `(*batch, *domain.shape)`, z `(*batch, *codomain.shape)`, context `(*batch, *context_shape)`, ladj
    `(*batch)` in nats, of the direction called.

    Attributes:
        domain: the space of x.
        codomain: the space of z.
        context_shape: event shape of the context; None when the map takes none.
        kind: what ladj is: "exact", an unbiased "estimate", or a lower "bound".
        loses: which direction can't be undone: "nothing" for bijections, "forward", "inverse" or "both".
    """

    domain: Space
    codomain: Space
    context_shape: tuple[int, ...] | None
    kind: Kind
    loses: Loses

    def __init__(
        self,
        domain: Space,
        codomain: Space | None = None,
        *,
        context: int | Sequence[int] = 0,
        kind: Kind = "exact",
        loses: Loses = "nothing",
    ) -> None:
        super().__init__()
        self.domain = domain
        self.codomain = domain if codomain is None else codomain
        self.context_shape = ((context,) if isinstance(context, int) else tuple(context)) if context else None
        self.kind = kind
        self.loses = loses

    @abstractmethod
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`z` and `log|det dz/dx|`."""

    @abstractmethod
    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`x` and `log|det dx/dz|`."""

    def encode(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """`z` alone."""
        return self.forward(x, context)[0]

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """`x` alone."""
        return self.inverse(z, context)[0]

    def adapt(self, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None) -> None:
        """Set what follows the data (means, scales, tails) from `x: (n, *event)`, `weight: (n,)`; here: nothing."""

    def linear_step(self) -> LinearStep | None:
        """The map as `functional.fold` takes it, where it is linear up to a shift; here: None."""
        return None
