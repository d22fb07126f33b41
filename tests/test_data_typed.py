"""Tables of any types: what is made of each column, codes and back, and odd tables refused in one line."""

import datetime as dt
import decimal
import math
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from unwarp import flows
from unwarp.data import Codes, Column, Schema, infer_table, read_table, write_table
from unwarp.errors import DataError, UnwarpError

rng = np.random.default_rng(0)
N = 400
counts = rng.poisson(3, N)
words = rng.choice(["red", "green", "blue"], N)
stamps = pd.Timestamp("2021-03-04") + pd.to_timedelta(np.sort(rng.choice(10**6, N, replace=False)), unit="s")
times = [dt.time(int(h), int(m)) for h, m in zip(rng.integers(0, 24, N), rng.integers(0, 60, N), strict=True)]
decimals = [decimal.Decimal(int(cents)).scaleb(-2) for cents in rng.integers(0, 5000, N)]

COLUMNS = {
    **{f"{kind}": (pa.array(counts).cast(kind), "integer") for kind in ("int8", "int32", "int64", "uint8", "uint64")},
    "float64": (pa.array(rng.normal(size=N)), "real"),
    "float32": (pa.array(rng.normal(size=N).astype(np.float32)), "real"),
    "float16": (pa.array(rng.normal(size=N).astype(np.float16)), "real"),
    "tenths in single precision": (pa.array(np.round(rng.normal(size=N), 1).astype(np.float32)), "real"),
    "positive": (pa.array(rng.lognormal(size=N)), "positive"),
    "truth values": (pa.array(counts > 3), "boolean"),
    "yes and no": (pa.array(np.where(counts > 3, "Yes", "No")), "boolean"),
    "texts": (pa.array(words), "categorical"),
    "large texts": (pa.array(words, pa.large_string()), "categorical"),
    "views of texts": (pa.array(words).cast(pa.string_view()), "categorical"),
    "dictionary": (pa.array(words).dictionary_encode(), "categorical"),
    "decimals": (pa.array(decimals, pa.decimal128(8, 2)), "real"),
    "numbers in texts": (pa.array([str(count) for count in counts]), "integer"),
    "days": (pa.array(stamps.date), "date"),
    "days in milliseconds": (pa.array(stamps.date, pa.date64()), "date"),
    "seconds": (pa.array(stamps).cast(pa.timestamp("s")), "date"),
    "microseconds": (pa.array(stamps).cast(pa.timestamp("us")), "date"),
    "nanoseconds": (pa.array(stamps).cast(pa.timestamp("ns")), "date"),
    "with a time zone": (pa.array(stamps).cast(pa.timestamp("ms", "Europe/Paris")), "date"),
    "times of day": (pa.array(times), "date"),
    "durations": (pa.array(stamps - stamps[0]).cast(pa.duration("ms")), "date"),
    "dates in texts": (pa.array([str(stamp.date()) for stamp in stamps]), "date"),
    "times in texts": (pa.array([str(stamp) for stamp in stamps]), "date"),
}


def gappy(cells: pa.Array) -> pa.Array:
    """The cells with every fifth one missing."""
    gone = pa.array(np.arange(len(cells)) % 5 == 2)
    plain = pa.large_string() if pa.types.is_string_view(cells.type) else cells.type
    return pa.compute.if_else(gone, pa.scalar(None, plain), cells.cast(plain)).cast(cells.type)


@pytest.mark.parametrize("case", COLUMNS)
def test_every_type_comes_back(case):
    cells, kind = COLUMNS[case]
    for table in (pa.table({"c": cells}), pa.table({"c": gappy(cells)})):
        schema = infer_table(table)
        column = schema.columns[0]
        assert column.kind == kind
        assert column.missing == bool(table["c"].null_count)
        assert Schema.from_json(schema.to_json()) == schema
        codes = Codes(schema).codes(table)
        assert codes.dtype == np.float64
        assert np.isnan(codes[:, 0]).sum() == table["c"].null_count
        back = Codes(schema).table(codes)
        back.validate(full=True)
        assert back.schema == table.schema
        assert back.to_pylist() == table.to_pylist()
        assert Codes(schema).possible(table).all()


def test_frames_of_any_make():
    frame = pd.DataFrame({
        "n": pd.array([1, None, 3, 4, 5] * 12, dtype="Int32"),
        "c": pd.Categorical(["u", "v", None] * 20, categories=["w", "v", "u"], ordered=True),
        "t": pd.to_datetime(["2020-01-01", None, "2021-01-01"] * 20, utc=True),
        "o": ["x", None, "y"] * 20,
    })  # fmt: skip
    schema = infer_table(frame)
    assert [column.kind for column in schema.columns][:3] == ["integer", "ordinal", "date"]
    assert schema.columns[1].levels == ("w", "v", "u")
    back = Codes(schema).table(Codes(schema).codes(frame)).to_pandas()
    assert list(back["c"].cat.categories) == ["w", "v", "u"]
    assert back["c"].cat.ordered
    assert back["t"].dt.tz is not None
    assert infer_table(pl.DataFrame({"a": words, "b": counts})).columns[0].kind == "categorical"
    assert infer_table(rng.normal(size=(50, 2))).names == ["x0", "x1"]


def test_spikes_stand_beside_the_rest():
    rain = np.where(rng.random(4000) < 0.6, 0.0, rng.lognormal(size=4000))
    hours = np.where(rng.random(4000) < 0.5, 40, np.clip(np.round(rng.normal(40, 12, 4000)), 1, 99))
    schema = infer_table(pa.table({"rain": rain, "hours": hours}))
    first, second = schema.heads
    assert first["atoms"] == [0.0]
    assert first["support"] == "positive"
    assert "width" not in first
    assert 40.0 in second["atoms"] and len(second["atoms"]) < 5
    assert (second["rest"], second["width"], second["edge"], second["measure"]) == ("line", 1.0, 0.5, "mass")
    assert "60 %" in schema.columns[0].reason or "59 %" in schema.columns[0].reason
    back = Codes(schema).table(np.array([[0.0, 40.3], [1e-9, 38.6]]))
    assert back["rain"].to_pylist() == [0.0, 1e-9]
    assert back["hours"].to_pylist() == [40.0, 39.0]


def test_zeros_at_the_end_of_counts_stand_out():
    clicks = np.where(rng.random(3000) < 0.5, 0, 5 + rng.poisson(20, 3000))
    assert infer_table(pa.table({"clicks": clicks})).heads[0]["atoms"] == [0.0]
    dense = np.where(rng.random(3000) < 0.5, 0, rng.poisson(12, 3000))
    assert infer_table(pa.table({"dense": dense})).heads[0]["atoms"] == [0.0]
    assert not infer_table(pa.table({"waits": rng.geometric(0.1, 3000)})).heads[0]["atoms"]


def test_few_numbers_are_taken_one_by_one():
    head = infer_table(pa.table({"rooms": rng.integers(1, 6, 500)})).heads[0]
    assert head["atoms"] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert head["rest"] == "line"
    assert not infer_table(pa.table({"age": rng.integers(1, 90, 5000)})).heads[0]["atoms"]


DECLARED = {
    "periodic:0:360": {"rest": "circle", "period": [0.0, 360.0]},
    "bounded:0:400": {"rest": "line", "support": ["interval", 0.0, 400.0]},
    "real": {"rest": "line", "support": "real"},
    "positive": {"rest": "line", "support": "positive"},
}


@pytest.mark.parametrize("declared", DECLARED)
def test_declared_numbers(declared):
    table = pa.table({"wind": 360 * rng.random(N)})
    schema = infer_table(table, columns={"wind": declared})
    assert schema.heads[0].items() >= DECLARED[declared].items()
    assert Codes(schema).table(Codes(schema).codes(table)) == table


def test_angles_wrap():
    schema = infer_table(pa.table({"wind": 360 * rng.random(N)}), columns={"wind": "periodic:0:360"})
    turned = Codes(schema).codes(pa.table({"wind": [-10.0, 370.0, 360.0]}))
    assert turned[:, 0].tolist() == [350.0, 10.0, 0.0]


def test_declared_levels():
    table = pa.table({"size": ["S", "L", "M", None] * 20, "grade": [10, 9, 10, 8] * 20, "sex": ["m", "f"] * 40})
    schema = infer_table(table, columns={"size": "ordinal:S<M<L", "grade": "ordinal", "sex": "boolean"})
    assert [column.summary for column in schema.columns] == [
        'ordinal, "S" < "M" < "L"', 'ordinal, "8" < "9" < "10"', 'boolean, "f", "m"'
    ]  # fmt: skip
    codes = Codes(schema).codes(table)
    assert codes[:4, 0].tolist()[:3] == [0.0, 2.0, 1.0]
    assert Codes(schema).table(codes) == table
    with pytest.raises(DataError, match='"XL" in row 3'):
        infer_table(pa.table({"size": ["S", "M", "XL"]}), columns={"size": "ordinal:S<M<L"})
    assert infer_table(table, columns={"sex": "ignore"}).columns[2].role == "ignored"


@pytest.mark.parametrize("declared", ["ordinal:a", "ordinal:a<a", "periodic", "periodic:3:1", "colour", "date:1", ""])
def test_odd_declarations(declared):
    with pytest.raises(DataError, match="Change the declaration"):
        infer_table(pa.table({"a": ["x", "y"]}), columns={"a": declared})


def test_constants_copies_and_columns_left_out():
    number = rng.integers(1, 5, N)
    table = pa.table({
        "shop": ["north"] * N,
        "gaps": pa.array([None if row % 3 == 0 else 7.5 for row in range(N)]),
        "empty": pa.nulls(N, pa.int32()),
        "name": np.array(["one", "two", "three", "four"])[number - 1],
        "number": pa.array(number, pa.int16()),
        "again": np.array(["one", "two", "three", "four"])[number - 1],
        "person": [f"person {row}" for row in range(N)],
        "value": rng.normal(size=N),
        "twice": pa.array(np.zeros(N)),
    })  # fmt: skip
    table = table.set_column(8, "twice", table["value"])
    schema = infer_table(table)
    assert [column.role for column in schema.columns] == [
        "constant", "constant", "ignored", "modelled", "copy", "copy", "ignored", "modelled", "copy"
    ]  # fmt: skip
    assert schema.columns[3].levels == ("one", "two", "three", "four"), "in the order of the numbers"
    assert schema.columns[1].missing
    assert Schema.from_json(schema.to_json()) == schema
    codes = Codes(schema)
    back = codes.table(codes.codes(table))
    for name in ("shop", "name", "number", "again", "value", "twice"):
        assert back[name].to_pylist() == table[name].to_pylist()
        assert back.schema.field(name).type == table.schema.field(name).type
    assert back["person"].null_count == N
    other = table.slice(0, 3).to_pylist()
    other[0]["number"], other[1]["shop"], other[2]["name"] = 1 + other[0]["number"] % 4, "south", None
    other = pa.Table.from_pylist(other, schema=table.schema)
    assert codes.possible(other).tolist() == [False, False, True]
    assert codes.codes(other)[2, 0] == number[2] - 1, "the copy says it"
    assert codes.codes(other.drop_columns(["name"]))[:, 0].tolist()[1:] == (number[1:3] - 1).tolist()
    assert codes.column("number", [4, 1]).tolist() == [3.0, 0.0]


def test_copies_of_levels_never_seen():
    number = rng.integers(0, 3, N)
    table = pa.table({"name": np.array(["a", "b", "c"])[number], "number": number, "yes": number > 1, "word": words})
    table = table.set_column(3, "word", pa.array(np.where(number > 1, "high", "low")))
    codes = Codes(infer_table(table))
    assert [column.role for column in codes.schema.columns] == ["modelled", "copy", "modelled", "copy"]
    other = pa.table({"name": ["d", "d", None, "a"], "number": [9, 1, 9, 9], "yes": [True] * 4, "word": ["high"] * 4})
    assert codes.possible(other).tolist() == [True, False, True, False]
    with pytest.warns(UserWarning, match="never seen"):
        assert codes.codes(other)[:, 0].tolist() == [3.0, 3.0, 3.0, 0.0]
    with pytest.raises(DataError, match='two values in column "word"; got "middle" in row 1'):
        codes.column("word", ["middle"])


def test_few_rows_do_not_make_two_columns_one():
    table = pa.table({"a": ["x", "y", "z"] * 2, "b": [3, 1, 2] * 2, "c": [0.5, 1.25, 2.0, 3.0, 4.0, 5.5]})
    assert infer_table(table).columns[1].role == "modelled"


@pytest.mark.parametrize("count", [500, pytest.param(100_000, marks=pytest.mark.slow)])
def test_many_levels(tmp_path, count):
    texts = [f"level {i % count}" for i in range(2 * count)] + ["often"] * 1000
    table = pa.table({"id": texts, "x": rng.normal(size=len(texts))})
    schema = infer_table(table)
    column, head = schema.columns[0], schema.heads[0]
    assert column.kind == "categorical"
    assert column.levels[0] == "often"
    assert head["atoms"] == [0.0]
    assert head["tail"] == count + 1
    model = flows.flow("nsf", 2, layers=1, hidden=(4,))
    flows.save(model, tmp_path / "model.safetensors", columns=schema.to_json())
    assert Schema.from_json(flows.read_config(tmp_path / "model.safetensors")["columns"]) == schema
    codes = Codes(schema)
    last = table.slice(2 * count - 10)
    assert codes.table(codes.codes(last)) == last.combine_chunks()


def test_levels_never_seen():
    table = pa.table({"a": ["x"] * 50 + ["y"] * 50, "b": rng.normal(size=100)})
    codes = Codes(infer_table(table))
    with pytest.warns(UserWarning, match='such as "z" of column "a" in row 2'):
        made = codes.codes(pa.table({"b": [1.0, 2.0], "a": ["x", "z"]}))
    assert made.tolist() == [[0.0, 1.0], [2.0, 2.0]]
    assert set(codes.table(np.array([[2.0, 0.0]] * 30))["a"].to_pylist()) <= {"x", "y"}
    some = pa.table({"a": ["x"] * 50 + ["y"] * 49 + [None], "b": rng.normal(size=100)})
    assert Codes(infer_table(some)).table(np.array([[2.0, 0.0]]))["a"].to_pylist() == [None]


def test_samples_stay_within_what_was_seen():
    table = pa.table({"n": pa.array(counts, pa.int32()), "x": np.round(rng.normal(size=N), 1), "d": COLUMNS["days"][0]})
    codes = Codes(infer_table(table))
    wild = codes.table(1e6 * rng.normal(size=(50, 3)), within="seen")
    for name in table.column_names:
        low, high = (pa.compute.min_max(table[name])[key].as_py() for key in ("min", "max"))
        assert all(low <= value <= high for value in wild[name].to_pylist())
    assert codes.table(np.full((1, 3), 1e300)).num_rows == 1


WRONG = {
    "text among numbers": (
        {"a": [1.5, 2.5], "b": [1, 2]},
        {"a": ["1.5", "x"], "b": [1, 2]},
        'column "a"; got "x" in row 2',
    ),
    "infinity": ({"a": [1.5, 2.5]}, {"a": [1.0, math.inf]}, "inf in row 2"),
    "no column": ({"abc": [1.5, 2.5]}, {"abd": [1.0, 2.0]}, 'expected the column "abc".*Did you mean "abd"'),
    "three values": ({"a": [True, False]}, {"a": ["yes", "perhaps"]}, 'got "perhaps" in row 2'),
    "no date": ({"a": pa.array([1, 2], pa.date32())}, {"a": ["2020-01-01", "soon"]}, "expected dates"),
    "lists": ({"a": [1.5, 2.5]}, {"a": [[1.0], [2.0]]}, "values of type list"),
}


@pytest.mark.parametrize("case", WRONG)
def test_cells_that_contradict_the_schema(case):
    first, second, words = WRONG[case]
    codes = Codes(infer_table(pa.table(first)))
    with pytest.raises(DataError, match=words):
        codes.codes(pa.table(second))


REFUSED = {
    "empty": pd.DataFrame({"a": []}),
    "no columns": pd.DataFrame(),
    "one row": pa.table({"a": [1.0]}),
    "all the same": pa.table({"a": [1.0, 1.0], "b": ["x", "x"]}),
    "all missing": pa.table({"a": pa.nulls(5)}),
    "infinity": pa.table({"a": [1.0, math.inf]}),
    "huge": pa.table({"a": [1.0, 1e308]}),
    "several types": pd.DataFrame({"a": [1, "x", 2.0]}),
    "repeated names": pa.table([[1, 2], [2, 3]], names=["a", "a"]),
    "lists": pl.DataFrame({"a": [[1], [2]]}),
    "complex": pd.DataFrame({"a": [1j, 2j]}),
    "bytes": pa.table({"a": [b"x", b"y"]}),
    "a long text": pa.table({"a": ["x" * 10_000_000, "y"]}),
    "not a table": 3,
    "a list of numbers": [1.0, 2.0],
    "a text among numbers": pa.table({"a": [str(i) for i in range(99)] + ["x"]}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_odd_tables_are_refused_in_one_line(case):
    with pytest.raises(UnwarpError) as raised:
        infer_table(REFUSED[case])
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


STRANGE = {
    "two rows": {"a": [1.0, 2.0], "b": ["x", "y"]},
    "subnormal": {"a": [5e-324, 1.0, 2.0]},
    "levels that differ in blanks": {"a": ["x", " x", "x ", ""] * 5},
    "zeros before digits": {"a": ["01", "02", "10"] * 5},
    "markers of missing cells": {"a": ["1", "?", "3", "NA"] * 5},
    "control characters": {"a": ["\n", "\\n", "\x00", '"', "\\"] * 5},
    "whole numbers beyond doubles": {"a": [2**62 + 1, 2**62 + 5000, 5]},
    "years before the epoch": {"a": [dt.date(1, 1, 1), dt.date(9999, 12, 31)]},
    "nothing but missing texts": {"a": ["?", "NA"], "b": [1, 2]},
    "dates and markers": {"a": ["2020-01-01", "", "2020-03-01"]},
    "odd names": {"": [1.0, 2.0], "b\n": [1.0, 3.0]},
}


@pytest.mark.parametrize("case", STRANGE)
def test_odd_tables_that_have_a_schema(case):
    table = pa.table(STRANGE[case])
    if case == "odd names":
        with pytest.raises(DataError, match="name"):
            infer_table(table)
        return
    schema = infer_table(table)
    assert Schema.from_json(schema.to_json()) == schema
    codes = Codes(schema)
    made = codes.codes(table)
    assert np.array_equal(codes.codes(codes.table(made)), made, equal_nan=True)


EARLY, LATE = pd.Timestamp("1900-01-01").to_pydatetime(), pd.Timestamp("2100-01-01").to_pydatetime()
CELLS = st.one_of(
    st.lists(st.one_of(st.none(), st.integers(-(2**53), 2**53)), min_size=2, max_size=30),
    st.lists(st.one_of(st.none(), st.floats(-1e100, 1e100), st.just(math.nan)), min_size=2, max_size=30),
    st.lists(st.one_of(st.none(), st.text(max_size=5)), min_size=2, max_size=30),
    st.lists(st.one_of(st.none(), st.booleans()), min_size=2, max_size=30),
    st.lists(st.one_of(st.none(), st.dates()), min_size=2, max_size=30),
    st.lists(
        st.one_of(st.none(), st.datetimes(EARLY, LATE)),
        min_size=2,
        max_size=30,
    ),
    st.lists(st.one_of(st.none(), st.decimals(-1000, 1000, places=2)), min_size=2, max_size=30),
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(cells=CELLS)
def test_any_column_has_codes_or_one_line(cells):
    try:
        table = pa.table({"c": cells, "x": rng.normal(size=len(cells))})
    except pa.ArrowException:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schema = infer_table(table)
        codes = Codes(schema)
        made = codes.codes(table)
        assert np.isfinite(made[~np.isnan(made)]).all()
        back = codes.table(made)
    assert back.schema == table.schema
    assert Schema.from_json(schema.to_json()) == schema
    assert np.allclose(codes.codes(back), made, rtol=1e-12, equal_nan=True)
    if schema.columns[0].kind in {"categorical", "boolean", "date"} and schema.columns[0].role == "modelled":
        assert back["c"].to_pylist() == table["c"].to_pylist()


def test_numbers_alone_are_stored_as_ever():
    assert Schema(columns=(Column(name="a"),)).to_json() == [{"name": "a"}]


def test_columns_hold_together():
    for fields in (
        {"kind": "categorical"}, {"kind": "real", "levels": ("a",)}, {"kind": "date"}, {"kind": "periodic"},
        {"atoms": (2.0, 1.0)}, {"kind": "categorical", "levels": ("a", "a")}, {"arrow": "list<item: int64>"},
        {"kind": "date", "unit": "day", "arrow": "int64"}, {"kind": "real", "arrow": "date32[day]"},
        {"kind": "categorical", "role": "constant", "value": 3.0, "levels": ("a",)},
        {"kind": "categorical", "levels": tuple(map(str, range(300)))}, {"kind": "boolean", "levels": ("a", "b", "c")},
    ):  # fmt: skip
        with pytest.raises(ValidationError):
            Column(name="c", **fields)


def test_a_schema_is_a_file_that_people_edit(tmp_path):
    table = pa.table({name: cells for name, (cells, _) in COLUMNS.items()} | {'odd "\\\n\x7f\U0001f600': words})
    schema = infer_table(table, columns={"dates in texts": "ignore"})
    for path in (tmp_path / "columns.toml", tmp_path / "columns.json"):
        schema.to_file(path)
        assert Schema.from_file(path) == schema
    path = tmp_path / "columns.toml"
    path.write_text(path.read_text().replace('kind = "categorical"', 'kind = "ordinal"', 1))
    assert [column.kind for column in Schema.from_file(path).columns].count("ordinal") == 1
    path.write_text('[[columns]]\nname = "a"\nkind = "periodic"\nlow = 0\nhigh = 360\n')
    assert Schema.from_file(path).heads[0]["period"] == [0.0, 360.0]


FILE = '''id ,zip,when,at,yes,n,note,none
 1,01234,2020-01-01,10:00:00,true, 5, x1,
 2,00023, 2020-01-02 ,11:30:00,false,NA,?,NA
 3,99999,null,,true,7.5,"a,""b""",
'''


def test_any_cells_of_a_file(tmp_path):
    path = tmp_path / "mixed.csv"
    path.write_text(FILE)
    table = read_table(path, kinds="any")
    assert table["zip"].to_pylist() == ["01234", "00023", "99999"]
    assert table["when"].to_pylist() == [dt.date(2020, 1, 1), dt.date(2020, 1, 2), None]
    assert table["at"].to_pylist() == [dt.time(10), dt.time(11, 30), None]
    assert table["yes"].to_pylist() == [True, False, True]
    assert table["n"].to_pylist() == [5.0, None, 7.5]
    assert table["note"].to_pylist() == ["x1", None, 'a,"b"']
    assert table["none"].null_count == 3
    assert read_table(path, kinds="any", columns=["n", "id"]).column_names == ["n", "id"]
    for name in ("copy.parquet", "copy.csv"):
        write_table(tmp_path / name, table)
        assert read_table(tmp_path / name, kinds="any").to_pylist() == table.to_pylist()
    with pytest.raises(DataError, match="expected numbers"):
        read_table(path)


@pytest.mark.parametrize("kinds", ["numbers", "any"])
@pytest.mark.parametrize("text", [b"\n\xef\xbb\xbf", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n\n"])
def test_a_mark_alone_is_no_table(tmp_path, text, kinds):
    (tmp_path / "mark.csv").write_bytes(text)
    with pytest.raises(DataError, match=r"empty file|header line alone"):
        read_table(tmp_path / "mark.csv", kinds=kinds)


@pytest.mark.slow
def test_late_texts_and_odd_bytes(tmp_path):
    path = tmp_path / "late.csv"
    path.write_text("a,b\n" + "1,2\n" * 5_000_000 + "x,3\n")
    table = read_table(path, kinds="any")
    assert pa.types.is_string(table["a"].type) and pa.types.is_integer(table["b"].type)
    path.write_bytes(b"a,b\n1,NA\n1,\xff\n")
    with pytest.raises(DataError, match='column "b"; got bytes that are not UTF-8 in line 3'):
        read_table(path, kinds="any")
    path.write_text("a,b\n1,2\n3\n")
    with pytest.raises(DataError, match="in line 3"):
        read_table(path, kinds="any")
    with pytest.raises(UnwarpError, match='"numbers" or "any"'):
        read_table(path, kinds="all")
    write_table(tmp_path / "lists.parquet", pa.table({"a": [[1], [2]]}))
    with pytest.raises(DataError, match="--ignore a"):
        read_table(tmp_path / "lists.parquet", kinds="any")


def test_schemas_that_people_write():
    day, yes = Column(name="day", kind="date", unit="day", epoch="2024-01-01"), Column(name="yes", kind="boolean")
    word = Column(name="word", kind="categorical", levels=("a", "b"))
    table = Codes(Schema(columns=(day, yes, word))).table(np.array([[1.0, 1.0, 0.0], [math.nan] * 3]))
    assert table.to_pylist()[0] == {"day": dt.date(2024, 1, 2), "yes": True, "word": "a"}
    assert table.to_pylist()[1] == {"day": None, "yes": None, "word": None}
    with pytest.raises(ValidationError, match="as many levels"):
        Schema(columns=(word, Column(name="c", kind="categorical", role="copy", source="word", levels=("x",))))
    odd = Schema(columns=(word.model_copy(update={"arrow": "int64"}),))
    with pytest.raises(DataError, match='int64 can hold in column "word"'):
        Codes(odd).table(np.zeros((1, 1)))


BROKEN = {
    "a.toml": ("[[columns]\n", "expected TOML"),
    "b.json": ("{", "expected JSON"),
    "c.json": ("[1]", 'expected a list "columns"'),
    "d.toml": ('[[columns]]\nname = "a"\nknid = "real"\n', "knid"),
    "e.toml": ('[[columns]]\nname = "a"\nkind = "periodic"\n', "bounds go with"),
    "f.txt": ("", "ends in .toml or .json"),
    "g.json": ('{"columns": [{"name": "a", "levels": "' + "\\n" * 200_000 + '", "kind": "categorical"}]}', "at most"),
}


@pytest.mark.parametrize("name", [*BROKEN, "none.toml"])
def test_broken_schema_files(name, tmp_path):
    text, words = BROKEN.get(name, (None, "No such file"))
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=words) as raised:
        Schema.from_file(tmp_path / name)
    assert "\n" not in str(raised.value)
