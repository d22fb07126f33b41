"""Parameters that a map owns, and that a network may move as the context says."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unwarp.errors import ConfigError, ShapeError

__all__ = ["Parameters", "above_minus_one"]

_DEPTH = 0.99


def above_minus_one(a: Tensor) -> Tensor:
    """An increasing function with values above -0.99: the identity for `a >= 0`, with slope 1 at 0."""
    return torch.where(a > 0, a, _DEPTH * (a.clamp(max=0.0) / _DEPTH).expm1())


class Parameters(nn.Module):
    """Numbers of a map's own, plus those that `net(nothing, context)` adds for each context."""

    def __init__(self, where: str, start: Tensor, net: nn.Module | None, context: int) -> None:
        super().__init__()
        if (net is None) != (context == 0):
            raise ConfigError(
                f"{where}: expected net and context together; got net={type(net).__name__}, context={context}. "
                "Give both, such as net=MLP(0, n, context=3) and context=3, or neither."
            )
        self.own = nn.Parameter(start)
        self.net = net
        if net is not None:
            with torch.no_grad():
                got = net(torch.zeros(1, 0), torch.zeros(1, context)).shape[-1]
            if got != len(start):
                raise ShapeError(
                    f"{where}: expected net to give {len(start)} numbers; got {got}. "
                    f"Build it with 0 inputs and {len(start)} outputs."
                )

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        """`(n)`, or `(*batch, n)` with a context."""
        return self.own if self.net is None else self.own + self.net(x[..., :0], context)
