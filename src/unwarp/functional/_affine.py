"""Affine scalar maps."""

from __future__ import annotations

from torch import Tensor

__all__ = ["affine", "affine_inverse", "soft_clip"]


def soft_clip(x: Tensor, limit: float) -> Tensor:
    r"""$c \tanh(x / c)$: the identity near 0, bounded by `limit` $= c$ everywhere."""
    return limit * (x / limit).tanh()


def affine(x: Tensor, shift: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    r"""$y = x e^s + t$ and $\log|dy/dx| = s$. All `(...)`, broadcasting."""
    return x * log_scale.exp() + shift, log_scale.expand_as(x)


def affine_inverse(y: Tensor, shift: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    r"""$x = (y - t) e^{-s}$ and $\log|dx/dy| = -s$. All `(...)`, broadcasting."""
    return (y - shift) * (-log_scale).exp(), -log_scale.expand_as(y)
