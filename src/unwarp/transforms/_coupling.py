"""Some features move, told how by the others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unwarp import _check
from unwarp._space import Space
from unwarp.errors import ConfigError, ShapeError, SpaceError
from unwarp.transforms._base import Transform
from unwarp.univariates import Univariate

__all__ = ["Coupling"]


class Coupling(Transform):
    r"""$z_a = x_a$ and $z_b = f(x_b; \theta)$ with $\theta = \text{net}(x_a, \text{context})$.

    The log-determinant is $\text{ladj} = \sum_b \log f'(x_b; \theta)$.

    Use it where density and sampling should both cost one pass of the network. Exchange the parts between layers.

    Args:
        features: number of features D; with one feature nothing is kept, and the map depends on the context alone.
        univariate: the scalar map from the reals to the reals.
        net: network from the kept features (and the context) to `univariate.n_params` numbers for each moved one,
            called as `net(kept, context)`.
        mask: which features are kept, D booleans; by default the first half.
        context: length of the context; 0 for none.

    Shapes: x, z `(*batch, D)`; context `(*batch, context)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: when the mask has another length or keeps everything.
        ShapeError: when the network's output has another length than the moved features need.
        SpaceError: when the scalar map leaves the real line.

    Source: Dinh, Krueger and Bengio, *NICE*, 2015, arXiv:1410.8516, section 3.2.

    Example:
        >>> layer = Coupling(2, Affine(), MLP(1, 2))
        >>> z, ladj = layer(torch.ones(4, 2))
        >>> bool((z == 1).all()), ladj.shape
        (True, torch.Size([4]))
    """

    kept: Tensor
    moved: Tensor
    order: Tensor

    def __init__(
        self,
        features: int,
        univariate: Univariate,
        net: nn.Module,
        *,
        mask: Sequence[bool] | None = None,
        context: int = 0,
    ) -> None:
        _check.at_least("Coupling", "features", features, 1)
        keep = [i < features // 2 for i in range(features)] if mask is None else [bool(m) for m in mask]
        if len(keep) != features or all(keep):
            raise ConfigError(
                f"Coupling: expected a mask of {features} booleans, at least one False; got {keep}. "
                "Mark the kept features True."
            )
        if univariate.domain != univariate.codomain:
            raise SpaceError(
                "Coupling: expected a scalar map within one support; "
                f"got {univariate.domain} -> {univariate.codomain}. "
                "Use Unconstrain before the couplings."
            )
        super().__init__(Space((features,), univariate.domain), context=context)
        self.univariate = univariate
        self.net = net
        kept, moved = [i for i in range(features) if keep[i]], [i for i in range(features) if not keep[i]]
        order = sorted(range(features), key=(kept + moved).__getitem__)
        for name, index in (("kept", kept), ("moved", moved), ("order", order)):
            self.register_buffer(name, torch.tensor(index, dtype=torch.long), persistent=False)
        self._hold_net_to(len(kept), len(moved), context)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, moved = x.index_select(-1, self.kept), x.index_select(-1, self.moved)
        moved, ladj = self.univariate.forward(moved, self._params(kept, context))
        return self._join(kept, moved), ladj.sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, moved = z.index_select(-1, self.kept), z.index_select(-1, self.moved)
        moved, ladj = self.univariate.inverse(moved, self._params(kept, context))
        return self._join(kept, moved), ladj.sum(-1)

    def _params(self, kept: Tensor, context: Tensor | None) -> Tensor:
        return self.net(kept, context).unflatten(-1, (self.moved.shape[0], self.univariate.n_params))

    def _join(self, kept: Tensor, moved: Tensor) -> Tensor:
        return torch.cat([kept.expand(*moved.shape[:-1], -1), moved], -1).index_select(-1, self.order)

    def _hold_net_to(self, kept: int, moved: int, context: int) -> None:
        want = moved * self.univariate.n_params
        with torch.no_grad():
            got = self.net(torch.zeros(1, kept), torch.zeros(1, context) if context else None).shape[-1]
        if got != want:
            raise ShapeError(
                f"Coupling: expected net to give {moved} x {self.univariate.n_params} = {want} numbers; got {got}. "
                f"Build it with {kept} inputs and {want} outputs."
            )

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}, {self.univariate}"
