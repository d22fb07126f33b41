"""Tables beside samples, and densities of two columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unwarp.plots._axes import (
    DATA,
    INK,
    SAMPLES,
    as_names,
    as_rows,
    bend_of,
    histogram,
    label_outer,
    limits_of,
    make_ax,
    make_axes,
    ramp,
    scatter,
    set_scale,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def marginals(
    data: ArrayLike, samples: ArrayLike, *, columns: Sequence[str] | None = None, axes: ArrayLike | None = None
) -> NDArray[Any]:
    """Histograms of each column: the data filled, the model's samples as a line.

    The horizontal axes span the middle 99.8 % of the data; where that is far wider than the middle half, the scale is
    linear in the middle and logarithmic outside, and densities are per unit of that scale. Heights count *all* rows.

    Args:
        data: measured rows, (n, columns).
        samples: the model's rows, (m, columns).
        columns: their names, with units if they have any.
        axes: where to draw, one a column; a new figure by default.

    Returns:
        The axes, one a column.

    Example:
        >>> import numpy as np
        >>> rows = np.random.default_rng(0).normal(size=(100, 2))
        >>> marginals(rows, rows, columns=["height / m", "mass / kg"]).shape
        (2,)
    """
    x, y = as_rows("data", data), as_rows("samples", samples)
    names = as_names(columns, x.shape[1])
    grid = make_axes(axes, x.shape[1], across=4, size=(2.7, 1.9))
    for j, (ax, name) in enumerate(zip(grid, names, strict=True)):
        histogram(ax, x[:, j], y[:, j])
        ax.set(xlabel=name, ylabel="density" if j % 4 == 0 else "")
    grid[0].legend(loc="best", frameon=False, fontsize=8, labelcolor=INK)
    return grid


def pairs(
    data: ArrayLike, samples: ArrayLike, *, columns: Sequence[str] | None = None, axes: ArrayLike | None = None
) -> NDArray[Any]:
    """Every pair of columns: data below the diagonal, samples above it, each panel mirrored in its partner.

    A model that is right makes the upper triangle the mirror image of the lower one. At most 3,000 points a panel are
    drawn; the axes span the middle 99.8 % of the data, on the scales of `marginals`.

    Args:
        data: measured rows, (n, columns); beyond six columns the panels get small.
        samples: the model's rows, (m, columns).
        columns: their names, with units if they have any.
        axes: where to draw, (columns, columns); a new figure by default.

    Returns:
        The axes, (columns, columns).
    """
    x, y = as_rows("data", data), as_rows("samples", samples)
    names, width = as_names(columns, x.shape[1]), x.shape[1]
    grid = make_axes(axes, width * width, across=width, size=(1.55, 1.4)).reshape(width, width)
    limits, bends = [limits_of(x[:, j]) for j in range(width)], [bend_of(x[:, j]) for j in range(width)]
    for i in range(width):
        for j in range(width):
            ax = grid[i, j]
            if i == j:
                histogram(ax, x[:, j], y[:, j], bins=40)
                ax.set_ylabel("")
            else:
                rows, colour = (x, DATA) if i > j else (y, SAMPLES)
                scatter(ax, rows[:, [j, i]], colour)
                set_scale(ax, "x", bends[j], limits[j])
                set_scale(ax, "y", bends[i], limits[i])
            label_outer(ax, names, i, j, width)
    grid[0, 0].figure.align_ylabels(list(grid[:, 0]))
    return grid


def beside(
    data: ArrayLike,
    samples: ArrayLike,
    *,
    across: Sequence[tuple[int, int]],
    columns: Sequence[str] | None = None,
    axes: ArrayLike | None = None,
) -> NDArray[Any]:
    """Chosen pairs of columns, large: the data in the upper row, samples in the lower one, on the same scales.

    Use it for the few pairs that matter; `pairs` draws them all.

    Args:
        data: measured rows, (n, columns).
        samples: the model's rows, (m, columns).
        across: places of the two columns of each picture, the horizontal one first.
        columns: their names, with units if they have any.
        axes: where to draw, (2, pictures); a new figure by default.

    Returns:
        The axes, (2, pictures).
    """
    x, y = as_rows("data", data), as_rows("samples", samples)
    names = as_names(columns, x.shape[1])
    grid = make_axes(axes, 2 * len(across), across=len(across), size=(2.9, 2.6)).reshape(2, len(across))
    for row, (rows, colour, title) in enumerate(((x, DATA, "data"), (y, SAMPLES, "samples"))):
        for ax, (i, j) in zip(grid[row], across, strict=True):
            scatter(ax, rows[:, [i, j]], colour, most=12_000)
            for which, k in (("x", i), ("y", j)):
                set_scale(ax, which, bend_of(x[:, k]), limits_of(x[:, k]))
            ax.set(xlabel=names[i] if row else "", ylabel=names[j])
        grid[row, 0].set_title(title, loc="left", color=colour, size=10, weight="bold")
    return grid


def density(
    log_prob: Callable[[NDArray[Any]], ArrayLike],
    low: Sequence[float],
    high: Sequence[float],
    *,
    points: ArrayLike | None = None,
    columns: Sequence[str] | None = None,
    cells: int = 160,
    ax: Axes | None = None,
) -> Axes:
    """A density of two columns as a picture: the darker a cell, the greater log p at its middle; 10 nats fade to clear.

    Args:
        log_prob: takes rows (n, 2) and returns their log density (n,), in nats; for a flow of two columns its
            `FlowDensity.score_samples`.
        low: the lower left corner, in the columns' units.
        high: the upper right corner.
        points: rows to draw on top, (n, 2).
        columns: the two names, with units if they have any.
        cells: cells along each side.
        ax: where to draw; a new figure by default.

    Returns:
        The axes.

    Example:
        >>> ax = density(lambda rows: -0.5 * (rows**2).sum(-1), (-3, -3), (3, 3), cells=20)
        >>> ax.get_xlim() == (-3, 3)
        True
    """
    sides = [np.linspace(a, b, cells + 1) for a, b in zip(low, high, strict=True)]
    middles = [(side[1:] + side[:-1]) / 2 for side in sides]
    rows = np.stack(np.meshgrid(*middles, indexing="xy"), axis=-1).reshape(-1, 2)
    values = np.asarray(log_prob(rows), dtype=np.float64).reshape(cells, cells)
    ax = make_ax(ax, size=(4.2, 3.6))
    style(ax)
    ax.pcolormesh(*sides, values - values.max(), cmap=ramp(DATA), rasterized=True, vmin=-10.0, vmax=0.0)
    if points is not None:
        scatter(ax, as_rows("points", points), SAMPLES)
    names = as_names(columns, 2)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel=names[0], ylabel=names[1])
    return ax
