"""The inverse of an autoregressive layer in one operation, where compiled code computes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unwarp.functional._perceptron import Affinity
from unwarp.kernels import gradients_of, in_order, is_ordinary

__all__ = ["ScalarMap", "Unrolled", "undo_in_order"]

Pair = tuple[Tensor, Tensor]


class ScalarMap(NamedTuple):
    """Which scalar map is undone: a rational-quadratic spline, or, without bins, an affine map.

    Attributes:
        limit: bound of an affine map's log scale.
    """

    bins: int = 0
    bound: float = 1.0
    min_bin: float = 0.0
    min_slope: float = 0.0
    limit: float = 1.0


class Unrolled(NamedTuple):
    """A masked network with at least one hidden layer, which sees its inputs squashed and in order.

    Attributes:
        layers: from the first on; the last gives some parameters for each feature.
        ends: of each hidden layer, how many units are known after 0, 1, ... steps.
        firsts: the first feature of each step, and the number of features.
        offset: added to what the first layer gives, `(*batch, units)`.
    """

    layers: Sequence[Affinity]
    ends: Sequence[Sequence[int]]
    firsts: Sequence[int]
    offset: Tensor | None


def undo_in_order(
    scalar: ScalarMap | None,
    unrolled: Callable[[], Unrolled | None],
    reference: Callable[..., Pair],
    z: Tensor,
    context: Tensor | None,
    *parameters: Tensor,
) -> Pair | None:
    """x and log|det dx/dz| of an autoregressive layer, in one operation; None where that cannot be.

    Gradients go through the reference, which is called for them.

    Args:
        scalar: the scalar map; None where there is no compiled code of it.
        unrolled: gives the network, or None where it cannot be taken apart.
        reference: the same step by step, of z, the context and the parameters.
        z: latents in the network's order, `(*batch, features)`.
        context: `(*batch, context)`.
        parameters: what else x depends on.
    """
    if torch.compiler.is_compiling() or scalar is None or in_order is None or not in_order.takes(scalar.bins):
        return None
    tensors = [z, *parameters] if context is None else [z, context, *parameters]
    if torch.is_autocast_enabled("cpu") or not is_ordinary(*tensors):
        return None
    with torch.no_grad():
        net = unrolled()
    if net is None:
        return None
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        return _InOrder.apply((reference, in_order, net, scalar), z, context, *parameters)
    return _values(in_order, net, scalar, z)


class _InOrder(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, what: tuple[Any, Any, Unrolled, ScalarMap], z: Tensor, *others: Tensor | None) -> Pair:
        ctx.reference, kernel, net, scalar = what
        ctx.save_for_backward(z, *others)
        return _values(kernel, net, scalar, z)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return None, *gradients_of(ctx.reference, ctx.saved_tensors, ctx.needs_input_grad[1:], grad_outputs)


def _values(kernel: Callable[..., Pair], net: Unrolled, scalar: ScalarMap, z: Tensor) -> Pair:
    offset = net.offset
    batch = z.shape[:-1] if offset is None else torch.broadcast_shapes(z.shape[:-1], offset.shape[:-1])
    rows, features = math.prod(batch), z.shape[-1]
    x, ladj = kernel(
        z.expand(*batch, -1).reshape(rows, features),
        [layer.weight * layer.scale for layer in net.layers],
        [layer.bias for layer in net.layers],
        None if offset is None else offset.expand(*batch, -1).reshape(rows, offset.shape[-1]),
        ends=net.ends,
        firsts=net.firsts,
        scalar=scalar,
    )
    return x.view(*batch, features), ladj.view(batch)
