"""Fully connected networks, alone and in coupling layers, by the compiled library."""

from __future__ import annotations

import ctypes
import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

__all__ = ["Passes"]

_NAMES = {torch.float32: "float32", torch.float64: "float64"}
_PAD = 272  # as in passes.h
Scalar = tuple[int, float, float, float, float]


class Layer(Protocol):
    """As `functional.Affinity`."""

    @property
    def weight(self) -> Tensor: ...
    @property
    def bias(self) -> Tensor: ...
    @property
    def scale(self) -> Tensor | float: ...
    @property
    def stairs(self) -> Sequence[tuple[int, int, int]]: ...


class Step(Protocol):
    """As `functional.CouplingStep`."""

    @property
    def scalar(self) -> Scalar: ...
    @property
    def kept(self) -> Tensor: ...
    @property
    def moved(self) -> Tensor: ...
    @property
    def inverse(self) -> bool: ...
    @property
    def layers(self) -> Sequence[Layer]: ...


class Passes:
    """One call of compiled code for a network and what is around it, and one for its gradients.

    Between the two, a piece of memory keeps all that the second needs.

    Args:
        library: the compiled library.
        blas: addresses of matrix products.
    """

    def __init__(self, library: ctypes.CDLL, blas: Mapping[torch.dtype, int]) -> None:
        self._blas = blas
        self._network = _entries(library, "network")
        self._network_gradient = _entries(library, "network_gradient")
        self._coupling = _entries(library, "coupling")
        self._coupling_gradient = _entries(library, "coupling_gradient")
        self._largest = int(library.unwarp_largest_bins())

    def takes_network(self, layers: Sequence[Layer], inputs: int) -> bool:
        """Whether weights lie in memory row by row, and each takes what the one before gives."""
        for layer in layers:
            weight, bias, scale = layer.weight, layer.bias, layer.scale
            if isinstance(scale, Tensor) and (scale.shape != weight.shape or not scale.is_contiguous()):
                return False
            if weight.shape[1] != inputs or not weight.is_contiguous() or not bias.is_contiguous():
                return False
            inputs = weight.shape[0]
            if bias.shape != (inputs,):
                return False
        return True

    def takes_couplings(self, steps: Sequence[Step], x: Tensor, context: Tensor | None) -> bool:
        """Whether the layers can be passed through from x, of which every network sees what it has room for."""
        for step in steps:
            bins, kept, moved = step.scalar[0], step.kept.shape[0], step.moved.shape[0]
            others = 0 if context is None or step.layers[0].weight.shape[1] == kept else context.shape[-1]
            outputs = moved * (3 * bins - 1 if bins else 2)
            if bins > self._largest or kept + moved != x.shape[-1] or step.layers[-1].weight.shape[0] != outputs:
                return False
            if not self.takes_network(step.layers, kept + others):
                return False
        return True

    def network(
        self, layers: Sequence[Layer], x: Tensor, offset: Tensor | None, *, squashed: bool
    ) -> tuple[Tensor, Tensor]:
        """What the layers make of x, and the memory.

        Args:
            layers: from the first on.
            x: `(rows, inputs)`.
            offset: added to what the first layer gives, `(rows, outputs)`.
            squashed: whether the first layer sees x squashed.
        """
        memory = _memory(layers, x, squashed=squashed)
        y = x.new_empty(x.shape[0], layers[-1].weight.shape[0])
        words, numbers = self._of_network(layers, x, memory, ())
        words += (x.data_ptr(), _address(offset), y.data_ptr())
        _call(self._network[x.dtype], (squashed, *words), numbers)
        return y, memory

    def network_gradients(
        self,
        layers: Sequence[Layer],
        x: Tensor,
        memory: Tensor,
        g: Tensor,
        needed: Sequence[bool],
        *,
        squashed: bool,
    ) -> list[Tensor | None]:
        """To x, to what the first layer gives, and to weights and biases in turn, where they are `needed`.

        Args:
            layers: as of `network`.
            x: as of `network`.
            memory: as of `network`.
            g: to what `network` gave, `(rows, outputs)`; it is lost.
            needed: in that order.
            squashed: as of `network`.
        """
        to_x = torch.empty_like(x) if needed[0] else None
        to_first = x.new_empty(x.shape[0], layers[0].weight.shape[0]) if needed[1] else None
        found = _gradients(layers, needed[2:])
        words, numbers = self._of_network(layers, x, memory, found)
        spare = x.new_empty(x.shape[0] * _two_hidden(layers))
        words += (x.data_ptr(), g.data_ptr(), _address(to_first), _address(to_x), spare.data_ptr())
        _call(self._network_gradient[x.dtype], (squashed, *words), numbers)
        return [to_x, to_first, *found]

    def coupling(
        self, step: Step, x: Tensor, context: Tensor | None, ladj: Tensor, memory: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The points of a coupling layer, `(rows, features)`, and the memory; its ladjs are added to `ladj`.

        Args:
            step: what the layer does.
            x: `(rows, features)`.
            context: `(rows, context)`.
            ladj: `(rows,)`.
            memory: of another pass, whose gradients nobody wants any more: it is used again if it is large enough.
        """
        memory = _memory(step.layers, x, squashed=True, outputs=step.layers[-1].weight.shape[0], spent=memory)
        z = torch.empty_like(x)
        words, numbers = self._of_coupling(step, x, context, memory, ())
        words += (z.data_ptr(), ladj.data_ptr())
        _call(self._coupling[x.dtype], words, numbers)
        return z, memory

    def coupling_gradients(
        self,
        step: Step,
        x: Tensor,
        context: Tensor | None,
        memory: Tensor,
        grads: tuple[Tensor, Tensor],
        to_context: Tensor | None,
        spare: Tensor | None,
        needed: Sequence[bool],
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Memory to spare, and gradients to x, weights and biases in turn, where they are `needed`.

        Args:
            step: as of `coupling`.
            x: as of `coupling`.
            context: as of `coupling`.
            memory: as of `coupling`.
            grads: to z and to the ladj.
            to_context: where those to the context are added, or None.
            spare: memory that such a call gave, used again if it is large enough.
            needed: in that order.
        """
        outputs, features = step.layers[-1].weight.shape[0], x.shape[1]
        columns = outputs + step.layers[0].weight.shape[1] + features + _two_hidden(step.layers)
        spare = _at_least(x.shape[0] * columns + 3 * _PAD, x, spare)
        to_x = torch.empty_like(x) if needed[0] else None
        found = _gradients(step.layers, needed[1:])
        words, numbers = self._of_coupling(step, x, context, memory, found)
        words += (grads[0].data_ptr(), grads[1].data_ptr(), _address(to_x), _address(to_context), spare.data_ptr())
        _call(self._coupling_gradient[x.dtype], words, numbers)
        return spare, [to_x, *found]

    def _of_network(
        self, layers: Sequence[Layer], x: Tensor, memory: Tensor, found: Sequence[Tensor | None]
    ) -> tuple[list[int], list[float]]:
        words = [x.shape[0], torch.get_num_threads(), self._blas[x.dtype], memory.data_ptr(), len(layers)]
        numbers: list[float] = []
        for i, layer in enumerate(layers):
            weight, scale = layer.weight, layer.scale
            outputs, inputs = weight.shape
            mask, number = (scale.data_ptr(), 1.0) if isinstance(scale, Tensor) else (0, scale)
            words += (inputs, outputs, weight.data_ptr(), layer.bias.data_ptr(), mask)
            words += (_address(found[2 * i]), _address(found[2 * i + 1])) if found else (0, 0)
            words.append(len(layer.stairs))
            for stair in layer.stairs:
                words += stair
            numbers.append(number)
        return words, numbers

    def _of_coupling(
        self, step: Step, x: Tensor, context: Tensor | None, memory: Tensor, found: Sequence[Tensor | None]
    ) -> tuple[list[int], list[float]]:
        words, numbers = self._of_network(step.layers, x, memory, found)
        bins, bound, min_bin, min_slope, limit = step.scalar
        kept, moved = step.kept, step.moved
        others = step.layers[0].weight.shape[1] - kept.shape[0]
        words += (
            bins, step.inverse, x.shape[1], kept.shape[0], moved.shape[0], others,
            kept.data_ptr(), moved.data_ptr(), x.data_ptr(), _address(context if others else None),
        )  # fmt: skip
        numbers += (bound, min_bin, min_slope, math.log(math.expm1(1 - min_slope)) if bins else 0.0, limit)
        return words, numbers


def _memory(
    layers: Sequence[Layer], x: Tensor, *, squashed: bool, outputs: int = 0, spent: Tensor | None = None
) -> Tensor:
    """As `Network` in passes.h lays it out."""
    columns, more = outputs, 2 * _PAD
    for i, layer in enumerate(layers):
        weight = layer.weight
        columns += weight.shape[1] * (2 if i == 0 and squashed else 1)
        more += _PAD + (weight.numel() + _PAD if isinstance(layer.scale, Tensor) else 0)
    return _at_least(x.shape[0] * columns + more, x, spent)


def _two_hidden(layers: Sequence[Layer]) -> int:
    return 2 * max(layer.weight.shape[1] for layer in layers)


def _at_least(count: int, like: Tensor, spent: Tensor | None) -> Tensor:
    return spent if spent is not None and spent.numel() >= count else like.new_empty(count)


def _gradients(layers: Sequence[Layer], needed: Sequence[bool]) -> list[Tensor | None]:
    pairs = (t for layer in layers for t in (layer.weight, layer.bias))
    return [torch.empty_like(t) if need else None for t, need in zip(pairs, needed, strict=True)]


def _address(t: Tensor | None) -> int:
    return 0 if t is None else t.data_ptr()


def _call(entry: Any, words: Iterable[int], numbers: Iterable[float]) -> None:
    integers, reals = array("q", words), array("d", numbers)
    entry(integers.buffer_info()[0], reals.buffer_info()[0])


def _entries(library: ctypes.CDLL, name: str) -> dict[torch.dtype, Any]:
    found: dict[torch.dtype, Any] = {}
    for dtype, word in _NAMES.items():
        function = getattr(library, f"unwarp_{name}_{word}")
        function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_void_p], None
        found[dtype] = function
    return found
