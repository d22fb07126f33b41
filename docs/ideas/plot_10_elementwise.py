r"""
Features one by one, dependence apart: copulas, triangular maps, mixtures
=========================================================================

Some flows say what a density is made of. A copula first makes each feature normal on its own, then removes what is left
of dependence. A triangular map takes turns: a curve for each feature, then a linear map. A Gaussianization flow does so
with rotations. A mixture bends nothing at all: the shape is in the base.

As in "Couplings": a few seconds on two moons, drawn from the latent to the data.
"""

from statistics import NormalDist

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
# ``copula_parts`` takes the flow apart into two that share its parameters: a curve for each feature alone, which makes
# it normal, and the dependence of these normal scores. They are fitted one after the other.

torch.manual_seed(0)
copula = flow("copula", 2, layers=2, hidden=(32, 32))
marginals, dependence = copula_parts(copula)
fit(marginals, x, max_steps=250, lr=3e-2, seed=0, baselines=())
scores = marginals.transform.encode(x).detach()
fit(dependence, scores, max_steps=300, lr=2e-2, seed=0, baselines=())
print(f"copula: {float(copula.log_prob(fresh).detach().mean()):.2f} nats a row; the density itself has {truth:.2f}")
plots.warp(copula)

# %%
# On the left fresh data, in the middle their normal scores: each is about normal, and yet they are not independent. On
# the right what the dependence's own layers make of those.

with torch.no_grad():
    scores = marginals.transform.encode(fresh)
    latents = dependence.transform.encode(scores)
    shared = (dependence.log_prob(scores) - dependence.base.log_prob(scores)).mean()
for share in (0.05, 0.5, 0.95):
    found = [round(float(v), 2) for v in scores.quantile(share, dim=0)]
    print(f"{share:4.0%} of scores are below {found}; of a normal below {NormalDist().inv_cdf(share):.2f}")
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
