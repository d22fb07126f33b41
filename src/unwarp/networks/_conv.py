"""Conditioners for images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from unwarp import _check
from unwarp.errors import ConfigError
from unwarp.functional import Filter, filtered, squash

__all__ = ["ConvNet", "Convolution"]


class ConvNet(nn.Module):
    """Convolutional network of `(x, context)` that keeps height and width, zero at the start.

    Layers between equal widths are residual, so that deep networks train. Inputs are squashed to [-3, 3]; the last
    layer starts at zero.

    Use it as the conditioner of a coupling on images.

    Args:
        channels: of x; 0, with a context, makes the output depend on the context alone.
        out: channels of the output.
        hidden: channels of the hidden layers.
        kernel: side of the first and the last convolution, odd.
        inner: side of those between hidden layers, odd; 1 is the network of Glow.
        context: length of a context that every pixel sees, or the shape of one that is an image; 0 for none.
        block: height and width of the context's pixels that belong to one pixel of x, where the context is an image.

    Shapes: x `(*batch, channels, H, W)`, context `(*batch, context)` or `(*batch, *context)` ->
    `(*batch, out, H, W)`; the batches broadcast.

    Raises:
        ConfigError: if a size is out of range, a side is even, or the context is neither a vector nor an image.

    Example:
        >>> ConvNet(2, 5, hidden=(16, 16))(torch.ones(3, 2, 4, 4)).abs().max().item()
        0.0
    """

    def __init__(
        self,
        channels: int,
        out: int,
        *,
        hidden: Sequence[int] = (64, 64),
        kernel: int = 3,
        inner: int = 3,
        context: int | Sequence[int] = 0,
        block: Sequence[int] = (1, 1),
    ) -> None:
        super().__init__()
        _check.at_least("ConvNet", "channels", channels, 0 if context else 1)
        _check.at_least("ConvNet", "out", out, 1)
        for name, side in (("kernel", kernel), ("inner", inner)):
            if _check.at_least("ConvNet", name, side, 1) % 2 == 0:
                raise ConfigError(f"ConvNet: expected {name} to be odd; got {side}. Take {side + 1}.")
        self._sizes = f"{channels} -> {out}, hidden={tuple(hidden)}"
        self._context, self._block = _check_context(context), _check.sizes("ConvNet", "block", block)
        seen = 0
        if self._context:
            seen = self._context[0] * (self._block[0] * self._block[1] if len(self._context) == 3 else 1)
        widths = (channels + seen, *_check.sizes("ConvNet", "hidden", hidden))
        self.hidden = nn.ModuleList(
            Convolution(a, b, inner if i else kernel) for i, (a, b) in enumerate(pairwise(widths))
        )
        self.out = Convolution(widths[-1], out, kernel, zero=True)

    def filters(self) -> list[Filter] | None:
        """What `functional.couple_images` takes of the network; None of one with a context, other layers, or hooks."""
        layers = [*self.hidden, self.out]
        if type(self) is not ConvNet or self._context:
            return None
        if any(module._forward_hooks or module._forward_pre_hooks for module in (self, *layers)):
            return None
        found = [layer.filter() for layer in layers if type(layer) is Convolution]
        return found if len(found) == len(layers) else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        h = squash(x)
        if context is not None and self._context:
            planes = self._planes(squash(context), x)
            batch = torch.broadcast_shapes(x.shape[:-3], planes.shape[:-3])
            h = torch.cat([h.expand(*batch, *h.shape[-3:]), planes.expand(*batch, *planes.shape[-3:])], -3)
        batch, h = h.shape[:-3], h.reshape(-1, *h.shape[-3:])
        out = filtered(h, [*self.hidden, self.out])
        return out.reshape(*batch, *out.shape[1:])

    def __repr__(self) -> str:
        return f"ConvNet({self._sizes})"

    def _planes(self, context: Tensor, x: Tensor) -> Tensor:
        """The context as channels of x's height and width."""
        if len(self._context) == 1:
            return context.unsqueeze(-1).unsqueeze(-1).expand(*context.shape, *x.shape[-2:])
        rows, columns = self._block
        blocks = context.unflatten(-1, (-1, columns)).unflatten(-3, (-1, rows))
        return blocks.movedim((-3, -1), (-4, -3)).flatten(-5, -3)


def _check_context(context: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(context, int):
        return (context,) if _check.at_least("ConvNet", "context", context, 0) else ()
    shape = _check.sizes("ConvNet", "context", context)
    if len(shape) not in (0, 1, 3):
        raise ConfigError(
            f"ConvNet: expected a context that is a vector or (channels, height, width); got {shape}. Reshape it."
        )
    return shape


class Convolution(nn.Module):
    """A convolution whose weights are of order 1, measured in units of their fan-in, as those of `Dense`."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, zero: bool = False) -> None:
        super().__init__()
        shape = (outputs, inputs, kernel, kernel)
        self.scale = (inputs * kernel * kernel) ** -0.5
        self.weight = nn.Parameter(torch.zeros(shape) if zero else torch.rand(shape) * 2 - 1)
        self.bias = nn.Parameter(torch.zeros(outputs) if zero else (torch.rand(outputs) * 2 - 1) * self.scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.filter()(x)

    def filter(self) -> Filter:
        """What `functional.filtered` calls."""
        return Filter(self.weight, self.bias, self.scale)
