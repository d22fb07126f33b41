"""Types of columns times what can be wrong with a table: each cell is a sound fit, or one error that helps."""

import copy
import decimal
import re
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from unwarp.data import read_table
from unwarp.estimators import FlowDensity, FlowTable

ROWS = 40
RNG = np.random.default_rng(0)
COUNTS = RNG.integers(0, 100, ROWS)
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
REALS = ("float16", "float32", "float64")

MODELS = {
    "FlowDensity": lambda: FlowDensity("nice", max_steps=2, random_state=0),
    "FlowTable": lambda: FlowTable(hidden=8, blocks=1, max_steps=2, random_state=0),
}


def words(values):
    return [f"kind {value % 7}" for value in values]


TYPES = {
    **{kind: lambda values, kind=kind: pd.Series(np.asarray(values).astype(kind)) for kind in INTEGERS},
    **{kind: lambda values, kind=kind: pd.Series((np.asarray(values) / 4).astype(kind)) for kind in REALS},
    "bool": lambda values: pd.Series(np.asarray(values) % 2 == 0),
    "str": lambda values: pd.Series(words(values), dtype="str"),
    "category": lambda values: pd.Series(pd.Categorical(words(values))),
    "datetime": lambda values: pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(np.asarray(values), "h")),
    "timedelta": lambda values: pd.Series(pd.to_timedelta(np.asarray(values), "s")),
    "Decimal": lambda values: pd.Series([decimal.Decimal(int(value)) / 4 for value in values], dtype=object),
    "nullable": lambda values: pd.Series(pd.array([int(value) for value in values], dtype="Int64")),
    "Arrow string": lambda values: pd.Series(words(values), dtype=pd.ArrowDtype(pa.string())),
    "Arrow dictionary": lambda values: pd.Series(
        words(values), dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))
    ),
    "object": lambda values: pd.Series(
        [int(value) if value % 2 else float(value) for value in values], dtype=object
    ),
}  # fmt: skip
NUMPY = {*INTEGERS, *REALS, "bool"}
WITH_MISSING = set(TYPES) - {*INTEGERS, "bool"}


def frame(kind, values=COUNTS):
    """A column of the type beside a plain one."""
    values = np.asarray(values)
    return pd.DataFrame({"a": TYPES[kind](values), "b": np.random.default_rng(1).normal(size=len(values))})


def missing(kind, rows):
    data = frame(kind)
    data.loc[rows, "a"] = None if data["a"].dtype == object else pd.NA if kind == "nullable" else np.nan
    return data


def put(kind, value, row=7):
    """The frame with another value in one cell."""
    data = frame(kind)
    cells = data["a"].astype(object).tolist()
    cells[row] = value
    data["a"] = pd.Series(cells, dtype=data["a"].dtype)
    return data


def array(kind):
    return frame(kind).to_numpy(dtype=kind if kind in NUMPY - {"bool"} else None)


def read_only(kind, tmp_path):
    np.save(tmp_path / "x.npy", np.column_stack([frame(kind)["a"], COUNTS[::-1].astype(kind)]))
    return np.load(tmp_path / "x.npy", mmap_mode="r")


def as_csv(kind, tmp_path, spoil):
    path = tmp_path / "t.csv"
    path.write_bytes(spoil(frame(kind).to_csv(index=False).encode()))
    return path


def late(content, line):
    return content + line


FITS = {
    "empty": lambda kind, _: frame(kind).iloc[:0],
    "one row": lambda kind, _: frame(kind).iloc[:1],
    "one column": lambda kind, _: frame(kind)[["a"]],
    "constant": lambda kind, _: frame(kind, np.full(ROWS, 3)),
    "all missing": lambda kind, _: missing(kind, slice(None)) if kind in WITH_MISSING else None,
    "some missing": lambda kind, _: missing(kind, [3, 5]) if kind in WITH_MISSING else None,
    "infinite": lambda kind, _: put(kind, -np.inf) if kind in {*REALS, "Decimal", "object"} else None,
    "largest": lambda kind, _: put(kind, np.iinfo(kind).max if kind in INTEGERS else 1e308)
    if kind in {*INTEGERS, "float64", "object"}
    else None,
    "subnormal": lambda kind, _: put(kind, np.finfo(kind).smallest_subnormal) if kind in REALS else None,
    "rows twice": lambda kind, _: pd.concat([frame(kind)] * 2, ignore_index=True),
    "collinear": lambda kind, _: frame(kind).assign(c=frame(kind)["a"], d=COUNTS * 2.0 + 1),
    "many values": lambda kind, _: pd.DataFrame(
        {"a": [f"name {i}" for i in range(2000)] if kind in {"str", "category", "Arrow string"} else
         TYPES[kind](np.arange(2000) % 120), "b": np.arange(2000.0) ** 0.5}
    ).astype({"a": "category"} if kind == "category" else {}),
    "not UTF-8": lambda kind, path: as_csv(kind, path, lambda content: late(content, b"\xff\xfe\xe9,1\n")),
    "mark": lambda kind, path: as_csv(kind, path, lambda content: b"\xef\xbb\xbf" + content),
    "ragged": lambda kind, path: as_csv(kind, path, lambda content: late(content, b"1,2,3\n")),
    "10 MB cell": lambda kind, path: as_csv(kind, path, lambda content: late(content, b"x" * 10_000_000 + b",1\n")),
    "sparse": lambda kind, _: frame(kind).astype({"a": pd.SparseDtype(kind)}) if kind in NUMPY else None,
    "read-only": lambda kind, path: read_only(kind, path) if kind in NUMPY else None,
    "not contiguous": lambda kind, _: np.repeat(array(kind), 2, axis=1)[::-1, ::2] if kind in NUMPY else None,
}  # fmt: skip

LATER = {
    "unseen": lambda kind: frame(kind, COUNTS + 13),
    "swapped": lambda kind: frame(kind)[["b", "a"]],
    "a column is missing": lambda kind: frame(kind)[["b"]],
    "a column more": lambda kind: frame(kind).assign(c=1.0),
    "a name twice": lambda kind: frame(kind).set_axis(["a", "a"], axis=1),
}
CELLS = [(kind, trouble) for kind in TYPES for trouble in (*FITS, *LATER)]


def sound(model, fitted, scored):
    """A fit whose scores and rows are numbers."""
    model.fit(fitted)
    scores = model.score_samples(scored)
    assert scores.shape == (len(scored),)
    assert not np.isnan(scores).any()
    assert not (scores == np.inf).any()
    model.sample(5, random_state=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # what is left out of a model is told
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("kind", "trouble"), CELLS, ids=[" and ".join(cell) for cell in CELLS])
def test_a_table_fits_or_is_refused(kind, trouble, name, tmp_path):
    made = FITS[trouble](kind, tmp_path) if trouble in FITS else frame(kind)
    if made is None:
        pytest.skip("there is no such table")
    begun = time.monotonic()
    before = copy.deepcopy(made)
    try:
        kinds = "any" if name == "FlowTable" else "numbers"
        data = read_table(made, kinds=kinds) if trouble in {"not UTF-8", "mark", "ragged", "10 MB cell"} else made
        sound(MODELS[name](), data, data if trouble in FITS else LATER[trouble](kind))
    except ValueError as error:
        message = str(error)
        assert "Traceback" not in message
        assert len(message) < 700
        told = trouble in {"empty", "one row", "sparse", "a column is missing", "a column more", "swapped"}
        assert told or message.isprintable()
        assert told or ": expected " in message, message
        if trouble in {"some missing", "infinite", "largest", "subnormal", "not UTF-8", "10 MB cell"}:
            assert '"a"' in message, message
            assert re.search(r"in (row|line) \d|got (Datetime|Duration)|of one type", message), message
    assert time.monotonic() - begun < 30
    if isinstance(made, pd.DataFrame):
        pd.testing.assert_frame_equal(made, before)
    elif isinstance(made, np.ndarray):
        assert np.array_equal(made, before)
