"""How well a fit fits, and how it came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unwarp.plots._axes import DATA, INK, MUTED, SAMPLES, as_names, as_rows, make_ax, make_axes, normal_quantile, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def latent(
    z: ArrayLike, *, base: ArrayLike | None = None, columns: Sequence[str] | None = None, axes: ArrayLike | None = None
) -> NDArray[Any]:
    """Quantiles of each latent coordinate against the base's, with the 99 % band of chance.

    Rows that follow the model have latents that follow the base, so the points lie on the diagonal.

    Args:
        z: the latents of the data, (n, features).
        base: draws from the flow's base, (m, features); the standard normal by default.
        columns: names to write above the pictures, ``z0, z1, ...`` by default.
        axes: where to draw, one a latent; a new figure by default.

    Returns:
        The axes, one a latent.
    """
    z = as_rows("z", z)
    names = [f"z{j}" for j in range(z.shape[1])] if columns is None else list(columns)
    grid = make_axes(axes, z.shape[1], across=4, size=(2.6, 2.1))
    share = (np.arange(200) + 0.5) / 200
    normal = normal_quantile(share)
    reference = None if base is None else np.quantile(as_rows("base", base), share, axis=0)
    spread = 2.576 * np.sqrt(share * (1 - share) / len(z))
    for j, (ax, name) in enumerate(zip(grid, names, strict=True)):
        x = normal if reference is None else reference[:, j]
        style(ax)
        slack = [np.interp(np.clip(share + sign * spread, share[0], share[-1]), share, x) for sign in (-1, 1)]
        ax.fill_between(x, *slack, color=MUTED, alpha=0.25, linewidth=0)
        ax.plot(x, x, color=MUTED, linewidth=0.8)
        ax.plot(x, np.quantile(z[:, j], share), ".", color=DATA, markersize=2.5)
        ax.set_title(name, size=8.5, color=INK)
        lowest = j + 4 >= len(names)
        ax.set(xlabel=("normal" if base is None else "base") if lowest else "", ylabel="data" if j % 4 == 0 else "")
    return grid


def calibration(ranks: ArrayLike, *, axes: ArrayLike | None = None) -> NDArray[Any]:
    """Two pictures of `ranks`, each row's share of model samples that are less likely than the row.

    Ranks of rows that follow the model are uniform. Left, their histogram with the 99 % band of chance: a heap on the
    left means rows that the model holds for too unlikely. Right, the share of rows inside the model's region of highest
    density against the share that the model gives to it.

    Args:
        ranks: numbers in [0, 1], (n,).
        axes: where to draw, two; a new figure by default.

    Returns:
        The two axes.
    """
    u = np.asarray(ranks, dtype=np.float64).ravel()
    left, right = grid = make_axes(axes, 2, across=2, size=(3.6, 2.7))
    bins = 20
    for ax in grid:
        style(ax)
    slack = 2.576 * np.sqrt((1 - 1 / bins) * bins / len(u))
    left.axhspan(max(0.0, 1 - slack), 1 + slack, color=MUTED, alpha=0.25, linewidth=0)
    left.axhline(1, color=MUTED, linewidth=0.8)
    left.hist(
        u,
        np.linspace(0, 1, bins + 1).tolist(),
        weights=np.full(len(u), bins / len(u)),
        color=DATA,
        alpha=0.75,
        rwidth=0.92,
    )
    left.set(xlim=(0, 1), xlabel="rank of log p among samples", ylabel="rows / expected rows")
    level = np.linspace(0, 1, 201)
    inside = 1 - np.searchsorted(np.sort(u), 1 - level, side="left") / len(u)
    slack = 2.576 * np.sqrt(level * (1 - level) / len(u))
    right.fill_between(level, level - slack, level + slack, color=MUTED, alpha=0.25, linewidth=0)
    right.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8)
    right.plot(level, inside, color=DATA, linewidth=1.8)
    right.set(xlim=(0, 1), ylim=(0, 1), xlabel="mass of the model's region", ylabel="share of rows inside")
    return grid


def deviations(pit: ArrayLike, *, columns: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """How far each column's distribution is from the model's, at each of the model's quantiles.

    One line a column: the share of rows below the model's quantile u, less u. The band is Kolmogorov's at 99 % for one
    column.

    Args:
        pit: each value's rank among the model's samples of its column, in [0, 1], (n, columns).
        columns: their names; of the three that stray furthest those with room get a label.
        ax: where to draw; a new figure by default.

    Returns:
        The axes.
    """
    u = as_rows("pit", pit)
    names = as_names(columns, u.shape[1])
    ax = make_ax(ax, size=(5.4, 2.7))
    style(ax)
    level = np.linspace(0, 1, 201)
    gaps = np.stack(
        [np.searchsorted(np.sort(u[:, j]), level, side="right") / len(u) - level for j in range(u.shape[1])]
    )
    slack = 1.628 / np.sqrt(len(u))
    ax.axhspan(-slack, slack, color=MUTED, alpha=0.25, linewidth=0)
    ax.axhline(0, color=MUTED, linewidth=0.8)
    furthest = np.argsort(-np.abs(gaps).max(axis=1))[:3]
    for j, gap in enumerate(gaps):
        ax.plot(level, gap, color=DATA, linewidth=1.4 if j in furthest else 0.8, alpha=0.9 if j in furthest else 0.5)
    labelled: list[tuple[float, bool]] = []
    for j in furthest:
        k = int(np.abs(gaps[j]).argmax())
        above = bool(gaps[j, k] > 0)
        if any(abs(level[k] - u) < 0.2 and above == up for u, up in labelled):
            continue  # it would hide the label of one that strays further
        labelled.append((float(level[k]), above))
        ax.annotate(
            names[j], (level[k], gaps[j, k]), (0, 4 if above else -10), textcoords="offset points", ha="center",
            fontsize=7.5, color=INK,
        )  # fmt: skip
    room = 1.35 * max(slack, float(np.abs(gaps).max()))
    ax.set(xlim=(0, 1), ylim=(-room, room), xlabel="quantile of the model", ylabel="share of rows below, less u")
    return ax


def training(
    steps: ArrayLike,
    held_out: ArrayLike,
    *,
    train: tuple[ArrayLike, ArrayLike] | None = None,
    baselines: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The held-out log-likelihood while the flow learns, with the baselines as lines.

    Args:
        steps: at which steps it was measured, (k,).
        held_out: mean log density of the held-out rows, in nats a row, (k,).
        train: steps and log-likelihood of the training batches, drawn faintly.
        baselines: name and held-out nats of what the flow must beat.
        ax: where to draw; a new figure by default.

    Returns:
        The axes.
    """
    ax = make_ax(ax, size=(5.4, 2.9))
    style(ax)
    x, y = np.asarray(steps, dtype=np.float64), np.asarray(held_out, dtype=np.float64)
    if train is not None:
        ax.plot(*train, color=DATA, alpha=0.3, linewidth=0.8, label="training batches")
    ax.plot(x, y, color=DATA, linewidth=1.8, marker="o", markersize=2.5, label="held-out rows")
    levels = list((baselines or {}).values())
    for name, nats in (baselines or {}).items():
        ax.axhline(nats, color=SAMPLES, linewidth=1.1, linestyle=(0, (5, 3)))
        ax.annotate(name, (1, nats), (4, 0), xycoords=("axes fraction", "data"), textcoords="offset points", ha="left",
                    va="center", fontsize=8, color=SAMPLES)  # fmt: skip
    shown = np.array([*levels, y.max(), y[len(y) // 10 :].min()]) if len(y) else np.array(levels or [0.0])
    room = 0.12 * max(float(np.ptp(shown)), 0.1)
    ax.set(ylim=(shown.min() - room, shown.max() + room), xlabel="step", ylabel="log-likelihood / nats a row")
    ax.legend(loc="best", frameon=False, fontsize=8, labelcolor=INK)
    return ax
