"""A flow: a transform and the distribution of its latent."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from unwarp import _check
from unwarp._space import REAL, Space
from unwarp.distributions._base import Distribution, weakest
from unwarp.errors import SpaceError
from unwarp.transforms import Compose, Transform
from unwarp.transforms._base import Kind

__all__ = ["Flow"]


class Flow(Distribution):
    r"""The distribution of $x = f^{-1}(z)$, $z \sim$ base, by the change of variables
    $\log p(x) = \log p_z(f(x)) + \log|\det \partial f/\partial x|$.

    Use it to put a flow together from layers of your own; the recipes of `unwarp.flows` return one.

    Args:
        transform: the map from data to latent.
        base: the latent's distribution; its space is the transform's codomain.

    Attributes:
        kind: what `log_prob` is: "exact", an "estimate" or a "bound", as transform and base say.

    The log density is minus infinity outside the support, its true value there; a NaN in x stays NaN.

    Shapes: x `(*batch, *event)`, context `(*batch, *context_shape)` -> log density `(*batch)`, nats.

    Raises:
        SpaceError: when the transform does not end where the base lives.

    Example:
        >>> flow = Flow(Standardize(2), Normal(2))
        >>> flow.log_prob(torch.zeros(4, 2)).shape, flow.sample((3,)).shape
        (torch.Size([4]), torch.Size([3, 2]))
    """

    def __init__(self, transform: Transform, base: Distribution) -> None:
        if transform.codomain != base.space:
            raise SpaceError(
                f"Flow: expected the transform to end in the base's space {base.space}; got {transform.codomain}. "
                "Change the base, or add a map between them."
            )
        chain = transform if isinstance(transform, Compose) else Compose([transform])
        super().__init__(chain.domain, context_shape=chain.context_shape or base.context_shape)
        self.transform = chain
        self.base = base

    @property
    def kind(self) -> Kind:
        return weakest([self.transform.kind, self.base.kind])

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = _check.broadcast_event("log_prob", x, self.space.shape, context, self.context_shape)
        x, outside = _keep_inside(x, self.space)
        z, ladj = self.transform.forward(x, self._for(self.transform, context))
        log_prob = self.base.log_prob(z, self._for(self.base, context)) + ladj
        return log_prob if outside is None else torch.where(outside, -torch.inf, log_prob)

    def sample(
        self, shape: Sequence[int] = (), context: Tensor | None = None, *, generator: Generator | None = None
    ) -> Tensor:
        shape, latent_context = self._draw_from_base(shape, context)
        z = self.base.sample(shape, latent_context, generator=generator)
        return self.transform.decode(z, self._for(self.transform, context))

    def sample_and_log_prob(
        self, shape: Sequence[int] = (), context: Tensor | None = None, *, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        if self.kind == "bound":  # ladj of the inverse is another side's bound
            x = self.sample(shape, context, generator=generator)
            return x, self.log_prob(x, context)
        shape, latent_context = self._draw_from_base(shape, context)
        z, log_prob = self.base.sample_and_log_prob(shape, latent_context, generator=generator)
        x, ladj = self.transform.inverse(z, self._for(self.transform, context))
        return x, log_prob - ladj

    def adapt(self, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None) -> None:
        x = _check.broadcast_event("adapt", x, self.space.shape, context, self.context_shape)
        self.transform.adapt(x, self._for(self.transform, context), weight)
        if type(self.base).adapt is not Distribution.adapt:
            with torch.no_grad():
                z = self.transform.encode(x, self._for(self.transform, context))
            self.base.adapt(z, self._for(self.base, context), weight)

    def _draw_from_base(self, shape: Sequence[int], context: Tensor | None) -> tuple[tuple[int, ...], Tensor | None]:
        batch = self.batch_shape(shape, context)
        return (batch, None) if self.base.context_shape is None else (tuple(shape), context)

    @staticmethod
    def _for(part: Transform | Distribution, context: Tensor | None) -> Tensor | None:
        return context if part.context_shape is not None else None


def _keep_inside(x: Tensor, space: Space) -> tuple[Tensor, Tensor | None]:
    """x with events outside the support moved inside, and which they were; NaN counts as inside and stays."""
    if space.support == REAL:
        return x, None
    outside = ~(space.contains(x) | x.isnan().flatten(x.dim() - len(space.shape)).any(-1))
    inside = outside.reshape(*outside.shape, *(1,) * len(space.shape)).logical_not()
    return torch.where(inside, x, space.center.to(x)), outside
