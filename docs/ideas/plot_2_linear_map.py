r"""
Two dimensions: the determinant is a factor of area
===================================================

The map with the matrix :math:`A = \begin{pmatrix} 3 & 1 \\ 0 & 2 \end{pmatrix}` takes the unit square to a
parallelogram.
Its area is :math:`\det A = 3 \cdot 2 - 1 \cdot 0 = 6`, so the same mass is spread over six times the area, and every
density
falls by the factor 6: :math:`\log p(x) = \log p(z) - \log 6`.
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
print(f"corners: {image.tolist()}")
print(f"exp(ladj) = {float(ladj[0].exp()):.4f}")


def area(corners):
    after = corners.roll(-1, 0)
    return 0.5 * float((corners[:, 0] * after[:, 1] - after[:, 0] * corners[:, 1]).sum())


print(f"area of the square {area(square)}, of its image {area(image)}")
assert math.isclose(area(image), 6, rel_tol=1e-6)

figure = Figure(figsize=(6.5, 2.8), layout="constrained")
for ax, corners, title in zip(figure.subplots(1, 2), (square, image), ("area 1", "area 6"), strict=True):
    ax.add_patch(Polygon(corners, facecolor=plots.DATA, alpha=0.4, edgecolor=plots.INK))
    ax.set(xlim=(-0.3, 4.3), ylim=(-0.3, 2.3), aspect="equal", title=title)
figure

# %%
# What it does to a Gaussian
# --------------------------
# The cloud is stretched and sheared with the grid. ``plots.warp`` follows both from the latent (left) to the data
# (right).

flow = Flow(Inverse(stretch), Normal(2))
plots.warp(flow)

# %%
# At the middle of the cloud the density was :math:`1/2\pi`; now it is a sixth of that.

middle = torch.zeros(2)
print(f"before {float(Normal(2).log_prob(middle).exp()):.6f}, after {float(flow.log_prob(middle).exp()):.6f}")
assert torch.isclose(Normal(2).log_prob(middle) - math.log(6), flow.log_prob(middle))

# %%
# A linear map of a Gaussian is the Gaussian with covariance :math:`A A^\top`:

exact = torch.distributions.MultivariateNormal(torch.zeros(2), stretch.matrix @ stretch.matrix.T)
points = flow.sample((5,), generator=torch.Generator().manual_seed(0))
assert torch.allclose(flow.log_prob(points), exact.log_prob(points), atol=1e-4)
