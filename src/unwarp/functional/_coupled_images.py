"""Coupling layers on images and their networks in one operation, where there is compiled code for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from unwarp.functional._perceptron import squash
from unwarp.functional._sequence import ScalarMap
from unwarp.kernels import gradients_of, images, is_ordinary

__all__ = ["Filter", "ImageStep", "couple_images", "filtered"]

Pair = tuple[Tensor, Tensor]


class Filter(NamedTuple):
    """A convolution of as many pixels as there were: $y = (W s) * x + b$.

    Attributes:
        weight: $W$, `(outputs, inputs, side, side)` with an odd side.
        bias: $b$, `(outputs,)`.
        scale: $s$.
    """

    weight: Tensor
    bias: Tensor
    scale: float

    def __call__(self, x: Tensor) -> Tensor:
        """Of `(images, inputs, H, W)`."""
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.weight.shape[-1] // 2)


class ImageStep(NamedTuple):
    """What a coupling layer on images does.

    Attributes:
        scalar: the scalar map, as compiled code knows it.
        move: the same in torch, of points and parameters.
        kept: the channels that the network sees squashed.
        moved: those that it tells how to move.
        inverse: whether `scalar` is undone.
        layers: of the network, as `filtered` calls them.
    """

    scalar: ScalarMap
    move: Callable[[Tensor, Tensor], Pair]
    kept: Tensor
    moved: Tensor
    inverse: bool
    layers: Sequence[Filter]


def filtered(x: Tensor, layers: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
    """The layers one after another, rectified between; those between equal widths but the last add to what they take.

    Args:
        x: `(images, channels, H, W)`.
        layers: convolutions, or modules of them.
    """
    h = x
    for i, layer in enumerate(layers[:-1]):
        more = layer(h if i == 0 else h.relu())
        h = more.add_(h) if i and more.shape[1] == h.shape[1] else more
    return layers[-1](h.relu_() if len(layers) > 1 else h)


def couple_images(step: ImageStep, x: Tensor) -> Pair | None:
    """The point after a coupling layer and its ladj; None where that cannot be one operation.

    Args:
        step: what the layer does.
        x: `(*batch, channels, H, W)`.
    """
    if torch.compiler.is_compiling() or images is None or torch.is_autocast_enabled("cpu"):
        return None
    tensors = [t for layer in step.layers for t in layer[:2]]
    if not is_ordinary(x, *tensors) or not images.takes(step, x.shape[-3]):
        return None
    if torch.is_grad_enabled():
        return _CoupledImages.apply((images, step), x, *tensors)
    z, ladj, _ = images.coupling(step, _pixels(x), keep=False)
    return _channels(z, x), ladj.view(x.shape[:-3])


class _CoupledImages(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, what: tuple[Any, ImageStep], x: Tensor, *tensors: Tensor) -> Pair:
        ctx.what = what
        kernel, step = what
        z, ladj, memory = kernel.coupling(step, _pixels(x), keep=True)
        ctx.save_for_backward(x, *tensors, memory)
        return _channels(z, x), ladj.view(x.shape[:-3])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        kernel, step = ctx.what
        *given, memory = ctx.saved_tensors
        needed = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled() or not is_ordinary(*grad_outputs):

            def reference(x: Tensor, *tensors: Tensor) -> Pair:
                return _plainly(step, x, tensors)

            return None, *gradients_of(reference, given, needed, grad_outputs)
        grads = _pixels(grad_outputs[0]), grad_outputs[1].reshape(-1).contiguous()
        to_x, *found = kernel.coupling_gradients(step, _pixels(given[0]), memory, grads, needed)
        return None, None if to_x is None else _channels(to_x, given[0]), *found


def _plainly(step: ImageStep, x: Tensor, tensors: Sequence[Tensor]) -> Pair:
    """The same by single operations, with these weights and biases in turn."""
    pairs = zip(step.layers, tensors[::2], tensors[1::2], strict=True)
    layers = [layer._replace(weight=weight, bias=bias) for layer, weight, bias in pairs]
    seen = squash(x.index_select(-3, step.kept))
    found = filtered(seen.reshape(-1, *seen.shape[-3:]), layers).view(*x.shape[:-3], -1, *x.shape[-2:])
    params = found.unflatten(-3, (len(step.moved), -1)).movedim(-3, -1)
    moved, ladj = step.move(x.index_select(-3, step.moved), params)
    return x.index_copy(-3, step.moved, moved), ladj.sum((-3, -2, -1))


def _pixels(x: Tensor) -> Tensor:
    """As compiled code has images: without a copy where that is how they lie in memory."""
    return x.movedim(-3, -1).reshape(-1, *x.shape[-2:], x.shape[-3]).contiguous()


def _channels(pixels: Tensor, like: Tensor) -> Tensor:
    return pixels.view(*like.shape[:-3], *pixels.shape[1:]).movedim(-1, -3)
