"""What the doctor found: one figure for each law, and the table of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

__all__ = ["Figure", "Report", "Row", "worst_of"]

Verdict = Literal["pass", "fail", "skip"]


@dataclass(frozen=True, slots=True)
class Figure:
    """What one law measured: a figure that should be at most its tolerance.

    Attributes:
        value: the figure, the smaller the better; None when the law has nothing to say about the object.
        tolerance: the largest value that passes.
        note: what was measured, or why it was not.
    """

    value: float | None
    tolerance: float = 0.0
    note: str = ""

    @classmethod
    def skip(cls, reason: str) -> Figure:
        """No figure, and the reason."""
        return cls(None, math.nan, reason)

    @classmethod
    def count(cls, faults: list[str]) -> Figure:
        """The number of `faults`, none of which is allowed."""
        return cls(float(len(faults)), 0.0, "; ".join(faults[:4]))

    @property
    def verdict(self) -> Verdict:
        """Pass, fail or skip; NaN fails."""
        if self.value is None:
            return "skip"
        return "pass" if self.value <= self.tolerance else "fail"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a report.

    Attributes:
        law: the law's name.
        says: the law in words.
        figure: what was measured.
    """

    law: str
    says: str
    figure: Figure

    @property
    def verdict(self) -> Verdict:
        """Pass, fail or skip."""
        return self.figure.verdict


@dataclass(frozen=True, slots=True)
class Report:
    """The laws that an object was held to, and what each of them measured; `str(report)` is a table.

    Attributes:
        subject: what was examined.
        rows: one for each law.
        seconds: how long it took.
    """

    subject: str
    rows: tuple[Row, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """No law was broken."""
        return all(row.verdict != "fail" for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON-able data; what is not finite becomes None."""
        rows: list[dict[str, Any]] = [
            {
                "law": row.law,
                "says": row.says,
                "figure": _finite(row.figure.value),
                "tolerance": _finite(row.figure.tolerance),
                "verdict": row.verdict,
                "note": row.figure.note,
            }
            for row in self.rows
        ]
        return {"subject": self.subject, "passed": self.passed, "seconds": self.seconds, "laws": rows}

    def __str__(self) -> str:
        width = max(len(row.law) for row in self.rows)
        counts = ", ".join(f"{self._count(verdict)} {word}" for verdict, word in _WORDS.items())
        head = [f"{self.subject}: {counts} ({self.seconds:.1f} s)", ""]
        lines = [f"{'law':{width}}  {'figure':>9}  {'tolerance':>9}  verdict  note"]
        for row in self.rows:
            figure = row.figure
            value = "-" if figure.value is None else f"{figure.value:.2g}"
            tolerance = "-" if figure.value is None else f"{figure.tolerance:.2g}"
            note = figure.note if row.verdict != "fail" else f"{row.says} {figure.note}".strip()
            lines.append(f"{row.law:{width}}  {value:>9}  {tolerance:>9}  {row.verdict:7}  {note}".rstrip())
        return "\n".join(head + lines)

    def _count(self, verdict: str) -> int:
        return sum(row.verdict == verdict for row in self.rows)


_WORDS = {"pass": "laws hold", "fail": "broken", "skip": "not asked"}


def worst_of(*errors: Tensor) -> float:
    """The largest entry of all, 0 when there is none and NaN when there is one."""
    entries = torch.cat([error.detach().flatten() for error in errors])
    return float(entries.max()) if entries.numel() else 0.0


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
