"""Tables from files: what is read, and the one line that says why something is not."""

import decimal
import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unwarp.data import _choose, read_table, write_table
from unwarp.errors import DataError

READ = {
    "plain": (b"a,b\n1,2.5\n", {"a": [1], "b": [2.5]}),
    "byte-order mark": (b"\xef\xbb\xbfa,b\n1,2\n", {"a": [1], "b": [2]}),
    "windows lines": (b"a,b\r\n1,2\r\n3,4\r\n", {"a": [1, 3], "b": [2, 4]}),
    "blank lines": (b"\n\na,b\n\n1,2\n\n", {"a": [1], "b": [2]}),
    "semicolons": (b"a;b\n1;2\n", {"a": [1], "b": [2]}),
    "blanks around names": (b" a , b\n1,2\n", {"a": [1], "b": [2]}),
    "truth values": (b"a,b\n1,true\n2,false\n", {"a": [1, 2], "b": [1, 0]}),
    "years as names": (b"2019,2020\n1,2\n", {"2019": [1], "2020": [2]}),
    "no last newline": (b"a\n1\n2", {"a": [1, 2]}),
    "unnamed column": (b",a\n0,5\n1,6\n", {"Unnamed: 0": [0, 1], "a": [5, 6]}),
    "large whole numbers": (b"a\n99999999999999999999\n", {"a": [1e20]}),
    "quoted name with a line break": (b'a,"b\nc"\n1,2\n', {"a": [1], "b\nc": [2]}),
}

REFUSED = {
    "empty": (b"", "an empty file"),
    "header alone": (b"a,b\n", "a header line alone"),
    "header without a newline": (b"a,b", "a header line alone"),
    "blank lines alone": (b"a,b\n\n\n", "blank lines alone"),
    "text": (
        b"a,city\n1,2\n3,Paris\n",
        'column "city"; got "Paris" in line 3. Clean the column or leave it out with --ignore',
    ),
    "several of text": (b"a,b,c\n1,x,y\n", "--ignore b --ignore c"),
    "question mark": (b"a\n1\n?\n", 'a missing value ("?") in line 3'),
    "missing": (b"a,b\n1,2\n3,\n", 'column "b"; got a missing value in line 3'),
    "all missing": (b"a,b\n1,\n3,\n", 'column "b"; got a missing value in every row'),
    "dates": (b"a,b\n1,2020-01-01\n", "got dates or times"),
    "infinite": (b"a\n1\ninf\n", "got inf in line 3"),
    "too large": (b"a\n1\n1e308\n", "got 1e+308 in line 3"),
    "line after blank and quoted lines": (b'a,b\n\n1,"2"\n\n3,x\n', 'got "x" in line 5'),
    "ragged": (b"a,b\n1,2\n3\n", "expected 2 cells in line 3; got 1"),
    "not utf-8": (b"a,b\n1,2\n3,\xe9t\xe9\n", 'column "b"; got bytes that are not UTF-8 in line 3'),
    "names not utf-8": (b"a,\xe9\n1,2\n", "names in UTF-8"),
    "utf-16": ("a,b\n1,2\n".encode("utf-16"), "got UTF-16"),
    "no header": (b"5.1,3.5\n4.9,3.0\n", "expected column names in line 1; got numbers"),
    "repeated name": (b"a,b,a\n1,2,3\n", 'got "a" 2 times'),
    "binary": (b"\x00\x01\x02", "a binary file"),
    "zip": (b"PK\x03\x04rest", "a binary file"),
    "control characters in a name": (b'a,"b\x1b[31m\n"\n1,x\n', "b\\u001b[31m"),
    "a cell of a million letters": (b"a\n" + b"x" * 1_000_000 + b"\n", "..."),
}


@pytest.mark.parametrize("case", READ)
def test_reads(case, tmp_path):
    content, expected = READ[case]
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    table = read_table(path)
    assert table.to_pydict() == expected
    assert set(table.schema.types) <= {pa.int64(), pa.float64()}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_in_one_line(case, tmp_path):
    content, words = REFUSED[case]
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    message = refusal(path)
    assert words in message
    assert message.startswith("t.csv: expected ")


def refusal(path, **options):
    with pytest.raises(DataError) as caught:
        read_table(path, **options)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 500
    return message


def test_chooses_columns(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b,c\n1,x,2\n")
    assert read_table(path, ignore=["b"]).to_pydict() == {"a": [1], "c": [2]}
    assert read_table(path, columns=["c", "a"]).to_pydict() == {"c": [2], "a": [1]}
    assert 'expected a column "B" to ignore' in refusal(path, ignore=["B"])
    assert 'expected the columns "alpha"; got a table without them' in refusal(path, columns=["a", "alpha"])
    assert "at least one column" in refusal(path, ignore=["a", "b", "c"])


def test_compressed_and_other_suffixes(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    (tmp_path / "t.tsv").write_bytes(b"a\tb\n1\t2\n")
    for name in ("t.csv.gz", "t.tsv"):
        assert read_table(tmp_path / name).to_pydict() == {"a": [1], "b": [2]}
    (tmp_path / "fake.csv.gz").write_bytes(b"a,b\n1,2\n")
    assert "expected a table" in refusal(tmp_path / "fake.csv.gz")
    assert 'got ".xlsx"' in refusal(tmp_path / "t.xlsx")


def test_paths_that_hold_no_table(tmp_path):
    assert "nothing at that path" in refusal(tmp_path / "none.csv")
    for name in ("f.csv", "f.parquet"):
        (tmp_path / name).mkdir()
        assert "got a folder" in refusal(tmp_path / name)


def test_bombs_are_measured_before_they_are_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(_choose, "MOST_BYTES", 1 << 20)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a\n" + b"0\n" * (1 << 20)))
    assert "once decoded" in refusal(tmp_path / "t.csv.gz")
    pq.write_table(pa.table({"a": pa.array([0.0]).take(pa.array([0] * (1 << 18)))}), tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 1 << 16
    assert "once decoded" in refusal(tmp_path / "t.parquet")
    monkeypatch.setattr(_choose, "MOST_COLUMNS", 3)
    (tmp_path / "wide.csv").write_bytes(b"a,b,c,d\n1,2,3,4\n")
    assert "at most 3 columns" in refusal(tmp_path / "wide.csv")


PARQUET = {
    "text": (pa.array(["x", "y"]), "got text"),
    "dictionary of text": (pa.array(["x", "y"]).dictionary_encode(), "got text"),
    "null": (pa.array([1.5, None]), "a missing value in row 2"),
    "nan": (pa.array([1.5, float("nan")]), "NaN (a missing value) in row 2"),
    "nothing": (pa.nulls(2), "in every row"),
    "lists": (pa.array([[1], [2]]), "values of type list"),
    "dates": (pa.array([0, 1], pa.date32()), "got dates or times"),
    "no rows": (pa.array([], pa.float64()), "a table without any"),
}


@pytest.mark.parametrize("case", PARQUET)
def test_refuses_parquet(case, tmp_path):
    column, words = PARQUET[case]
    pq.write_table(pa.table({"bad": column}), tmp_path / "t.parquet")
    assert words in refusal(tmp_path / "t.parquet")


def test_reads_parquet(tmp_path):
    columns = {
        "bool": pa.array([True, False]),
        "small": pa.array([1, 2], pa.int8()),
        "huge": pa.array([2**63, 0], pa.uint64()),
        "half": pa.array([1.5, 2.5], pa.float16()),
        "decimal": pa.array([decimal.Decimal("1.25"), decimal.Decimal("3.00")]),
        "dictionary": pa.array([7, 8]).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    expected = {
        "bool": [1, 0], "small": [1, 2], "huge": [2.0**63, 0.0], "half": [1.5, 2.5], "decimal": [1.25, 3.0],
        "dictionary": [7, 8],
    }  # fmt: skip
    assert read_table(tmp_path / "t.parquet").to_pydict() == expected
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing else PAR1")
    assert "expected a table" in refusal(tmp_path / "bad.parquet")


names = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00"), min_size=1, max_size=8)
numbers = st.floats(-1e150, 1e150, allow_nan=False) | st.integers(-(2**53), 2**53)


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(names.map(lambda name: f"a{name}z"), st.lists(numbers, min_size=3, max_size=3), min_size=1))
def test_what_is_written_is_read(tmp_path_factory, columns):
    table = pa.table({name: [float(value) for value in values] for name, values in columns.items()})
    for suffix in (".csv", ".tsv", ".parquet"):
        path = tmp_path_factory.mktemp("t") / f"t{suffix}"
        write_table(path, table)
        assert read_table(path).to_pydict() == table.to_pydict()


def test_writing_is_all_or_nothing(tmp_path):
    path = tmp_path / "rows.csv"
    write_table(path, pa.table({"a": [1]}))
    before = path.read_bytes()
    with pytest.raises(DataError, match="expected a place to write to"):
        write_table(path, pa.table({"a": [[1]]}))  # CSV has no lists
    with pytest.raises(DataError, match="no such file or directory"):
        write_table(tmp_path / "no" / "rows.csv", pa.table({"a": [1]}))
    with pytest.raises(DataError, match="a name that ends in"):
        write_table(tmp_path / "rows.json", pa.table({"a": [1]}))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["rows.csv"]
