r"""
Continuous flows: a stream instead of layers
============================================

A network says with which velocity every point moves at every time, :math:`dx/dt = v(x, t)`, from the data at time 0 to
the latent at time 1. Streamlines never cross, so any smooth :math:`v` makes an invertible map, and its log-determinant
is the integral of the divergence of :math:`v` along the way.
"""

from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure

from unwarp import Flow, fit, flow, plots, trace
from unwarp.data import toy
from unwarp.training import likelihood, matching, regularised_likelihood
from unwarp.transforms import Compose, Continuous

moons = toy("moons")
x, fresh = (moons.sample(3000, generator=torch.Generator().manual_seed(k)) for k in (0, 1))
truth = float(moons.log_prob(fresh).mean())


def trained(name, objective=likelihood, updates=150, lr=None, **options):
    torch.manual_seed(0)
    model = flow(name, 2, steps=6, tails="light", **options)
    fit(model, x.float(), objective, max_steps=updates, lr=lr, seed=0, baselines=())
    with torch.no_grad():
        nats = float(model.log_prob(fresh.float()).mean())
    print(f"{name}: {nats:.2f} nats a row on fresh draws; the density itself has {truth:.2f}")
    assert nats < truth + 0.05
    return model


# %%
# A solver goes along the stream in steps, here six. Each step is an invertible map of its own, and so a layer: to look
# inside, we make a flow of the pieces.


class Piece(torch.nn.Module):
    """The k-th of n pieces of a field, with a clock from 0 to 1."""

    def __init__(self, field, k, n):
        super().__init__()
        self.field, self.k, self.n = field, k, n

    def forward(self, x, t, context=None):
        return self.field(x, (self.k + t) / self.n, context) / self.n

    def linearize(self, x, t, context=None):
        v, slope = self.field.linearize(x, (self.k + t) / self.n, context)
        return v / self.n, slope / self.n


def cut(model, n=6):
    parts = []
    for part in model.transform.parts:
        stream = isinstance(part, Continuous)
        pieces = [Piece(part.field, k, n) for k in range(n)] if stream else []
        parts += [Continuous(2, piece, solver=part.solver, steps=1) for piece in pieces] or [part]
    return Flow(Compose(parts), model.base)


def show(model):
    """From the latent, time 1, to the data, time 0."""
    axes = plots.warp(cut(model))
    for k, ax in enumerate(axes[:-1]):
        ax.set_title("latent: t = 1" if k == 0 else f"t = {1 - k / 6:.2f}", size=9)
    return axes


# %%
# By likelihood: CNF
# ------------------
# The equation is solved in each step of training, and the log density of the result is raised. A small price on fast
# changes of the velocity keeps the field gentle enough for six steps of a solver.

gentle = partial(regularised_likelihood, kinetic=0.002, jacobian=0.004)
cnf = trained("cnf", gentle, updates=450, hidden=(32, 32))
with torch.no_grad():
    assert torch.allclose(cnf.log_prob(fresh[:9].float()), cut(cnf).log_prob(fresh[:9].float()), atol=1e-3)
show(cnf)

# %%
# The field itself, at the beginning, in the middle and at the end of the way. Arrows point to the latent; a film of
# these is all that the flow has learned.

side = torch.linspace(-2.5, 2.5, 17)
places = torch.cartesian_prod(side, side)
field = next(part.field for part in cnf.transform.parts if isinstance(part, Continuous))
figure = Figure(figsize=(9, 3.2), layout="constrained")
for ax, t in zip(figure.subplots(1, 3, sharey=True), (0.0, 0.5, 1.0), strict=True):
    v = field(places, torch.tensor(t)).detach()
    ax.quiver(*places.T, *v.T, v.norm(dim=-1), cmap="viridis_r", angles="xy", width=0.005)
    ax.set(title=f"t = {t}", aspect="equal")
figure

# %%
# With an estimate: FFJORD
# ------------------------
# The same stream, but the divergence is estimated from one random direction, which is as cheap in a thousand features
# as in two. Training sees a noisy density. Here too a price on fast changes matters: the estimate is of the equation,
# and should the solver's few steps not follow it, training would use the gap.

show(trained("ffjord", regularised_likelihood, updates=300, hidden=(32, 32), solver="midpoint"))

# %%
# Down a potential: OT-Flow
# -------------------------
# The velocity is the slope of a potential, and long or winding ways are made to cost.

short = partial(regularised_likelihood, kinetic=0.05, hamilton_jacobi=0.05)
otflow = trained("otflow", short, updates=250, width=32, solver="midpoint", lr=3e-2)
show(otflow)

# %%
# Without solving anything: flow matching
# ---------------------------------------
# Draw a row, a point of the latent and a time; the network learns the velocity of the straight line between the two at
# that time. A step of training is one pass of the network. The average over all lines through a point is the field
# that takes one density to the other.

matched = trained("cnf", matching, updates=3000, lr=1e-2, hidden=(64, 64, 64), solver="rk4")
show(matched)

# %%
# As a film, in twelve steps:

film = Path("stream.gif")
plots.animate(cut(matched, 12), film, draws=400, between=4)
film

# %%
# Ways
# ----
# The same forty latents on their way to the data. The likelihood alone does not mind detours; a price on them, or
# matching with pairs that are close, makes ways straight, and straight ways need few steps of a solver.

close = partial(matching, coupling="optimal")
paired = trained("cnf", close, updates=1200, lr=1e-2, hidden=(64, 64, 64), solver="rk4")
z = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
flows = {"CNF": cnf, "OT-Flow": otflow, "matching": matched, "matching, close pairs": paired}
figure = Figure(figsize=(10, 2.9), layout="constrained")
for ax, (name, model) in zip(figure.subplots(1, 4, sharex=True, sharey=True), flows.items(), strict=True):
    way = torch.stack([step.points for step in trace(cut(model), z, start="latent")[:-1]])
    longer = way.diff(dim=0).norm(dim=-1).sum(0) / (way[-1] - way[0]).norm(dim=-1)
    ax.plot(*way.permute(2, 0, 1), color=plots.MUTED, linewidth=0.8)
    ax.plot(*z.T, ".", color=plots.INK, markersize=3)
    ax.plot(*way[-1].T, ".", color=plots.SAMPLES, markersize=5)
    ax.set(title=f"{name}\nmedian detour {100 * float(longer.median() - 1):.0f} %", aspect="equal")
figure
