"""Parameters that a map owns, and that a network may move as the context says."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unwarp.errors import ConfigError, ShapeError

__all__ = ["Parameters", "above_minus_one", "hold_network", "moved"]

_DEPTH = 0.99


def above_minus_one(a: Tensor) -> Tensor:
    """An increasing function with values above -0.99: the identity for `a >= 0`, with slope 1 at 0."""
    return torch.where(a > 0, a, _DEPTH * (a.clamp(max=0.0) / _DEPTH).expm1())


class Parameters(nn.Module):
    """Numbers of a map's own, plus those that `net(nothing, context)` adds for each context."""

    def __init__(self, where: str, start: Tensor, net: nn.Module | None, context: int) -> None:
        super().__init__()
        hold_network(where, net, context, len(start))
        self.own = nn.Parameter(start)
        self.net = net

    def forward(self, context: Tensor | None) -> Tensor:
        """`(n)`, or `(*context batch, n)`."""
        return moved(self.own, self.net, context)


def hold_network(where: str, net: nn.Module | None, context: int, numbers: int) -> None:
    """Hold a network that moves parameters to its context and to how many numbers it has to give."""
    if (net is None) != (context == 0):
        raise ConfigError(
            f"{where}: expected net and context together; got net={type(net).__name__}, context={context}. "
            "Give both, such as net=MLP(0, n, context=3) and context=3, or neither."
        )
    if net is None:
        return
    with torch.no_grad():
        got = net(torch.zeros(1, 0), torch.zeros(1, context)).shape[-1]
    if got != numbers:
        raise ShapeError(
            f"{where}: expected net to give {numbers} numbers; got {got}. Build it with 0 inputs and {numbers} outputs."
        )


def moved(own: Tensor, net: nn.Module | None, context: Tensor | None) -> Tensor:
    """Parameters `(*n)`, moved for each context `(*batch, context)` to `(*batch, *n)`: once, however many the draws."""
    if net is None:
        return own
    nothing = own.new_zeros(0) if context is None else context[..., :0]
    return own + net(nothing, context).unflatten(-1, own.shape)
