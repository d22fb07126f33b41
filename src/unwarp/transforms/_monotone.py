"""Networks that are invertible because each output rises with its own input."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unwarp import _check
from unwarp._space import Space
from unwarp.functional import soft_clip, solve_increasing
from unwarp.transforms._base import Transform

__all__ = ["BlockNeural"]

_STEEPEST = 3.0  # bound of the logarithm of every positive weight, gain and end slope
_REACH = 3.0  # how far a feature sees those before it


class BlockNeural(Transform):
    r"""A network whose i-th output rises with $x_i$ and sees $x_{<i}$; the ladj is the sum of the outputs' log slopes.

    Each feature has units of its own. From layer to layer $p = P h_i$ with positive weights, and

    $$ h_i' = e^\beta p + (1 - e^\beta) \tanh(a\,(p + s))/a, $$
    $$ s = c + W \sigma(h_{<i}) + C \sigma(\text{context}), \qquad \sigma = 3 \tanh(\cdot/3); $$

    the last layer is $z_i = P h_i + s$. A unit has slope 1 where $p = -s$ and $e^\beta$ far away, so that $z_i$ covers
    the real line.

    Use it for smooth densities of few features: one such layer bends every feature freely. `forward` is one pass;
    `inverse` finds the features' roots one after another.

    Args:
        features: number of features D.
        hidden: units of each hidden layer, for each feature.
        context: length of the context; 0 for none.

    Shapes: x, z `(*batch, D)`; context `(*batch, context)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if a size is out of range.

    Source: De Cao, Aziz and Titov, *Block Neural Autoregressive Flow*, 2019, arXiv:1904.04676, section 3. Differs:
    units go on as straight lines, where the paper's tanh ends in a box and the density has mass below one; weights
    are bounded, so that slopes need no logarithms on the way; the identity at the start; an inverse.

    Example:
        >>> layer = BlockNeural(3, hidden=(8,))
        >>> z, ladj = layer(torch.ones(4, 3))
        >>> bool((z - 1).abs().max() < 1e-5), ladj.shape
        (True, torch.Size([4]))
    """

    def __init__(self, features: int, *, hidden: Sequence[int] = (8, 8), context: int = 0) -> None:
        _check.at_least("BlockNeural", "features", features, 1)
        _check.at_least("BlockNeural", "context", context, 0)
        super().__init__(Space((features,)), context=context)
        sizes = (1, *_check.sizes("BlockNeural", "hidden", hidden))
        inner = pairwise(sizes)
        self.hidden = nn.ModuleList(_Layer(features, a, b, context, start="spread") for a, b in inner)
        self.bends = nn.ParameterList(torch.zeros(2, features, size) for size in sizes[1:])
        self.out = _Layer(features, sizes[-1], 1, context, start="zero")

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        units = _inputs(x)
        for layer, bend in zip(self._layers(), self._bends(), strict=True):
            units = _step(units, layer.weight(), layer.shift(units[0], context), bend)
        z, slope = units.squeeze(-1).unbind(0)
        return z, slope.log().sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        layers, bends = self._layers(), self._bends()
        told = [layer.told(context) for layer in layers]
        known = [z[..., :0] for _ in layers]  # what each layer sees of the features found so far
        points: list[Tensor] = []
        total = z.new_zeros(())
        for i, z_i in enumerate(z.unbind(-1)):
            column = _Column(
                [layer.weight(i) for layer in layers],
                [layer.shift_of(i, *sees) for layer, *sees in zip(layers, known, told, strict=True)],
                [None if bend is None else bend.of(i) for bend in bends],
            )
            points.append(solve_increasing(column.run, z_i))
            *units, (_, slope) = column.units(points[-1])
            known = [_joined(old, _bounded(new)) for old, (new, _) in zip(known, units, strict=True)]
            total = total - slope.squeeze(-1).log()
        return torch.stack(torch.broadcast_tensors(*points), -1), total

    def _layers(self) -> list[_Layer]:
        return [*cast("list[_Layer]", self.hidden), self.out]

    def _bends(self) -> list[_Bend | None]:
        return [*(_Bend.made(*soft_clip(both, _STEEPEST).unbind(0)) for both in self.bends), None]

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}"


class _Layer(nn.Module):
    """Positive weights `(D, outputs, inputs)` within each feature, and a shift from the features before and context."""

    scale: Tensor

    def __init__(
        self, features: int, inputs: int, outputs: int, context: int, *, start: Literal["spread", "zero"]
    ) -> None:
        super().__init__()
        wide, high = features * inputs, features * outputs
        self.log_weight = nn.Parameter(torch.zeros(features, outputs, inputs))
        before = torch.arange(features).repeat_interleave(outputs)
        mask = (before.unsqueeze(-1) > torch.arange(features).repeat_interleave(inputs)).float()
        self.register_buffer("scale", mask / (before * inputs).clamp(min=1).sqrt().unsqueeze(-1), persistent=False)
        spread = start == "spread"
        self.cross = nn.Parameter(torch.rand(high, wide) * 2 - 1 if spread else torch.zeros(high, wide))
        middle = 4 * (torch.arange(outputs) + 0.5) / outputs - 2
        self.offset = nn.Parameter(middle.repeat(features) if spread else torch.zeros(high))
        of_context = (torch.rand(high, context) * 2 - 1) / max(1, context) ** 0.5
        self.of_context = nn.Parameter(of_context if spread else torch.zeros(high, context)) if context else None

    def weight(self, i: int | None = None) -> Tensor:
        """The weights of all features, or `(outputs, inputs)` of one; 1 in the sum over inputs at the start."""
        log_weight = self.log_weight if i is None else self.log_weight[i]
        return soft_clip(log_weight, _STEEPEST).exp() / log_weight.shape[-1]

    def shift(self, h: Tensor, context: Tensor | None) -> Tensor:
        """`h: (*batch, D, inputs)` -> `(*batch, D, outputs)`."""
        seen = F.linear(_bounded(h.flatten(-2)), self.cross * self.scale, self.offset)
        return (seen + self.told(context)).unflatten(-1, self.log_weight.shape[:2])

    def shift_of(self, i: int, known: Tensor, told: Tensor) -> Tensor:
        """The i-th feature's shift, `(*batch, outputs)`, from the bounded `known: (*batch, i * inputs)`."""
        outputs = self.log_weight.shape[1]
        rows, columns = slice(i * outputs, (i + 1) * outputs), slice(known.shape[-1])
        seen = F.linear(known, self.cross[rows, columns] * self.scale[rows, columns], self.offset[rows])
        return seen + (told[..., rows] if told.dim() else told)

    def told(self, context: Tensor | None) -> Tensor:
        """What the context adds to the shifts of all features."""
        if self.of_context is None or context is None:
            return self.offset.new_zeros(())
        return F.linear(_bounded(context), self.of_context)


class _Bend(NamedTuple):
    """Units of slope 1 where q is 0 and of slope `end` far out; `(D, units)` each."""

    gain: Tensor
    end: Tensor
    inner: Tensor  # 1 - end
    height: Tensor  # inner / gain

    @classmethod
    def made(cls, log_gain: Tensor, log_end: Tensor) -> _Bend:
        inner = -log_end.expm1()
        return cls(log_gain.exp(), log_end.exp(), inner, inner * (-log_gain).exp())

    def of(self, i: int) -> _Bend:
        """The units of the i-th feature."""
        return _Bend(*(part[i] for part in self))

    def __call__(self, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """The units, which rise with p and have their bend where q is 0, and their slopes."""
        t = (self.gain * q).tanh()
        return self.end * p + self.height * t, 1 - self.inner * t * t


class _Column(NamedTuple):
    """All layers, as one feature's units see them when the features before it are known."""

    weights: list[Tensor]
    shifts: list[Tensor]
    bends: list[_Bend | None]

    def run(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The feature's output and log slope, `(*batch)`."""
        z, slope = self.units(x)[-1].squeeze(-1).unbind(0)
        return z, slope.log()

    def units(self, x: Tensor) -> list[Tensor]:
        """What each layer gets, then the output, as `_step` has them."""
        units = [_inputs(x)]
        for step in zip(self.weights, self.shifts, self.bends, strict=True):
            units.append(_step(units[-1], *step))
        return units


def _inputs(x: Tensor) -> Tensor:
    """x as units, and their slopes: `(*batch)` -> `(2, *batch, 1)`."""
    return torch.stack([x, torch.ones_like(x)]).unsqueeze(-1)


def _step(units: Tensor, weight: Tensor, shift: Tensor, bend: _Bend | None) -> Tensor:
    """One layer: units and their slopes, `(2, *batch, inputs)` to `(2, *batch, outputs)`; a batch may be features'."""
    mixed = F.linear(units, weight) if weight.dim() == 2 else torch.einsum("dok,...dk->...do", weight, units)
    p, slope = mixed.unbind(0)
    q = p + shift
    if bend is None:
        return torch.stack(torch.broadcast_tensors(q, slope))
    h, more = bend(p, q)
    return torch.stack([h, slope * more])


def _bounded(h: Tensor) -> Tensor:
    return soft_clip(h, _REACH)


def _joined(old: Tensor, new: Tensor) -> Tensor:
    return torch.cat([old.expand(*new.shape[:-1], -1), new], -1)
