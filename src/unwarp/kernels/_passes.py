"""Fully connected networks, alone and in coupling layers, by the compiled library."""

from __future__ import annotations

import ctypes
import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

__all__ = ["Passes", "Room"]

_NAMES = {torch.float32: "float32", torch.float64: "float64"}
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


class Columns(Protocol):
    """As `functional.Columns`."""

    @property
    def scalar(self) -> Scalar: ...
    @property
    def kept(self) -> Tensor: ...
    @property
    def moved(self) -> Tensor: ...
    @property
    def inverse(self) -> bool: ...


class Room(NamedTuple):
    """What a pass keeps for the way back: all inputs of layers in one piece of memory, and which pass it was."""

    memory: Tensor
    rows: int
    squashed: bool


class Passes:
    """One call of compiled code for a network and what is around it, and one for its gradients.

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

    def takes(self, layers: Sequence[Layer], bins: int = 0) -> bool:
        """Whether there is room for so many bins of a spline, and weights lie in memory row by row."""
        return bins <= self._largest and all(_lies_by_rows(layer) for layer in layers)

    def network(
        self, layers: Sequence[Layer], x: Tensor, offset: Tensor | None, *, squashed: bool
    ) -> tuple[Tensor, Room]:
        """What the layers make of x.

        Args:
            layers: from the first on.
            x: `(rows, inputs)`.
            offset: added to what the first layer gives, `(rows, outputs)`.
            squashed: whether the first layer sees x squashed.
        """
        room = _room(layers, x, squashed=squashed)
        y = x.new_empty(len(x), len(layers[-1].weight))
        words, numbers = self._network_words(layers, room, ())
        words += (x.data_ptr(), 0 if offset is None else offset.data_ptr(), y.data_ptr())
        _call(self._network[x.dtype], words, numbers)
        return y, room

    def network_gradients(
        self, layers: Sequence[Layer], x: Tensor, room: Room, g: Tensor, needed: Sequence[bool], *, first: bool
    ) -> tuple[Tensor | None, Tensor | None, list[Tensor | None]]:
        """To x, to what the first layer gives if `first`, and to weights and biases in turn, where they are `needed`.

        Args:
            layers: as of `network`.
            x: as of `network`.
            room: what `network` gave.
            g: to what `network` gave, `(rows, outputs)`; it is lost.
            needed: of x, then of each weight and bias.
            first: whether those of the first layer's outputs are wanted.
        """
        to_x = torch.empty_like(x) if needed[0] else None
        to_first = x.new_empty(len(x), len(layers[0].weight)) if first else None
        found = _gradients(layers, needed[1:])
        words, numbers = self._network_words(layers, room, found)
        words += (x.data_ptr(), g.data_ptr(), _address(to_first), _address(to_x))
        _call(self._network_gradient[x.dtype], words, numbers)
        return to_x, to_first, found

    def coupling(
        self, columns: Columns, layers: Sequence[Layer], x: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Room]:
        """The points, `(rows, features)`, and the ladjs, `(rows,)`, of a coupling layer.

        Args:
            columns: what the layer does.
            layers: of its network, which sees all inputs squashed.
            x: `(rows, features)`.
            context: `(rows, context)`.
        """
        room = _room(layers, x, squashed=True, outputs=len(layers[-1].weight))
        z, ladj = torch.empty_like(x), x.new_empty(len(x))
        words, numbers = self._coupling_words(columns, layers, x, context, room, ())
        words += (z.data_ptr(), ladj.data_ptr())
        _call(self._coupling[x.dtype], words, numbers)
        return z, ladj, room

    def coupling_gradients(
        self,
        columns: Columns,
        layers: Sequence[Layer],
        x: Tensor,
        context: Tensor | None,
        room: Room,
        to_z: Tensor,
        to_ladj: Tensor,
        needed: Sequence[bool],
    ) -> list[Tensor | None]:
        """To x, to the context, and to weights and biases in turn, where they are `needed`."""
        to_x = torch.empty_like(x) if needed[0] else None
        to_context = torch.zeros_like(context) if context is not None and needed[1] else None
        found = _gradients(layers, needed[2:])
        words, numbers = self._coupling_words(columns, layers, x, context, room, found)
        words += (to_z.data_ptr(), to_ladj.data_ptr(), _address(to_x), _address(to_context))
        _call(self._coupling_gradient[x.dtype], words, numbers)
        return [to_x, to_context, *found]

    def _network_words(
        self, layers: Sequence[Layer], room: Room, found: Sequence[Tensor | None]
    ) -> tuple[list[int], list[float]]:
        memory = room.memory
        head = torch.get_num_threads(), self._blas[memory.dtype], memory.data_ptr(), len(layers)
        words, numbers = [room.squashed, room.rows, *head], []
        for i, layer in enumerate(layers):
            weight, scale = layer.weight, layer.scale
            outputs, inputs = weight.shape
            masked = isinstance(scale, Tensor)
            words += (inputs, outputs, weight.data_ptr(), layer.bias.data_ptr(), scale.data_ptr() if masked else 0)
            words += (_address(found[2 * i]), _address(found[2 * i + 1])) if found else (0, 0)
            words.append(len(layer.stairs))
            for stair in layer.stairs:
                words += stair
            numbers.append(1.0 if masked else scale)
        return words, numbers

    def _coupling_words(
        self,
        columns: Columns,
        layers: Sequence[Layer],
        x: Tensor,
        context: Tensor | None,
        room: Room,
        found: Sequence[Tensor | None],
    ) -> tuple[list[int], list[float]]:
        words, numbers = self._network_words(layers, room, found)
        bins, bound, min_bin, min_slope, limit = columns.scalar
        kept, moved = columns.kept, columns.moved
        words += (
            bins, columns.inverse, x.shape[1], kept.shape[0], moved.shape[0], 0 if context is None else context.shape[1],
            kept.data_ptr(), moved.data_ptr(), x.data_ptr(), _address(context),
        )  # fmt: skip
        numbers += (bound, min_bin, min_slope, math.log(math.expm1(1 - min_slope)) if bins else 0.0, limit)
        return words[1:], numbers  # its network always sees what is squashed


def _room(layers: Sequence[Layer], x: Tensor, *, squashed: bool, outputs: int = 0) -> Room:
    """As `Network` in passes.h lays it out."""
    columns = outputs + (layers[0].weight.shape[1] if squashed else 0)
    masked = 0
    for layer in layers:
        columns += layer.weight.shape[1]
        masked += layer.weight.numel() if isinstance(layer.scale, Tensor) else 0
    return Room(x.new_empty(x.shape[0] * columns + masked + 272 * (2 * len(layers) + 2)), x.shape[0], squashed)


def _gradients(layers: Sequence[Layer], needed: Sequence[bool]) -> list[Tensor | None]:
    pairs = (t for layer in layers for t in (layer.weight, layer.bias))
    return [torch.empty_like(t) if need else None for t, need in zip(pairs, needed, strict=True)]


def _address(t: Tensor | None) -> int:
    return 0 if t is None else t.data_ptr()


def _lies_by_rows(layer: Layer) -> bool:
    masked = isinstance(layer.scale, Tensor)
    return layer.weight.is_contiguous() and layer.bias.is_contiguous() and (not masked or layer.scale.is_contiguous())


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
