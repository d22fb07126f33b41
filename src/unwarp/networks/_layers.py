"""What all networks share: bounded inputs, and layers whose weights are measured in units of their fan-in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unwarp.errors import ConfigError

__all__ = ["Dense", "Encode", "squash"]

_REACH = 3.0
_FAR = 1e9  # beyond, the square overflows in float32; there all is 3


def squash(x: Tensor) -> Tensor:
    r"""$x / \sqrt{1 + (x/3)^2}$: nearly the identity near 0, one to one, never beyond 3.

    A conditioner that sees a raw 1e3 pushes the other coordinates into degenerate bins; one that sees
    at most 3 does not.
    """
    x = x.clamp(-_FAR, _FAR)
    return x * (1 + (x / _REACH).square()).rsqrt()


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

    scale: Tensor

    def __init__(
        self, inputs: int, outputs: int, *, mask: Tensor | None = None, zero: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs) if zero else torch.rand(outputs, inputs) * 2 - 1)
        start = torch.zeros(outputs) if zero else (torch.rand(outputs) * 2 - 1) / max(1, inputs) ** 0.5
        self.bias = nn.Parameter(start) if bias else None
        scale = torch.tensor(max(1, inputs) ** -0.5)
        if mask is not None:
            scale = mask / mask.sum(-1, keepdim=True).clamp(min=1).sqrt()
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias)

    def part(self, x: Tensor, rows: slice) -> Tensor:
        """The outputs `rows`, from the first inputs only: those that `x: (*batch, k)` holds."""
        scale = self.scale[rows, : x.shape[-1]] if self.scale.dim() else self.scale
        return F.linear(x, self.weight[rows, : x.shape[-1]] * scale, None if self.bias is None else self.bias[rows])

    def extra_repr(self) -> str:
        outputs, inputs = self.weight.shape
        return f"{inputs} -> {outputs}"
