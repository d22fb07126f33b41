"""Vector fields that are gradients."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unwarp import _check
from unwarp.functional import squash
from unwarp.networks._layers import Dense

__all__ = ["PotentialField"]


class PotentialField(nn.Module):
    r"""The velocity $v = -\nabla_x \Phi(s)$, $s = (x, t, \text{context})$, of a learned potential; zero at the start.

    $\Phi(s) = w \cdot u_1 + \tfrac12 s^\top (M + M^\top) s + b \cdot s$, with
    $u_0 = \sigma(K_0 s + b_0)$, $u_1 = u_0 + \sigma(K_1 u_0 + b_1)$ and $\sigma = \log\cosh$, whose slope is tanh. Its
    gradient and Hessian are written out, so the slope of v costs about as much as v. Optimal ways
    follow a potential: with `hamilton_jacobi` as a penalty they become straight.

    Use it as the field of `transforms.Continuous` where few steps should do.

    Args:
        features: length of x.
        width: of the hidden layers, $u_0$ and $u_1$.
        context: length of the context, squashed to [-3, 3]; 0 for none.

    Shapes: x `(*batch, features)`, t `(*batch)` or `()`, context `(*batch, context)` -> `(*batch, features)`; the
    batches broadcast.

    Raises:
        ConfigError: if a size is out of range.

    Source: Onken, Wu Fung, Li and Ruthotto, *OT-Flow*, 2021, arXiv:2006.00104, eqs. 9 to 14. Differs: the quadratic
    form has any signs and starts at zero; context is part of s.

    Example:
        >>> field = PotentialField(2, width=16)
        >>> field(torch.ones(5, 2), torch.tensor(0.5)).shape
        torch.Size([5, 2])
    """

    def __init__(self, features: int, *, width: int = 64, context: int = 0) -> None:
        super().__init__()
        self.features = _check.at_least("PotentialField", "features", features, 1)
        self.context = _check.at_least("PotentialField", "context", context, 0)
        size = features + 1 + context
        self.first = Dense(size, _check.at_least("PotentialField", "width", width, 1))
        self.second = Dense(width, width)
        self.weight = nn.Parameter(torch.zeros(width))
        self.matrix = nn.Parameter(torch.zeros(size, size))
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        return -self._gradient(x, t, context)[0][..., : self.features]

    def linearize(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        r"""The velocity and its slope $-\nabla_x^2 \Phi$, `(*batch, features, features)`."""
        gradient, low, high, pull = self._gradient(x, t, context)
        ways = (self.first.weight * self.first.scale)[:, : self.features].mT
        through = F.linear(low.unsqueeze(-2) * ways, self._second)  # rows of features by units: one product for all
        bend_low = ((1 - low.square()) * pull).unsqueeze(-2)
        bend_high = ((1 - high.square()) * self.weight).unsqueeze(-2)
        hessian = (bend_low * ways) @ ways.mT + (bend_high * through) @ through.mT
        straight = (self.matrix + self.matrix.mT)[: self.features, : self.features]
        return -gradient[..., : self.features], -(hessian + straight)

    def hamilton_jacobi(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        r"""$|\partial_t \Phi - \tfrac12 \|\nabla_x \Phi\|^2|$, which is zero along optimal ways, `(*batch)`."""
        gradient = self._gradient(x, t, context)[0]
        return (gradient[..., self.features] - 0.5 * gradient[..., : self.features].square().sum(-1)).abs()

    @property
    def _second(self) -> Tensor:
        return self.second.weight * self.second.scale

    def _gradient(self, x: Tensor, t: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        r"""$\nabla_s \Phi$, the layers' slopes $\tanh$, and the pull $\partial\Phi/\partial u_0$."""
        parts = [x, t.unsqueeze(-1)]
        if context is not None and self.context:
            parts.append(squash(context))
        batch = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
        s = torch.cat([part.expand(*batch, -1) for part in parts], -1)
        a = self.first(s)
        low = a.tanh()
        high = self.second(_log_cosh(a)).tanh()
        pull = self.weight + (high * self.weight) @ self._second
        around = F.linear(s, self.matrix + self.matrix.mT) + self.bias
        return (low * pull) @ (self.first.weight * self.first.scale) + around, low, high, pull


def _log_cosh(a: Tensor) -> Tensor:
    return a + F.softplus(-2 * a) - 0.6931471805599453
