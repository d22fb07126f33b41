import threading

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from unwarp import plots
from unwarp.errors import ShapeError

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(400, 3)) * [1.0, 10.0, 0.1]
MORE = RNG.normal(size=(500, 3)) * [1.0, 10.0, 0.1]
NAMES = ["height / m", "mass", "x"]


def drawn(ax) -> bytes:
    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()
    return canvas.buffer_rgba().tobytes()


def test_marginals_shows_both_tables_on_each_column():
    axes = plots.marginals(ROWS, MORE, columns=NAMES)
    assert [ax.get_xlabel() for ax in axes] == NAMES
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == ["data", "samples"]
    areas = sum(bar.get_height() for bar in axes[0].containers[0])
    assert areas == pytest.approx(1.0, abs=0.01)  # shares of all rows: only what lies beyond the axis is missing


def test_marginals_shows_mass_outside_the_axis_as_a_gap():
    apart = np.concatenate([MORE[:250], MORE[:250] + 1e6])
    axes = plots.marginals(ROWS, apart, columns=NAMES)
    outline = axes[0].patches[-1].get_xy()[:, 1]
    assert 0.35 < outline.sum() / 2 < 0.55  # each bar's height occurs twice in the outline


def test_long_tails_get_a_bent_scale_and_short_ones_do_not():
    wide = np.stack([RNG.standard_t(1.0, 2_000), RNG.normal(size=2_000)], axis=1)
    long, short = plots.marginals(wide, wide)
    assert long.get_xscale() == "function"
    assert short.get_xscale() == "linear"
    ticks = long.get_xticks()
    assert 3 <= len(ticks) <= 6
    assert np.all(np.diff(ticks) > 0)


def test_levels_of_an_integer_column_get_a_bar_each():
    dice = RNG.integers(1, 7, size=(600, 1)).astype(float)
    (ax,) = plots.marginals(dice, dice)
    bars = ax.containers[0]
    assert [bar.get_x() + bar.get_width() / 2 for bar in bars] == pytest.approx([1, 2, 3, 4, 5, 6])
    assert min(bar.get_height() for bar in bars) > 0.1


@pytest.mark.parametrize("value", [0.0, 3.0, -1e12])
def test_a_constant_column_is_drawn(value):
    rows = np.column_stack([np.full(50, value), RNG.normal(size=50)])
    axes = plots.pairs(rows, rows)
    assert len(drawn(axes[0, 0])) > 0


def test_pairs_draws_data_below_and_samples_above_the_diagonal():
    axes = plots.pairs(ROWS, MORE, columns=NAMES)
    assert axes.shape == (3, 3)
    below, above = axes[2, 0].collections[0], axes[0, 2].collections[0]
    assert np.asarray(below.get_offsets())[:, 1] == pytest.approx(ROWS[:, 2])
    assert np.asarray(above.get_offsets())[:, 0] == pytest.approx(MORE[:, 2])
    assert [ax.get_xlabel() for ax in axes[-1]] == NAMES
    assert not np.allclose(below.get_facecolor()[0][:3], above.get_facecolor()[0][:3])


def test_pairs_draws_a_bounded_number_of_points():
    many = RNG.normal(size=(10_000, 2))
    assert len(plots.pairs(many, many)[1, 0].collections[0].get_offsets()) == 3_000


def test_beside_draws_data_above_samples_on_the_same_scales():
    axes = plots.beside(ROWS, MORE, across=[(0, 2), (1, 0)], columns=NAMES)
    assert axes.shape == (2, 2)
    above, below = axes[:, 1]
    assert np.asarray(above.collections[0].get_offsets()) == pytest.approx(ROWS[:, [1, 0]])
    assert np.asarray(below.collections[0].get_offsets()) == pytest.approx(MORE[:, [1, 0]])
    assert above.get_xlim() == below.get_xlim()
    assert (below.get_xlabel(), above.get_ylabel()) == ("mass", "height / m")


def test_density_shows_log_prob_where_it_is():
    ax = plots.density(lambda rows: -0.5 * (rows**2).sum(-1), (-3, -2), (3, 2), columns=["a", "b"], cells=30)
    values = ax.collections[0].get_array().reshape(30, 30)
    assert values.max() == 0.0
    assert values[15, 15] > values[0, 15] > values[0, 0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("a", "b")


def test_latent_puts_normal_numbers_on_the_diagonal():
    (ax,) = plots.latent(RNG.normal(size=(20_000, 1)))
    x, y = ax.lines[1].get_data()
    assert np.abs(x - y)[20:-20].max() < 0.06


def test_latent_compares_with_a_base_of_another_shape():
    z = RNG.normal(size=(20_000, 2)) ** 3
    axes = plots.latent(z, base=RNG.normal(size=(20_000, 2)) ** 3, columns=["u", "v"])
    x, y = axes[0].lines[1].get_data()
    assert np.abs(x - y)[20:-20].max() < 0.3
    assert axes[1].get_title() == "v"


def test_calibration_of_uniform_ranks_is_the_diagonal():
    _, right = plots.calibration(np.linspace(0, 1, 1_001))
    level, inside = right.lines[1].get_data()
    assert np.abs(level - inside).max() < 2e-3


def test_calibration_of_unlikely_rows_lies_below_it():
    left, right = plots.calibration(np.linspace(0, 1, 1_001) ** 2)
    level, inside = right.lines[1].get_data()
    assert inside[180] < level[180] - 0.1
    assert left.patches[1].get_height() > 2  # the first bar, after the band


def test_deviations_labels_what_strays():
    pit = np.stack([np.linspace(0, 1, 500), np.linspace(0, 1, 500) ** 2], axis=1)
    ax = plots.deviations(pit, columns=["right", "wrong"])
    assert ax.texts[0].get_text() == "wrong"
    assert max(np.abs(ax.lines[1].get_ydata()).max(), 0.0) < 0.01
    assert np.abs(ax.lines[2].get_ydata()).max() == pytest.approx(0.25, abs=0.01)


def test_training_draws_the_baselines_inside_the_picture():
    ax = plots.training([10, 20, 30], [-3.0, -2.0, -1.5], baselines={"gaussian": -2.5, "mixture": -1.0})
    low, high = ax.get_ylim()
    assert low < -3.0
    assert high > -1.0
    assert {text.get_text() for text in ax.texts} == {"gaussian", "mixture"}


def test_functions_draw_on_the_axes_that_they_are_given():
    axes = Figure().subplots(1, 3)
    assert plots.marginals(ROWS, MORE, axes=axes)[2] is axes[2]
    assert plots.training([1], [0.0], ax=axes[0]) is axes[0]


@pytest.mark.parametrize("name", ["$x$ ^ \\frac{", "a\nb", "<b>&", "", "x" * 300])
def test_any_name_can_be_drawn(name):
    axes = plots.marginals(ROWS[:, :1], MORE[:, :1], columns=[name])
    assert len(drawn(axes[0])) > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.marginals(ROWS[:, 0], MORE), "data of shape"),
        (lambda: plots.pairs(ROWS, MORE[:0]), "samples of shape"),
        (lambda: plots.marginals(ROWS, MORE, columns=["a"]), "3 column names; got 1"),
        (lambda: plots.marginals(ROWS, MORE, axes=Figure().subplots(1, 2)), "3 axes; got 2"),
    ],
)
def test_misfits_are_told(call, message):
    with pytest.raises(ShapeError, match=message):
        call()


def test_threads_can_draw_at_once():
    wanted, found = drawn(plots.pairs(ROWS, MORE)[0, 0]), []
    threads = [threading.Thread(target=lambda: found.append(drawn(plots.pairs(ROWS, MORE)[0, 0]))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * 3


def test_a_missing_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "unwarp\[plot\]"'):
        plots.training([1], [0.0])
