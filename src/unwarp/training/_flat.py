"""Parameters laid end to end in memory, so that what is done to each of them is one operation for all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Flat"]


class Flat:
    """Parameters of one kind of number as pieces of one vector, `whole`, for as long as they are trained.

    They stay what they were to everyone else: the same objects, values and shapes. A gradient's norm, a step of an
    optimiser and a moving average of some thirty small tensors take longer to start than to compute; of one they don't.

    Args:
        params: of one device and kind, at least one.
    """

    def __init__(self, params: Sequence[nn.Parameter]) -> None:
        self._params = list(params)
        self.sizes = [p.numel() for p in self._params]
        self.whole = nn.Parameter(self.join([p.detach() for p in self._params]))
        self._pieces = self.pieces(self.whole)
        for p, piece in zip(self._params, self._pieces, strict=True):
            p.data = piece

    def pieces(self, whole: Tensor) -> list[Tensor]:
        """Views of a vector, shaped as the parameters."""
        parts = whole.detach().split(self.sizes)
        return [part.view(p.shape) for part, p in zip(parts, self._params, strict=True)]

    def join(self, values: Sequence[Tensor | None]) -> Tensor:
        """Tensors shaped as the parameters as a vector, with zeros for those that are None."""
        pairs = zip(self._params, values, strict=True)
        return torch.cat([(torch.zeros_like(p) if value is None else value).reshape(-1) for p, value in pairs])

    def take(self) -> list[Tensor | None]:
        """The parameters' gradients, which are gone after that; values that were put elsewhere are brought back."""
        grads = [p.grad for p in self._params]
        for p, piece in zip(self._params, self._pieces, strict=True):
            p.grad = None
            if p.data_ptr() != piece.data_ptr():
                piece.copy_(p.detach())
                p.data = piece
        return grads

    def release(self) -> None:
        """Give each parameter memory of its own again."""
        for p in self._params:
            p.data = p.detach().clone()
