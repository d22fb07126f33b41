"""Every type of column times every oddity: a schema with sound codes, or one error of one line."""

import datetime as dt
import decimal
import gzip
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from unwarp.data import Codes, Schema, infer_table, read_table
from unwarp.errors import UnwarpError

N = 40
rng = np.random.default_rng(0)
whole = rng.integers(0, 100, N)
words = rng.choice(["red", "green", "blue"], N)

TYPES = {
    **{kind: pd.Series(whole.astype(kind)) for kind in ("int8", "int64", "uint8", "uint64")},
    **{kind: pd.Series(rng.normal(size=N).astype(kind)) for kind in ("float32", "float64")},
    "float16": pl.Series(rng.normal(size=N).astype(np.float32)),
    "bool": pd.Series(whole > 50),
    "str": pd.Series(words),
    "object": pd.Series(words, dtype=object),
    "category": pd.Series(words, dtype="category"),
    "datetime": pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(whole, unit="h")),
    "zoned": pd.Series(pd.Timestamp("2020-01-01", tz="Asia/Tokyo") + pd.to_timedelta(whole, unit="D")),
    "timedelta": pd.Series(pd.to_timedelta(whole, unit="min")),
    "decimal": pd.Series([decimal.Decimal(int(n)) / 4 for n in whole]),
    "Int32": pd.Series(whole, dtype="Int32"),
    "boolean": pd.Series(whole > 50, dtype="boolean"),
    "arrow text": pd.Series(words, dtype=pd.ArrowDtype(pa.string())),
    "arrow dictionary": pa.array(words).dictionary_encode(),
    "polars categories": pl.Series(words, dtype=pl.Categorical),
    "polars dates": pl.Series([dt.date(2020, 1, 1) + dt.timedelta(int(n)) for n in whole]),
    "polars times": pl.Series([dt.time(int(n) % 24, 7) for n in whole]),
}


def arrow(column) -> pa.Array:
    made = column.to_arrow() if isinstance(column, pl.Series) else pa.array(column)
    made = made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made
    return made.cast(pa.float16()) if column is TYPES["float16"] else made


def gaps(cells: pa.Array, every: int) -> pa.Array:
    return cells.take(pa.array([None if i % every == 0 else i for i in range(len(cells))]))


def unusual(cells: pa.Array, value: float) -> pa.Array:
    if not pa.types.is_floating(cells.type):
        return cells
    return pa.concat_arrays([cells[:5], pa.array([value]).cast(cells.type, safe=False), cells[6:]])


ODD = {
    "as it is": lambda cells: {"a": cells},
    "no rows": lambda cells: {"a": cells[:0]},
    "one row": lambda cells: {"a": cells[:1]},
    "two rows": lambda cells: {"a": cells[:2], "b": [1.0, 2.0]},
    "constant": lambda cells: {"a": cells.take(pa.array([3] * N)), "b": whole},
    "constant with gaps": lambda cells: {"a": gaps(cells.take(pa.array([3] * N)), 3), "b": whole},
    "all missing": lambda cells: {"a": pa.nulls(N, cells.type), "b": whole},
    "some missing": lambda cells: {"a": gaps(cells, 4)},
    "nearly all missing": lambda cells: {"a": pa.concat_arrays([cells[:3], pa.nulls(N - 3, cells.type)]), "b": whole},
    "infinity": lambda cells: {"a": unusual(cells, math.inf)},
    "NaN": lambda cells: {"a": unusual(cells, math.nan)},
    "1e308": lambda cells: {"a": unusual(cells, 1e308)},
    "subnormal": lambda cells: {"a": unusual(cells, 5e-324)},
    "repeated rows": lambda cells: {"a": pa.concat_arrays([cells, cells, cells])},
    "twice": lambda cells: {"a": cells, "b": cells},
    "in pieces": lambda cells: {"a": pa.chunked_array([cells[:7], cells[7:7], cells[7:]])},
    "sliced": lambda cells: {"a": pa.concat_arrays([cells, cells])[5:-9]},
    "backwards": lambda cells: {"a": cells.take(pa.array(np.arange(N)[::-1]))},
}


REFUSED = {"no rows", "one row", "infinity", "1e308"}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("odd", ODD)
def test_schema_and_codes_or_one_line(kind, odd):
    table = pa.table(ODD[odd](arrow(TYPES[kind])))
    before = table.to_pylist()
    try:
        schema = infer_table(table)
    except UnwarpError as raised:
        error = raised
    else:
        error = None
    if error is not None:
        assert odd in REFUSED
        assert "\n" not in str(error)
        return
    codes = Codes(schema)
    made = codes.codes(table)
    back = codes.table(made)
    assert np.isfinite(made[~np.isnan(made)]).all()
    assert made.shape == (table.num_rows, codes.features) and len(schema.heads) == codes.features
    back.validate(full=True)
    assert back.schema == table.schema
    assert Schema.from_json(schema.to_json()) == schema
    assert codes.possible(table).all()
    assert np.array_equal(codes.codes(back), made, equal_nan=True)
    gone = any(column.role == "constant" and column.missing for column in schema.columns)  # which cells is not told
    if odd != "NaN" and not gone:
        assert back.to_pylist() == before
    assert repr(table.to_pylist()) == repr(before)


OTHER = {
    "columns swapped": lambda table: table.select(table.column_names[::-1]),
    "one more column": lambda table: table.append_column("more", pa.array([[1]] * table.num_rows)),
    "another type": lambda table: table.set_column(1, "b", table["b"].cast(pa.float64())),
    "a dictionary": lambda table: table.set_column(0, "a", table["a"].dictionary_encode()),
    "of pandas": lambda table: table.to_pandas(),
    "of polars": pl.from_arrow,
}


@pytest.mark.parametrize("other", OTHER)
def test_columns_go_by_name(other):
    table = pa.table({"a": words, "b": whole})
    codes = Codes(infer_table(table))
    assert np.array_equal(codes.codes(OTHER[other](table)), codes.codes(table))


def test_columns_that_are_not_there_or_twice():
    table = pa.table({"a": words, "b": whole})
    codes = Codes(infer_table(table))
    with pytest.raises(UnwarpError, match='the column "b"'):
        codes.codes(table.select(["a"]))
    with pytest.raises(UnwarpError, match=r"once|unique|twice"):
        codes.codes(table.append_column("a", table["a"]))


def real(*parts: str) -> Path:
    """A file of real data, where there is some."""
    folder = os.environ.get("UNWARP_DATA")
    if not folder:
        pytest.skip("UNWARP_DATA names no folder of real data")
    return Path(folder, *parts)


def test_diamonds():
    table = read_table(real("mixed_diamonds", "diamonds.csv.gz"), kinds="any")
    schema = infer_table(table)
    kinds = {column.name: column.kind for column in schema.columns}
    assert [kinds[name] for name in ("cut", "color", "clarity")] == ["categorical"] * 3
    assert kinds["price"] == "positive"
    assert 1.01 in schema.heads[0]["atoms"]
    assert Codes(schema).table(Codes(schema).codes(table)) == table


def test_adult(tmp_path):
    names = "age,work,weight,school,years,status,job,role,race,sex,gain,loss,hours,country,income"
    rows = gzip.decompress(real("mixed_adult", "adult.data.gz").read_bytes())
    (tmp_path / "adult.csv").write_bytes(names.encode() + b"\n" + rows)
    table = read_table(tmp_path / "adult.csv", kinds="any")
    schema = infer_table(table)
    columns = {column.name: column for column in schema.columns}
    assert (columns["years"].role, columns["years"].source) == ("copy", "school")
    assert columns["school"].levels[-1] == "Doctorate"
    assert [name for name, column in columns.items() if column.missing] == ["work", "job", "country"]
    assert 40.0 in columns["hours"].atoms
    assert {0.0, 15024.0} <= set(columns["gain"].atoms)
    codes = Codes(schema)
    assert codes.table(codes.codes(table)) == table
    given = table.slice(0, 5).set_column(3, "school", pa.nulls(5, pa.string()))
    assert codes.table(codes.codes(given))["school"].to_pylist() == table["school"].to_pylist()[:5]
