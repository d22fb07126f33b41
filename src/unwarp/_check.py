"""Checks on static facts of arguments; the one place that words their errors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unwarp.errors import ConfigError, ContextError, ShapeError

__all__ = ["at_least", "broadcast_event", "event", "positive", "sizes"]


def at_least(where: str, name: str, value: int, low: int) -> int:
    """`value`, when it is a whole number of at least `low`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"{where}: expected {name} to be a whole number >= {low}; got {value!r}. Change {name}.")
    return value


def positive(where: str, name: str, value: float) -> float:
    """`value`, when it is a finite number above zero."""
    if isinstance(value, bool) or not 0 < value < float("inf"):
        raise ConfigError(f"{where}: expected {name} to be finite and > 0; got {value!r}. Change {name}.")
    return float(value)


def sizes(where: str, name: str, value: Sequence[int]) -> tuple[int, ...]:
    """`value` as a tuple of whole numbers >= 1."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(
            f"{where}: expected {name} to be a sequence of sizes; got {value!r}. Write {name}=(128, 128)."
        )
    return tuple(at_least(where, f"{name}[{i}]", size, 1) for i, size in enumerate(value))


def event(where: str, features: int | Sequence[int]) -> tuple[int, ...]:
    """The event shape that `features` stands for: a length, or a shape such as (channels, height, width)."""
    if isinstance(features, int):
        return (at_least(where, "features", features, 1),)
    return sizes(where, "features", features) or (at_least(where, "features", 0, 1),)


def broadcast_event(
    where: str, x: Tensor, shape: tuple[int, ...], context: Tensor | None, context_shape: tuple[int, ...] | None
) -> Tensor:
    """Hold `x` and `context` to their event shapes, and widen `x` to the batch that both span.

    Shapes: x `(*batch, *shape)`, context `(*batch, *context_shape)`; the batches broadcast.
    """
    if not isinstance(x, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ShapeError(f"{where}: expected a tensor; got {type(x).__name__}. Convert it with torch.as_tensor.")
    if tuple(x.shape[x.dim() - len(shape) :]) != shape or x.dim() < len(shape):
        raise ShapeError(f"{where}: expected x of shape (*batch{_tail(shape)}); got {tuple(x.shape)}. Reshape x.")
    batch, other = x.shape[: x.dim() - len(shape)], context_batch(where, context, context_shape)
    joint = torch.broadcast_shapes(batch, other) if other else batch
    return x if joint == batch else x.expand(*joint, *shape)


def context_batch(where: str, context: Tensor | None, shape: tuple[int, ...] | None) -> torch.Size:
    """The batch shape of `context` (empty when there is none), once its event shape is as expected."""
    if shape is None:
        if context is not None:
            raise ContextError(
                f"{where}: expected no context; got one of shape {tuple(context.shape)}. "
                "Leave it out, or build the model with context=..."
            )
        return torch.Size()
    if context is None:
        raise ContextError(f"{where}: expected context of shape (*batch{_tail(shape)}); got none. Pass context=...")
    if context.dim() < len(shape) or tuple(context.shape[context.dim() - len(shape) :]) != shape:
        raise ContextError(
            f"{where}: expected context of shape (*batch{_tail(shape)}); got {tuple(context.shape)}. "
            "Reshape the context."
        )
    return context.shape[: context.dim() - len(shape)]


def _tail(shape: tuple[int, ...]) -> str:
    return "".join(f", {size}" for size in shape)
