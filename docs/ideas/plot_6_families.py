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


def trained(name, steps=400, lr=5e-2, **options):
    torch.manual_seed(0)
    model = flow(name, 2, **options)
    history = fit(model, x, max_steps=steps, lr=lr, seed=0, baselines=())
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

splines = trained("nsf", lr=2e-2, layers=3, hidden=(32, 32))
plots.warp(splines)

# %%
# Networks that rise with their own input: BNAF
# ---------------------------------------------
# No box and no knots: each output is a whole network of its own input, and of those before it.

plots.warp(trained("bnaf", steps=300, layers=2))

# %%
# Rank one: planar and radial
# ---------------------------
# The founding paper's maps. A planar layer pushes or pulls along one direction, a radial one around one point; it
# takes many
# of them to do much.

plots.warp(trained("planar", layers=7))

# %%

plots.warp(trained("radial", layers=7))

# %%
# Sylvester: many planar maps at once
# -----------------------------------

plots.warp(trained("sylvester", layers=3))

# %%
# Residual: a point plus a contraction of it
# ------------------------------------------
# No direction is special, and all of space moves at once, never so far that lines would cross.

plots.warp(trained("resflow", steps=300, layers=4, hidden=(32, 32)))

# %%
# Continuous: a vector field
# --------------------------
# One layer, in which every point follows a stream for one unit of time.

plots.warp(trained("cnf", steps=300))

# %%
# The same as a film, and what to cite.

plots.animate(splines, "moons.gif", draws=600, between=8)
print(citation(splines))
