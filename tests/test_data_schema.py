"""What is made of columns, and the boxes that recorded values stand for."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unwarp.data import Column, Encoding, Schema, dependent, finite_values, infer, numeric_frame
from unwarp.errors import DataError

rng = np.random.default_rng(0)
N = 2000
counts = rng.poisson(3, N).astype(float)

COLUMNS = {
    "normal": (rng.normal(size=N), "real", None),
    "uniform": (rng.random(N), "real", None),
    "far from zero": (rng.normal(1000, 1, N), "real", None),
    "exponential": (rng.exponential(size=N), "positive", None),
    "skewed counts": (np.ceil(1000 * rng.lognormal(size=N)), "positive", 1.0),
    "counts": (counts, "integer", 1.0),
    "hundreds": (100 * counts, "integer", 100.0),
    "two decimals": (np.round(rng.normal(size=N), 2), "real", 0.01),
    "quarters": (np.round(4 * rng.normal(size=N)) / 4, "real", 0.25),
    "standardised counts": ((counts - counts.mean()) / counts.std(), "real", 1 / counts.std()),
    "in single precision": (((counts - 3) / 1.7).astype(np.float32).astype(float), "real", 1 / 1.7),
    "two values": (rng.choice([1.3, math.pi], N), "real", math.pi - 1.3),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_kinds_and_steps(case):
    values, kind, step = COLUMNS[case]
    column = infer(values[:, None], ["c"]).columns[0]
    assert column.kind == kind
    if step is None:
        assert column.step is None
        assert column.width is None
    else:
        assert column.step == pytest.approx(step, rel=1e-4)
        assert column.width == pytest.approx(step, rel=1e-4)
        assert "repeat a value" in column.reason
    assert infer(values[::-1, None], ["c"]).columns[0] == column


def test_a_few_odd_values_leave_the_box_of_the_others():
    values = np.round(rng.normal(size=N), 1)
    values[:40] += 0.0123
    column = infer(values[:, None], ["c"]).columns[0]
    assert column.width == pytest.approx(0.1)


def test_one_repeated_value_is_smoothed_and_told():
    values = np.where(rng.random(N) < 0.3, 0.0, rng.normal(size=N))
    column = infer(values[:, None], ["c"]).columns[0]
    assert column.step is None
    assert column.points == 64
    assert 1e-4 < column.width < 1e-2
    assert "hold exactly 0" in column.reason


def test_a_fine_grid_needs_no_average():
    column = infer(np.round(1e6 * rng.random((5000, 1))), ["c"]).columns[0]
    assert (column.step, column.points) == (1.0, 1)
    assert infer(counts[:, None], ["c"]).columns[0].points == 64


def test_constants_and_copies():
    values = np.column_stack([counts, np.full(N, 7.5), counts, -counts])
    schema = infer(values, list("abcd"))
    assert [column.role for column in schema.columns] == ["modelled", "constant", "copy", "modelled"]
    assert [column.summary for column in schema.columns] == ["integer", "constant 7.5", 'copy of "a"', "integer"]
    encoding = Encoding(schema)
    assert encoding.features == 2
    assert np.array_equal(encoding.values(encoding.events(values)), values)
    off = values[:3].copy()
    off[0, 1], off[1, 2] = 7.4, -1.0
    assert encoding.possible(off).tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("values", "words"), [([[1.0, 2.0]], "n_samples = 1"), ([[1.0], [1.0]], "same values in every row")]
)
def test_nothing_varies(values, words):
    with pytest.raises(DataError, match=words):
        infer(np.array(values), ["a", "b"][: len(values[0])])


def test_whole_weights_count_as_rows():
    values = np.column_stack([counts, rng.exponential(size=N), rng.normal(size=N)])
    weight = rng.integers(0, 3, N)
    names = ["a", "b", "c"]
    assert infer(values, names, weight=weight) == infer(np.repeat(values, weight, axis=0), names)


def test_declarations():
    values = np.column_stack([counts, rng.random(N), np.exp(counts), counts / 2])
    declared = {"a": "real", "b": "bounded:0:1", "c": "positive", "d": "integer:0.5"}
    schema = infer(values, list("abcd"), columns=declared)
    assert [column.kind for column in schema.columns] == ["real", "bounded", "positive", "integer"]
    assert schema.support == ["real", ["interval", 0.0, 1.0], "positive", "real"]
    assert schema.columns[0].width == 1.0, "a declared kind does not make ties go away"


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"b": "real"}, 'got "b". The columns are "a"'),
        ({"a": "whole"}, "expected one of real, positive"),
        ({"a": "bounded:1:0"}, "expected one of real, positive"),
        ({"a": "bounded:0:nan"}, "expected one of real, positive"),
        ({"a": "bounded:-1:2"}, 'column "a" as declared; got 2.5 in row 3'),
        ({"a": "positive"}, 'column "a" as declared; got -1.0 in row 1'),
        ({"a": "integer"}, 'multiples of 1 in column "a"; got 2.5 in row 3'),
    ],
)
def test_declarations_that_fail(declared, words):
    with pytest.raises(DataError) as caught:
        infer(np.array([[-1.0], [1.0], [2.5]]), ["a"], columns=declared)
    assert words in str(caught.value)


def test_values_on_a_bound_keep_a_finite_density():
    ends = infer(np.array([[0.0], [0.3], [0.77], [1.0]]), ["a"], columns={"a": "bounded:0:1"}).columns[0]
    assert ends.support == ("interval", -0.001, 1.001)
    grid = infer(np.round(rng.random((N, 1)), 1), ["a"], columns={"a": "bounded:0:1"}).columns[0]
    assert grid.support == ("interval", pytest.approx(-0.05), pytest.approx(1.05))


def test_json_round_trip():
    values = np.column_stack([values for values, *_ in COLUMNS.values()] + [np.ones(N), counts])
    schema = infer(values, [f"c{i}" for i in range(values.shape[1])])
    assert Schema.from_json(schema.to_json()) == schema


HOSTILE = [
    {"name": "a", "step": -1.0, "origin": 0.0},
    {"name": "a", "step": 1.0},
    {"name": "a", "width": 1.0},
    {"name": "a", "width": 1.0, "edge": 2.0},
    {"name": "a", "kind": "bounded", "low": 1.0, "high": 0.0},
    {"name": "a", "kind": "bounded"},
    {"name": "a", "kind": "integer"},
    {"name": "a", "kind": "octonion"},
    {"name": "a", "low": 0.0, "high": 1.0},
    {"name": "a", "role": "constant"},
    {"name": "a", "role": "constant", "value": 1.0},
    {"name": "a", "role": "copy", "source": "a"},
    {"name": "a", "value": float("nan"), "role": "constant"},
    {"name": "a", "step": 1e300, "origin": 0.0},
    {"name": "a", "step": "1", "origin": 0.0},
    {"name": "a", "points": 8},
    {"name": "a", "width": 1.0, "edge": 0.5, "points": 65},
    {"name": "", "kind": "real"},
    {"name": "a", "extra": 1},
    {"name": "a" * 2000},
    {},
    "a",
    None,
]


@pytest.mark.parametrize("column", HOSTILE)
def test_hostile_columns_are_refused(column):
    with pytest.raises(DataError, match=r"^Schema.from_json: expected"):
        Schema.from_json([column])


def test_hostile_lists_are_refused():
    for columns in ([], [{"name": "a"}] * 2, {"name": "a"}, 5, "ab"):
        with pytest.raises(DataError):
            Schema.from_json(columns)


grids = st.tuples(
    st.sampled_from([0.01, 0.1, 0.25, 0.5, 1.0, 3.0, 100.0]),
    st.lists(st.integers(-50, 50), min_size=2, max_size=30).filter(lambda teeth: len(set(teeth)) > 1),
    st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(grids)
def test_boxes_hold_their_values_and_tile_the_line(drawn):
    step, teeth, skewed = drawn
    values = np.round(step * np.array(teeth * 2, dtype=float), 2)[:, None]
    if skewed:
        values = values - values.min() + step
    column = infer(values, ["c"], columns={"c": "positive"} if skewed else None).columns[0]
    encoding = Encoding(Schema(columns=(column,)))
    points = np.concatenate(list(encoding.boxes(values)))
    copies = len(points) // len(values)
    assert np.allclose(encoding.values(points), np.tile(values, (copies, 1)), rtol=0, atol=1e-9)
    draws = encoding.draws(values, 4, seed=0)
    assert np.allclose(encoding.values(draws), np.tile(values, (4, 1)), rtol=0, atol=1e-9)
    if skewed:
        assert points.min() > 0
        assert draws.min() > 0


def test_draws_fill_the_box_and_depend_on_the_seed_alone():
    encoding = Encoding(infer(counts[:, None], ["c"]))
    draws = encoding.draws(counts[:, None], 8, seed=3)
    assert np.array_equal(draws, encoding.draws(counts[:, None], 8, seed=3))
    noise = (draws - np.tile(counts[:, None], (8, 1))).reshape(8, N)
    assert abs(noise.mean(0)).max() < 1 / 16 + 1e-9, "eight draws of a row are spread evenly"
    assert abs(noise.std() - 1 / math.sqrt(12)) < 0.01


def test_samples_read_like_the_data():
    values = np.round(rng.normal(size=(N, 1)), 1)
    encoding = Encoding(infer(values, ["c"]))
    made = encoding.values(np.array([[0.31], [-0.2999], [0.7000001], [12.04]]))
    assert [repr(float(value)) for value in made[:, 0]] == ["0.3", "-0.3", "0.7", "12.0"]
    assert infer(counts[:, None], ["n"]).table(counts[:3, None]).to_pydict()["n"] == counts[:3].astype(int).tolist()


def test_finite_values_names_the_culprit():
    values = np.ones((3, 2))
    assert finite_values("fit", values, ["a", "b"]) is values
    for bad, word in ((math.nan, "NaN"), (math.inf, "inf"), (-1e308, "-1e+308")):
        values = np.ones((3, 2))
        values[2, 1] = bad
        with pytest.raises(DataError, match=r'column "b"; got .* in row 3') as caught:
            finite_values("fit", values, ["a", "b"])
        assert word in str(caught.value)


def test_frames_name_the_culprit():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    for frame in (pandas.DataFrame({"a": [1, 2], "b": ["1", "y"]}), polars.DataFrame({"a": [1, 2], "b": ["1", "y"]})):
        with pytest.raises(DataError, match='column "b"; got "y" in row 2'):
            numeric_frame("fit", frame)
    with pytest.raises(DataError, match='column "t"; got Date'):
        numeric_frame("fit", polars.DataFrame({"t": [1]}).cast(polars.Date))
    with pytest.raises(DataError, match="plain table"):
        numeric_frame("fit", pandas.DataFrame([[1, 2]], columns=["a", "a"]))
    assert numeric_frame("fit", polars.LazyFrame({"a": [1]})).shape == (1, 1)
    array = np.ones((2, 2))
    assert numeric_frame("fit", array) is array


def test_column_summaries():
    assert Column(name="a", step=0.1, origin=0.0).summary == "real, step 0.1"
    assert Column(name="a", kind="positive").summary == "positive"


def test_linear_functions_of_other_columns_are_found():
    a, b = rng.normal(size=(2, 300))
    assert dependent(infer(x := np.column_stack([a, b, 2 * a + 1e-3 * b + 7]), list("abc")), x) == ["c"]
    assert dependent(infer(x := np.column_stack([a, b, a * b]), list("abc")), x) == []
    assert dependent(infer(x := np.column_stack([a, b, a + 1e-3 * rng.normal(size=300)]), list("abc")), x) == []
    count = rng.poisson(3, (2, 300))
    assert dependent(infer(x := np.column_stack([*count, count.sum(0)]).astype(float), list("abc")), x) == [], "boxes"


def test_as_few_points_as_the_density_needs():
    values = np.column_stack([counts, rng.poisson(400, N), rng.poisson(2, N)]).astype(float)
    encoding = Encoding(infer(values, list("abc")))

    def log_prob(events):
        """Flat in a, smooth over many boxes in b, two steps within each box in c."""
        spiky = np.where(events[:, 2] % 1 < 0.5, -0.1, 0.1)
        return -0.5 * ((events[:, 1] - 400) / 20) ** 2 + spiky

    schema = encoding.settled(values[:200], log_prob)
    assert [column.points for column in schema.columns] == [1, 1, 2]
    many = encoding.mean_log_prob(values, log_prob)
    few = Encoding(schema).mean_log_prob(values, log_prob)
    assert np.sqrt(np.mean((many - few) ** 2)) < 3e-3
