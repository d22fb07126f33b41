"""What one column of a table is, as a small validated record that is stored in the model file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

import pyarrow as pa
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_serializer,
    field_validator,
    model_validator,
)

from unwarp.data._arrow import is_text, type_of
from unwarp.data._values import LARGEST, quote

Kind = Literal["real", "positive", "bounded", "integer", "periodic", "ordinal", "categorical", "boolean", "date"]
Unit = Literal["day", "hour", "minute", "second", "millisecond", "microsecond", "nanosecond"]

STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
MOST_ATOMS = 256
MOST_LEVELS = 2**17
LONGEST_LEVEL = 10_000

_Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
_Length = Annotated[float, Field(gt=0, le=LARGEST)]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
_Level = Annotated[str, StringConstraints(max_length=LONGEST_LEVEL)]
_LISTED = 256  # more levels than that are written as one text, a line each


def _spelled(text: str) -> str:
    type_of(text)
    return text


class Column(BaseModel):
    """One column: where its values can lie, on which grid they were recorded, and why we think so.

    A column that was recorded on a grid of `step` has ties, and a continuous density can grow without limit on ties.
    So a flow sees such a value x as the whole box ``[x - edge, x - edge + width)``: training draws from the box, and a
    score is the density averaged over the box, which is ``log(P(x) / step)`` when the width is the step.

    Levels of categories, truth values and dates are numbers to a model, called codes: the place of the level among
    `levels` (one more than the last for a level never seen), 0 and 1, and so many `unit` since `epoch`.

    Args:
        name: The column's name.
        kind: ``"real"``; ``"positive"`` (above 0, modelled on a log scale); ``"bounded"`` (between `low` and `high`);
            ``"integer"`` (whole numbers without a bound); ``"periodic"`` (on a circle, `high` is `low` again);
            ``"categorical"`` and ``"ordinal"`` (one of `levels`; ordinal ones are in order); ``"boolean"``;
            ``"date"`` (dates, times and durations).
        low: The lower bound of a bounded or periodic column.
        high: The upper bound of a bounded or periodic column.
        margin: How far beyond its bounds the flow may put mass, so that values on a bound keep a finite density.
        step: Distance between neighbours on the grid; samples are rounded to it. None: no grid.
        origin: A value of the grid.
        width: Length of the box over which a value stands; None for values without ties.
        edge: How far the box reaches below the value.
        points: How many points of the box a score averages over; 1 when the density is flat over the box, so that the
            middle says it all.
        role: ``"modelled"``; ``"constant"`` (always `value`) and ``"copy"`` (always what the column `source` says) are
            left out of the flow and put back into samples; ``"ignored"`` is left out and comes back empty.
        value: The value (or code) of a constant column.
        source: The name of the column that a copy repeats.
        reason: Why the column is what it is, for people.
        missing: Whether cells may be missing.
        levels: Texts of the levels in the order of their codes. A copy's are in the order of its source's codes.
        common: How many of the first levels have a probability of their own; all others share what is left by their
            frequencies. None: all have.
        atoms: Numbers that carry probability of their own, ascending: spikes, like the zeros of a zero-inflated column.
        unit: What a date's code counts.
        epoch: The date or time whose code is 0, in ISO form; None for times of day and durations, which begin at 0.
        arrow: The type that the table had, as Arrow spells it; None: whole numbers int64, all others float64.
        least: The smallest value (or code) that was seen.
        most: The largest value (or code) that was seen.

    Example:
        >>> Column(name="age", kind="integer", step=1.0, origin=0.0, width=1.0, edge=0.5).summary
        'integer'
        >>> Column(name="share", kind="bounded", low=0.0, high=1.0).summary
        'bounded 0 to 1'
        >>> Column(name="size", kind="ordinal", levels=("S", "M", "L")).summary
        'ordinal, "S" < "M" < "L"'
    """

    model_config = STRICT

    name: _Name
    kind: Kind = "real"
    low: _Number | None = None
    high: _Number | None = None
    margin: Annotated[float, Field(ge=0, le=LARGEST)] = 0.0
    step: _Length | None = None
    origin: _Number | None = None
    width: _Length | None = None
    edge: _Length | None = None
    points: Annotated[int, Field(ge=1, le=64)] = 1
    role: Literal["modelled", "constant", "copy", "ignored"] = "modelled"
    value: _Number | None = None
    source: _Name | None = None
    reason: Annotated[str, StringConstraints(max_length=400)] = ""
    missing: bool = False
    levels: Annotated[tuple[_Level, ...], Field(max_length=MOST_LEVELS, strict=False)] | None = None
    common: Annotated[int, Field(ge=0, le=MOST_ATOMS)] | None = None
    atoms: Annotated[tuple[_Number, ...], Field(max_length=MOST_ATOMS, strict=False)] = ()
    unit: Unit | None = None
    epoch: Annotated[str, StringConstraints(pattern=r"^-?\d{4,6}-\d\d-\d\d(T\d\d:\d\d:\d\d)?$")] | None = None
    arrow: Annotated[str, StringConstraints(max_length=200), AfterValidator(_spelled)] | None = None
    least: _Number | None = None
    most: _Number | None = None

    @field_validator("levels", mode="before")
    @classmethod
    def _listed(cls, levels: Any) -> Any:
        if not isinstance(levels, str):
            return levels
        if levels.count("\n") >= MOST_LEVELS:
            raise ValueError(f"at most {MOST_LEVELS} levels")
        return tuple(re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], ""), line) for line in levels.split("\n"))

    @field_serializer("levels")
    def _joined(self, levels: tuple[str, ...] | None) -> Any:
        """Few levels as a list; many as one text, for a strict reader of model files counts values."""
        if levels is None or len(levels) <= _LISTED:
            return levels
        return "\n".join(level.replace("\\", "\\\\").replace("\n", "\\n") for level in levels)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        low, high, levels = self.low, self.high, self.levels
        facts = {
            "bounds go with the kinds bounded and periodic, low below high": (self.kind in {"bounded", "periodic"})
            == (low is not None and high is not None)
            and (low is None) == (high is None)
            and (low is None or high is None or low < high),
            "step and origin come together": (self.step is None) == (self.origin is None),
            "width and edge come together, edge within width": (self.width is None) == (self.edge is None)
            and (self.width is None or self.edge is None or self.edge <= self.width),
            "averages need a width": self.points == 1 or self.width is not None,
            "an integer has a step": self.kind != "integer" or self.step is not None or self.role != "modelled",
            "a constant has a value": (self.role == "constant") == (self.value is not None),
            "a copy has a source": (self.role == "copy") == (self.source is not None),
            "a date has a unit": (self.kind == "date") == (self.unit is not None) or self.role == "ignored",
            "an epoch goes with a date": self.epoch is None or self.kind == "date",
            "atoms are ascending": all(a < b for a, b in zip(self.atoms, self.atoms[1:], strict=False)),
            "a constant is one of its levels": self.role != "constant"
            or levels is None
            or (self.value is not None and self.value in range(len(levels))),
            "a type of dates, or text, goes with dates": self.role in {"copy", "ignored"} or self._dated_type,
            **_level_facts(self.kind, self.role, levels, self.common),
        }
        for fact, holds in facts.items():
            if not holds:
                raise ValueError(fact)
        return self

    @property
    def _dated_type(self) -> bool:
        """Whether the type holds dates if the kind does, and none if it does not."""
        kind = type_of(self.arrow)
        if kind is None or self.levels is not None:
            return True
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        return pa.types.is_temporal(kind) == (self.kind == "date") or is_text(kind)

    @property
    def support(self) -> str | tuple[str, float, float]:
        """Where the boxes of the values lie, in the words of a recipe's option ``support``."""
        if self.kind != "bounded" or self.low is None or self.high is None:
            return "positive" if self.kind == "positive" else "real"
        return ("interval", self.low - self.margin, self.high + self.margin)

    @property
    def leveled(self) -> bool:
        """Whether codes stand for levels, so that numbers between them mean nothing."""
        return self.levels is not None or self.kind == "boolean"

    @property
    def whole(self) -> bool:
        """Whether every value is a whole number."""
        if self.role == "constant" and self.value is not None:
            return self.value.is_integer()
        return self.step is not None and self.origin is not None and self.step.is_integer() and self.origin.is_integer()

    @property
    def summary(self) -> str:
        """Kind, bounds and step in a few words."""
        if self.role == "constant":
            return f"constant {quote(self.levels[0]) if self.levels else f'{self.value:.6g}'}"
        if self.role == "copy":
            return f"copy of {quote(self.source)}"
        if self.role == "ignored":
            return "left out"
        words = self.kind
        if self.levels is not None:
            words += _level_words(self.levels, " < " if self.kind == "ordinal" else ", ")
        elif self.low is not None:
            words += f" {self.low:.6g} to {self.high:.6g}"
        if self.step is not None and self.unit is not None:
            words += f", step {self.step:.6g} {self.unit}{'s' * (self.step != 1)}"
        elif self.step is not None and (self.kind != "integer" or self.step != 1.0):
            words += f", step {self.step:.6g}"
        return words + self._spikes

    @property
    def _spikes(self) -> str:
        if not self.atoms:
            return ""
        shown = ", ".join(f"{atom:.6g}" for atom in self.atoms[:3])
        return f", spikes at {shown}" if len(self.atoms) <= 3 else f", {len(self.atoms)} spikes"


_ESCAPES = {"\\": "\\", "n": "\n"}


def _level_facts(kind: str, role: str, levels: tuple[str, ...] | None, common: int | None) -> dict[str, bool]:
    named = kind in {"categorical", "ordinal"} and role != "ignored"
    free = role == "copy" or kind == "boolean" or role == "ignored"
    return {
        "levels go with categories": free or named == (levels is not None),
        "every level once": levels is None or len(set(levels)) == len(levels) or role == "copy",
        "at least one level": levels is None or len(levels) > 0,
        "two levels of a boolean": kind != "boolean" or levels is None or role != "modelled" or len(levels) == 2,
        "common goes with levels": common is None or (levels is not None and common <= len(levels)),
        f"more than {MOST_ATOMS} levels need common": common is not None
        or levels is None
        or role != "modelled"
        or len(levels) <= MOST_ATOMS,
    }


def _level_words(levels: Sequence[str], mark: str) -> str:
    if len(levels) > 4:
        return f", {len(levels)} levels"
    return ", " + mark.join(quote(level, 24) for level in levels)
