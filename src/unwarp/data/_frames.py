"""Data frames of any make, by narwhals: columns that hold no numbers are refused by name."""

from __future__ import annotations

from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pyarrow as pa
from narwhals.exceptions import NarwhalsError

from unwarp.data._values import LARGEST, first_bad, quote
from unwarp.errors import DataError


def numeric_frame(where: str, data: Any) -> Any:
    """The data as they are, once every column of a data frame is known to hold numbers; a lazy frame is collected.

    When to use it: before numpy makes an array of a frame, while the columns still have names.

    Args:
        where: What the message begins with.
        data: A frame of pandas, polars, pyarrow or any other library that narwhals knows; other things pass through.

    Raises:
        DataError: When a column holds text, dates or the like, or a name comes twice.

    Example:
        >>> import pyarrow as pa
        >>> numeric_frame("score", pa.table({"a": [1, 2], "b": ["x", "y"]}))
        Traceback (most recent call last):
        unwarp.errors.DataError: score: expected numbers in column "b"; got "x" in row 1. Leave the column out.
    """
    try:
        frame = nw.from_native(data, pass_through=True)
        if isinstance(frame, nw.LazyFrame):
            frame = frame.collect()
            data = frame.to_native()
        columns = list(frame.iter_columns()) if isinstance(frame, nw.DataFrame) else []
    except NarwhalsError as error:
        raise DataError(
            f"{where}: expected a plain table; got {str(error).splitlines()[0]}. Rename columns."
        ) from error
    for column in columns:
        if not (column.dtype.is_numeric() or column.dtype == nw.Boolean):
            _refuse(where, column)
    return data


def _refuse(where: str, column: Any) -> None:
    """Refuse a column unless all its values can be read as numbers."""
    name = quote(column.name)
    if column.dtype.is_temporal():
        raise DataError(f"{where}: expected numbers in column {name}; got {column.dtype}. Leave the column out.")
    for row, value in enumerate(column.to_list(), 1):
        try:
            float(value)
        except (TypeError, ValueError) as error:
            got = "a missing value" if value is None else quote(value)
            raise DataError(
                f"{where}: expected numbers in column {name}; got {got} in row {row}. Leave the column out."
            ) from error


def finite_values(where: str, values: np.ndarray, names: list[str]) -> np.ndarray:
    """The values, once all of them are known to be finite and to have finite squares.

    Args:
        where: What the message begins with.
        values: ``(rows, columns)`` float64.
        names: Of the columns.

    Raises:
        DataError: Naming the first bad column, its row (from 1) and what is there.
    """
    if np.abs(values).max(initial=0.0) <= LARGEST:
        return values
    for place, name in enumerate(names):
        bad = first_bad(values[:, place])
        if bad is not None:
            raise DataError(
                f"{where}: expected finite numbers in column {quote(name)}; got {bad[1]} in row {bad[0] + 1}. "
                "Correct the value, or leave the row or the column out."
            )
    return values


def arrow_table(where: str, data: Any) -> pa.Table:
    """The data as a table of Arrow, whatever frame they come in; arrays have columns ``x0, x1, ...``.

    Args:
        where: What a message begins with.
        data: A frame of pandas, polars, pyarrow or any other library that narwhals knows, or an array ``(rows,
            columns)``.

    Raises:
        DataError: When it is none of these, a column holds values of several types, or a name comes twice.

    Example:
        >>> arrow_table("codes", np.array([[1, 2], [3, 4]])).to_pydict()
        {'x0': [1, 3], 'x1': [2, 4]}
    """
    if isinstance(data, (np.ndarray, list, tuple)):
        values = np.asarray(data)
        if values.ndim != 2:
            raise DataError(f"{where}: expected rows and columns; got shape {values.shape}. Give a table.")
        data = {f"x{i}": values[:, i] for i in range(values.shape[1])}
        made = {name: _arrow(where, name, column) for name, column in data.items()}
        return pa.table(made)
    try:
        frame = nw.from_native(data)
        if isinstance(frame, nw.LazyFrame):
            frame = frame.collect()
        names = [str(name) for name in frame.columns]
        table = pa.table([_arrow(where, str(column.name), column) for column in frame.iter_columns()], names=names)
    except (NarwhalsError, TypeError) as error:
        words = (
            str(error).splitlines()[0][:200].rstrip(".") if isinstance(error, NarwhalsError) else type(data).__name__
        )
        raise DataError(f"{where}: expected a plain table; got {words}. Give a data frame with names once.") from error
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{where}: expected every column name once; got {quote(twice)} twice. Rename the columns.")
    return table


def _arrow(where: str, name: str, column: Any) -> Any:
    """One column as an Arrow array."""
    try:
        if isinstance(column, np.ndarray):
            plain = column.tolist() if column.dtype == object else column.astype(column.dtype.newbyteorder("="))
            return pa.array(plain)
        return column.to_arrow()
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{where}: expected values of one type in column {quote(name)}; got {str(error).splitlines()[0][:120]}. "
            "Convert the column or leave it out."
        ) from error
