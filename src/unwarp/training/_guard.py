"""A guard against bad gradients that never waits for the device."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Guard"]

_LARGEST = torch.finfo(torch.float32).max


class Guard:
    """Judges each gradient by the running median of the last gradients' norms.

    A norm above `clip` medians is scaled down to that. A step is rejected, which means that nothing changes, when its
    norm is above `reject` medians or when its norm or loss is not finite. Everything is computed on the device, so the
    host never waits; `read` fetches the counts. Rejected norms enter the median too: what stays large is soon accepted.

    Args:
        device: where the gradients are.
        memory: how many norms the median spans.
        clip: norms are cut to this many medians.
        reject: steps above this many medians are left out.
    """

    def __init__(self, device: torch.device, *, memory: int = 100, clip: float = 2.5, reject: float = 10.0) -> None:
        self.factors = clip, reject
        self._factors = torch.tensor([clip, reject], device=device)
        self.norms = torch.full((memory,), torch.nan, device=device)
        self.limits = torch.full((2,), _LARGEST, device=device)  # above them: clip, reject
        self.loss = torch.zeros((), device=device)
        self.accepted = torch.zeros((), device=device)
        self.broken = torch.zeros((), device=device)

    def judge(self, norm: Tensor, loss: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """By what to divide this step's gradient, and 1.0 if the step is to be left out or else 0.0.

        Shapes: norm and loss scalars; step counts from 0.
        """
        loss = loss.detach().float()
        norm = norm.float() + 0 * loss  # not finite when either is not
        skip = ~(norm <= self.limits[1])
        divisor = (norm / self.limits[0]).clamp(min=1.0)
        self.norms[step % len(self.norms)] = norm
        if self.is_due(step):
            limits = self.norms.nanmedian() * self._factors
            self.limits = limits.nan_to_num(nan=_LARGEST, posinf=_LARGEST).clamp(1e-30, _LARGEST)
        self.loss += loss.masked_fill(skip, 0.0)
        self.accepted += ~skip
        self.broken += ~torch.isfinite(norm)
        return divisor, skip.float()

    def is_due(self, step: int) -> bool:
        """Whether limits are computed anew after this step, which counts from 0."""
        return step < 10 or step % 10 == 0

    def read(self) -> tuple[float, int, int]:
        """Since the last `reset`: mean loss of the accepted steps, their number, and how many were not finite."""
        loss, accepted, broken = torch.stack([self.loss, self.accepted, self.broken]).tolist()
        return (loss / accepted if accepted else float("nan")), int(accepted), int(broken)

    def reset(self) -> None:
        """Start counting anew."""
        self.loss.zero_()
        self.accepted.zero_()
        self.broken.zero_()
