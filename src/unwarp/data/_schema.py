"""What each column of a table is, as a small validated record that is stored in the model file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from unwarp.data._values import LARGEST, quote
from unwarp.errors import DataError

Kind = Literal["real", "positive", "bounded", "integer"]

_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
_Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
_Length = Annotated[float, Field(gt=0, le=LARGEST)]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class Column(BaseModel):
    """One column: where its values can lie, on which grid they were recorded, and why we think so.

    A column that was recorded on a grid of `step` has ties, and a continuous density can grow without limit on ties.
    So a flow sees such a value x as the whole box ``[x - edge, x - edge + width)``: training draws from the box, and a
    score is the density averaged over the box, which is ``log(P(x) / step)`` when the width is the step.

    Args:
        name: The column's name.
        kind: ``"real"``; ``"positive"`` (above 0, modelled on a log scale); ``"bounded"`` (between `low` and `high`);
            ``"integer"`` (whole numbers without a bound).
        low: The lower bound of a bounded column.
        high: The upper bound of a bounded column.
        margin: How far beyond its bounds the flow may put mass, so that values on a bound keep a finite density.
        step: Distance between neighbours on the grid; samples are rounded to it. None: no grid.
        origin: A value of the grid.
        width: Length of the box over which a value stands; None for values without ties.
        edge: How far the box reaches below the value.
        points: How many points of the box a score averages over; 1 when the density is flat over the box, so that the
            middle says it all.
        role: ``"modelled"``; ``"constant"`` (always `value`) and ``"copy"`` (always equal to the column `source`) are
            left out of the flow and put back into samples.
        value: The value of a constant column.
        source: The name of the column that a copy repeats.
        reason: Why the column is what it is, for people.

    Example:
        >>> Column(name="age", kind="integer", step=1.0, origin=0.0, width=1.0, edge=0.5).summary
        'integer'
        >>> Column(name="share", kind="bounded", low=0.0, high=1.0).summary
        'bounded 0 to 1'
    """

    model_config = _STRICT

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
    role: Literal["modelled", "constant", "copy"] = "modelled"
    value: _Number | None = None
    source: _Name | None = None
    reason: Annotated[str, StringConstraints(max_length=400)] = ""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        low, high = self.low, self.high
        facts = {
            "bounds go with the kind bounded, low below high": (self.kind == "bounded")
            == (low is not None and high is not None)
            and (low is None) == (high is None)
            and (low is None or high is None or low < high),
            "step and origin come together": (self.step is None) == (self.origin is None),
            "width and edge come together, edge within width": (self.width is None) == (self.edge is None)
            and (self.width is None or self.edge is None or self.edge <= self.width),
            "averages need a width": self.points == 1 or self.width is not None,
            "an integer has a step": self.kind != "integer" or self.step is not None,
            "a constant has a value": (self.role == "constant") == (self.value is not None),
            "a copy has a source": (self.role == "copy") == (self.source is not None),
        }
        for fact, holds in facts.items():
            if not holds:
                raise ValueError(fact)
        return self

    @property
    def support(self) -> str | tuple[str, float, float]:
        """Where the boxes of the values lie, in the words of a recipe's option ``support``."""
        if self.kind != "bounded" or self.low is None or self.high is None:
            return "positive" if self.kind == "positive" else "real"
        return ("interval", self.low - self.margin, self.high + self.margin)

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
            return f"constant {self.value:.6g}"
        if self.role == "copy":
            return f"copy of {quote(self.source)}"
        words = f"bounded {self.low:.6g} to {self.high:.6g}" if self.kind == "bounded" else self.kind
        plain = self.step is None or (self.kind == "integer" and self.step == 1.0)
        return words if plain else f"{words}, step {self.step:.6g}"


class Schema(BaseModel):
    """The columns of a table, in order.

    Example:
        >>> schema = Schema(columns=(Column(name="a"), Column(name="b", role="constant", value=2.0)))
        >>> schema.names, [column.name for column in schema.modelled]
        (['a', 'b'], ['a'])
        >>> Schema.from_json(schema.to_json()) == schema
        True
    """

    model_config = _STRICT

    columns: Annotated[tuple[Column, ...], Field(min_length=1, max_length=20_000, strict=False)]

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if len({column.name for column in self.columns}) != len(self.columns):
            raise ValueError("every column has a name of its own")
        modelled = {column.name for column in self.columns if column.role == "modelled"}
        if not modelled:
            raise ValueError("at least one column is modelled")
        if any(column.role == "copy" and column.source not in modelled for column in self.columns):
            raise ValueError("a copy repeats a modelled column")
        return self

    @cached_property
    def names(self) -> list[str]:
        """Names of all columns."""
        return [column.name for column in self.columns]

    @cached_property
    def modelled(self) -> list[Column]:
        """The columns that the flow sees."""
        return [column for column in self.columns if column.role == "modelled"]

    @property
    def support(self) -> list[str | list[str | float]]:
        """The recipe's option ``support``: one entry a modelled column, ready for JSON."""
        return [
            list(where) if isinstance(where, tuple) else where for where in (column.support for column in self.modelled)
        ]

    def to_json(self) -> list[dict[str, Any]]:
        """The columns as JSON-able dictionaries without the fields that are at their defaults."""
        return self.model_dump(mode="json", exclude_defaults=True)["columns"]

    @classmethod
    def from_json(cls, columns: Sequence[Mapping[str, Any]]) -> Schema:
        """The inverse of `to_json`; every field is checked.

        Raises:
            DataError: When a field is missing, unknown, of another type, out of range or at odds with another one.
        """
        try:
            return cls.model_validate({"columns": columns if isinstance(columns, list) else list(columns)})
        except (ValidationError, TypeError) as error:
            said = "no list"
            if isinstance(error, ValidationError):
                first = error.errors(include_url=False, include_context=False, include_input=False)[0]
                said = f"{'.'.join(str(part) for part in first['loc']) or 'columns'}: {first['msg']}"
            raise DataError(
                f"Schema.from_json: expected columns of a table; got {said}. Write the model anew."
            ) from error

    def table(self, values: np.ndarray) -> pa.Table:
        """Rows as a table with these names, whole numbers as int64 and all others as float64.

        Args:
            values: ``(rows, columns)`` float64.
        """
        return pa.table(
            {
                column.name: pa.array(values[:, place].astype(np.int64) if column.whole else values[:, place])
                for place, column in enumerate(self.columns)
            }
        )
