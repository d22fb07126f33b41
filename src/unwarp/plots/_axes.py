"""What every picture shares: colours, scales, limits and the figure itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from unwarp.errors import ShapeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, GRID = "#1f2a37", "#6b7785", "#d8dde3"
DATA, SAMPLES = "#1d7896", "#e2733a"


def as_rows(name: str, values: ArrayLike) -> NDArray[Any]:
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ShapeError(f"plots: expected {name} of shape (rows, columns), neither 0; got {rows.shape}. Reshape it.")
    return rows


def as_names(columns: Sequence[str] | None, width: int) -> list[str]:
    names = [f"x{j}" for j in range(width)] if columns is None else [str(name) for name in columns]
    if len(names) != width:
        raise ShapeError(f"plots: expected {width} column names; got {len(names)}. Give one a column.")
    names = [" ".join(name.split()) for name in names]
    names = [name if len(name) <= 28 else name[:27] + "…" for name in names]
    return [name.replace("$", r"\$") for name in names]  # a name is no formula


def make_axes(axes: ArrayLike | None, count: int, *, across: int, size: tuple[float, float]) -> NDArray[Any]:
    """`count` axes: those given, or those of a new figure, `across` in a row."""
    if axes is not None:
        flat = np.asarray(axes, dtype=object).ravel()
        if len(flat) != count:
            raise ShapeError(f"plots: expected {count} axes; got {len(flat)}. Leave them out for a new figure.")
        return flat
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ModuleNotFoundError(
            'plots: expected matplotlib; it is not installed. Run: pip install "unwarp[plot]"', name="matplotlib"
        ) from error
    across = min(across, count)
    down = -(-count // across)
    figure = Figure(figsize=(size[0] * across, size[1] * down), layout="constrained")
    flat = figure.subplots(down, across, squeeze=False).ravel()
    for ax in flat[count:]:
        ax.remove()
    return flat[:count]


def make_ax(ax: Axes | None, *, size: tuple[float, float]) -> Axes:
    """`ax`, or that of a new figure."""
    return make_axes(None, 1, across=1, size=size)[0] if ax is None else ax


def style(ax: Axes) -> None:
    """Thin left and bottom lines, small labels, no box: the ink goes to the data."""
    ax.set_facecolor("none")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(GRID)
    ax.tick_params(colors=MUTED, labelsize=7.5, length=2.5, width=0.6)
    ax.xaxis.label.set(color=INK, size=8.5)
    ax.yaxis.label.set(color=INK, size=8.5)
    for axis in ("x", "y"):
        ax.locator_params(axis=axis, nbins=5)


def limits_of(values: NDArray[Any]) -> tuple[float, float]:
    """The middle 99.8 % with some room; never empty."""
    low, high = np.quantile(values, [0.001, 0.999])
    room = 0.04 * (high - low) or max(1.0, abs(float(low))) * 0.5
    return float(low - room), float(high + room)


def bend_of(values: NDArray[Any]) -> tuple[float, float] | None:
    """Middle and half-width of a scale, linear there and logarithmic outside; None where a linear one will do."""
    low, first, middle, third, high = np.quantile(values, [0.001, 0.25, 0.5, 0.75, 0.999])
    wide = third > first and high - low > 12 * (third - first)
    return (float(middle), float(third - first)) if wide else None


def set_scale(ax: Axes, which: str, bend: tuple[float, float] | None, limits: tuple[float, float]) -> None:
    if bend is not None:
        middle, width = bend
        scale = ax.set_xscale if which == "x" else ax.set_yscale
        scale(
            "function",
            functions=(lambda v: np.arcsinh((v - middle) / width), lambda u: middle + width * np.sinh(u)),
        )
        from matplotlib.ticker import FixedLocator, FuncFormatter

        axis = ax.xaxis if which == "x" else ax.yaxis
        axis.set_major_locator(FixedLocator(_ticks(bend, limits)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    (ax.set_xlim if which == "x" else ax.set_ylim)(*limits)


def _ticks(bend: tuple[float, float], limits: tuple[float, float]) -> list[float]:
    """Round numbers about evenly spread on a bent scale."""
    middle, width = bend
    low, high = np.arcsinh((np.array(limits) - middle) / width)
    found: list[float] = []
    for u in np.linspace(low, high, 7)[1:-1]:
        value, slope = middle + width * np.sinh(u), width * np.cosh(u) * (high - low) / 6
        unit = 10.0 ** np.floor(np.log10(slope))
        rounded = float(np.round(value / unit) * unit)
        if (
            not found
            or np.arcsinh((rounded - middle) / width) - np.arcsinh((found[-1] - middle) / width) > (high - low) / 8
        ):
            found.append(rounded)
    return found


def histogram(ax: Axes, data: NDArray[Any], samples: NDArray[Any], *, bins: int = 60) -> None:
    style(ax)
    limits, bend = limits_of(data), bend_of(data)
    edges = np.linspace(*limits, bins + 1)
    if bend is not None:
        first, last = np.arcsinh((np.array(limits) - bend[0]) / bend[1])
        edges = bend[0] + bend[1] * np.sinh(np.linspace(first, last, bins + 1))
    values = np.unique(data[(data >= limits[0]) & (data <= limits[1])])
    if bend is None:
        edges = _on_grid(values, edges, bins)
    weights = [np.full(len(rows), 1 / len(rows)) for rows in (data, samples)]
    ax.hist(data, edges.tolist(), weights=weights[0], color=DATA, alpha=0.45, linewidth=0, label="data")
    ax.hist(samples, edges.tolist(), weights=weights[1], histtype="step", color=SAMPLES, linewidth=1.4, label="samples")
    set_scale(ax, "x", bend, (edges[0], edges[-1]))
    ax.set(yticks=[])


def _on_grid(values: NDArray[Any], edges: NDArray[Any], bins: int) -> NDArray[Any]:
    """Edges that give as many grid points to each bar, where the values lie on a grid: one each where they are few."""
    step = float(np.diff(values).min()) if len(values) > 1 else 1.0
    cells = (edges[-1] - edges[0]) / step
    if len(values) <= bins:
        return np.arange(values[0] - step / 2, values[-1] + step, step) if cells <= 4 * bins else edges
    places = (values - values[0]) / step
    if cells > 1e5 or np.abs(places - np.round(places)).max() > 1e-3:
        return edges
    wide = step * np.ceil(cells / bins)
    return np.arange(values[0] - step / 2, values[-1] + wide, wide)


def scatter(ax: Axes, rows: NDArray[Any], colour: str, *, most: int = 3_000) -> None:
    """At most `most` points: more hide each other."""
    style(ax)
    if len(rows) > most:
        rows = rows[np.random.default_rng(0).choice(len(rows), most, replace=False)]
    ax.scatter(rows[:, 0], rows[:, 1], s=2.5, color=colour, alpha=0.35, linewidths=0, rasterized=True)


def label_outer(ax: Axes, names: Sequence[str], i: int, j: int, width: int) -> None:
    """Labels and ticks on the outer panels alone."""
    ax.set_xlabel(names[j] if i == width - 1 else "")
    ax.set_ylabel(names[i] if j == 0 else "")
    ax.tick_params(labelbottom=i == width - 1, labelleft=j == 0 and i != 0)


def ramp(colour: str) -> Any:
    """A colour map from clear to `colour` to near black: it lies on light and dark paper alike."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    r, g, b = to_rgb(colour)
    stops = [(0.0, (r, g, b, 0.0)), (0.7, (r, g, b, 0.8)), (1.0, (r * 0.35, g * 0.35, b * 0.35, 1.0))]
    return LinearSegmentedColormap.from_list("unwarp", stops)


def normal_quantile(share: NDArray[Any]) -> NDArray[Any]:
    return torch.special.ndtri(torch.as_tensor(share)).numpy()
