"""Every odd table either fits, with finite scores and its input untouched, or is refused in one line that helps."""

import decimal
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from unwarp.errors import UnwarpError
from unwarp.estimators import FlowDensity

rng = np.random.default_rng(0)
N = 24
plain = rng.normal(size=(N, 2)) * [3.0, 20.0]
whole = rng.integers(0, 100, (N, 2))

WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint64")
REAL = ("float16", "float32", "float64", "longdouble")

FITS = {
    **{f"array of {kind}": whole.astype(kind) for kind in WHOLE},
    **{f"array of {kind}": plain.astype(kind) for kind in REAL},
    "truth values": plain > 0,
    "objects that are numbers": plain.astype(object),
    "lists": plain.tolist(),
    "not contiguous": np.repeat(plain, 2, axis=1)[::-1, ::2],
    "column order": np.asfortranarray(plain),
    "big endian": plain.astype(">f8"),
    "one column": plain[:, :1],
    "two rows": plain[:2],
    "subnormal": plain * 1e-310 + [0.0, 1.0],
    "huge": plain * 1e120,
    "tiny": plain * 1e-120,
    "one outlier at 1e149": np.vstack([plain, [1e149, 0.0]]),
    "half of the rows repeated": np.vstack([plain, plain]),
    "constant column": np.column_stack([plain, np.ones(N)]),
    "copied column": np.column_stack([plain, plain[:, 0]]),
    "negated column": np.column_stack([plain, -plain[:, 0]]),
    "collinear columns": np.column_stack([plain, plain.sum(1)]),
    "almost constant column": np.column_stack([plain, 1 + 1e-15 * rng.integers(0, 3, N)]),
    "row numbers": np.column_stack([plain, np.arange(N)]),
    "timestamps": np.column_stack([plain, 1.7e9 + rng.random(N)]),
    "more columns than rows": rng.normal(size=(5, 40)),
    "pandas": pd.DataFrame(plain, columns=["a", "b"]),
    "pandas, nullable": pd.DataFrame(whole, columns=["a", "b"]).astype("Int64"),
    "pandas, arrow": pd.DataFrame(plain, columns=["a", "b"]).astype("float64[pyarrow]"),
    "pandas, categories that are numbers": pd.DataFrame({"a": pd.Categorical(whole[:, 0]), "b": plain[:, 1]}),
    "pandas, decimals": pd.DataFrame({"a": [decimal.Decimal(int(v)) / 4 for v in whole[:, 0]], "b": plain[:, 1]}),
    "polars": pl.DataFrame(plain, schema=["a", "b"]),
    "polars, truth values": pl.DataFrame(plain > 0, schema=["a", "b"]),
    "pyarrow": pa.table({"a": plain[:, 0], "b": whole[:, 1]}),
    "pyarrow, dictionary": pa.table({"a": pa.array(whole[:, 0]).dictionary_encode(), "b": plain[:, 1]}),
    "odd names": pd.DataFrame(plain, columns=["=cmd|' /C calc'!A0", "<script>\n\u202e"]),
}  # fmt: skip

REFUSED = {
    "no rows": (np.empty((0, 2)), "minimum of 1 is required"),
    "no columns": (np.empty((5, 0)), "minimum of 1 is required"),
    "one row": (plain[:1], "n_samples = 1"),
    "one value": (np.ones((5, 2)), "same values in every row"),
    "one dimension": (plain[:, 0], "2D array"),
    "three dimensions": (plain[None], "dim"),
    "all missing": (np.full((5, 2), np.nan), 'column "x0"; got NaN (a missing value) in row 1'),
    "one missing": (np.where(np.arange(N)[:, None] == 3, np.nan, plain), "in row 4"),
    "infinite": (np.where(np.arange(N)[:, None] == 3, -np.inf, plain), "got -inf in row 4"),
    "1e308": (plain * 1e306, 'column "x0"; got'),
    "sparse": (scipy.sparse.csr_array(plain), "dense data is required"),
    "complex": (plain + 1j, "Complex data"),
    "text": (np.array([["a", "b"]] * 3), "could not convert"),
    "none": (None, "2D array"),
    "pandas, text": (pd.DataFrame({"a": plain[:, 0], "b": ["x"] * N}), 'column "b"; got "x" in row 1'),
    "pandas, categories": (pd.DataFrame({"a": plain[:, 0], "b": pd.Categorical(["x"] * N)}), 'column "b"; got "x"'),
    "pandas, missing": (pd.DataFrame({"a": whole[:, 0], "b": pd.array([None] * N, dtype="Int64")}), 'column "b"; got'),
    "pandas, dates": (pd.DataFrame({"b": pd.date_range("2020", periods=N)}), 'column "b"; got Datetime'),
    "pandas, periods": (pd.DataFrame({"b": pd.to_timedelta(whole[:, 0], "s")}), 'column "b"; got Duration'),
    "pandas, repeated name": (pd.DataFrame(plain, columns=["a", "a"]), "plain table"),
    "polars, missing": (pl.DataFrame({"a": [1.0, None, 2.0]}), 'column "a"; got NaN (a missing value) in row 2'),
    "pyarrow, lists": (pa.table({"a": [[1.0], [2.0]]}), 'column "a"; got "[1.0]" in row 1'),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:fit. column:UserWarning")  # what is left out is told; see test_estimators.py
@pytest.mark.parametrize("case", FITS)
def test_fits(case):
    data = FITS[case]
    before = np.array(data, dtype=object).copy() if not isinstance(data, (pa.Table, pl.DataFrame)) else None
    model = FlowDensity(random_state=0).fit(data)
    scores = model.score_samples(data)
    assert scores.shape == (len(data),)
    assert np.isfinite(scores).all()
    rows = model.sample(20, random_state=0)
    assert np.isfinite(rows).all()
    assert not np.isnan(
        model.score_samples(rows if isinstance(data, (list, np.ndarray)) else model.schema_.table(rows))
    ).any()
    if before is not None:
        assert np.array_equal(np.array(data, dtype=object), before)


@pytest.mark.parametrize("case", REFUSED)
def test_is_refused(case):
    data, words = REFUSED[case]
    with pytest.raises((ValueError, TypeError)) as caught:
        FlowDensity(random_state=0).fit(data)
    message = str(caught.value)
    assert words in message
    if isinstance(caught.value, UnwarpError):
        assert message.isprintable()


tables = arrays.arrays(
    st.sampled_from([np.float64, np.float32, np.int16, np.uint8]),
    st.tuples(st.integers(1, 12), st.integers(1, 4)),
    elements=None,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables)
def test_any_numbers_fit_or_are_refused(table):
    before = table.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            model = FlowDensity(random_state=0).fit(table)
        except UnwarpError:
            return
    scores = model.score_samples(table)
    assert not np.isnan(scores).any()
    assert (scores > -np.inf).all()
    assert np.isfinite(model.sample(5, random_state=0)).all()
    assert np.array_equal(table, before, equal_nan=True)
