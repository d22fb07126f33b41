"""What all networks share: how they see angles, and layers whose weights are measured in units of their fan-in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unwarp.errors import ConfigError
from unwarp.functional import Affinity, perceptron, squash

__all__ = ["Dense", "Encode", "affinities", "rectified"]

_BLOCK = 64  # outputs in one product: larger ones have more speed, smaller ones skip more zeros


class Encode(nn.Module):
    """Inputs as a conditioner sees them: angles as cosine and sine, so that the circle has no ends; the rest squashed.

    Args:
        features: number of inputs.
        angles: which of them are angles, in radians.

    Attributes:
        widths: how many columns each input becomes.

    Raises:
        ConfigError: when an angle is no input.
    """

    source: Tensor
    cosine: Tensor
    sine: Tensor

    def __init__(self, features: int, angles: Sequence[int] = ()) -> None:
        super().__init__()
        if not set(angles) <= set(range(features)):
            raise ConfigError(
                f"angles: expected some of the inputs 0 to {features - 1}; got {list(angles)}. Give their positions."
            )
        self.widths = tuple(2 if i in angles else 1 for i in range(features))
        self._only_angles = all(width == 2 for width in self.widths)
        columns = [(i, k) for i, width in enumerate(self.widths) for k in range(width)]
        self.register_buffer("source", torch.tensor([i for i, _ in columns], dtype=torch.long), persistent=False)
        for name, which in (("cosine", 0), ("sine", 1)):
            here = [i in angles and k == which for i, k in columns]
            self.register_buffer(name, torch.tensor(here, dtype=torch.bool), persistent=False)

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """The columns of the inputs that x holds, of which the first is input `first`."""
        columns = slice(sum(self.widths[:first]), sum(self.widths[: first + x.shape[-1]]))
        if self._only_angles:
            return torch.stack([x.cos(), x.sin()], -1).flatten(-2)
        x = x.index_select(-1, self.source[columns] - first)
        angle = torch.where(self.cosine[columns], x.cos(), x.sin())
        return torch.where(self.cosine[columns] | self.sine[columns], angle, squash(x))


class Dense(nn.Module):
    r"""$y = (W \odot S)\,x + b$ with $S_{ij} = m_{ij} / \sqrt{\sum_k m_{ik}}$ for a mask m (all ones without one).

    Weights are of order 1 whatever the width, so that one learning rate suits every width, and noise on the weights
    changes the output by its own size, not by the width's root times it.

    Args:
        inputs: length of x.
        outputs: length of y.
        mask: `(outputs, inputs)`, which weights exist.
        zero: start at zero, weights and biases.
        bias: add b.

    Source: the scaling of Jacot, Gabriel and Hongler, *Neural Tangent Kernel*, 2018, arXiv:1806.07572, section 2.
    """

    scale: Tensor | float

    def __init__(
        self, inputs: int, outputs: int, *, mask: Tensor | None = None, zero: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs) if zero else torch.rand(outputs, inputs) * 2 - 1)
        start = torch.zeros(outputs) if zero else (torch.rand(outputs) * 2 - 1) / max(1, inputs) ** 0.5
        self.bias = nn.Parameter(start) if bias else None
        self.stairs = ((0, outputs, inputs),) if mask is None else _stairs(mask)
        if mask is None:
            self.scale = torch.tensor(max(1, inputs) ** -0.5, device="cpu").item()  # to float32
        else:
            scale = mask / mask.sum(-1, keepdim=True).clamp(min=1).sqrt()
            self.register_buffer("scale", scale, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias)

    def affinity(self) -> Affinity | None:
        """What `functional.perceptron` takes of it; None where hooks would not be called, or there is no bias."""
        own = self._parameters  # which are found here in a fraction of the time that `self.weight` takes
        weight, bias, scale = own.get("weight"), own.get("bias"), self._buffers.get("scale")
        if weight is None or bias is None or self._forward_hooks or self._forward_pre_hooks:
            return None
        return Affinity(weight, bias, self.scale if scale is None else scale, self.stairs)

    def part(self, x: Tensor, rows: slice) -> Tensor:
        """The outputs `rows`, from the first inputs only: those that `x: (*batch, k)` holds."""
        scale = self.scale[rows, : x.shape[-1]] if isinstance(self.scale, Tensor) else self.scale
        return F.linear(x, self.weight[rows, : x.shape[-1]] * scale, None if self.bias is None else self.bias[rows])

    def extra_repr(self) -> str:
        outputs, inputs = self.weight.shape
        return f"{inputs} -> {outputs}"


def affinities(layers: Sequence[nn.Module]) -> list[Affinity] | None:
    """What the layers are to `functional`; None when one of them is no longer a plain one."""
    found: list[Affinity] = []
    for layer in layers:
        affinity = layer.affinity() if type(layer) is Dense else None
        if affinity is None:
            return None
        found.append(affinity)
    return found


def rectified(layers: Sequence[nn.Module], x: Tensor, *, squashed: bool, offset: Tensor | None = None) -> Tensor:
    """The layers one after another, rectified between; see `functional.perceptron`.

    Layers that are no longer plain ones, because they were exchanged or have hooks, are called one by one.
    """
    plain = affinities(layers)
    if plain is not None:
        return perceptron(x, plain, offset=offset, squashed=squashed)
    h = squash(x) if squashed else x
    for i, layer in enumerate(layers):
        h = layer(h if i == 0 else h.relu())
        h = h if i or offset is None else h + offset
    return h


def _stairs(mask: Tensor) -> tuple[tuple[int, int, int], ...]:
    """Some blocks of rows, each with the number of columns beyond which its rows are zero."""
    outputs, inputs = mask.shape
    blocks = max(1, min(outputs, inputs) // _BLOCK)
    ends = [outputs * i // blocks for i in range(blocks + 1)]
    reach = [max((mask[p:q].any(0).nonzero().flatten() + 1).tolist(), default=0) for p, q in pairwise(ends)]
    return tuple((p, q, k) for (p, q), k in zip(pairwise(ends), reach, strict=True))
