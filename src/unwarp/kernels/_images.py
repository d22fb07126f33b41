"""Couplings on images with their convolutional networks, by the compiled library."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from unwarp.kernels._passes import PAD, Split, address, call, entries, gradients

__all__ = ["Images"]

_PIXELS = 512  # as in images.h
_THREADS = 4  # beyond, torch's convolutions share their work better


class Filter(Protocol):
    """As `functional.Filter`."""

    @property
    def weight(self) -> Tensor: ...
    @property
    def bias(self) -> Tensor: ...
    @property
    def scale(self) -> float: ...


class Step(Split, Protocol):
    """As `functional.ImageStep`."""

    @property
    def layers(self) -> Sequence[Filter]: ...


class Images:
    """One call of compiled code for a coupling on images with its network, and one for its gradients.

    Images lie in memory as `(images, height, width, channels)`. Between the calls, a piece of memory keeps what the
    network's layers gave.

    Args:
        library: the compiled library.
        blas: addresses of matrix products.
    """

    def __init__(self, library: ctypes.CDLL, blas: Mapping[torch.dtype, int]) -> None:
        self._blas = blas
        self._forth = entries(library, "image_coupling")
        self._back = entries(library, "image_coupling_gradient")
        self._largest = int(library.unwarp_largest_bins())

    def takes(self, step: Step, channels: int) -> bool:
        """Whether threads are few, weights lie row by row, and each convolution takes what the one before gives."""
        bins, kept, moved = step.scalar[0], step.kept.shape[0], step.moved.shape[0]
        outputs = moved * (3 * bins - 1 if bins else 2)
        if torch.get_num_threads() > _THREADS:
            return False
        if bins > self._largest or kept + moved != channels or step.layers[-1].weight.shape[0] != outputs or not kept:
            return False
        inputs = kept
        for layer in step.layers:
            weight, bias = layer.weight, layer.bias
            if weight.shape[1] != inputs or not weight.is_contiguous() or not bias.is_contiguous():
                return False
            inputs = weight.shape[0]
        return True

    def coupling(self, step: Step, x: Tensor, *, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
        """The points of a coupling layer, its ladjs, and the memory, which serves gradients if it is to be kept.

        Args:
            step: what the layer does.
            x: `(images, height, width, channels)`.
            keep: whether gradients may be asked for.
        """
        images, height, width, _ = x.shape
        together = max(1, _PIXELS * torch.get_num_threads() // max(1, height * width))
        pixels = (images if keep else min(images, together)) * height * width
        memory = x.new_empty(sum(pixels * layer.weight.shape[0] + PAD for layer in step.layers))
        z, ladj = torch.empty_like(x), x.new_empty(images)
        words, numbers = self._of(step, x, memory, (), keep=keep)
        call(self._forth[x.dtype], (*words, z.data_ptr(), ladj.data_ptr()), numbers)
        return z, ladj, memory

    def coupling_gradients(
        self, step: Step, x: Tensor, memory: Tensor, grads: tuple[Tensor, Tensor], needed: Sequence[bool]
    ) -> list[Tensor | None]:
        """Gradients to x, weights and biases in turn, where they are `needed`.

        Args:
            step: as of `coupling`.
            x: as of `coupling`.
            memory: that `coupling` kept.
            grads: to z and to the ladj.
            needed: in that order.
        """
        to_x = torch.empty_like(x) if needed[0] else None
        found = gradients([t for layer in step.layers for t in (layer.weight, layer.bias)], needed[1:])
        words, numbers = self._of(step, x, memory, found, keep=True)
        call(self._back[x.dtype], (*words, grads[0].data_ptr(), grads[1].data_ptr(), address(to_x)), numbers)
        return [to_x, *found]

    def _of(
        self, step: Step, x: Tensor, memory: Tensor, found: Sequence[Tensor | None], *, keep: bool
    ) -> tuple[list[int], list[float]]:
        images, height, width, channels = x.shape
        words = [images, height, width, torch.get_num_threads(), self._blas[x.dtype], keep, memory.data_ptr()]
        words.append(len(step.layers))
        for i, layer in enumerate(step.layers):
            outputs, inputs, side, _ = layer.weight.shape
            words += (inputs, outputs, side, layer.weight.data_ptr(), layer.bias.data_ptr())
            words += (address(found[2 * i]), address(found[2 * i + 1])) if found else (0, 0)
        bins, bound, min_bin, min_slope, limit = step.scalar
        words += (bins, step.inverse, channels, step.kept.shape[0], step.moved.shape[0])
        words += (step.kept.data_ptr(), step.moved.data_ptr(), x.data_ptr())
        shift = math.log(math.expm1(1 - min_slope)) if bins else 0.0
        return words, [*(layer.scale for layer in step.layers), bound, min_bin, min_slope, shift, limit]
