r"""
Chains: log-determinants add up
===============================

Simple maps one after another make a complicated one. The chain rule multiplies their Jacobians, so their
log-determinants add:

.. math:: \log p(x) = \log p(z) + \sum_k \log\left|\det J_k\right| .

``trace`` follows points through a flow and keeps the account.
"""

import torch
from matplotlib.figure import Figure

from unwarp import Flow, fit, flow, plots, trace
from unwarp.data import toy
from unwarp.distributions import Normal
from unwarp.transforms import Compose, Linear

# %%
# By hand
# -------
# Two linear maps from x to z, with determinants 6 and 1/2: the chain has determinant 3, and log 6 - log 2 = log 3.

chain = Compose([Linear([[3.0, 1.0], [0.0, 2.0]]), Linear([[0.5, 0.0], [1.0, 1.0]])])
model = Flow(chain, Normal(2))
x = torch.tensor([0.2, -0.1])
for step in trace(model, x):
    place = [round(float(v), 4) for v in step.points]
    print(f"{step.name:8} at {place!s:13}: ladj {float(step.ladj):+.4f}, so far {float(step.total):+.4f}")

last = trace(model, x)[-1]
by_hand = Normal(2).log_prob(last.points) + last.total
print(f"log p(z) + sum = {float(by_hand):.6f}; log_prob says {float(model.log_prob(x)):.6f}")
assert torch.isclose(by_hand, model.log_prob(x))
assert torch.isclose(last.total, torch.tensor(3.0).log())

# %%
# The same on paper: x = (0.2, -0.1) goes to (3 * 0.2 - 0.1, 2 * -0.1) = (0.5, -0.2), then to (0.5 * 0.5, 0.5 - 0.2) =
# (0.25, 0.3). There the standard normal has log density -log 2 pi - (0.25² + 0.3²) / 2.
#
# Sampling reads the chain from the right, and undoes it:

plots.warp(model)

# %%
# In a trained flow
# -----------------
# It is the same sum with more terms. Here is the account of three points of two moons: one on a moon, one between the
# moons, one outside. Each bar begins where the one above ends: blue adds to the log density, orange takes from it, and
# the last is the sum.

moons = toy("moons").sample(2000, generator=torch.Generator().manual_seed(0)).float()
torch.manual_seed(0)
deep = flow("nsf", 2, layers=3, hidden=(32, 32))
fit(deep, moons, max_steps=200, lr=2e-2, seed=0, baselines=())

points = {"on a moon": [0.0, 1.0], "between": [0.5, 0.25], "outside": [1.5, 1.2]}
figure = Figure(figsize=(9, 2.8), layout="constrained")
axes = figure.subplots(1, 3, sharex=True, sharey=True)
for ax, (name, point) in zip(axes, points.items(), strict=True):
    steps = trace(deep, torch.tensor(point))
    start = float(deep.base.log_prob(steps[-1].points))
    names = ["log p(z)", *(f"{k} {step.name}" for k, step in enumerate(steps[1:], 1)), "log p(x)"]
    terms = [start, *(float(step.ladj) for step in steps[1:])]
    begins = [0.0, *(start + float(step.total) for step in steps[:-1]), 0.0]
    colours = [plots.DATA if term > 0 else plots.SAMPLES for term in terms]
    ax.barh(names, [*terms, sum(terms)], left=begins, color=[*colours, plots.INK])
    ax.axvline(0, color=plots.MUTED, linewidth=0.8)
    ax.set(title=f"{name}: log p(x) = {sum(terms):+.2f}", xlabel="nats")
    assert abs(sum(terms) - float(deep.log_prob(torch.tensor(point)).detach())) < 1e-4
axes[0].invert_yaxis()
figure
