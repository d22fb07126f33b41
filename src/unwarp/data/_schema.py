"""The columns of a table in order, as model files hold them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, Field, ValidationError, model_validator

from unwarp.data._column import STRICT, Column
from unwarp.data._heads import head
from unwarp.data._schema_file import read_columns, write_columns
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
        modelled = {column.name: column for column in self.columns if column.role == "modelled"}
        if not modelled:
            raise ValueError("at least one column is modelled")
        for column in self.columns:
            source = modelled.get(column.source or "")
            if column.role == "copy" and source is None:
                raise ValueError("a copy repeats a modelled column")
            if column.role == "copy" and source is not None and column.levels is not None:
                count = 2 if source.kind == "boolean" else len(source.levels or ())
                if len(column.levels) != count:
                    raise ValueError("a copy has as many levels as what it repeats")
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
        return self.model_dump(mode="json", exclude_defaults=True, exclude_none=True)["columns"]

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

    def to_file(self, path: str | os.PathLike[str]) -> None:
        """Write the schema as TOML or JSON, by the suffix, to be read and edited by people.

        Raises:
            DataError: When the suffix is another one or the file cannot be written.

        Example:
            >>> import pathlib, tempfile
            >>> path = pathlib.Path(tempfile.mkdtemp()) / "columns.toml"
            >>> schema = Schema(columns=(Column(name="size", kind="ordinal", levels=("S", "M")), Column(name="x")))
            >>> schema.to_file(path)
            >>> print(path.read_text())
            [[columns]]
            name = "size"
            kind = "ordinal"
            levels = ["S", "M"]
            <BLANKLINE>
            [[columns]]
            name = "x"
            <BLANKLINE>
            >>> Schema.from_file(path) == schema
            True
        """
        write_columns(path, self.to_json())

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Schema:
        """Read a schema that `to_file` wrote or people did; every field is checked.

        Raises:
            DataError: When the file cannot be read, or a field is missing, unknown or at odds with another one.
        """
        columns = read_columns(path)
        try:
            return cls.from_json(columns)
        except DataError as error:
            said = str(error).removeprefix("Schema.from_json: ").removesuffix(" Write the model anew.")
            raise DataError(f"{Path(path).name}: {said} Correct the file.") from error

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
