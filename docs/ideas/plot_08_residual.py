r"""
Small moves of everything: rank-one, residual, convex
=====================================================

These layers have no half that stays and no order of features: all of space moves at once, by a formula that is known to
be invertible. Rank-one layers are single formulas; residual layers move a point by less than it is away from its
neighbours; convex ones follow the slope of a bowl.

As in "Couplings": a few seconds on two moons, drawn from the latent to the data.
"""

import torch

from unwarp import fit, flow, plots
from unwarp.data import toy

moons = toy("moons")
x, fresh = (moons.sample(3000, generator=torch.Generator().manual_seed(k)) for k in (0, 1))
truth = float(moons.log_prob(fresh).mean())


def trained(name, steps=400, lr=0.1, **options):
    torch.manual_seed(0)
    model = flow(name, 2, **options)
    fit(model, x.float(), max_steps=steps, lr=lr, seed=0, baselines=())
    with torch.no_grad():
        nats = float(model.log_prob(fresh.float()).mean())
    print(f"{name}: {nats:.2f} nats a row on fresh draws; the density itself has {truth:.2f}")
    return model


# %%
# One direction: planar
# ---------------------
# The founding paper's map, :math:`z = x + u \tanh(w^\top x + b)`: space is pushed along :math:`u`, differently on the
# two sides of a line. Straight lines along the other direction stay straight.

plots.warp(trained("planar", steps=600, lr=5e-2, layers=9))

# %%
# One point: radial
# -----------------
# Towards or away from a centre, by a factor that fades with the distance. It takes many of them to do much.

plots.warp(trained("radial", layers=9))

# %%
# Many planar maps at once: Sylvester
# -----------------------------------
# A small network within a subspace, whose log-determinant is that of a small triangular matrix.

plots.warp(trained("sylvester", layers=4))

# %%
# A contraction added: residual flows
# -----------------------------------
# :math:`z = x + g(x)` with :math:`\|g(x) - g(y)\| < \|x - y\|`: no point can catch up with another, so the map is
# invertible whatever the network :math:`g` does else.

resflow = trained("resflow", steps=250, layers=4, hidden=(32, 32), lipschitz=0.97)
plots.warp(resflow)

# %%
# How much do its layers change distances? Between random pairs of points the factor stays inside of (0, 2), which is
# what a Lipschitz constant below 1 promises.

a, b = 3 * torch.randn(2, 2000, 2, generator=torch.Generator().manual_seed(0))
for part in resflow.transform.parts[1:]:
    with torch.no_grad():
        factor = (part(a)[0] - part(b)[0]).norm(dim=-1) / (a - b).norm(dim=-1)
    print(f"{type(part).__name__:9} {float(factor.min()):.2f} to {float(factor.max()):.2f}")
    assert type(part).__name__ != "Residual" or (factor.min() > 0 and factor.max() < 2)

# %%
# Contractions and any linear map: free-form flows
# ------------------------------------------------
# The same networks, with a learned linear map after each. They are made for ``training.FreeForm``, an objective without
# Jacobians for many features; here two features are trained by likelihood, as all others.

plots.warp(trained("freeform", steps=500, lr=5e-2, layers=4, hidden=(32, 32), lipschitz=0.97))

# %%
# Down a convex potential: CP-Flow
# --------------------------------
# Each layer is the gradient of a convex network. Its Jacobian is symmetric and positive definite: it stretches along
# perpendicular directions and never turns. The gradient of a convex function is also the cheapest way to move one
# density into another.

plots.warp(trained("cpflow", steps=300, lr=0.2, layers=2, hidden=(32, 32)))
