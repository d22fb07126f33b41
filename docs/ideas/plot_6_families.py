r"""
Families of flows at work
=========================

Each family bends space in its own way. Here each is trained for a moment on the same two moons, and then draws: the
grid
is straight in the latent (first picture), and each picture is one layer further, down to the data. A few seconds are
far from
what a flow can do; "How to choose a flow" has measured figures.
"""

import torch

from unwarp import citation, fit, flow, plots
from unwarp.data import toy

x = toy("moons").sample(3000, generator=torch.Generator().manual_seed(0)).float()


def trained(name, steps=300, **options):
    torch.manual_seed(0)
    model = flow(name, 2, **options)
    history = fit(model, x, max_steps=steps, seed=0, baselines=())
    print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters, {history.steps} steps")
    return model


# %%
# Couplings that shift: NICE
# --------------------------
# Each layer slides points along one axis, by an amount that depends on the other. No layer but the last changes area.

plots.warp(trained("nice", layers=4, hidden=(32, 32)))

# %%
# Couplings that scale and shift: RealNVP
# ---------------------------------------

plots.warp(trained("realnvp", layers=4, hidden=(32, 32)))

# %%
# Autoregressive: MAF
# -------------------

plots.warp(trained("maf", layers=4, hidden=(32, 32)))

# %%
# Splines: NSF
# ------------
# Inside its box each coordinate is bent by a spline with its own knots at every place: gaps and edges come easily.

splines = trained("nsf", layers=3, hidden=(32, 32))
plots.warp(splines)

# %%
# The same as a film, and what to cite.

plots.animate(splines, "moons.gif", draws=600, between=8)
print(citation(splines))
