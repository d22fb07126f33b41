"""Building what a file describes without trusting its sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["Budget"]


# Functions whose arguments tell how much they will make, before they make it.
_OF_SIZES = {"empty", "eye", "full", "ones", "rand", "randn", "zeros"}
_OF_STATE = {"_set_grad_enabled"}  # how a block without gradients ends, also one that a refusal ended
_OF_BROADCAST = {"add", "div", "eq", "ge", "gt", "le", "lt", "maximum", "minimum", "mul", "ne", "sub", "where"}


class Budget(TorchFunctionMode):
    """A context in which torch makes a few times the tensors and numbers that a file holds, and then refuses.

    Use it to build a model from a description that may lie about its size. (A build on the `meta` device would take no
    memory, but time: in torch 2.13 the first sum there imports 800 modules in over a second, and each later build of a
    small flow is seven times slower than a real one.)

    Args:
        tensors: how many tensors the file holds.
        numbers: how many numbers they hold together.

    Raises:
        OverflowError: by the call that would go beyond, or just has.

    Example:
        >>> with Budget(tensors=1, numbers=10):
        ...     torch.zeros(10**6, 10**6)
        Traceback (most recent call last):
        OverflowError: a model larger than its file
    """

    def __init__(self, *, tensors: int, numbers: int) -> None:
        super().__init__()
        self._calls = 2_000 + 200 * tensors
        self._numbers = 2**18 + 16 * numbers

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if getattr(func, "__name__", "") in _OF_STATE:
            return func(*args, **(kwargs or {}))
        self._calls -= 1
        if self._calls < 0 or _announced(func, args) > self._numbers:
            raise OverflowError("a model larger than its file")
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and not any(made is given for given in args):
            self._numbers -= math.prod(made.shape)
        if self._numbers < 0:
            raise OverflowError("a model larger than its file")
        return made


def _announced(func: Callable[..., Any], args: Sequence[Any]) -> int:
    """How many numbers the call will make, where its arguments tell."""
    name = getattr(func, "__name__", "")
    if name in _OF_SIZES and args:
        sizes = args[0] if isinstance(args[0], Sequence) else [size for size in args if isinstance(size, int)]
        return math.prod(sizes) ** (2 if name == "eye" and len(sizes) == 1 else 1)
    if name in _OF_BROADCAST:
        shapes = [reversed(given.shape) for given in args if isinstance(given, Tensor)]
        return math.prod(max(sizes) for sizes in zip_longest(*shapes, fillvalue=1))
    return 0
