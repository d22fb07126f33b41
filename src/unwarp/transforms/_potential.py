"""Gradients of strongly convex functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from unwarp import _check
from unwarp._space import Space
from unwarp.functional import directional_matrix, soft_clip, solve_monotone
from unwarp.transforms._base import Transform

__all__ = ["ConvexPotential"]

Linearized = Callable[[Tensor], tuple[Tensor, Callable[[Tensor], Tensor]]]


class Potential(Protocol):
    """A module G with a Hessian above -0.15, whose gradient `prepared` gives together with its derivative."""

    context: int

    def prepared(self, context: Tensor | None = None) -> Linearized:
        """From x to G's gradient and to the function that multiplies directions `(*batch, K, D)` by its Hessian."""
        ...


class ConvexPotential(Transform):
    r"""$z = \nabla\big(\tfrac{e^s}{2} |x|^2 + G(x)\big) = e^s x + \nabla G(x)$ with a convex G.

    The log-determinant is that of the Hessian, $\text{ladj} = \log\det(e^s + \nabla^2 G)$. Every map of one density to
    another that moves mass as little as possible is such a gradient (Brenier), so that few layers go far. The inverse
    is Newton's method for a strongly convex function.

    Use it for smooth densities of up to some hundred features: the Hessian is formed, at the cost of one pass of the
    network a feature.

    Args:
        features: number of features D.
        net: G, such as `ConvexNet`; its context is the map's.

    Shapes: x, z `(*batch, D)`; context `(*batch, context)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1`.

    Source: Huang, Chen, Tsirigotis and Courville, *Convex Potential Flows*, 2021, arXiv:2012.05942, section 3. Differs:
    the Hessian is exact, not met by conjugate gradients; $|s| \le 1$, and G may be concave by less than $e^{-1}$.

    Example:
        >>> layer = ConvexPotential(2, ConvexNet(2, hidden=(16,)))
        >>> z, ladj = layer(torch.ones(3, 2))
        >>> bool((z == 1).all()), ladj.tolist()
        (True, [0.0, 0.0, 0.0])
    """

    def __init__(self, features: int, net: Potential) -> None:
        super().__init__(Space((_check.at_least("ConvexPotential", "features", features, 1),)), context=net.context)
        self.net = net
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, matrix = self._linearized(self.net.prepared(context), x)
        return z, torch.linalg.slogdet(matrix).logabsdet

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self.decode(z, context)
        return x, -torch.linalg.slogdet(self._linearized(self.net.prepared(context), x)[1]).logabsdet

    def encode(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self._scale() * x + self.net.prepared(context)(x)[0]

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        net, scale = self.net.prepared(context), self._scale()
        return solve_monotone(lambda x: scale * x + net(x)[0], lambda x: self._linearized(net, x), z)

    def _linearized(self, net: Linearized, x: Tensor) -> tuple[Tensor, Tensor]:
        """The map's value and its Jacobian, the Hessian of the potential."""
        gradient, push = net(x)
        scale = self._scale()
        return scale * x + gradient, directional_matrix(lambda v: scale * v + push(v), x)

    def _scale(self) -> Tensor:
        return soft_clip(self.log_scale, 1.0).exp()

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}"
