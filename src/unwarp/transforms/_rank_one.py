"""Maps that move every point along one direction, or away from one point."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unwarp import _check
from unwarp._space import Space
from unwarp.functional import soft_clip, solve_increasing
from unwarp.transforms._base import Transform
from unwarp.transforms._parameters import Parameters, above_minus_one

__all__ = ["Planar", "Radial"]


class Planar(Transform):
    r"""$z = x + \hat u \tanh(w^\top x + b)$: squeezes or stretches space along $\hat u$, across one hyperplane.

    Here $\hat u = u + (m(w^\top u) - w^\top u)\,w/|w|^2$ with $m(a) = a$ for $a \ge 0$ and above $-0.99$ everywhere,
    so that $\text{ladj} = \log(1 + w^\top \hat u\,(1 - \tanh^2))$ is finite. The inverse is the root of one increasing
    scalar equation for $w^\top x$, and exact.

    Use it, some ten or more in a row, for posteriors of variational inference with parameters from a network; one of
    them does little. It is a rank-one `Sylvester`.

    Args:
        features: number of features D.
        net: network that moves the 2 D + 1 parameters, called as `net(nothing, context)`.
        context: length of the context; 0 for none.

    Shapes: x, z `(*batch, D)`; context `(*batch, context)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1`, or a context comes without a network or the other way round.
        ShapeError: when the network's output has another length.

    Source: Rezende and Mohamed, *Variational Inference with Normalizing Flows*, 2015, arXiv:1505.05770, eq. 10 and
    appendix A.1. Differs: m has slope 1 at 0 and a margin, so that u = 0 is the identity and no map is singular; the
    inverse is there.

    Example:
        >>> layer = Planar(2)
        >>> torch.nn.init.normal_(layer.params.own).shape
        torch.Size([5])
        >>> x = torch.randn(4, 2)
        >>> bool(torch.allclose(layer.decode(layer.encode(x)), x, atol=1e-4))
        True
    """

    def __init__(self, features: int, *, net: nn.Module | None = None, context: int = 0) -> None:
        super().__init__(Space((_check.at_least("Planar", "features", features, 1),)), context=context)
        start = torch.cat([torch.zeros(features), F.normalize(torch.randn(features), dim=0), torch.zeros(1)])
        self.params = Parameters("Planar", start, net, context)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        u, w, b, slope = self._direction(x, context)
        t = ((w * x).sum(-1) + b).tanh()
        return x + u * t.unsqueeze(-1), (slope * (1 - t * t)).log1p()

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        u, w, b, slope = self._direction(z, context)

        def across(a: Tensor) -> tuple[Tensor, Tensor]:
            t = (a + b).tanh()
            return a + slope * t, (slope * (1 - t * t)).log1p()

        a = solve_increasing(across, (w * z).sum(-1))
        return z - u * (a + b).tanh().unsqueeze(-1), -across(a)[1]

    def _direction(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The paper's $\\hat u$, w and b, and $w^\\top \\hat u$."""
        features = x.shape[-1]
        u, w, b = self.params(context).split((features, features, 1), -1)
        before = (w * u).sum(-1, keepdim=True)
        after = above_minus_one(before)
        size = w.square().sum(-1, keepdim=True) + torch.finfo(w.dtype).tiny
        return u + (after - before) * (w / size), w, b.squeeze(-1), after.squeeze(-1)

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}"


class Radial(Transform):
    r"""$z = x + \beta\,(x - c)/(\alpha + |x - c|)$: pulls points towards a centre c, or pushes them away from it.

    With $\alpha > 0$, $\beta > -0.99\,\alpha$ and $h = 1/(\alpha + |x - c|)$,
    $\text{ladj} = (D - 1)\log(1 + \beta h) + \log(1 + \alpha\beta h^2)$. The inverse is a quadratic equation for the
    radius, in closed form.

    Use it, some ten or more in a row, for round bumps and holes; parameters may come from a network.

    Args:
        features: number of features D.
        net: network that moves the D + 2 parameters, called as `net(nothing, context)`.
        context: length of the context; 0 for none.

    Shapes: x, z `(*batch, D)`; context `(*batch, context)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1`, or a context comes without a network or the other way round.
        ShapeError: when the network's output has another length.

    Source: Rezende and Mohamed, *Variational Inference with Normalizing Flows*, 2015, arXiv:1505.05770, eq. 14 and
    appendix A.2. Differs: $\beta/\alpha$ has a margin and is 0 at the start; the inverse is in closed form.

    Example:
        >>> layer = Radial(2)
        >>> torch.nn.init.normal_(layer.params.own).shape
        torch.Size([4])
        >>> x = torch.randn(4, 2)
        >>> bool(torch.allclose(layer.decode(layer.encode(x)), x, atol=1e-4))
        True
    """

    def __init__(self, features: int, *, net: nn.Module | None = None, context: int = 0) -> None:
        super().__init__(Space((_check.at_least("Radial", "features", features, 1),)), context=context)
        self.params = Parameters("Radial", torch.cat([torch.randn(features), torch.zeros(2)]), net, context)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        center, alpha, beta = self._bump(x, context)
        away = x - center
        share, ladj = self._share(_norm(away), alpha, beta)
        return x + share.unsqueeze(-1) * away, ladj

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        center, alpha, beta = self._bump(z, context)
        away = z - center
        radius = _norm(away)
        excess = radius - alpha - beta
        root = torch.hypot(excess, 2 * (alpha * radius).sqrt())
        outside = excess > 0
        inner = 2 * alpha * (radius / (root + excess.clamp(max=0.0).abs()))
        share, ladj = self._share(torch.where(outside, 0.5 * (excess + root), inner), alpha, beta)
        return center + away / (1 + share).unsqueeze(-1), -ladj

    def _share(self, radius: Tensor, alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        """By what share of its distance from the centre a point moves, and ladj."""
        h = 1 / (alpha + radius)
        share = beta * h
        return share, (self.domain.shape[0] - 1) * share.log1p() + (alpha * h * share).log1p()

    def _bump(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        center, alpha, beta = self.params(context).split((x.shape[-1], 1, 1), -1)
        alpha = soft_clip(alpha, 5.0).exp()
        return center, alpha.squeeze(-1), (alpha * above_minus_one(beta)).squeeze(-1)

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}"


def _norm(x: Tensor) -> Tensor:
    """Length of each vector, `(*batch, D) -> (*batch)`, that neither overflows nor has a wild derivative at 0."""
    info = torch.finfo(x.dtype)
    size = x.detach().abs().amax(-1, keepdim=True).clamp(min=1e-3, max=info.max)
    return size.squeeze(-1) * ((x / size).square().sum(-1) + info.tiny).sqrt()
