"""The columns of a table in order, as model files hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Self

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, Field, ValidationError, model_validator

from unwarp.data._column import STRICT, Column
from unwarp.data._heads import head
from unwarp.errors import DataError


class Schema(BaseModel):
    """The columns of a table, in order.

    Example:
        >>> schema = Schema(columns=(Column(name="a"), Column(name="b", role="constant", value=2.0)))
        >>> schema.names, [column.name for column in schema.modelled]
        (['a', 'b'], ['a'])
        >>> Schema.from_json(schema.to_json()) == schema
        True
    """

    model_config = STRICT

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

    @property
    def heads(self) -> list[dict[str, Any]]:
        """What a model of the codes must know of each modelled column, ready for JSON.

        ``atoms`` are values with probability of their own, ascending; ``rest`` says where all others lie: ``"none"``,
        ``"line"``, ``"circle"`` or ``"tail"`` (the ``tail`` codes after the last atom share one class by their
        frequencies; the last of them is a level never seen). ``support``, ``period`` (start and length), ``width`` and
        ``edge`` describe the rest; ``measure`` is ``"mass"`` where a value's box has a probability, ``"density"`` where
        that is divided by the width.
        """
        return [head(column) for column in self.modelled]

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
