"""One scalar map on every feature, with parameters of its own."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from unwarp import _check
from unwarp._space import CIRCLE, POSITIVE, REAL, Interval, Manifold, Space, Support
from unwarp.errors import ConfigError, SpaceError
from unwarp.transforms._base import Transform
from unwarp.transforms._parameters import hold_network, moved
from unwarp.univariates import Exp, Sigmoid, Univariate

__all__ = ["Elementwise", "Unconstrain"]


class Elementwise(Transform):
    r"""$z_i = f(x_i; \theta_i)$ with learned parameters for each feature; $\text{ladj} = \sum_i \log f'(x_i)$.

    Use it to shape marginals, such as heavy tails at the data's side of a flow, where `adapt` starts from the map's own
    guess; with a network, to put a flow where the context says: its place and scale, as encoders do.

    Args:
        features: number of features.
        univariate: the scalar map.
        params: "learned", or "adapted" where `adapt` alone sets them.
        net: network that moves the `features * univariate.n_params` parameters, called as `net(nothing, context)`.
        context: length of the context; 0 for none.

    Shapes: x, z `(*batch, features)`; context `(*batch, context)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1`, `params` is another word, or a context comes without a network or the other way
            round.
        ShapeError: when the network's output has another length.

    Example:
        >>> z, ladj = Elementwise(3, HeavyTail())(torch.ones(2, 3))
        >>> z.shape, ladj.shape
        (torch.Size([2, 3]), torch.Size([2]))
    """

    params: Tensor

    def __init__(
        self,
        features: int,
        univariate: Univariate,
        *,
        params: Literal["learned", "adapted"] = "learned",
        net: nn.Module | None = None,
        context: int = 0,
    ) -> None:
        shape = (_check.at_least("Elementwise", "features", features, 1),)
        super().__init__(Space(shape, univariate.domain), Space(shape, univariate.codomain), context=context)
        self.univariate = univariate
        hold_network("Elementwise", net, context, features * univariate.n_params)
        self.net = net
        if params not in ("learned", "adapted"):
            raise ConfigError(f'Elementwise: expected params "learned" or "adapted"; got {params!r}. Change it.')
        start = torch.zeros(features, univariate.n_params)
        if univariate.n_params and params == "learned":
            self.params = nn.Parameter(start)
        else:
            self.register_buffer("params", start, persistent=univariate.n_params > 0)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, ladj = self.univariate.forward(x, moved(self.params, self.net, context))
        return z, ladj.sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, ladj = self.univariate.inverse(z, moved(self.params, self.net, context))
        return x, ladj.sum(-1)

    def adapt(self, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None) -> None:
        with torch.no_grad():
            self.params.copy_(self.univariate.guess(x, weight))

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}, {self.univariate}"


class Unconstrain(Transform):
    r"""From each feature's own support to the real line: $\log x$ for positive features, the logit for intervals.

    Angles stay angles: no continuous map takes a circle to a line.

    Use it as a flow's first part where features are positive or bounded; the density is then 0 outside by construction.

    Args:
        space: the data's space, one support for each feature.

    Shapes: x, z `(*batch, features)`; ladj `(*batch)`, nats.

    Raises:
        SpaceError: when a support has no map to the real line here, or the event is not a vector.

    Example:
        >>> z, _ = Unconstrain(Space((2,), (POSITIVE, REAL)))(torch.tensor([[1.0, 5.0]]))
        >>> z.tolist()
        [[0.0, 5.0]]
    """

    order: Tensor
    back: Tensor

    def __init__(self, space: Space) -> None:
        if len(space.shape) != 1:
            raise SpaceError(
                f"Unconstrain: expected a space of vectors; got shape {space.shape}. Flatten the events first."
            )
        onto = tuple(CIRCLE if support == CIRCLE else REAL for support in space.supports)
        groups: dict[Support | Manifold, list[int]] = {}
        for i, support in enumerate(space.supports):
            groups.setdefault(support, []).append(i)
        maps = tuple(_onto(support) for support in groups)
        super().__init__(space, Space(space.shape, onto))
        self._maps = maps
        self._sizes = tuple(len(group) for group in groups.values())
        order = torch.tensor([i for group in groups.values() for i in group])
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("back", order.argsort(), persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._by_group(x, forward=True)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._by_group(z, forward=False)

    def _by_group(self, x: Tensor, *, forward: bool) -> tuple[Tensor, Tensor]:
        points: list[Tensor] = []
        total = x.new_zeros(x.shape[:-1])
        for part, univariate in zip(x.index_select(-1, self.order).split(self._sizes, -1), self._maps, strict=True):
            if univariate is None:
                points.append(part)
                continue
            apply = univariate.inverse if forward else univariate.forward
            y, ladj = apply(part, x.new_zeros(0))
            points.append(y)
            total = total + ladj.sum(-1)
        return torch.cat(points, -1).index_select(-1, self.back), total

    def extra_repr(self) -> str:
        shown = ", ".join(map(repr, self.domain.supports[:3]))
        return f"{len(self.domain.supports)}, {shown}" + (", ..." if len(self.domain.supports) > 3 else "")


def _onto(support: Support | Manifold) -> Univariate | None:
    """The map from the real line onto `support`; None where it is the real line, or a circle."""
    if isinstance(support, Interval):
        return Sigmoid(support)
    if support == POSITIVE:
        return Exp()
    if support in (REAL, CIRCLE):
        return None
    raise SpaceError(
        f"Unconstrain: expected REAL, POSITIVE, CIRCLE or an Interval; got {support!r}. Encode this feature yourself."
    )
