r"""
Autoregressive flows and their scalar maps
==========================================

Every feature moves by a rising scalar map whose parameters a network makes of the features before it,
:math:`z_i = g(x_i;\, \theta_i(x_{<i}))`. That is the chain rule of probability,
:math:`p(x) = \prod_i p(x_i \mid x_{<i})`, with a flexible density for each factor. One pass gives the density; drawing
goes feature by feature. What sets the recipes apart is the scalar map :math:`g`.
"""

import torch
from matplotlib.figure import Figure

from unwarp import fit, flow, plots
from unwarp.data import toy
from unwarp.univariates import Affine, Bernstein, DeepSigmoid, Integral, RationalQuadratic, SumOfSquares

# %%
# The scalar maps
# ---------------
# Four draws of random parameters for each. All rise everywhere, and their slope is known: its logarithm is what a layer
# adds to the log density. Parameters of zero are the identity.

at = torch.linspace(-6.0, 6.0, 400)
maps = {
    "maf, iaf: scale and shift": Affine(),
    "nsf: spline": RationalQuadratic(8),
    "naf: network of sigmoids": DeepSigmoid(16),
    "unaf: integral": Integral(8),
    "sospf: polynomial": SumOfSquares(3, 2),
    "bpf: Bernstein polynomial": Bernstein(16),
}
figure = Figure(figsize=(9, 5), layout="constrained")
generator = torch.Generator().manual_seed(3)
for ax, (name, g) in zip(figure.subplots(2, 3, sharex=True, sharey=True).flat, maps.items(), strict=True):
    ax.plot(at, at, color=plots.MUTED, linewidth=0.8)
    for _ in range(4):
        params = torch.randn(g.n_params, generator=generator)
        ax.plot(at, g.forward(at, params.expand(400, -1))[0], linewidth=1.4)
    ax.set(title=name, xlim=(-6, 6), ylim=(-6, 6), box_aspect=1)
figure

# %%
# Trained, layer by layer
# -----------------------
# As in "Couplings": a few seconds on two moons; from the latent to the data. Between layers the order of the features
# is reversed, so that each comes first in every other layer.

moons = toy("moons")
x, fresh = (moons.sample(3000, generator=torch.Generator().manual_seed(k)) for k in (0, 1))
truth = float(moons.log_prob(fresh).mean())


def trained(name, steps=260, lr=None, **options):
    torch.manual_seed(0)
    model = flow(name, 2, hidden=(32, 32), **options)
    fit(model, x.float(), max_steps=steps, lr=lr, seed=0, baselines=())
    with torch.no_grad():
        nats = float(model.log_prob(fresh.float()).mean())
    print(f"{name}: {nats:.2f} nats a row on fresh draws; the density itself has {truth:.2f}")
    return model


# %%
# Scale and shift: MAF, and the same the other way round, IAF, which draws in one pass.

plots.warp(trained("maf", lr=5e-2, layers=4))

# %%

plots.warp(trained("iaf", steps=350, lr=5e-2, layers=4))

# %%
# Splines: NSF, autoregressive.

plots.warp(trained("nsf", lr=2e-2, layers=3, structure="autoregressive", tails="light"))

# %%
# Networks of sigmoids: NAF. Smooth, with as many steps as there are units; the inverse is a search.

plots.warp(trained("naf", layers=2))

# %%
# Integrals of positive networks: UNAF.

plots.warp(trained("unaf", layers=2, nodes=24))

# %%
# Integrals of sums of squared polynomials: SOSPF.

plots.warp(trained("sospf", layers=2))

# %%
# Bernstein polynomials: BPF. Within its box a polynomial that rises because its coefficients do.

plots.warp(trained("bpf", layers=2))

# %%
# One network for all: BNAF
# -------------------------
# No scalar map with parameters from a network, but one network each of whose outputs rises with its own input and
# depends freely on those before.

plots.warp(trained("bnaf", layers=2))
