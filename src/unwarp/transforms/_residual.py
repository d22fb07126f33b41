"""Maps that add to a point the output of a network: one that brings points closer, or one that is a convex gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor

from unwarp import _check
from unwarp._space import Space
from unwarp.errors import ConfigError
from unwarp.functional import directional_matrix, log_det, log_det_series, solve_monotone
from unwarp.transforms._base import Transform
from unwarp.transforms._noise import Noise

__all__ = ["Contraction", "Residual"]

Push = Callable[[Tensor], Tensor]
Linearized = Callable[[Tensor], tuple[Tensor, Push]]


class Contraction(Protocol):
    """A module g with Lipschitz constant `lipschitz`, which `prepared` gives together with its derivative."""

    lipschitz: float
    context: int

    def prepared(self, context: Tensor | None = None) -> Linearized:
        """From x to g(x) and to the function that multiplies directions `(*batch, K, *event)` by the Jacobian at x."""
        ...


class Residual(Transform):
    r"""$z = x + g(x)$ with a network g of Lipschitz constant $c < 1$; $\text{ladj} = \log\det(1 + \partial g)$.

    Use it where every feature should move by what all features say, in one smooth step. With `ladj="exact"` the whole
    Jacobian is formed, at the cost of one pass a feature, and the inverse is Newton's. With "roulette", for many
    features, ladj is an unbiased estimate: a power series of traces, met by one random direction, cut at a random
    length; `distributions.estimate` gives its standard error. The inverse is then a fixed-point iteration of as many
    steps as c and the dtype ask for. In training the estimate's gradient is a second, cheaper estimate, which keeps one
    pass in memory whatever the length; it can be differentiated once.

    Args:
        features: number of features D, or the event's shape with D entries, such as an image's.
        net: g, such as `LipschitzNet`, or `LipschitzConvNet` for images; its context is the map's.
        ladj: "exact" or "roulette".
        terms: of the series that are always computed, for "roulette"; each later one follows with probability c.

    Shapes: x, z `(*batch, D)` or `(*batch, *features)`; context `(*batch, context)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1` or `terms < 1`, `ladj` is another word, or the network's Lipschitz constant is
            not between 0 and 1.

    Source: Behrmann, Grathwohl, Chen, Duvenaud and Jacobsen, *Invertible Residual Networks*, 2019, arXiv:1811.00995;
    Chen, Behrmann, Duvenaud and Jacobsen, *Residual Flows for Invertible Generative Modeling*, 2019, arXiv:1906.02735,
    eq. 6 and 8. Differs: the exact way; the length's distribution follows c, so that the variance is finite.

    Example:
        >>> layer = Residual(2, LipschitzNet(2, hidden=(16,)))
        >>> z, ladj = layer(torch.ones(3, 2))
        >>> bool((z == 1).all()), ladj.tolist()
        (True, [0.0, 0.0, 0.0])
    """

    def __init__(
        self,
        features: int | Sequence[int],
        net: Contraction,
        *,
        ladj: Literal["exact", "roulette"] = "exact",
        terms: int = 4,
    ) -> None:
        shape = _check.event("Residual", features)
        if ladj not in ("exact", "roulette"):
            raise ConfigError(f'Residual: expected ladj "exact" or "roulette"; got {ladj!r}. Change it.')
        if not 0 < net.lipschitz < 1:
            raise ConfigError(
                f"Residual: expected a network with lipschitz between 0 and 1; got {net.lipschitz!r}. "
                "Build it with a smaller one."
            )
        super().__init__(Space(shape), context=net.context, kind="exact" if ladj == "exact" else "estimate")
        self.net = net
        self.terms = _check.at_least("Residual", "terms", terms, 1)
        self.noise = Noise() if ladj == "roulette" else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self._flat(x)
        g, push = self._prepared(context)(x)
        return self._event(x + g), self._ladj(x, push)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        net = self._prepared(context)
        x = self._solved(net, self._flat(z))
        return self._event(x), -self._ladj(x, net(x)[1])

    def encode(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return x + self.net.prepared(context)(x)[0]

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self._event(self._solved(self._prepared(context), self._flat(z)))

    def _flat(self, x: Tensor) -> Tensor:
        return x.flatten(-len(self.domain.shape))

    def _event(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, self.domain.shape)

    def _prepared(self, context: Tensor | None) -> Linearized:
        """The network on flat events."""
        net = self.net.prepared(context)

        def linearized(x: Tensor) -> tuple[Tensor, Push]:
            g, push = net(self._event(x))
            return self._flat(g), lambda v: self._flat(push(self._event(v)))

        return linearized

    def _solved(self, net: Linearized, z: Tensor) -> Tensor:
        if self.noise is None:
            return solve_monotone(lambda x: x + net(x)[0], lambda x: _linearized(net, x), z)
        x = z
        for _ in range(_steps(self.net.lipschitz, z.dtype)):
            x = z - net(x)[0]
        return x

    def _ladj(self, x: Tensor, push: Push) -> Tensor:
        if self.noise is None:
            return log_det(lambda v: v + push(v), x)
        v = self.noise.sign(x, (1, x.shape[-1]))
        weights, last = self._weights(x, self.noise)
        if not self.training:
            return log_det_series(push, v, weights, last)[0]
        with torch.no_grad():
            total, u = log_det_series(push, v, weights, last)
        slope = (v * push(u)).sum((-1, -2))
        return total + (slope - slope.detach())

    def _weights(self, x: Tensor, noise: Noise) -> tuple[Tensor, int]:
        """One over the probability that the series gets to each power, 0 for those it does not, and the last power.

        The length is one for all rows. While a graph is captured, and without numbers, the longest possible length is
        run instead: what is beyond the drawn one has weight 0.
        """
        c = self.net.lipschitz
        draw = noise.uniform(torch.zeros((), dtype=x.dtype, device=x.device), (), dims=0)
        more = (draw.log() / math.log(c)).floor()
        digits = 53 if x.dtype == torch.float64 else 24
        longest = self.terms + int(digits * math.log(2) / -math.log(c)) + 1
        k = torch.arange(1, longest + 1, dtype=x.dtype, device=x.device)
        weights = torch.where(k <= self.terms + more, c ** -(k - self.terms).clamp(min=0), 0.0)
        unknown = torch.compiler.is_compiling() or x.is_meta
        return weights, longest if unknown else self.terms + int(more)

    def extra_repr(self) -> str:
        shape = self.domain.shape
        return f"{shape[0] if len(shape) == 1 else shape}, {self.kind}"


def _linearized(net: Linearized, x: Tensor) -> tuple[Tensor, Tensor]:
    """The map's value and its whole Jacobian."""
    g, push = net(x)
    return x + g, directional_matrix(lambda v: v + push(v), x)


def _steps(lipschitz: float, dtype: torch.dtype) -> int:
    """After how many steps a contraction has no more to give in this dtype."""
    return math.ceil(math.log(torch.finfo(dtype).eps) / math.log(lipschitz)) + 1
