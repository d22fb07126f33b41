r"""
Features one by one, dependence apart: copulas, triangular maps, mixtures
=========================================================================

Some flows say what a density is made of. A copula first makes each feature normal on its own, then removes what is left
of dependence. A triangular map takes turns: a curve for each feature, then a linear map. A Gaussianization flow does so
with rotations. A mixture bends nothing at all: the shape is in the base.

As in "Couplings": a few seconds on two moons, drawn from the latent to the data.
"""

import torch
from matplotlib.figure import Figure

from unwarp import fit, flow, plots
from unwarp.data import toy
from unwarp.flows import copula_parts

moons = toy("moons")
x, fresh = (moons.sample(3000, generator=torch.Generator().manual_seed(k)).float() for k in (0, 1))
truth = float(moons.log_prob(fresh.double()).mean())


def trained(name, steps=350, **options):
    torch.manual_seed(0)
    model = flow(name, 2, **options)
    fit(model, x, max_steps=steps, seed=0, baselines=())
    with torch.no_grad():
        nats = float(model.log_prob(fresh).mean())
    print(f"{name}: {nats:.2f} nats a row on fresh draws; the density itself has {truth:.2f}")
    return model


# %%
# Marginals, then dependence: a copula
# ------------------------------------
# The last layers towards the data bend each feature alone; those before bring the dependence.

copula = trained("copula", layers=2, hidden=(32, 32))
plots.warp(copula)

# %%
# ``copula_parts`` gives both. On the left the data, in the middle the normal scores that the marginals make of them:
# each is normal now, and yet they are not independent. On the right what the dependence's own layers make of those.

marginals, dependence = copula_parts(copula)
with torch.no_grad():
    scores = marginals.transform.encode(fresh)
    latents = dependence.transform.encode(scores)
    shared = (dependence.log_prob(scores) - dependence.base.log_prob(scores)).mean()
print(f"mutual information of the two features: {float(shared):.2f} nats")
figure = Figure(figsize=(9, 3.1), layout="constrained")
panels = {"data": fresh, "normal scores": scores, "latent": latents}
for ax, (name, points) in zip(figure.subplots(1, 3), panels.items(), strict=True):
    ax.scatter(*points.T, s=2, c=plots.DATA, alpha=0.5, linewidths=0)
    ax.set(title=name, box_aspect=1)
    if name != "data":
        ax.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5))
figure

# %%
# Curves and triangles
# --------------------
# A spline for each feature, a triangular linear map, and again. Few parameters, so it needs few rows.

plots.warp(trained("triangular", layers=3))

# %%
# Rotations and curves: Gaussianization
# -------------------------------------
# Each layer turns space and makes every feature normal by a mixture's distribution function.

plots.warp(trained("gf", layers=4, hidden=(32, 32)))

# %%
# A mixture
# ---------
# ``gmm`` has no layer but the units: its base, a mixture fitted by expectation and maximisation, already lies like the
# data. It is what a flow has to beat.

plots.warp(trained("gmm", steps=100))
