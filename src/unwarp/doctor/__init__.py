"""Examine a map, a distribution or a trained flow: `check` holds it to the laws, `audit` judges row by row.

`speed` times a flow, and `limits` what the machine itself can do, so that shares of it can be told.
"""

from unwarp.doctor._audit import FAULTS, Audit, audit
from unwarp.doctor._check import check
from unwarp.doctor._limits import Limits, limits
from unwarp.doctor._report import Figure, Report, Row
from unwarp.doctor._speed import Pace, Speed, Work, speed, work

__all__ = [
    "FAULTS",
    "Audit",
    "Figure",
    "Limits",
    "Pace",
    "Report",
    "Row",
    "Speed",
    "Work",
    "audit",
    "check",
    "limits",
    "speed",
    "work",
]
