"""Linear maps of all pixels' channels as one, by the compiled library."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from unwarp.kernels._passes import address, call, entries

__all__ = ["Folded"]

_SCALE, _ORDER, _LU = range(3)  # as `Fold` in folded.h


class Map(Protocol):
    """As `functional.LinearStep`."""

    @property
    def log_scale(self) -> Tensor | None: ...
    @property
    def shift(self) -> Tensor | None: ...
    @property
    def lower(self) -> Tensor | None: ...
    @property
    def upper(self) -> Tensor | None: ...
    @property
    def order(self) -> Tensor | None: ...
    @property
    def limit(self) -> float: ...


class Folded:
    """One call of compiled code for a run of linear maps or their inverses, and one for the gradients of the maps.

    Args:
        library: the compiled library.
        blas: addresses of matrix products.
    """

    def __init__(self, library: ctypes.CDLL, blas: Mapping[torch.dtype, int]) -> None:
        self._blas = blas
        self._forth = entries(library, "folded")
        self._back = entries(library, "folded_gradient")

    def values(self, maps: Sequence[Map], x: Tensor, pixels: int, *, inverse: bool = False) -> tuple[Tensor, Tensor]:
        """The points after the maps, or their inverses, in this order, and the ladj of one image, a scalar.

        Args:
            maps: of `channels` numbers.
            x: `(rows, channels)`.
            pixels: rows of one image.
            inverse: whether each is undone.
        """
        z, ladj = torch.empty_like(x), x.new_empty(())
        words, numbers = self._of(maps, x, pixels, (), inverse=inverse)
        call(self._forth[x.dtype], (*words, z.data_ptr(), ladj.data_ptr()), numbers)
        return z, ladj

    def gradients(
        self, maps: Sequence[Map], x: Tensor, pixels: int, grads: tuple[Tensor, Tensor], needed: Sequence[bool]
    ) -> list[Tensor | None]:
        """To x, and to each map's log_scale, shift, lower and upper in turn, where they are `needed`.

        Args:
            maps: as of `values`.
            x: as of `values`.
            pixels: as of `values`.
            grads: to the points and to the ladj.
            needed: in that order.
        """
        to_x = torch.empty_like(x) if needed[0] else None
        tensors = (t for m in maps for t in (m.log_scale, m.shift, m.lower, m.upper))
        found = [
            torch.empty_like(t) if t is not None and need else None for t, need in zip(tensors, needed[1:], strict=True)
        ]
        words, numbers = self._of(maps, x, pixels, found, inverse=False)
        call(self._back[x.dtype], (*words, grads[0].data_ptr(), grads[1].data_ptr(), address(to_x)), numbers)
        return [to_x, *found]

    def _of(
        self, maps: Sequence[Map], x: Tensor, pixels: int, found: Sequence[Tensor | None], *, inverse: bool
    ) -> tuple[list[int], list[float]]:
        words = [*x.shape, pixels, self._blas[x.dtype], len(maps)]
        for i, m in enumerate(maps):
            kind = _SCALE if m.lower is None else _LU
            words += (kind if m.order is None else _ORDER, address(m.order))
            words += map(address, (m.log_scale, m.shift, m.lower, m.upper))
            words += map(address, found[4 * i : 4 * i + 4]) if found else (0, 0, 0, 0)
        return [*words, inverse, x.data_ptr()], [m.limit for m in maps]
