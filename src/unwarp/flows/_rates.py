"""Learning rates that suit the recipes, where it is not the usual 1e-2: measured by `benchmarks/rates.py`."""

from __future__ import annotations

__all__ = ["RATES"]

RATES: dict[str, float] = {}
