"""Affine scalar maps."""

from __future__ import annotations

from torch import Tensor

from unwarp.kernels import fused

__all__ = ["affine", "affine_inverse", "bounded_affine", "bounded_affine_inverse", "soft_clip"]


def soft_clip(x: Tensor, limit: float) -> Tensor:
    r"""$c \tanh(x / c)$: the identity near 0, bounded by `limit` $= c$ everywhere."""
    return limit * (x / limit).tanh()


def affine(x: Tensor, shift: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    r"""$y = x e^s + t$ and $\log|dy/dx| = s$. All `(...)`, broadcasting."""
    return x * log_scale.exp() + shift, log_scale.expand_as(x)


def affine_inverse(y: Tensor, shift: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    r"""$x = (y - t) e^{-s}$ and $\log|dx/dy| = -s$. All `(...)`, broadcasting."""
    return (y - shift) * (-log_scale).exp(), -log_scale.expand_as(y)


@fused
def bounded_affine(x: Tensor, params: Tensor, *, limit: float) -> tuple[Tensor, Tensor]:
    r"""`affine` of shift $\theta_1$ and log scale $c \tanh(\theta_2 / c)$, with c = `limit`.

    Shapes: x `(...)`; params `(..., 2)` -> y and $\log|dy/dx|$, `(...)`.
    """
    shift, log_scale = params.unbind(-1)
    return affine(x, shift, soft_clip(log_scale, limit))


@fused
def bounded_affine_inverse(y: Tensor, params: Tensor, *, limit: float) -> tuple[Tensor, Tensor]:
    """The inverse of `bounded_affine`."""
    shift, log_scale = params.unbind(-1)
    return affine_inverse(y, shift, soft_clip(log_scale, limit))
