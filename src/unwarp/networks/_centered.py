"""A conditioner whose log scales cancel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unwarp import _check

__all__ = ["Centered"]


class Centered(nn.Module):
    r"""A network for `Coupling(features, Affine(), ...)` whose log scales add up to zero, so that volume is kept.

    Of the network's r in each log scale's place, $s_i = u_i - \bar u$ with $u = \tfrac c2 \tanh(2 r / c)$ becomes the
    scale: what is handed on is $c \operatorname{artanh}(s / c)$, which `Affine` bounds back to s.

    Use it where a map should rearrange but not compress: its ladj is zero everywhere.

    Args:
        net: the conditioner, with a shift and a log scale for each moved feature.
        max_log_scale: the bound c of `Affine`.

    Shapes: as the network's, the last axis (moved features x 2).

    Raises:
        ConfigError: if `max_log_scale` is not finite and positive.

    Source: Sorrenson, Rother and Köthe, *Disentanglement by Nonlinear ICA with General Incompressible-flow Networks
    (GIN)*, 2020, arXiv:2001.04872, section 3.2. Differs: the mean is taken off every log scale, where the paper sets
    the last one to minus the sum of the others.

    Example:
        >>> layer = Coupling(4, Affine(), Centered(MLP(2, 4)))
        >>> _ = nn.init.normal_(layer.net.net.out.weight)
        >>> bool(layer(torch.randn(8, 4))[1].abs().max() < 1e-5)
        True
    """

    def __init__(self, net: nn.Module, *, max_log_scale: float = 3.0) -> None:
        super().__init__()
        self.net = net
        self.max_log_scale = _check.positive("Centered", "max_log_scale", max_log_scale)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        shift, r = self.net(x, context).unflatten(-1, (-1, 2)).unbind(-1)
        u = 0.5 * (2 * r / self.max_log_scale).tanh()
        s = u - u.mean(-1, keepdim=True)
        return torch.stack([shift, self.max_log_scale * s.atanh()], -1).flatten(-2)
