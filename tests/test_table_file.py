"""Tables read in pieces: the same rows and the same words as at once, whatever the row groups are."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from unwarp.data import TableFile, read_table
from unwarp.data import _csv_stream as csv_stream
from unwarp.errors import ConfigError, DataError

ROWS = 1000


def table(rows=ROWS):
    rng = np.random.default_rng(0)
    return pa.table({"a": rng.normal(size=rows), "n": np.arange(rows), "t": rng.random(rows) < 0.5})


@pytest.fixture(params=["one group", "many groups", "csv", "csv.gz"])
def path(request, tmp_path, monkeypatch):
    """A file of the table; a CSV file comes in many blocks."""
    if "group" in request.param:
        pq.write_table(table(), tmp_path / "t.parquet", row_group_size=ROWS if request.param == "one group" else 77)
        return tmp_path / "t.parquet"
    monkeypatch.setattr(csv_stream, "BLOCK", 512)
    pa.csv.write_csv(table(), tmp_path / "t.csv")
    if request.param == "csv":
        return tmp_path / "t.csv"
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes()))
    return tmp_path / "t.csv.gz"


def same(found, wanted):
    assert found.column_names == wanted.column_names
    for name in wanted.column_names:
        assert np.array_equal(found[name].to_numpy(), wanted[name].to_numpy())
    return True


def test_pieces_are_the_table(path):
    file = TableFile(path)
    pieces = list(file.batches(size=64))
    assert [len(piece) for piece in pieces] == [64] * 15 + [40]
    assert same(pa.concat_tables(pieces), read_table(path))
    assert file.rows == ROWS
    assert same(next(TableFile(path, columns=["t", "a"]).batches()), read_table(path, columns=["t", "a"]))
    assert TableFile(path, ignore=["a"]).names == ["n", "t"]


@pytest.mark.parametrize("ranges", [[(0, 10)], [(990, 1000)], [(5, 80), (80, 90), (300, 701)], []])
def test_ranges_are_cut_anew(path, ranges):
    pieces = list(TableFile(path).batches(ranges, size=32))
    wanted = [np.arange(low, min(low + 32, stop)) for start, stop in ranges for low in range(start, stop, 32)]
    assert [piece["n"].to_numpy().tolist() for piece in pieces] == [numbers.tolist() for numbers in wanted]


def test_samples_are_uniform_and_in_order(path):
    file = TableFile(path)
    counts = np.zeros(ROWS)
    for seed in range(40):
        drawn = file.sample(100, seed=seed)["n"].to_numpy()
        assert len(drawn) == 100
        assert (np.diff(drawn) > 0).all()
        counts[drawn.astype(int)] += 1
    spread = ((counts.reshape(10, -1).sum(1) - 400) ** 2 / (400 * 0.9)).sum()
    assert spread < 40  # chi-square of nine degrees: 1e-5 of samples go beyond
    assert same(file.sample(ROWS + 1), read_table(path))
    assert same(file.sample(10, seed=1), file.sample(10, seed=1))
    assert file.rows == ROWS
    with pytest.raises(ConfigError, match="at least 1"):
        file.sample(0)


def test_another_file_has_another_identity(tmp_path):
    pq.write_table(table(), tmp_path / "a.parquet")
    pq.write_table(table(), tmp_path / "b.parquet")
    pq.write_table(table(ROWS - 1), tmp_path / "c.parquet")
    a, b, c = (TableFile(tmp_path / f"{name}.parquet").identity for name in "abc")
    assert a == b != c


BAD = {
    "empty": b"",
    "header": b"a,b\n",
    "blank": b"a,b\n\n\n",
    "text": b"a,b\n" + b"1,2\n" * 200 + b"1,oak\n" + b"1,2\n" * 20,
    "mark": b"a,b\n" + b"1,2\n" * 200 + b"?,1\n",
    "missing": b"a,b\n" + b"1,2\n" * 200 + b"\n,1\n" + b"1,2\n" * 200,
    "infinite": b"a,b\n" + b"1,2\n" * 200 + b"1,inf\n",
    "huge": b"a,b\n" + b"1,2\n" * 200 + b"1e308,1\n",
    "ragged": b"a,b\n" + b"1,2\n" * 200 + b"1,2,3\n",
    "not UTF-8": b"a,b\n" + b"1,2\n" * 200 + b"\xff\xfe,1\n",
    "binary": b"\x80\x04\x95\x00\x00",
    "twice": b"a,a\n1,2\n",
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_told_as_for_a_whole_table(case, tmp_path, monkeypatch):
    monkeypatch.setattr(csv_stream, "BLOCK", 256)
    path = tmp_path / "t.csv"
    path.write_bytes(BAD[case])
    with pytest.raises(DataError) as whole:
        read_table(path)
    with pytest.raises(DataError) as pieces:
        list(TableFile(path).batches())
    assert str(pieces.value) == str(whole.value)


def test_a_bad_row_of_a_late_row_group_has_its_number(tmp_path):
    values = np.arange(100.0)
    values[73] = np.nan
    pq.write_table(pa.table({"a": values}), tmp_path / "t.parquet", row_group_size=10)
    with pytest.raises(DataError, match=r'column "a"; got NaN .* in row 74'):
        list(TableFile(tmp_path / "t.parquet").batches())
    assert sum(map(len, TableFile(tmp_path / "t.parquet").batches([(0, 50)]))) == 50


def test_no_file_and_no_such_column(tmp_path):
    with pytest.raises(DataError, match="nothing at that path"):
        TableFile(tmp_path / "none.parquet")
    pq.write_table(table(), tmp_path / "t.parquet")
    with pytest.raises(DataError, match='expected the columns "z"'):
        TableFile(tmp_path / "t.parquet", columns=["z"])


def test_a_file_cut_short_is_told(tmp_path):
    pq.write_table(table(), tmp_path / "t.parquet", row_group_size=100)
    content = bytearray((tmp_path / "t.parquet").read_bytes())
    content[2000:4000] = bytes(2000)
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"t\.parquet: expected a table"):
        list(TableFile(tmp_path / "t.parquet").batches())


def test_a_row_group_as_large_as_the_file_is_not_read_at_once(tmp_path):
    x = np.random.default_rng(0).normal(size=1_000_000)
    pq.write_table(pa.table(dict.fromkeys("ab", x)), tmp_path / "t.parquet", row_group_size=len(x))
    del x
    before, most = pa.total_allocated_bytes(), 0
    for piece in TableFile(tmp_path / "t.parquet").batches(size=4096):
        most = max(most, pa.total_allocated_bytes() - before)
        del piece
    assert most < (tmp_path / "t.parquet").stat().st_size / 2
