"""Columns of any type beside each other, and distances to the closest rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unwarp.errors import ShapeError
from unwarp.plots._axes import DATA, GRID, INK, MUTED, SAMPLES, as_names, histogram, make_ax, make_axes, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BARS = 7  # categories with a bar of their own


def columns(
    data: Mapping[str, ArrayLike],
    samples: Mapping[str, ArrayLike],
    *,
    levels: Mapping[str, Sequence[str]] | None = None,
    axes: ArrayLike | None = None,
) -> NDArray[Any]:
    """Each column of two tables: histograms of numbers and dates, bars of categories; the data filled, samples a line.

    Use it for tables with columns of any type; `marginals` is for arrays of numbers. Numbers are drawn as there.
    The seven most frequent categories of the data have a bar each, all others share one.

    Args:
        data: the values of each column: numbers, `datetime64`, or codes of categories; what is NaN or NaT is left out.
        samples: the same columns of the other table, in the same codes.
        levels: of each column of codes, what the codes stand for.
        axes: where to draw, one a column; a new figure by default.

    Returns:
        The axes, one a column.

    Example:
        >>> axes = columns({"kind": [0, 0, 1]}, {"kind": [0, 1, 1]}, levels={"kind": ["oak", "elm"]})
        >>> [text.get_text() for text in axes[0].get_yticklabels()]
        ['oak', 'elm']
    """
    if not data or set(data) - set(samples):
        raise ShapeError(
            f"plots: expected the columns {list(data)[:5]} in samples; got {list(samples)[:5]}. Name them."
        )
    grid = make_axes(axes, len(data), across=4, size=(2.7, 1.9))
    for ax, name, label in zip(grid, data, as_names(list(data), len(data)), strict=True):
        x, y = (np.asarray(table[name]) for table in (data, samples))
        x, y = (values[~np.isnan(values)] for values in (x, y))
        style(ax)
        if not len(x):
            ax.text(0.5, 0.5, "no values", ha="center", color=MUTED, size=8.5, transform=ax.transAxes)
            ax.set(xticks=[], yticks=[])
        elif levels is not None and name in levels:
            _bars(ax, x.astype(np.int64), y.astype(np.int64), levels[name])
        elif x.dtype.kind == "M":
            _dates(ax, x, y)
        else:
            histogram(ax, x.astype(np.float64), y.astype(np.float64))
            _short_ticks(ax)
        ax.set_xlabel(label)
    return grid


def closest(synthetic: ArrayLike, fresh: ArrayLike, *, ax: Axes | None = None) -> Axes:
    """How far synthetic rows are from the closest row of training, beside rows that took no part in it.

    Copies show as more synthetic rows than fresh ones near 0.

    Args:
        synthetic: distances of the synthetic rows, (n,).
        fresh: distances of real rows that the synthetic ones were not made from, (m,).
        ax: where to draw; a new figure by default.

    Returns:
        The axes.
    """
    ax = make_ax(ax, size=(5.4, 2.6))
    x, y = np.asarray(fresh, dtype=np.float64), np.asarray(synthetic, dtype=np.float64)
    style(ax)
    top = float(max(np.quantile(x, 0.99), np.quantile(y, 0.99), 1e-9))
    edges = np.linspace(0.0, top, 41).tolist()
    weights = [np.full(len(rows), 1 / len(rows)) for rows in (x, y)]
    ax.hist(x, edges, weights=weights[0], color=DATA, alpha=0.45, linewidth=0, label="fresh real rows")
    ax.hist(y, edges, weights=weights[1], histtype="step", color=SAMPLES, linewidth=1.4, label="synthetic rows")
    ax.set(xlabel="distance to the closest row of training", ylabel="share of rows", xlim=(0.0, top))
    ax.legend(loc="best", frameon=False, fontsize=8, labelcolor=INK)
    return ax


def _bars(ax: Axes, x: NDArray[Any], y: NDArray[Any], names: Sequence[str]) -> None:
    shares = np.stack([np.bincount(codes, minlength=len(names)) / max(len(codes), 1) for codes in (x, y)])
    order = np.lexsort((-shares[1], -shares[0]))
    shown = order if len(order) <= _BARS + 1 else order[:_BARS]
    labels = as_names([str(names[int(code)]) for code in shown], len(shown))
    labels = [label if len(label) <= 16 else label[:15] + "…" for label in labels]
    found = shares[:, shown]
    if len(shown) < len(order):
        found = np.column_stack([found, 1.0 - found.sum(axis=1)])
        labels.append(f"{len(order) - len(shown)} more")
    place = np.arange(len(labels))
    ax.barh(place, found[0], height=0.75, color=DATA, alpha=0.45, linewidth=0, label="data")
    ax.barh(place, found[1], height=0.75, fill=False, edgecolor=SAMPLES, linewidth=1.2, label="samples")
    ax.set_yticks(place, labels)
    ax.invert_yaxis()
    ax.set_xticks([])
    ax.tick_params(axis="y", length=0, labelcolor=INK)
    ax.spines["left"].set_color(GRID)


def _short_ticks(ax: Axes) -> None:
    """Four digits and a letter for thousands and millions, where numbers would run into each other."""
    from matplotlib.ticker import EngFormatter

    if max(map(abs, ax.get_xlim())) >= 10_000:
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))


def _dates(ax: Axes, x: NDArray[Any], y: NDArray[Any]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    days = [values.astype("datetime64[us]").astype(np.int64) / 86_400e6 for values in (x, y)]
    histogram(ax, *days)
    low, high = ax.get_xlim()
    unit = "D" if high - low < 120 else "M" if high - low < 4_000 else "Y"
    if ax.get_xscale() == "linear":
        ax.xaxis.set_major_locator(MaxNLocator(3))
    ax.xaxis.set_major_formatter(
        FuncFormatter(lambda day, _: str(np.datetime64(round(day * 86_400_000), "ms").astype(f"datetime64[{unit}]")))
    )
