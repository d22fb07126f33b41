"""What makes a number unusable, and how to name a column in a one-line message."""

import difflib
import json
import math
from collections.abc import Sequence

import numpy as np

LARGEST = 1e150
"""The largest magnitude that a table may hold: its square is still a finite float64."""


def quote(text: object, limit: int = 60) -> str:
    """Text in double quotes on one line: control characters escaped, the middle cut out when it is long."""
    shown = str(text)
    if len(shown) > limit:
        shown = f"{shown[: limit - 20]}...{shown[-16:]}"
    return json.dumps(shown, ensure_ascii=not shown.isprintable())


def first_bad(values: np.ndarray) -> tuple[int, str] | None:
    """Index of the first value that no density can use, and what it is in words; None when all are fine.

    Args:
        values: ``(rows,)`` float64. NaN stands for a missing value.
    """
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(values) <= LARGEST)
    if not bad.any():
        return None
    row = int(np.argmax(bad))
    value = float(values[row])
    return row, "NaN (a missing value)" if math.isnan(value) else repr(value)


def suggest(name: str, names: Sequence[str]) -> str:
    """``Did you mean "x"?`` when a known name is close, otherwise the known names."""
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"Did you mean {quote(close[0])}?"
    return f"The columns are {listing(names)}."


def listing(names: Sequence[str], limit: int = 8) -> str:
    """Names quoted and joined, the rest of a long list as a count."""
    shown = ", ".join(quote(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
