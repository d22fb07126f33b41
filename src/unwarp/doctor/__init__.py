"""Examine a map, a distribution or a trained flow: `check` holds it to the laws, `audit` judges row by row."""

from unwarp.doctor._audit import FAULTS, Audit, audit
from unwarp.doctor._check import check
from unwarp.doctor._report import Figure, Report, Row

__all__ = ["FAULTS", "Audit", "Figure", "Report", "Row", "audit", "check"]
