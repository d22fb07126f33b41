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
    x1 = (z[1] - 0.5 * torch.sin(z[0])) * torch.exp(-0.6 * torch.cos(z[0]))
    return torch.stack([z[0] - 0.5 * torch.sin(x1), x1])


curve = Function(bend, unbend, Space((2,)))
print(doctor.check(curve))

# %%
# A small square and its image
# ----------------------------
# The image of a square is a curved patch; the Jacobian's parallelogram fits it the better, the smaller the square.

at = torch.tensor([0.8, 0.6])
jacobian = torch.func.jacrev(bend)(at)
figure = Figure(figsize=(8.4, 2.8), layout="constrained")
t = torch.linspace(0.0, 1.0, 60)
zero, one = torch.zeros_like(t), torch.ones_like(t)
edge = torch.cat([torch.stack(side, -1) for side in ((t, zero), (one, t), (1 - t, one), (zero, 1 - t))]) - 0.5
for ax, size in zip(figure.subplots(1, 3), (2.0, 1.0, 0.25), strict=True):
    patch, _ = curve(at + size * edge)
    flat = curve(at)[0] + size * edge @ jacobian.T
    ax.plot(*patch.T, color=plots.DATA, label="image")
    ax.plot(*flat.T, color=plots.SAMPLES, linestyle="--", label="by the Jacobian")
    ax.set(title=f"side {size}", aspect="equal")
    ax.legend(frameon=False, fontsize=7)
figure

# %%
# The ratio of the areas tends to :math:`|\det J|`, which is exp(ladj).

ladj = curve(at)[1]
for size in (2.0, 1.0, 0.25, 0.05):
    patch = curve((at + size * edge).double())[0]
    after = patch.roll(-1, 0)
    area = 0.5 * float((patch[:, 0] * after[:, 1] - after[:, 0] * patch[:, 1]).sum().abs())
    print(f"side {size:4}: area {area / size**2:.5f} of the square's; exp(ladj) = {float(ladj.exp()):.5f}")
assert abs(area / size**2 / float(ladj.exp()) - 1) < 0.02

# %%
# The whole plane
# ---------------
# Colour is :math:`\log|\det J|`: red expands, blue compresses.

plots.stretch(curve)
