"""Maximum likelihood without Jacobians: a decoder, learned beside the flow, stands in for the inverse."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unwarp import _check
from unwarp.distributions import Distribution, Flow
from unwarp.errors import ConfigError
from unwarp.functional import directional
from unwarp.training._objectives import likelihood
from unwarp.transforms import Continuous, ConvexPotential, Residual, Transform

__all__ = ["FreeForm"]

_DEAR = (Continuous, ConvexPotential, Residual)  # layers whose ladj takes one pass a feature


class FreeForm(nn.Module):
    r"""Free-form training: the likelihood's gradient by one random direction a row, and a decoder that is learned too.

    For layers $z = f(x)$ whose Jacobian J is dear, the gradient of $\log|\det J|$ is the mean of that of
    $v^\top J(x)\,u$ with $u = J(x)^{-1} v$ held fixed and v of random signs. Here
    $u = G v$ with $G = \partial g(z)/\partial z$ and the decoder $g(z) = z + \text{net}(z)$, which learns to be the
    inverse, in its values and in its slopes:

    $$\text{loss} = \frac1n\sum_i w_i \left( -\log p(z_i) - v_i^\top J(x_i)\,u_i
    + \beta \|x_i - g(f(x_i))\|^2 + \beta \|v_i - G_i^\top J_i^\top v_i\|^2 \right)$$

    The last term is the net's alone; it uses $J^\top v$, which is there already.

    A step costs about two passes each way, whatever the number of features. The gradient is as good as the decoder;
    the flow is not touched: its inverse stays its own and `log_prob` exact, and in evaluation this objective is
    `likelihood` itself, so that the best weights are chosen by the true value.

    Use it for flows of many features with `Residual`, `ConvexPotential` or `Continuous` layers, such as
    `flows.freeform`; for few, `likelihood` is as quick and exact. All from the first such layer to the last is f.
    Afterwards `decode` gives rough inverses in one pass.

    Args:
        net: network from (z, context) to D numbers, zero at the start, such as `networks.MLP(D, D)`. It is trained
            together with the flow, and is no part of it.
        reconstruction: $\beta$, in nats for each squared standardised unit.

    Shapes: x `(n, D)`, context `(n, *context_event)`, weight `(n,)` -> scalar.

    Raises:
        ConfigError: if `reconstruction` is not finite and positive; in a call, when the flow has no such layer.

    Source: Draxler, Sorrenson, Zimmermann, Rousselot and Köthe, *Free-form Flows: Make Any Architecture a Normalizing
    Flow*, 2024, arXiv:2310.16624; Sorrenson et al., *Lifting Architectural Constraints of Injective Flows*, 2024,
    arXiv:2306.01843. Differs: f is invertible by construction, not by the loss, so that densities are exact; the
    decoder learns slopes too.

    Example:
        >>> from unwarp import flow
        >>> from unwarp.networks import MLP
        >>> objective, model, x = FreeForm(MLP(2, 2, hidden=(8,))), flow("freeform", 2, hidden=(8,)), torch.ones(64, 2)
        >>> objective(model, x).backward()
        >>> bool(objective(model.eval(), x) == likelihood(model, x))
        True
    """

    def __init__(self, net: nn.Module, *, reconstruction: float = 1.0) -> None:
        super().__init__()
        self.net = net
        self.reconstruction = _check.positive("FreeForm", "reconstruction", reconstruction)

    def forward(
        self, flow: Distribution, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None
    ) -> Tensor:
        if not isinstance(flow, Flow):
            raise ConfigError(f"FreeForm: expected a flow; got {type(flow).__name__}. Use flows.freeform.")
        before, layers, after = _parts(flow.transform.parts)
        if not (flow.training and torch.is_grad_enabled()):
            return likelihood(flow, x, context, weight)
        x, value = _through(before, x, context)
        x = x if x.requires_grad else x.detach().requires_grad_()
        z = x
        for part in layers:
            z = part.encode(z, context)
        v = torch.randn_like(z).sign()
        with torch.no_grad():
            u = directional(lambda z: self.decode(z, context), z.detach(), v)[1]
        (pulled,) = torch.autograd.grad(z, x, v, create_graph=True)
        slope = (pulled * u).flatten(1).sum(-1)
        missed = (self.decode(z, context) - x.detach()).square().flatten(1).sum(-1)
        missed = missed + self._missed_slope(z.detach(), pulled.detach(), v, context)
        z, ladj = _through(after, z, context)
        value = value + ladj + flow.base.log_prob(z, None if flow.base.context_shape is None else context)
        loss = self.reconstruction * missed - value - (slope - slope.detach())
        return loss.mean() if weight is None else (weight * loss).mean()

    def _missed_slope(self, z: Tensor, pulled: Tensor, v: Tensor, context: Tensor | None) -> Tensor:
        """How far the decoder's transposed Jacobian takes `pulled` from v, squared."""
        z.requires_grad_()
        (back,) = torch.autograd.grad(self.decode(z, context), z, pulled, create_graph=True)
        return (back - v).square().flatten(1).sum(-1)

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """About where f leads to z."""
        return z + self.net(z, context)


def _parts(parts: Sequence[Transform]) -> tuple[Sequence[Transform], Sequence[Transform], Sequence[Transform]]:
    """What is before the layers with dear Jacobians, from the first of these to the last, and what is after them."""
    parts = list(parts)
    at = [i for i, part in enumerate(parts) if isinstance(part, _DEAR)]
    if not at:
        raise ConfigError(
            "FreeForm: expected a flow with Residual, ConvexPotential or Continuous layers; got none. "
            "Use likelihood, or flows.freeform."
        )
    return parts[: at[0]], parts[at[0] : at[-1] + 1], parts[at[-1] + 1 :]


def _through(parts: Sequence[Transform], x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    total = x.new_zeros(len(x))
    for part in parts:
        x, ladj = part.forward(x, context)
        total = total + ladj
    return x, total
