"""A guarded step of AdamW by the compiled library."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from unwarp.kernels._passes import address, call, entries

__all__ = ["Descent", "Group", "Judge"]


class Group(Protocol):
    """As `functional.Trained`."""

    @property
    def sizes(self) -> Sequence[int]: ...
    @property
    def grads(self) -> Sequence[Tensor | None]: ...
    @property
    def weights(self) -> Tensor: ...
    @property
    def mean(self) -> Tensor: ...
    @property
    def moments(self) -> Mapping[str, Tensor]: ...
    @property
    def decay(self) -> float: ...


class Judge(Protocol):
    """As `training.Guard`."""

    @property
    def factors(self) -> tuple[float, float]: ...
    @property
    def norms(self) -> Tensor: ...
    @property
    def limits(self) -> Tensor: ...
    @property
    def loss(self) -> Tensor: ...
    @property
    def accepted(self) -> Tensor: ...
    @property
    def broken(self) -> Tensor: ...

    def is_due(self, step: int) -> bool:
        """Whether limits are computed anew after this step."""
        ...


class Descent:
    """One call of compiled code for the gradient's norm, its guard, AdamW and a moving average of the weights.

    Args:
        library: the compiled library.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._entries = entries(library, "descent")

    def __call__(
        self,
        groups: Sequence[Group],
        guard: Judge,
        loss: Tensor,
        step: int,
        *,
        rates: tuple[float, float, float, float],
        share: float,
    ) -> None:
        """Take the step, as `functional.descend`."""
        words = [torch.get_num_threads(), guard.norms.data_ptr(), len(guard.norms), step % len(guard.norms)]
        words += (guard.is_due(step), *(t.data_ptr() for t in (guard.limits, guard.loss, guard.accepted, guard.broken)))
        words.append(len(groups))
        numbers = [float(loss.detach()), *rates, share, *guard.factors]
        grads = [[grad if grad is None else grad.contiguous() for grad in group.grads] for group in groups]
        for group, found in zip(groups, grads, strict=True):
            moments = group.moments
            words += (moments["step"].data_ptr(), group.weights.data_ptr())
            words += (moments["exp_avg"].data_ptr(), moments["exp_avg_sq"].data_ptr(), group.mean.data_ptr())
            words.append(len(group.sizes))
            numbers.append(group.decay)
            for pair in zip(group.sizes, map(address, found), strict=True):
                words += pair
        call(self._entries[groups[0].weights.dtype], words, numbers)
