r"""
Two dimensions: the determinant is a factor of area
===================================================

The map :math:`x = A z` with :math:`A = \begin{pmatrix} 3 & 1 \\ 0 & 2 \end{pmatrix}` takes the unit square to a
parallelogram. Its area is :math:`\det A = 3 \cdot 2 - 1 \cdot 0 = 6`, so the same mass is spread over six times the
area, and every density falls by the factor 6: :math:`\log p(x) = \log p(z) - \log 6`.
"""

import math

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from unwarp import Flow, plots
from unwarp.distributions import Normal
from unwarp.transforms import Inverse, Linear

stretch = Linear([[3.0, 1.0], [0.0, 2.0]])
square = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
image, ladj = stretch(square)
print(f"corners {image.tolist()}")
print(f"exp(ladj) = {float(ladj[0].exp()):.4f}")


def area(corners):
    after = corners.roll(-1, 0)
    return 0.5 * float(torch.linalg.det(torch.stack([corners, after], -1)).sum())


print(f"area of the square {area(square):.4f}, of its image {area(image):.4f}")
assert math.isclose(area(image), 6, rel_tol=1e-6)

# %%
# The arrows are the unit vectors and what becomes of them: the columns of A.

figure = Figure(figsize=(7.5, 2.9), layout="constrained")
panels = zip(figure.subplots(1, 2), (square, image), ("z: area 1", "x = A z: area 6"), strict=True)
for ax, corners, title in panels:
    ax.add_patch(Polygon(corners, facecolor=plots.DATA, alpha=0.25))
    for tip, colour in ((corners[1], plots.SAMPLES), (corners[3], plots.INK)):
        ax.annotate("", tip, (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.6})
    ax.set(xlim=(-0.3, 4.5), ylim=(-0.3, 2.4), aspect="equal", title=title)
    ax.grid(color=plots.GRID, linewidth=0.5)
figure

# %%
# What it does to a Gaussian
# --------------------------
# The cloud is stretched and sheared with the grid. ``plots.warp`` follows both from the latent (left) to the data
# (right); here both pictures have the same scale.

flow = Flow(Inverse(stretch), Normal(2))
axes = plots.warp(flow)
for ax, title in zip(axes, ("z", "x = A z"), strict=True):
    ax.set(xlim=(-12, 12), ylim=(-12, 12), title=title)
axes[0].figure.set_size_inches(8, 4)
axes

# %%
# At the middle of the cloud the density was :math:`1/2\pi`; now it is a sixth of that.

middle = torch.zeros(2)
before, after = Normal(2).log_prob(middle), flow.log_prob(middle)
print(f"before {float(before.exp()):.6f}, after {float(after.exp()):.6f}")
assert torch.isclose(before - math.log(6), after)

# %%
# A linear map of a Gaussian is the Gaussian with covariance :math:`A A^\top`, and the flow says the same:

covariance = stretch.matrix @ stretch.matrix.T
exact = torch.distributions.MultivariateNormal(torch.zeros(2), covariance)
points = flow.sample((5,), generator=torch.Generator().manual_seed(0))
gap = (flow.log_prob(points) - exact.log_prob(points)).abs().max()
print(f"largest difference in log p at five draws: {float(gap):.0e}")
assert gap < 1e-4
