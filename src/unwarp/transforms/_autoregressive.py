"""Each feature moves, told how by the ones before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from unwarp import _check
from unwarp._space import Space
from unwarp.errors import ConfigError, ShapeError, SpaceError
from unwarp.transforms._base import Transform
from unwarp.univariates import Univariate

__all__ = ["Autoregressive", "CausalNet"]


class CausalNet(Protocol):
    """A network whose output i sees the inputs before i only, all at once or one by one (see `networks.MaskedMLP`)."""

    def __call__(self, x: Tensor, context: Tensor | None = None) -> Tensor: ...
    def begin(self, x: Tensor, context: Tensor | None = None) -> Any: ...
    def emit(self, state: Any, i: int) -> Tensor: ...
    def advance(self, state: Any, x: Tensor, i: int) -> Any: ...


class Autoregressive(Transform):
    r"""$z_i = f(x_i; \theta_i)$ with $\theta_i = \text{net}_i(x_{<i}, \text{context})$; $\text{ladj} = \sum_i \log f'$.

    Use it for density estimation: every feature depends on all before it. `forward` is one pass of the network;
    `inverse` takes the features one by one, computes every hidden unit once, and so costs about one pass plus D small
    steps.

    Args:
        features: number of features D.
        univariate: the scalar map from the reals to the reals.
        net: causal network with `univariate.n_params` outputs for each feature, such as `networks.MaskedMLP`.
        order: which feature comes first, second, ...; a permutation of 0 to D - 1.
        context: length of the context; 0 for none.

    Shapes: x, z `(*batch, D)`; context `(*batch, context)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: when `order` is not a permutation.
        ShapeError: when the network's output does not fit.
        SpaceError: when the scalar map leaves its support.

    Source: Papamakarios, Pavlakou and Murray, *Masked Autoregressive Flow for Density Estimation*, 2017,
    arXiv:1705.07057.

    Example:
        >>> layer = Autoregressive(3, Affine(), MaskedMLP(3, 2))
        >>> z, ladj = layer(torch.ones(4, 3))
        >>> bool((z == 1).all()), ladj.shape
        (True, torch.Size([4]))
    """

    order: Tensor
    back: Tensor

    def __init__(
        self,
        features: int,
        univariate: Univariate,
        net: nn.Module,
        *,
        order: Sequence[int] | None = None,
        context: int = 0,
    ) -> None:
        _check.at_least("Autoregressive", "features", features, 1)
        order = list(range(features)) if order is None else list(order)
        if sorted(order) != list(range(features)):
            raise ConfigError(
                f"Autoregressive: expected order to be a permutation of 0 to {features - 1}; got {order}. "
                "List every feature once."
            )
        if univariate.domain != univariate.codomain:
            raise SpaceError(
                "Autoregressive: expected a scalar map within one support; "
                f"got {univariate.domain} -> {univariate.codomain}. "
                "Use Unconstrain before it."
            )
        super().__init__(Space((features,), univariate.domain), context=context)
        self.univariate = univariate
        self.net = net
        self._in_order = order == list(range(features))
        index = torch.tensor(order)
        self.register_buffer("order", index, persistent=False)
        self.register_buffer("back", index.argsort(), persistent=False)
        with torch.no_grad():
            got = tuple(self._causal(torch.zeros(1, features), torch.zeros(1, context) if context else None).shape[1:])
        if got != (features, univariate.n_params):
            raise ShapeError(
                f"Autoregressive: expected net to give {(features, univariate.n_params)} numbers a row; got {got}. "
                f"Build it as MaskedMLP({features}, {univariate.n_params})."
            )

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = x if self._in_order else x.index_select(-1, self.order)
        z, ladj = self.univariate.forward(x, self._causal(x, context))
        return z if self._in_order else z.index_select(-1, self.back), ladj.sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z = z if self._in_order else z.index_select(-1, self.order)
        state = self._causal.begin(z, context)
        points: list[Tensor] = []
        total = z.new_zeros(())
        for i, z_i in enumerate(z.unbind(-1)):
            x_i, ladj = self.univariate.inverse(z_i, self._causal.emit(state, i))
            state = self._causal.advance(state, x_i, i)
            points.append(x_i)
            total = total + ladj
        x = torch.stack(torch.broadcast_tensors(*points), -1)
        return x if self._in_order else x.index_select(-1, self.back), total

    @property
    def _causal(self) -> CausalNet:
        return cast("CausalNet", self.net)

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}, {self.univariate}"
