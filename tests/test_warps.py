"""Pictures of maps at work: what is drawn is what the flow does."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from unwarp import flow, plots, trace
from unwarp.distributions import Flow, Normal
from unwarp.errors import ShapeError
from unwarp.transforms import Compose, Inverse, Linear, Permute

SIX = Linear([[3.0, 1.0], [0.0, 2.0]])


def test_trace_runs_both_ways() -> None:
    model = flow("realnvp", 2, layers=2)
    z = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    down = trace(model, z, start="latent")
    up = trace(model, down[-1].points)
    assert [step.name for step in down[1:]] == [step.name for step in reversed(up[1:])]
    assert torch.allclose(up[-1].points, z, atol=1e-5)
    assert torch.allclose(down[-1].total, -up[-1].total, atol=1e-5)
    by_hand = model.base.log_prob(z) - down[-1].total
    assert torch.allclose(by_hand, model.log_prob(down[-1].points), atol=1e-5)


def test_warp_shows_each_layer_from_latent_to_data() -> None:
    model = Flow(Compose([Inverse(SIX), Permute([1, 0])]), Normal(2))
    axes = plots.warp(model, draws=50, reach=1.0)
    assert [ax.get_title() for ax in axes] == ["latent", "Permute", "Inverse: data"]
    corners = np.concatenate([line.get_xydata() for line in axes[-1].lines])
    assert np.allclose([corners[:, 0].max(), corners[:, 1].max()], [4.0, 2.0], atol=1e-5)  # of A (1, 1)
    shown = axes[-1].collections[0].get_offsets()
    assert shown.shape == (50, 2)


@pytest.mark.parametrize(("width", "one_scale"), [(3.0, True), (1e3, False)])
def test_warp_shows_squares_as_squares_where_both_features_can_be_seen(width: float, one_scale: bool) -> None:
    ax = plots.warp(Flow(Inverse(Linear([[width, 0.0], [0.0, 1.0]])), Normal(2)), draws=50)[-1]
    sides = np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())
    assert ax.get_box_aspect() == 1
    assert np.isclose(*sides) == one_scale


def test_warp_draws_layers_that_see_features_as_tokens() -> None:
    axes = plots.warp(flow("tarflow", 2, layers=1, width=4, depth=1, heads=1), draws=50)
    assert all(ax.collections[0].get_offsets().shape == (50, 2) for ax in axes)


def test_stretch_shows_the_factor_of_area() -> None:
    left, right = plots.stretch(SIX, bounds=(0.0, 1.0, 0.0, 1.0))
    assert np.allclose(left.images[0].get_array(), math.log(6), atol=1e-5)
    FigureCanvasAgg(left.figure).draw()
    assert right.collections[0].get_array().size == 24 * 24


def test_lines_shows_all_densities() -> None:
    ax = plots.lines([0.0, 1.0, 2.0], [("base", [0.1, 0.2, 0.1]), ("after", [0.0, 0.4, 0.0])])
    assert [line.get_label() for line in ax.lines] == ["base", "after"]


def test_animation_is_a_film(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "flow.gif"
    plots.animate(Flow(SIX, Normal(2)), path, draws=20, between=2)
    with Image.open(path) as film:
        assert film.n_frames >= 3  # equal frames are stored once


@pytest.mark.parametrize("model", [flow("nice", 3), flow("nice", 2, context=1)], ids=["3 features", "context"])
def test_only_the_plane_is_drawn(model: Flow) -> None:
    with pytest.raises(ShapeError, match="two features without a context"):
        plots.warp(model)
