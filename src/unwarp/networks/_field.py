"""Vector fields that depend on time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unwarp import _check
from unwarp.functional import squash
from unwarp.networks._layers import Dense

__all__ = ["VectorField"]

_GAIN = 2.5  # about what weights of `Dense` and SiLU take from a signal's size


class VectorField(nn.Module):
    r"""Fully connected network for a velocity $v(x, t, \text{context})$, smooth, zero at the start.

    Time enters by t itself and a few of its sines and cosines, context squashed to [-3, 3], both next to x in the first
    layer. x is not squashed and SiLU units are straight far out, so the field grows at most linearly: solutions exist
    for all times.

    Use it as the field of `transforms.Continuous`.

    Args:
        features: length of x.
        hidden: sizes of the hidden layers.
        context: length of the context; 0 for none.
        time: how many frequencies of t the network sees: $\cos \pi k t, \sin \pi k t$ for k = 1 to `time`; with 0, t
            alone.

    Shapes: x `(*batch, features)`, t `(*batch)` or `()`, context `(*batch, context)` -> `(*batch, features)`; the
    batches broadcast.

    Raises:
        ConfigError: if a size is out of range.

    Example:
        >>> field = VectorField(2, hidden=(16,))
        >>> field(torch.ones(5, 2), torch.tensor(0.5)).shape
        torch.Size([5, 2])
    """

    frequencies: Tensor

    def __init__(self, features: int, *, hidden: Sequence[int] = (64, 64), context: int = 0, time: int = 2) -> None:
        super().__init__()
        self.features = _check.at_least("VectorField", "features", features, 1)
        self.context = _check.at_least("VectorField", "context", context, 0)
        times = 1 + 2 * _check.at_least("VectorField", "time", time, 0)
        widths = (features + times + context, *_check.sizes("VectorField", "hidden", hidden))
        self.hidden = nn.ModuleList(Dense(a, b) for a, b in pairwise(widths))
        self.out = Dense(widths[-1], features, zero=True)
        self.register_buffer("frequencies", math.pi * torch.arange(1.0, time + 1), persistent=False)

    def forward(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        h = self._inputs(x, t, context)
        for layer in self.hidden:
            h = _GAIN * F.silu(layer(h))
        return self.out(h)

    def linearize(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        r"""The velocity and its slope $\partial v_i/\partial x_j$, `(*batch, features, features)`, in one pass.

        It is the chain rule, written out: several times as fast as automatic forward derivatives where x is short.
        """
        v, ways = self.push(x, t, context, torch.eye(self.features, dtype=x.dtype, device=x.device))
        return v, ways.mT.expand(*v.shape, -1)

    def push(self, x: Tensor, t: Tensor, context: Tensor | None, ways: Tensor) -> tuple[Tensor, Tensor]:
        r"""The velocity, and its derivatives along `ways`: from `(*batch, K, features)` to the same shape."""
        h = self._inputs(x, t, context)
        for i, layer in enumerate(cast("list[Dense]", self.hidden)):
            h, weight = layer(h), layer.weight * layer.scale
            gate = h.sigmoid()
            bend = _GAIN * gate * (1 + h * (1 - gate))
            ways = bend.unsqueeze(-2) * F.linear(ways, weight if i else weight[:, : self.features])
            h = _GAIN * h * gate
        return self.out(h), F.linear(ways, self.out.weight * self.out.scale)

    def _inputs(self, x: Tensor, t: Tensor, context: Tensor | None) -> Tensor:
        angle = t.unsqueeze(-1) * self.frequencies
        inputs = [x, 2 * t.unsqueeze(-1) - 1, angle.cos(), angle.sin()]
        if context is not None and self.context:
            inputs.append(squash(context))
        batch = torch.broadcast_shapes(*(part.shape[:-1] for part in inputs))
        return torch.cat([part.expand(*batch, -1) for part in inputs], -1)
