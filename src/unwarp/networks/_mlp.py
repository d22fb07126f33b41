"""The plain conditioner."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from unwarp import _check
from unwarp.functional import Affinity, squash
from unwarp.networks._layers import Dense, Encode, affinities, rectified

__all__ = ["MLP"]


class MLP(nn.Module):
    """Fully connected network of `(x, context)`, zero at the start.

    Use it as the conditioner of a coupling. Inputs are squashed to [-3, 3]; the last layer starts at zero.

    Args:
        features: length of x; 0 makes the output depend on the context alone.
        out: length of the output.
        hidden: sizes of the hidden layers.
        context: length of the context; 0 for none.
        angles: which inputs are angles in radians; the network sees their cosine and sine.

    Shapes: x `(*batch, features)`, context `(*batch, context)` -> `(*batch, out)`; the batches broadcast.

    Raises:
        ConfigError: if a size is out of range.

    Example:
        >>> MLP(2, 5, hidden=(16,))(torch.ones(3, 2)).abs().max().item()
        0.0
    """

    def __init__(
        self,
        features: int,
        out: int,
        *,
        hidden: Sequence[int] = (128, 128),
        context: int = 0,
        angles: Sequence[int] = (),
    ) -> None:
        super().__init__()
        _check.at_least("MLP", "features", features, 0)
        _check.at_least("MLP", "out", out, 1)
        _check.at_least("MLP", "context", context, 0)
        self.angles = Encode(features, angles) if angles else None
        inputs = features + len(set(angles)) + context
        widths = (inputs, *_check.sizes("MLP", "hidden", hidden)) if inputs else (1,)
        self.features = features
        self.context = context
        self.hidden = nn.ModuleList(Dense(a, b) for a, b in pairwise(widths))
        self.out = Dense(widths[-1], out, zero=True)

    def affinities(self) -> list[Affinity] | None:
        """What `functional.couple` takes of the network; None of one without inputs, with angles, or with hooks."""
        own = self._modules  # which are found here in a fraction of the time that `self.out` takes
        hidden, out = own["hidden"], own["out"]
        hooked = self._forward_hooks or self._forward_pre_hooks
        if type(self) is not MLP or self.angles is not None or not self.features or hooked:
            return None
        return affinities([*hidden, out]) if isinstance(hidden, nn.ModuleList) and out is not None else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if not self.features and not self.context:
            return self.out(x.new_ones(*x.shape[:-1], 1))
        h = x if self.angles is None else self.angles(x)
        if context is not None and self.context:
            batch = torch.broadcast_shapes(x.shape[:-1], context.shape[:-1])
            context = context if self.angles is None else squash(context)
            h = torch.cat([h.expand(*batch, -1), context.expand(*batch, -1)], -1)
        return rectified([*self.hidden, self.out], h, squashed=self.angles is None)
