"""What is timed of a flow in PyTorch, and the sizes that all libraries share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from _turns import Absent, version
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

BOUND = 5.0  # half-width of splines' boxes
NAF = {"layers": 3, "units": 16}
FIELD = (64, 64)  # hidden layers of vector fields
UNITS = 8  # of a feature, in the hidden layer of a block neural flow
LEVELS, STEPS, CHANNELS = 2, 4, 64  # of Glow, and of the hidden layers of its couplings
Size = dict[str, Any]


class Timed:
    """A flow and the four things that are timed.

    Args:
        library: The package it comes from.
        flow: Whose parameters are trained, by Adam.
        size: Rows and their shape.
        log_prob: Of rows, with gradients.
        sample: So many rows.
        both: So many rows and their log-densities; by default what `sample` gives already.
        note: How it differs from what the model's name says.
        step: Of training on rows; by default one of Adam.
    """

    def __init__(
        self,
        library: str,
        flow: nn.Module,
        size: Size,
        log_prob: Callable[[Tensor], Tensor],
        sample: Callable[[int], object],
        both: Callable[[int], object] | None = None,
        *,
        note: str = "",
        step: Callable[[Tensor], object] | None = None,
    ) -> None:
        self.x = torch.randn(size["batch"], *size["event"], generator=torch.Generator().manual_seed(0))
        self.parameters = sum(p.numel() for p in flow.parameters() if p.requires_grad)
        self.note, self.version = note, version(library)
        self._log_prob, self._sample, self._both = log_prob, sample, both or sample
        self._optimiser = torch.optim.Adam(flow.parameters(), lr=1e-5)
        self._step = step or self._adam

    def train(self) -> None:
        """A step on the mean log-density."""
        self._step(self.x)

    def _adam(self, x: Tensor) -> None:
        self._optimiser.zero_grad()
        (-self._log_prob(x).mean()).backward()
        self._optimiser.step()

    @torch.no_grad()
    def log_prob(self) -> None:
        """The rows' log-densities."""
        self._log_prob(self.x)

    @torch.no_grad()
    def sample(self) -> None:
        """As many new rows."""
        self._sample(len(self.x))

    @torch.no_grad()
    def sample_and_log_prob(self) -> None:
        """As many new rows with their log-densities."""
        self._both(len(self.x))


def made(makers: dict[str, Callable[..., Any]], model: str, *given: Any) -> Any:
    """What the maker of that name makes; `Absent` where there is none."""
    if model not in makers:
        raise Absent("no such flow")
    return makers[model](*given)
