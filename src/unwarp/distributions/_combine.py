"""Distributions made of distributions: mixtures, and independent parts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from unwarp import _check
from unwarp._manifold import side_by_side
from unwarp.distributions._base import Distribution, weakest
from unwarp.errors import ConfigError, ContextError, ShapeError, SpaceError
from unwarp.transforms._base import Kind

__all__ = ["Mixture", "Product"]


class Mixture(Distribution):
    r"""$p(x) = \sum_k w_k\,p_k(x)$ of any distributions on one space, flows too; the weights are learned.

    Use it where data fall into groups that no single continuous map should join: several flows, each for one group. The
    density is exact. A draw costs one of every part. `adapt` parts the data along their widest direction, so that the
    parts start apart.

    Args:
        parts: the distributions $p_k$; those that take a context take the same.
        net: network from the context to one number for each part, their weights before the softmax; called as
            `net(x, context)` with x of no entries. Without, the weights are parameters.
        context: length of the net's context.

    Shapes: x `(*batch, *event)`, context `(*batch, context)` -> `(*batch)`, nats.

    Raises:
        ConfigError: when there is no part, or a net without a context.
        SpaceError: when the parts live in different spaces.
        ContextError: when they want different contexts.
        ShapeError: when the net's output has another length.

    Source: Jacobs, Jordan, Nowlan and Hinton, *Adaptive mixtures of local experts*, 1991, for weights from a net.

    Example:
        >>> mixture = Mixture([Normal(2), StudentT(2)])
        >>> mixture.log_prob(torch.zeros(3, 2)).shape, mixture.sample((4,)).shape
        (torch.Size([3]), torch.Size([4, 2]))
    """

    def __init__(self, parts: Sequence[Distribution], *, net: nn.Module | None = None, context: int = 0) -> None:
        if not parts or (net is None) != (context == 0):
            raise ConfigError(
                f"Mixture: expected parts, and a net with its context or neither; got {len(parts)} parts and "
                f"context={context}. Give both or none."
            )
        if len({part.space for part in parts}) > 1:
            raise SpaceError(
                f"Mixture: expected parts on one space; got {parts[0].space} and others. Map them to the same space."
            )
        shape = _one_context("Mixture", [*[part.context_shape for part in parts], (context,) if context else None])
        super().__init__(parts[0].space, context_shape=shape)
        self.parts: Sequence[Distribution] = nn.ModuleList(parts)  # pyright: ignore[reportAttributeAccessIssue]
        self.logits = nn.Parameter(torch.zeros(len(parts))) if net is None else None
        self.net = net
        if net is not None:
            got = net(torch.zeros(1, 0), torch.zeros(1, context)).shape[-1]
            if got != len(parts):
                raise ShapeError(
                    f"Mixture: expected net to give {len(parts)} numbers; got {got}. Give it one output for each part."
                )

    @property
    def kind(self) -> Kind:
        return weakest([part.kind for part in self.parts])

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = _check.broadcast_event("Mixture.log_prob", x, self.space.shape, context, self.context_shape)
        each = torch.stack([part.log_prob(x, _for(part, context)) for part in self.parts], -1)
        return (each + self._log_weights(x.flatten(x.dim() - len(self.space.shape))[..., :0], context)).logsumexp(-1)

    def sample_and_log_prob(
        self, shape: Sequence[int] = (), context: Tensor | None = None, *, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        batch = self.batch_shape(shape, context)
        draws = torch.stack([_sample(part, batch, shape, context, generator)[0] for part in self.parts])
        with torch.no_grad():
            weights = self._log_weights(draws.new_zeros(*batch, 0), context).exp().expand(*batch, -1)
            u = torch.rand((*batch, 1), generator=generator, dtype=weights.dtype, device=weights.device)
            k = (u >= weights.cumsum(-1)[..., :-1]).sum(-1)
        index = k.reshape(1, *batch, *[1] * len(self.space.shape)).expand(1, *draws.shape[1:])
        x = draws.gather(0, index).squeeze(0)
        return x, self.log_prob(x, context)

    def adapt(self, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None) -> None:
        rows = x.flatten(1)
        rows = (rows - rows.mean(0)).double()
        widest = torch.linalg.svd(rows.mT @ rows)[0][:, 0]
        groups = (rows @ widest).argsort().chunk(len(self.parts))
        for part, group in zip(self.parts, groups, strict=False):
            own = None if context is None or part.context_shape is None else context[group]
            part.adapt(x[group], own, None if weight is None else weight[group])

    def _log_weights(self, empty: Tensor, context: Tensor | None) -> Tensor:
        raw = self.logits if self.net is None else self.net(empty, context)
        return torch.as_tensor(raw).log_softmax(-1)


class Product(Distribution):
    r"""Independent parts, each over features of its own: $\log p(x) = \sum_k \log p_k(x_{I_k})$.

    Use it as the base where features live in different spaces: uniform angles beside normal numbers.

    Args:
        parts: distributions of vectors.
        features: which features each part is of; without, the parts' features follow each other.

    Shapes: x `(*batch, D)`, context as the parts' -> `(*batch)`, nats.

    Raises:
        ConfigError: when `features` does not share all features out.
        SpaceError: when a part's events are no vectors.
        ContextError: when two parts want contexts of different shapes.

    Example:
        >>> base = Product([UniformOn(Space((1,), CIRCLE)), Normal(2)], features=[[1], [0, 2]])
        >>> base.space.supports
        (REAL, CIRCLE, REAL)
    """

    order: Tensor
    back: Tensor

    def __init__(self, parts: Sequence[Distribution], *, features: Sequence[Sequence[int]] | None = None) -> None:
        space, order = side_by_side("Product", [part.space for part in parts], features)
        super().__init__(space, context_shape=_one_context("Product", [part.context_shape for part in parts]))
        self.parts: Sequence[Distribution] = nn.ModuleList(parts)  # pyright: ignore[reportAttributeAccessIssue]
        self.register_buffer("order", torch.tensor(order), persistent=False)
        self.register_buffer("back", self.order.argsort(), persistent=False)

    @property
    def kind(self) -> Kind:
        return weakest([part.kind for part in self.parts])

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = _check.broadcast_event("Product.log_prob", x, self.space.shape, context, self.context_shape)
        pairs = zip(self.parts, self._pieces(x), strict=True)
        return torch.stack([part.log_prob(piece, _for(part, context)) for part, piece in pairs]).sum(0)

    def sample_and_log_prob(
        self, shape: Sequence[int] = (), context: Tensor | None = None, *, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        batch = self.batch_shape(shape, context)
        done = [_sample(part, batch, shape, context, generator) for part in self.parts]
        x = torch.cat([points for points, _ in done], -1).index_select(-1, self.back)
        return x, torch.stack([log_prob for _, log_prob in done]).sum(0)

    def adapt(self, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None) -> None:
        for part, piece in zip(self.parts, self._pieces(x), strict=True):
            part.adapt(piece, _for(part, context), weight)

    def _pieces(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.index_select(-1, self.order).split([part.space.shape[0] for part in self.parts], -1)


def _for(part: Distribution, context: Tensor | None) -> Tensor | None:
    return context if part.context_shape is not None else None


def _sample(
    part: Distribution,
    batch: Sequence[int],
    shape: Sequence[int],
    context: Tensor | None,
    generator: Generator | None,
) -> tuple[Tensor, Tensor]:
    """Draws of a part and their log density, `batch` of them whether it takes the context or not."""
    own = _for(part, context)
    return part.sample_and_log_prob(batch if own is None else shape, own, generator=generator)


def _one_context(where: str, shapes: Sequence[tuple[int, ...] | None]) -> tuple[int, ...] | None:
    wanted = {shape for shape in shapes if shape is not None}
    if len(wanted) > 1:
        raise ContextError(f"{where}: expected one context shape; got {sorted(wanted)}. Build the parts with the same.")
    return wanted.pop() if wanted else None
