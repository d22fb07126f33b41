r"""
Expansion, compression, collapse
================================

The log-determinant says what happens to volume: positive where the map expands, negative where it compresses. A density
can follow it both ways, but not to the end: a map that flattens a direction to nothing has no inverse, and its image
has no density.
"""

import math

import torch
from matplotlib.figure import Figure

from unwarp import Flow, plots
from unwarp.distributions import Normal
from unwarp.errors import ConfigError
from unwarp.transforms import Inverse, Linear

maps = {
    "expands": [[1.8, 0.0], [0.0, 1.5]],
    "compresses": [[0.6, 0.0], [0.0, 0.5]],
    "keeps area": [[1.25, 0.5], [0.0, 0.8]],
}
turn = torch.linspace(0.0, 2 * math.pi, 200)
circle = torch.stack([turn.cos(), turn.sin()], -1)
z = torch.randn(800, 2, generator=torch.Generator().manual_seed(0))


def scatter(ax, matrix, title):
    """Draws of a standard normal after the map; the ring was the unit circle."""
    ax.scatter(*Linear(matrix)(z)[0].T, s=2, color=plots.DATA, alpha=0.6, linewidths=0)
    ax.plot(*Linear(matrix)(circle)[0].T, color=plots.SAMPLES, linewidth=1.6)
    ax.set_title(title, size=9)
    ax.set(aspect="equal", xlim=(-4.5, 4.5), ylim=(-4, 4))


figure = Figure(figsize=(9, 2.9), layout="constrained")
for ax, (name, matrix) in zip(figure.subplots(1, 3, sharey=True), maps.items(), strict=True):
    ladj = float(Linear(matrix)(torch.zeros(2))[1])
    scatter(ax, matrix, f"{name}: |det| = {math.exp(ladj):.2f}, log|det| = {ladj:+.2f}")
figure

# %%
# The ring was the unit circle: its area goes from :math:`\pi` to :math:`\pi |\det|`. The last map stretches one way and
# squeezes the other, and keeps area.

for name, matrix in maps.items():
    ring = Linear(matrix)(circle)[0]
    inside = 0.5 * float(torch.linalg.det(torch.stack([ring, ring.roll(-1, 0)], -1)).sum())
    factor = float(Linear(matrix)(torch.zeros(2))[1].exp())
    print(f"{name:10} area of the ring / pi = {inside / math.pi:.3f}, |det| = {factor:.3f}")
    assert abs(inside / math.pi - factor) < 1e-2

# %%
# On the way to collapse
# ----------------------
# One direction shrinks. The log-determinant falls without bound; so the density on the line, which is
# :math:`p(z) / |\det|`, rises without bound.

figure = Figure(figsize=(9.5, 2.5), layout="constrained")
for ax, share in zip(figure.subplots(1, 4, sharey=True), (1.0, 0.3, 0.05, 0.001), strict=True):
    matrix = [[1.0, 0.0], [0.5, share]]
    peak = Flow(Inverse(Linear(matrix)), Normal(2)).log_prob(torch.zeros(2))
    scatter(ax, matrix, f"log|det| = {math.log(share):+.2f}\npeak density {float(peak.exp()):.3g}")
figure

# %%
# At the end there is no flow any more, and unwarp says so, with the direction that is lost:

try:
    Linear([[1.0, 0.0], [0.5, 0.0]])
except ConfigError as error:
    print(error)

# %%
# This is why the layers of a flow keep away from the edge by construction: scales are bounded, splines have a least
# slope, residual layers are contractions. ``doctor.audit`` tells row by row where a trained flow comes close.
