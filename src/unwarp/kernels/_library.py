"""The compiled library, or the reason why there is none."""

from __future__ import annotations

import ctypes
import logging
import os
from pathlib import Path

__all__ = ["INTERFACE", "load"]

INTERFACE = 13  # what spline.cpp calls unwarp_interface()
_FILE = Path(__file__).with_name("_fused.so")


def load(file: Path = _FILE) -> tuple[ctypes.CDLL | None, str]:
    """The library and "", or None and why; the log says which, once."""
    library, reason = _open(file)
    logging.getLogger("unwarp.kernels").info(reason or "fused kernels are in use")
    return library, reason


def _open(file: Path) -> tuple[ctypes.CDLL | None, str]:
    if os.environ.get("UNWARP_KERNELS", "").lower() == "off":
        return None, "switched off by UNWARP_KERNELS=off"
    if not file.exists():
        return None, "not built: there was no working C++ compiler (GCC or Clang) when unwarp was installed"
    try:
        library = ctypes.CDLL(str(file))
        found = int(library.unwarp_interface())
    except (OSError, AttributeError) as error:
        return None, f"not loaded: {error}"
    if found != INTERFACE:
        return None, f"built from other sources (interface {found}, not {INTERFACE}): install unwarp again"
    return library, ""
