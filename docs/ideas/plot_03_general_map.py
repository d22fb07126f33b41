r"""
Any smooth map is linear, if you look closely
=============================================

A curved map has no single factor of area. But near each point it is almost its Jacobian matrix :math:`J = \partial z /
\partial x`, a linear map, and :math:`|\det J|` is the factor of area *there*. That is all that a density needs:

.. math:: \log p(x) = \log p(z) + \log\left|\det J(x)\right| .
"""

import torch
from matplotlib.figure import Figure

from unwarp import Space, doctor, plots
from unwarp.transforms import Function


def bend(x):
    a = x[0] + 0.5 * torch.sin(x[1])
    return torch.stack([a, x[1] * torch.exp(0.6 * torch.cos(a)) + 0.5 * torch.sin(a)])


def unbend(z):
    b = (z[1] - 0.5 * torch.sin(z[0])) * torch.exp(-0.6 * torch.cos(z[0]))
    return torch.stack([z[0] - 0.5 * torch.sin(b), b])


curve = Function(bend, unbend, Space((2,)))

# %%
# A small square and its image
# ----------------------------
# The image of a square is a curved patch. The Jacobian at the square's middle makes a parallelogram of it, which fits
# the patch the better, the smaller the square is.

at = torch.tensor([0.8, 0.6])
jacobian = torch.func.jacrev(bend)(at)
t = torch.linspace(0.0, 1.0, 60)
zero, one = torch.zeros_like(t), torch.ones_like(t)
sides = ((t, zero), (one, t), (1 - t, one), (zero, 1 - t))
edge = torch.cat([torch.stack(side, -1) for side in sides]) - 0.5

figure = Figure(figsize=(8.6, 3.2), layout="constrained")
axes = figure.subplots(1, 3)
for ax, size in zip(axes, (2.0, 1.0, 0.25), strict=True):
    patch, _ = curve(at + size * edge)
    flat = curve(at)[0] + size * edge @ jacobian.T
    ax.plot(*patch.T, color=plots.DATA, label="image of the square")
    ax.plot(*flat.T, color=plots.SAMPLES, linestyle="--", label="image under the Jacobian")
    ax.plot(*curve(at)[0], ".", color=plots.INK)
    ax.set(title=f"square of side {size}", aspect="equal", xlabel="$z_0$")
axes[0].set_ylabel("$z_1$")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
figure

# %%
# The ratio of the two areas, patch to square, tends to :math:`|\det J|`, which is exp(ladj).

factor = float(curve(at)[1].exp())
for size in (2.0, 1.0, 0.25, 0.05):
    corners = curve((at + size * edge).double())[0]
    pairs = torch.stack([corners, corners.roll(-1, 0)], -1)
    ratio = 0.5 * float(torch.linalg.det(pairs).sum().abs()) / size**2
    print(f"side {size:4}: ratio {ratio:.5f}; exp(ladj) = {factor:.5f}")
assert abs(ratio / factor - 1) < 1e-3

# %%
# The whole plane
# ---------------
# Colour is :math:`\log|\det J|`, on the left where the points were, on the right where they come to: red cells grow,
# blue ones shrink, white ones keep their area.

plots.stretch(curve)

# %%
# Is it a map to build on?
# ------------------------
# ``Function`` finds the Jacobian by automatic differentiation and trusts the inverse that it is given. ``doctor.check``
# does not: it runs the laws that the test suite runs. "ladj by integration" measures areas as above.

print(doctor.check(curve))
