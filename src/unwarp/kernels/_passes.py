"""Fully connected networks, alone and in coupling layers, by the compiled library."""

from __future__ import annotations

import ctypes
import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

__all__ = ["PAD", "Passes", "Scalar", "Split", "address", "call", "entries", "gradients"]

_NAMES = {torch.float32: "float32", torch.float64: "float64"}
PAD = 272  # as in passes.h
_ROWS_A_THREAD = 128  # fewer are done before a second thread has begun
_LARGE = 2**17  # weights of a layer whose product with so many rows is worth several threads
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


class Split(Protocol):
    """What a coupling does, but for its network."""

    @property
    def scalar(self) -> Scalar: ...
    @property
    def kept(self) -> Tensor: ...
    @property
    def moved(self) -> Tensor: ...
    @property
    def inverse(self) -> bool: ...


class Step(Split, Protocol):
    """As `functional.CouplingStep`."""

    @property
    def layers(self) -> Sequence[Layer]: ...


class Sketch(NamedTuple):
    """A network as the compiled library takes it.

    Attributes:
        words: sizes and addresses.
        numbers: what multiplies the weights.
        columns: of all that the layers see, and of what the first sees.
        fixed: numbers of memory that it takes whatever the rows.
        widest: the most columns that a layer sees.
        inputs: of the first layer.
        outputs: of the last.
    """

    words: list[int]
    numbers: list[float]
    columns: int
    fixed: int
    widest: int
    inputs: int
    outputs: int


class Run(NamedTuple):
    """Couplings one after another as the compiled library takes them.

    Attributes:
        words: sizes and addresses.
        numbers: of scalar maps and networks.
        parts: of the rows, each for a thread; threads of each part's products, and the address of what sets them.
        lasting: numbers of memory that gradients need.
        passing: those that values need.
        spare: those that the way back needs beside.
    """

    words: list[int]
    numbers: list[float]
    parts: tuple[int, int, int]
    lasting: int
    passing: int
    spare: int


class Passes:
    """One call of compiled code for a network and what is around it, and one for its gradients.

    Between the two, a piece of memory keeps all that the second needs.

    Args:
        library: the compiled library.
        blas: addresses of matrix products.
        threads: address of what sets their threads in the calling thread, or 0.
    """

    def __init__(self, library: ctypes.CDLL, blas: Mapping[torch.dtype, int], threads: int) -> None:
        self._blas, self._threads = blas, threads
        self._network = entries(library, "network")
        self._network_gradient = entries(library, "network_gradient")
        self._couplings = entries(library, "couplings")
        self._couplings_gradient = entries(library, "couplings_gradient")
        self._largest = int(library.unwarp_largest_bins())

    def sketch(self, layers: Sequence[Layer], inputs: int) -> Sketch | None:
        """The network, if weights lie in memory row by row and each layer takes what the one before gives."""
        words, numbers, columns, fixed, widest, first = [len(layers)], [], 0, 2 * PAD, 0, inputs
        for layer in layers:
            weight, bias, scale, stairs = layer.weight, layer.bias, layer.scale, layer.stairs
            outputs, width = weight.shape
            if width != inputs or not weight.is_contiguous() or not bias.is_contiguous() or bias.shape != (outputs,):
                return None
            mask, number = 0, scale
            if isinstance(scale, Tensor):
                if scale.shape != weight.shape or scale.dtype != weight.dtype or not scale.is_contiguous():
                    return None
                mask, number = scale.data_ptr(), 1.0
                fixed += outputs * width + PAD
            words += (width, outputs, weight.data_ptr(), bias.data_ptr(), mask, len(stairs))
            for stair in stairs:
                words += stair
            numbers.append(number)
            columns, fixed, widest, inputs = columns + width, fixed + PAD, max(widest, width), outputs
        return Sketch(words, numbers, columns + first, fixed, widest, first, inputs)

    def run(self, steps: Sequence[Step], x: Tensor, context: Tensor | None) -> Run | None:
        """The couplings, if x and the context fit and there is code for their scalar maps."""
        rows, features = x.shape[:-1].numel(), x.shape[-1]
        words, numbers, lasting, passing, spare = [features, len(steps)], [], 0, 0, 0
        threads, largest = torch.get_num_threads(), 0
        parts = max(1, min(threads, rows // _ROWS_A_THREAD)) if self._threads else 1
        for step in steps:
            bins, bound, min_bin, min_slope, limit = step.scalar
            kept, moved = step.kept.shape[0], step.moved.shape[0]
            width = kept if step.kept is step.moved else kept + moved
            others = 0 if context is None or step.layers[0].weight.shape[1] == kept else context.shape[-1]
            net = self.sketch(step.layers, kept + others)
            if (
                net is None
                or width != features
                or bins > self._largest
                or net.outputs != moved * (3 * bins - 1 if bins else 2)
            ):
                return None
            largest = max(largest, *(layer.weight.numel() for layer in step.layers))
            words += net.words
            words += (bins, step.inverse, kept, moved, step.kept.data_ptr(), step.moved.data_ptr())
            numbers += net.numbers
            numbers += (bound, min_bin, min_slope, math.log(math.expm1(1 - min_slope)) if bins else 0.0, limit)
            memory = rows * (net.columns + net.outputs + features) + parts * (net.fixed + 2 * PAD)
            lasting, passing = lasting + memory, max(passing, memory)
            spare = max(spare, (rows + parts) * (net.outputs + net.inputs + 2 * net.widest) + parts * 2 * PAD)
        products = threads // parts if largest >= _LARGE else 1
        return Run(words, numbers, (parts, products, self._threads), lasting, passing, spare)

    def network(self, net: Sketch, x: Tensor, offset: Tensor | None, *, squashed: bool) -> tuple[Tensor, Tensor]:
        """What the layers make of x, and the memory.

        Args:
            net: what `sketch` gave.
            x: `(rows, inputs)`.
            offset: added to what the first layer gives, `(rows, outputs)`.
            squashed: whether the first layer sees x squashed.
        """
        memory = x.new_empty(x.shape[0] * net.columns + net.fixed)
        y = x.new_empty(x.shape[0], net.outputs)
        words = (squashed, *self._head(x), memory.data_ptr(), *net.words, x.data_ptr(), address(offset), y.data_ptr())
        call(self._network[x.dtype], words, net.numbers)
        return y, memory

    def network_gradients(
        self,
        net: Sketch,
        tensors: Sequence[Tensor],
        x: Tensor,
        memory: Tensor,
        g: Tensor,
        needed: Sequence[bool],
        *,
        squashed: bool,
    ) -> list[Tensor | None]:
        """To x, to what the first layer gives, and to weights and biases in turn, where they are `needed`.

        Args:
            net: as of `network`.
            tensors: weights and biases in turn.
            x: as of `network`.
            memory: as of `network`.
            g: to what `network` gave, `(rows, outputs)`; it is lost.
            needed: in that order.
            squashed: as of `network`.
        """
        to_x = torch.empty_like(x) if needed[0] else None
        to_first = x.new_empty(x.shape[0], tensors[1].shape[0]) if needed[1] else None
        found = gradients(tensors, needed[2:])
        spare = x.new_empty(x.shape[0] * 2 * net.widest)
        words = [squashed, *self._head(x), memory.data_ptr(), *net.words]
        words += (x.data_ptr(), g.data_ptr(), address(to_first), address(to_x), spare.data_ptr())
        words += map(address, found)
        call(self._network_gradient[x.dtype], words, net.numbers)
        return [to_x, to_first, *found]

    def couplings(
        self, run: Run, x: Tensor, context: Tensor | None, score: Tensor | None, *, keep: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The points after the couplings, `(rows, features)`, their ladjs and the memory.

        Args:
            run: what the couplings are.
            x: `(rows, features)`.
            context: `(rows, context)`.
            score: as x, which becomes the one after the couplings; not of layers that move what their network sees.
            keep: whether gradients will be asked for.
        """
        memory = x.new_empty(run.lasting if keep else run.passing)
        z, ladj = torch.empty_like(x), x.new_zeros(x.shape[0])
        spare = None if score is None else x.new_empty(run.spare)
        words = [*self._head(x), *run.parts, memory.data_ptr(), keep, *run.words, x.data_ptr(), address(context)]
        words += (z.data_ptr(), ladj.data_ptr(), address(score), address(spare))
        call(self._couplings[x.dtype], words, run.numbers)
        return z, ladj, memory

    def couplings_gradients(
        self,
        run: Run,
        tensors: Sequence[Tensor],
        x: Tensor,
        memory: Tensor,
        grads: tuple[Tensor, Tensor],
        to_context: Tensor | None,
        needed: Sequence[bool],
    ) -> list[Tensor | None]:
        """Gradients to x, weights and biases in turn, where they are `needed`.

        Args:
            run: as of `couplings`.
            tensors: weights and biases in turn.
            x: as of `couplings`.
            memory: as of `couplings`, which kept it.
            grads: to z and to the ladj.
            to_context: where those to the context are added, or None.
            needed: in that order.
        """
        to_x, found = torch.empty_like(x), gradients(tensors, needed[1:])
        spare = x.new_empty(run.spare)
        words = [*self._head(x), *run.parts, memory.data_ptr(), 1, *run.words, x.data_ptr()]
        words += (grads[0].data_ptr(), grads[1].data_ptr(), to_x.data_ptr(), needed[0])
        words += (address(to_context), spare.data_ptr())
        words += map(address, found)
        call(self._couplings_gradient[x.dtype], words, run.numbers)
        return [to_x if needed[0] else None, *found]

    def _head(self, x: Tensor) -> tuple[int, int, int]:
        return x.shape[0], torch.get_num_threads(), self._blas[x.dtype]


def gradients(tensors: Sequence[Tensor], needed: Sequence[bool]) -> list[Tensor | None]:
    return [torch.empty_like(t) if need else None for t, need in zip(tensors, needed, strict=True)]


def address(t: Tensor | None) -> int:
    return 0 if t is None else t.data_ptr()


def call(entry: Any, words: Iterable[int], numbers: Iterable[float]) -> None:
    integers, reals = array("q", words), array("d", numbers)
    entry(integers.buffer_info()[0], reals.buffer_info()[0])


def entries(library: ctypes.CDLL, name: str) -> dict[torch.dtype, Any]:
    found: dict[torch.dtype, Any] = {}
    for dtype, word in _NAMES.items():
        function = getattr(library, f"unwarp_{name}_{word}")
        function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_void_p], None
        found[dtype] = function
    return found
