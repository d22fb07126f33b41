"""Maps at work: a grid and points that a flow bends, layer by layer, and what happens to length and area."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from unwarp.distributions import Flow, trace
from unwarp.errors import ShapeError
from unwarp.plots._axes import DATA, INK, MUTED, SAMPLES, make_ax, make_axes, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["animate", "lines", "stretch", "warp"]

_LINES, _NODES = 17, 120
_ALIKE = 4.0  # sides that differ by less share one scale, so that squares look like squares


@dataclass(frozen=True)
class _Frame:
    """Where the grid `(lines, nodes, 2)` and the points `(n, 2)` are; how far out each point began."""

    title: str
    grid: NDArray[Any]
    points: NDArray[Any]
    depth: NDArray[Any]

    @property
    def limits(self) -> NDArray[Any]:
        """Lowest and highest corner of what is worth seeing, `(2, 2)`."""
        shown = self.points if len(self.points) else self.grid.reshape(-1, 2)
        low, high = np.quantile(shown, 0.003, axis=0), np.quantile(shown, 0.997, axis=0)
        return np.stack([low - 0.15 * (high - low), high + 0.15 * (high - low)])

    def towards(self, other: _Frame, share: float) -> _Frame:
        """Between this one and `other`."""
        grid, points = (a + share * (b - a) for a, b in ((self.grid, other.grid), (self.points, other.points)))
        return _Frame(self.title if share < 0.5 else other.title, grid, points, self.depth)


def warp(flow: Flow, *, draws: int = 1_500, reach: float = 3.0, seed: int = 0, axes: ArrayLike | None = None) -> Any:
    """A square grid and draws of the base on their way through the flow, one picture a layer, up to the data.

    Each line of the grid was straight in the latent; each point keeps the colour of its distance from the middle there.
    Where lines crowd, the layer compresses and the density rises; where they part, it expands. Both axes of a picture
    have one scale, unless one feature spreads much wider than the other.

    Args:
        flow: a flow of two features without a context.
        draws: points from the base; 0 for the grid alone.
        reach: the grid spans [-reach, reach] in both directions.
        seed: of the draws.
        axes: where to draw, one a layer and one for the latent; a new figure by default.

    Returns:
        The axes.

    Raises:
        ShapeError: when the flow has not two features, or wants a context.
    """
    frames = _frames("warp", flow, draws, reach, seed)
    across = len(frames) if len(frames) <= 4 else min(4, -(-len(frames) // 2))
    grid = make_axes(axes, len(frames), across=across, size=(2.5, 2.5))
    for ax, frame in zip(grid, frames, strict=True):
        _draw(ax, frame)
    return grid


def animate(
    flow: Flow,
    path: str | os.PathLike[str],
    *,
    draws: int = 1_500,
    reach: float = 3.0,
    seed: int = 0,
    between: int = 12,
) -> None:
    """The pictures of `warp` as an animation, written to `path` as a GIF; points go straight from layer to layer.

    Args:
        flow: as for `warp`.
        path: where to write, such as "flow.gif".
        draws: as for `warp`.
        reach: as for `warp`.
        seed: as for `warp`.
        between: frames from one layer to the next.

    Raises:
        ShapeError: as for `warp`.
    """
    from matplotlib.animation import FuncAnimation, PillowWriter

    frames = _frames("animate", flow, draws, reach, seed)
    ax = make_ax(None, size=(3.4, 3.4))
    shares = [k / between for k in range(between)]
    shots = [(a, b, 0.5 - 0.5 * np.cos(np.pi * s)) for a, b in pairwise(frames) for s in shares]
    shots = [(frames[0], frames[0], 0.0)] * between + shots + [(frames[-1], frames[-1], 0.0)] * 2 * between
    low, high = np.min([f.limits[0] for f in frames], 0), np.max([f.limits[1] for f in frames], 0)

    def show(k: int) -> list[Any]:
        a, b, share = shots[k]
        ax.clear()
        _draw(ax, a.towards(b, share), (low, high))
        return []

    figure: Any = ax.figure
    film = FuncAnimation(figure, show, frames=len(shots), blit=False)
    film.save(os.fspath(path), writer=PillowWriter(fps=24), dpi=90)


def stretch(
    f: Callable[[Tensor], tuple[Tensor, Tensor]],
    *,
    bounds: tuple[float, float, float, float] = (-3.0, 3.0, -3.0, 3.0),
    axes: ArrayLike | None = None,
) -> Any:
    r"""What a map of the plane does to area: $\log|\det J|$ as a heat map, and the grid that it makes of a square one.

    Red expands, blue compresses, white keeps area. On the right, each drawn cell is filled by its ladj, so that colour
    and size tell the same story.

    Args:
        f: from points `(n, 2)` to images `(n, 2)` and ladj `(n)`: a transform, or its `inverse`.
        bounds: left, right, bottom and top of the square.
        axes: where to draw, two; a new figure by default.

    Returns:
        The two axes.
    """
    left, right = grid = make_axes(axes, 2, across=2, size=(3.4, 3.0))
    from matplotlib.colors import to_rgb

    with torch.no_grad():
        _, ladj = _field(f, bounds, 160)
        cells, at_cells = _field(f, bounds, 25)
    limit = max(1e-3, float(np.quantile(np.abs(ladj), 0.995)))
    for ax in grid:
        style(ax)
    drawn = left.imshow(
        ladj.T, origin="lower", extent=bounds, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="equal"
    )  # rows of the array are x
    right.pcolormesh(
        cells[..., 0], cells[..., 1], at_cells[:-1, :-1], cmap="RdBu_r", vmin=-limit, vmax=limit,
        edgecolors=(*to_rgb(INK), 0.25), linewidth=0.25,
    )  # fmt: skip
    right.set_aspect("equal")
    left.set_title("before", size=8.5, color=INK)
    right.set_title("after", size=8.5, color=INK)
    bar = left.figure.colorbar(drawn, ax=list(grid), shrink=0.8)
    bar.set_label("log|det J| / nats", color=INK, size=8.5)
    bar.ax.tick_params(colors=MUTED, labelsize=7.5)
    return grid


def lines(x: ArrayLike, densities: Sequence[tuple[str, ArrayLike]], *, ax: Axes | None = None) -> Axes:
    """Densities over one axis, the first filled: a base and what a map makes of it.

    Args:
        x: points, (n,), increasing.
        densities: name and values (n,) of each; at most four.
        ax: where to draw; a new figure by default.

    Returns:
        The axes.
    """
    ax = make_ax(ax, size=(4.6, 2.7))
    style(ax)
    places = np.asarray(x, dtype=np.float64)
    for (name, values), colour in zip(densities, (MUTED, DATA, SAMPLES, INK), strict=False):
        y = np.asarray(values, dtype=np.float64)
        ax.plot(places, y, color=colour, linewidth=1.8, label=name)
        ax.fill_between(places, y, color=colour, alpha=0.15, linewidth=0)
    ax.set(xlim=(places[0], places[-1]), ylim=(0, None), ylabel="density")
    ax.legend(loc="best", frameon=False, fontsize=8, labelcolor=INK)
    return ax


def _frames(where: str, flow: Flow, draws: int, reach: float, seed: int) -> list[_Frame]:
    if flow.space.shape != (2,) or flow.transform.codomain.shape != (2,) or flow.context_shape is not None:
        raise ShapeError(
            f"plots.{where}: expected a flow of two features without a context; got {flow.space.shape} "
            f"with context {flow.context_shape}. Use trace for others."
        )
    like = next(iter(flow.parameters()), torch.zeros(()))
    with torch.no_grad():
        points = flow.base.sample((draws,), generator=torch.Generator(like.device).manual_seed(seed))
        grid = _lines(reach).to(points)
        steps = trace(flow, torch.cat([grid.reshape(-1, 2), points]), start="latent")
    depth = points.norm(dim=-1).cpu().numpy()
    places = [step.points.flatten(1).double().cpu().numpy() for step in steps]  # some layers see tokens
    titles = [step.name for step in steps[:-1]] + [f"{steps[-1].name}: data"]
    size = grid[..., 0].numel()
    return [
        _Frame(title, place[:size].reshape(*grid.shape), place[size:], depth)
        for title, place in zip(titles, places, strict=True)
    ]


def _lines(reach: float) -> Tensor:
    """Horizontal and vertical lines, `(2 * lines, nodes, 2)`."""
    at, along = torch.linspace(-reach, reach, _LINES), torch.linspace(-reach, reach, _NODES)
    a, b = torch.meshgrid(at, along, indexing="ij")
    return torch.cat([torch.stack([a, b], -1), torch.stack([b, a], -1)])


def _draw(ax: Axes, frame: _Frame, limits: tuple[NDArray[Any], NDArray[Any]] | None = None) -> None:
    style(ax)
    for line in frame.grid:
        ax.plot(line[:, 0], line[:, 1], color=MUTED, linewidth=0.5, alpha=0.7, zorder=1)
    ax.scatter(*frame.points.T, c=frame.depth, cmap="viridis_r", s=2.0, alpha=0.7, linewidths=0, zorder=2)
    low, high = frame.limits if limits is None else limits
    if max(high - low) < _ALIKE * min(high - low):
        low, high = (low + high - max(high - low)) / 2, (low + high + max(high - low)) / 2
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), box_aspect=1)
    ax.set_title(frame.title, size=8.5, color=INK)


def _field(
    f: Callable[[Tensor], tuple[Tensor, Tensor]], bounds: tuple[float, float, float, float], n: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Images `(n, n, 2)` and ladj `(n, n)` over a grid of points."""
    x, y = torch.linspace(*bounds[:2], n), torch.linspace(*bounds[2:], n)
    z, ladj = f(torch.cartesian_prod(x, y))
    return z.double().reshape(n, n, 2).cpu().numpy(), ladj.double().expand(n * n).reshape(n, n).cpu().numpy()
