"""Ctrl-C without half-done steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self

__all__ = ["HeldBack"]


class HeldBack:
    """Within `with`, a first Ctrl-C only sets `asked`, and KeyboardInterrupt comes on leaving; a second comes at once.

    An interrupt in the midst of a step would leave half of it, and torch without gradients if it hits inside
    `torch.no_grad`. Where signals are not ours to handle, in other threads or under a handler of the caller's, nothing
    changes.
    """

    def __init__(self) -> None:
        self.asked = False
        self._ours = False

    def __enter__(self) -> Self:
        main = threading.current_thread() is threading.main_thread()
        self._ours = main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._ours:
            signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.asked and kind is None:
            raise KeyboardInterrupt

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
