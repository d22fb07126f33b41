"""What a distribution is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from unwarp import _check
from unwarp._space import Space
from unwarp.transforms._base import Kind

__all__ = ["Distribution", "weakest"]


class Distribution(nn.Module, ABC):
    """A probability distribution over the events of `space`, possibly given a context.

    Shapes: x `(*batch, *space.shape)`, context `(*batch, *context_shape)`, log_prob `(*batch)` in nats. The batches of
    x and context broadcast. `sample((5,), context)` with context `(B, C)` gives `(5, B, *space.shape)`.

    Attributes:
        space: where events live.
        context_shape: event shape of the context; None when there is none.
        spec: the recipe and options that made it, as JSON-able data; None when it was put together by hand.
        lr: the learning rate that suits it, which `training.fit` takes unless it is told another.
    """

    space: Space
    context_shape: tuple[int, ...] | None
    spec: dict[str, Any] | None = None
    lr: float = 1e-2

    def __init__(self, space: Space, *, context_shape: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.space = space
        self.context_shape = context_shape

    @property
    def kind(self) -> Kind:
        """What `log_prob` is: "exact", an unbiased "estimate", or a lower "bound"."""
        return "exact"

    @abstractmethod
    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density of each event, in nats."""

    @abstractmethod
    def sample_and_log_prob(
        self, shape: Sequence[int] = (), context: Tensor | None = None, *, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draws and their log density, computed together; gradients flow through the draws where they can."""

    def sample(
        self, shape: Sequence[int] = (), context: Tensor | None = None, *, generator: Generator | None = None
    ) -> Tensor:
        """Draws, `(*shape, *context batch, *space.shape)`."""
        return self.sample_and_log_prob(shape, context, generator=generator)[0]

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """`log_prob`, so that what hooks a module's call (data parallel, compile) hooks the density."""
        return self.log_prob(x, context)

    def adapt(self, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None) -> None:
        """Set what should follow the data from `x: (n, *event)` and `weight: (n,)`; here: nothing."""

    def given(self, context: Tensor | None = None) -> torch.distributions.Distribution:
        """`p(. | context)` as a torch distribution: `rsample`, `log_prob`, `expand`; no cache.

        Example:
            >>> Normal(2).given().log_prob(torch.zeros(3, 2)).shape
            torch.Size([3])
        """
        from unwarp.distributions._given import Given

        return Given(self, context)

    def batch_shape(self, shape: Sequence[int], context: Tensor | None) -> tuple[int, ...]:
        """The batch shape of a draw of `shape` given `context`, once the context has been checked."""
        return (*shape, *_check.context_batch(f"{type(self).__name__}.sample", context, self.context_shape))


def weakest(kinds: Sequence[Kind]) -> Kind:
    """What a sum of log densities is: a bound if any is one, else an estimate if any is one."""
    return "bound" if "bound" in kinds else "estimate" if "estimate" in kinds else "exact"
