"""The conditioner whose i-th output sees only the inputs before i."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from unwarp import _check
from unwarp.networks._layers import Dense, squash

__all__ = ["MaskedMLP"]


class _State(NamedTuple):
    """What the network has computed so far: each layer's finished units, the inputs themselves first."""

    layers: tuple[Tensor, ...]
    offset: Tensor  # the context's share of the first hidden layer


class MaskedMLP(nn.Module):
    """Fully connected network with `params` outputs for each feature, the i-th feature's seeing only inputs before i.

    Hidden units are sorted by degree (how many inputs they see), so that `begin`, `emit` and `advance` compute every
    unit once while inputs arrive one by one: an autoregressive inverse costs about one pass, not one a feature.

    Use it as the conditioner of `transforms.Autoregressive`. Inputs are squashed to [-3, 3]; the last layer is
    zero at the start.

    Args:
        features: number of inputs, and of groups of outputs.
        params: outputs for each feature.
        hidden: sizes of the hidden layers.
        context: length of the context, which every output sees; 0 for none.

    Shapes: x `(*batch, features)`, context `(*batch, context)` -> `(*batch, features, params)`; the batches broadcast.

    Raises:
        ConfigError: if a size is out of range.

    Source: Germain et al., *MADE: Masked Autoencoder for Distribution Estimation*, 2015, arXiv:1502.03509, section 4.
    Differs: degrees are evenly spaced and sorted, not drawn.

    Example:
        >>> net = MaskedMLP(3, 2, hidden=(16,))
        >>> net(torch.ones(5, 3)).shape
        torch.Size([5, 3, 2])
    """

    def __init__(self, features: int, params: int, *, hidden: Sequence[int] = (128, 128), context: int = 0) -> None:
        super().__init__()
        self.features = _check.at_least("MaskedMLP", "features", features, 1)
        self.params = _check.at_least("MaskedMLP", "params", params, 1)
        self.context = _check.at_least("MaskedMLP", "context", context, 0)
        lowest = 0 if context or features == 1 else 1
        degrees = [torch.arange(1, features + 1)]
        degrees += [_degrees(size, lowest, features - 1) for size in _check.sizes("MaskedMLP", "hidden", hidden)]
        outputs = torch.arange(features).repeat_interleave(params)
        masks = [b.unsqueeze(-1) >= a for a, b in zip(degrees, [*degrees[1:], outputs], strict=True)]
        self.hidden = nn.ModuleList(Dense(len(m[0]), len(m), mask=m) for m in masks[:-1])
        self.out = Dense(len(masks[-1][0]), len(masks[-1]), mask=masks[-1], zero=True)
        self.of_context = Dense(context, len(masks[0]), bias=False, zero=not hidden) if context else None
        self._ends = tuple(_ends(size, lowest, features - 1, features) for size in hidden)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        h, offset = squash(x), self._offset(context)
        for layer in self.hidden:
            h, offset = (layer(h) + offset).relu(), 0.0
        return (self.out(h) + offset).unflatten(-1, (self.features, self.params))

    def begin(self, x: Tensor, context: Tensor | None = None) -> _State:
        """The state before any input is known; `x: (*batch, features)` only tells batch, dtype and device."""
        empty = x[..., :0]
        offset = self._offset(context)
        state = _State((empty,) * (len(self.hidden) + 1), torch.as_tensor(offset, dtype=x.dtype, device=x.device))
        return self._finish(state, 0)

    def emit(self, state: _State, i: int) -> Tensor:
        """The i-th feature's outputs, `(*batch, params)`, once inputs 0 to i - 1 are known."""
        rows = slice(i * self.params, (i + 1) * self.params)
        offset = 0.0 if self.hidden else _columns(state.offset, rows)
        return self.out.part(state.layers[-1], rows) + offset

    def advance(self, state: _State, x: Tensor, i: int) -> _State:
        """The state once input i, `x: (*batch)`, is known too."""
        known = torch.cat([state.layers[0], squash(x).unsqueeze(-1)], -1)
        return self._finish(state._replace(layers=(known, *state.layers[1:])), i + 1)

    def _finish(self, state: _State, degree: int) -> _State:
        """Compute the hidden units of this degree."""
        layers = [state.layers[0]]
        offset = state.offset
        for i, layer in enumerate(cast("list[Dense]", self.hidden)):
            below, done = layers[-1], state.layers[i + 1]
            rows = slice(done.shape[-1], self._ends[i][degree])
            if rows.start == rows.stop:
                layers.append(done)
            else:
                new = (layer.part(below, rows) + _columns(offset, rows)).relu()
                layers.append(torch.cat([done.expand(*new.shape[:-1], -1), new], -1))
            offset = below.new_zeros(())
        return _State(tuple(layers), state.offset)

    def _offset(self, context: Tensor | None) -> Tensor | float:
        return 0.0 if self.of_context is None or context is None else self.of_context(squash(context))


def _degrees(size: int, low: int, high: int) -> Tensor:
    """`size` whole numbers evenly spaced from low to high, sorted."""
    if size == 1:
        return torch.full((1,), high)
    return low + (torch.arange(size) * (high - low) + (size - 1) // 2).div(size - 1, rounding_mode="floor")


def _ends(size: int, low: int, high: int, top: int) -> tuple[int, ...]:
    """For each degree 0 to `top`, how many of the units of `_degrees` have at most that degree."""
    with torch.device("cpu"):
        degrees = _degrees(size, low, high)
        return tuple(torch.searchsorted(degrees, torch.arange(top + 1), right=True).tolist())


def _columns(offset: Tensor, rows: slice) -> Tensor:
    return offset[..., rows] if offset.dim() else offset
