r"""
One dimension: stretching, squeezing, bending
=============================================

Draw z from a standard normal and put it through an invertible map. What is the density of the result? Mass is kept:
what was in a short piece :math:`dz` is now in :math:`dx`, so the density is divided by how much the map stretches,

.. math:: p(x) = p(z) \left|\frac{dz}{dx}\right| .

unwarp writes maps from the data to the latent, :math:`z = f(x)`, and returns :math:`\log|dz/dx|` with every z.
"""

import torch

from unwarp import POSITIVE, Flow, Space, plots
from unwarp.distributions import Normal
from unwarp.transforms import Function, Inverse, Linear

base = Normal(1)


def density(model, at):
    return model.log_prob(at.unsqueeze(-1)).exp().detach()


def draw(flow, name, low, high):
    """Both densities; dark, a piece of z and where the map takes it."""
    x = torch.linspace(low, high, 600)
    curves = [("z: standard normal", density(base, x)), (name, density(flow, x))]
    ax = plots.lines(x, curves)
    before = torch.tensor([[0.5], [1.0]])
    after = flow.transform.inverse(before)[0]
    for model, piece, colour in ((base, before, plots.MUTED), (flow, after, plots.DATA)):
        at = torch.linspace(float(piece[0]), float(piece[1]), 200)
        height = density(model, at)
        ax.fill_between(at, height, color=colour, alpha=0.7, linewidth=0)
        print(f"[{at[0]:.2f}, {at[-1]:.2f}] holds {100 * float(torch.trapezoid(height, at)):.2f} %")
    ax.set_xlabel("z and x")
    return ax


# %%
# Stretch and shift: x = 2 z + 3
# ------------------------------
# Every length doubles, so every density halves, and the bell moves to 3. The dark strips are the same draws before and
# after: z from 0.5 to 1 becomes x from 4 to 5. The strip is twice as wide and half as high, its area is the same.
#
# ``Linear`` is written from z to x here; a flow wants x to z, which is its ``Inverse``.

wide = Flow(Inverse(Linear([[2.0]], [3.0])), base)
draw(wide, "x = 2 z + 3", -4.0, 10.0)

# %%
# By hand, at x = 5: z = (5 - 3) / 2 = 1 and dz/dx = 1/2.

by_hand = base.log_prob(torch.tensor([1.0])) + torch.tensor(0.5).log()
by_flow = wide.log_prob(torch.tensor([5.0]))
print(f"log p(5) = {float(by_flow):.6f}; by hand {float(by_hand):.6f}")
assert torch.isclose(by_flow, by_hand)

# %%
# Squeeze: x = 0.5 z
# ------------------
# Every length halves, so every density doubles.

narrow = Flow(Inverse(Linear([[0.5]])), base)
draw(narrow, "x = 0.5 z", -4.0, 4.0)

# %%
# Bend: x = exp z
# ---------------
# Now the stretch depends on the place: :math:`dz/dx = 1/x`. Left of 1 the map compresses and density piles up; right of
# 1 it expands and density thins out. The result is the log-normal, and it has no mass below 0.

log = Function(torch.log, torch.exp, Space((1,), POSITIVE), Space((1,)))
bent = Flow(log, base)
draw(bent, "x = exp z: log-normal", -3.5, 8.0)

# %%

at = torch.tensor([[0.5], [1.0], [4.0]])
known = torch.distributions.LogNormal(0.0, 1.0).log_prob(at[:, 0])
for point, ours, theirs in zip(at[:, 0], bent.log_prob(at), known, strict=True):
    print(f"log p({float(point)}) = {float(ours):+.6f}; the textbook's log-normal {float(theirs):+.6f}")
assert torch.allclose(bent.log_prob(at), known, atol=1e-5)

# %%
# Mass is one, whatever the map: the integral of each density over a fine grid.

fine = torch.linspace(-40.0, 400.0, 2_000_001, dtype=torch.float64)
for name, flow in [("2 z + 3", wide), ("0.5 z", narrow), ("exp z", bent)]:
    mass = torch.trapezoid(density(flow.double(), fine), fine)
    print(f"{name:8} mass {float(mass):.6f}")
    assert abs(float(mass) - 1) < 1e-3
