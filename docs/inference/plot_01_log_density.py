r"""
I have a log density
====================

A posterior is known up to a constant: :math:`\log p(y \mid \theta) + \log p(\theta)` can be computed for any
:math:`\theta`, and nothing else. *Variational inference* looks for a distribution :math:`q` that can be drawn from and
is as near to it as can be. Here :math:`q` is a flow, so it need not be a bell.
"""

import math

import numpy as np
import torch
from matplotlib.figure import Figure

from unwarp import POSITIVE, REAL, Space
from unwarp.applications import Target, fit_posterior

# %%
# A mean and a scale of sixteen numbers
# -------------------------------------
#
# The density is written for whole batches: rows of parameters in, one number a row out. The space says that the scale
# is positive; the flow then works with its logarithm, and the change of volume is seen to.

y = torch.tensor([1.2, 0.3, 2.2, 1.7, 0.9, 1.5, 0.1, 2.6, 0.8, 1.9, 1.0, -0.4, 2.9, 1.4, 0.6, 1.1], dtype=torch.float64)


def log_density(x):
    mu, sigma = x[:, :1], x[:, 1:]
    likelihood = torch.distributions.Normal(mu, sigma).log_prob(y).sum(-1)
    return likelihood - 0.5 * (mu[:, 0] / 10) ** 2 - 0.5 * (sigma[:, 0] / 2) ** 2


target = Target.from_torch(log_density, Space((2,), (REAL, POSITIVE)), names=["mu", "sigma"])
q = fit_posterior(target, max_steps=800)
print(q.diagnose())

# %%
# The first thing to read is that line. The *evidence's lower bound* is what training raised. The *importance weights*
# :math:`p / q` would all be equal if :math:`q` were exact: their tail's shape k says whether they can be trusted, and
# they can below 0.7. The last part tells of a search for *modes* that the flow may have lost.
#
# With two parameters the truth can be computed on a grid, and seen beside the flow's draws.

mu, log_sigma = np.meshgrid(np.linspace(-9, 11, 600), np.linspace(-2.5, 2.5, 300))
grid = torch.from_numpy(np.stack([mu.ravel(), np.exp(log_sigma).ravel()], -1))
truth = log_density(grid).reshape(300, 600)
truth = torch.exp(truth - truth.max()).numpy()
draws = q.sample(4000)

figure = Figure(figsize=(8, 3.6), layout="constrained")
left, right = figure.subplots(1, 2)
left.plot(draws["mu"], draws["sigma"], ".", markersize=1.5, alpha=0.4, color="tab:blue", label="draws of the flow")
left.contour(mu, np.exp(log_sigma), truth, levels=[0.02, 0.1, 0.3, 0.6, 0.9], colors="black", linewidths=0.8)
left.set(xlabel="mu", ylabel="sigma", xlim=(0, 2.5), ylim=(0.4, 2), title="lines: the posterior, on a grid")
left.legend(loc="upper left", markerscale=5)
weight = truth * np.exp(log_sigma)  # the grid is even in the logarithm
density = weight.sum(1) / weight.sum() / (log_sigma[1, 0] - log_sigma[0, 0]) / np.exp(log_sigma[:, 0])
right.hist(draws["sigma"], bins=60, range=(0.4, 2), density=True, color="tab:blue", alpha=0.4)
right.plot(np.exp(log_sigma[:, 0]), density, color="black")
right.set(xlabel="sigma", title="the scale alone", yticks=[], xlim=(0.4, 2))
figure

# %%
# The evidence comes with an error, and with a word on whether to believe it:

print(q.log_evidence())
exact = np.log(weight.sum() * (mu[0, 1] - mu[0, 0]) * (log_sigma[1, 0] - log_sigma[0, 0])) + float(
    log_density(grid).max()
)
print(f"on the grid: {exact:.4f}")

# %%
# Two modes
# ---------
#
# The usual objective, the *reverse* Kullback-Leibler divergence, asks only that draws of :math:`q` be likely. It is
# content with one mode of two, and its weights look perfect. This density has a fifth of its mass in a narrow mode.


def two(x):
    narrow = torch.distributions.Normal(torch.tensor([3.0, 0.0], dtype=x.dtype), 0.4).log_prob(x).sum(-1)
    banana = torch.distributions.Normal(0.0, 1.0).log_prob(
        torch.stack([x[:, 0] + 2, x[:, 1] - x[:, 0] ** 2 / 4 + 2], -1)
    )
    return torch.logaddexp(narrow + math.log(0.2), banana.sum(-1) + math.log(0.8))


double = Target.from_torch(two, 2)
one = fit_posterior(double, objective="reverse_kl", max_steps=200)
print("reverse_kl:", one.diagnose())

# %%
# The search says what the weights can't. Left to itself (``objective="auto"``), ``fit_posterior`` sees two modes before
# it starts: it brings draws down from a wide law over both, and the flow then learns from its own draws, moved towards
# where it has too little (``"bootstrap"``).

both = fit_posterior(double, max_steps=400)
print("auto:", both.diagnose())
print("evidence, truly 0:", both.log_evidence())

# %%
# Shares of the narrow mode among the draws, truly 0.2:

found = [model.sample(8000) for model in (one, both)]
for name, x in zip(("reverse_kl", "auto"), found, strict=True):
    print(f"{name}: {(x['x0'] > 1.5).mean():.3f}")

a, b = np.meshgrid(np.linspace(-6, 5, 200), np.linspace(-5, 6, 200))
height = torch.exp(two(torch.from_numpy(np.stack([a.ravel(), b.ravel()], -1)))).reshape(200, 200).numpy()
figure = Figure(figsize=(8, 3.8), layout="constrained")
for axes, name, x in zip(figure.subplots(1, 2, sharey=True), ("reverse_kl", "auto"), found, strict=True):
    axes.plot(x["x0"][:3000], x["x1"][:3000], ".", markersize=1.5, alpha=0.4, color="tab:blue")
    axes.contour(a, b, height, levels=height.max() * np.array([0.02, 0.1, 0.3, 0.7]), colors="black", linewidths=0.8)
    axes.set(title=f'objective="{name}"', xlim=(-6, 5), ylim=(-5, 6))
figure

# %%
# Models of PyMC, NumPyro and JAX become targets by ``Target.from_pymc``, ``from_numpyro`` and ``from_jax``, with their
# names, shapes and constraints. ``both.sample(n, weigh="resample")`` mends what small error is left, by the weights.
