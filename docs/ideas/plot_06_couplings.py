r"""
Couplings: one half moves, told by the other
============================================

Half of the features stay where they are and decide how the other half moves: :math:`x_b = g(z_b;\, \theta(x_a))`. The
network :math:`\theta` is never inverted, so it may be anything; both directions take one pass; the Jacobian is
triangular, and its log-determinant is a sum of the logarithms of slopes. The next layer moves the other half.

Each flow below is trained for a few seconds on two moons, and then draws: the grid is straight in the latent, the first
picture, and each picture is one layer further, down to the data. Points keep the colour of their distance from the
middle of the latent. A few seconds are far from what a flow can do; "How to choose a flow" has measured figures.
"""

from pathlib import Path

import torch

from unwarp import citation, fit, flow, plots, trace
from unwarp.data import toy

moons = toy("moons")
x, fresh = (moons.sample(3000, generator=torch.Generator().manual_seed(k)) for k in (0, 1))
truth = float(moons.log_prob(fresh).mean())


def trained(name, steps=350, lr=5e-2, **options):
    torch.manual_seed(0)
    model = flow(name, 2, **options)
    fit(model, x.float(), max_steps=steps, lr=lr, seed=0, baselines=())
    with torch.no_grad():
        nats = float(model.log_prob(fresh.float()).mean())
    print(f"{name}: {nats:.2f} nats a row on fresh draws; the density itself has {truth:.2f}")
    return model


# %%
# Shift: NICE
# -----------
# Each coupling slides points along one axis, by an amount that depends on the other. Slides keep area: only the scales
# of ``ActNorm`` and ``Standardize`` change it, everywhere by the same factor.

nice = trained("nice", layers=4, hidden=(32, 32))
plots.warp(nice)

# %%
# The account of ``trace`` says so: no coupling adds anything.

for step in trace(nice, torch.tensor([0.0, 1.0]))[1:]:
    print(f"{step.name:12} ladj {float(step.ladj):+.4f}")
    assert step.name != "Coupling" or step.ladj == 0

# %%
# Scale and shift: RealNVP
# ------------------------
# Now a line of the grid can be stretched as it slides, by a factor that depends on the other feature.

plots.warp(trained("realnvp", steps=500, lr=3e-2, layers=5, hidden=(32, 32)))

# %%
# Scale without gain: GIN
# -----------------------
# As RealNVP, but the scales of one layer multiply to one. With two features, of which each coupling moves one, no
# scale is left: in the plane GIN is NICE. Where a coupling moves more features, it stretches some and squeezes others.

plots.warp(trained("gin", layers=4, hidden=(32, 32)))

# %%
# Splines: NSF
# ------------
# Each line of the grid is bent by a spline with knots of its own: gaps and edges come easily. Outside of its box a
# spline is the identity.

splines = trained("nsf", lr=2e-2, layers=3, hidden=(32, 32), tails="light")
plots.warp(splines)

# %%
# The same as a film; points go straight from layer to layer.

film = Path("couplings.gif")
plots.animate(splines, film, draws=400, between=6)
film

# %%
# What it does to area on the way from the data to the latent: the crowded moons are spread out (red), and the empty
# places between and beside them are folded up (blue).

plots.stretch(splines.transform, bounds=(-1.5, 2.5, -1.2, 1.7))

# %%
# And what to cite, for each part that this flow has:

print(citation(splines))
