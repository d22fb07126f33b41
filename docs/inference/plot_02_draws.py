r"""
I have draws
============

A sampler has run, and its draws are all that is left of the posterior. A flow makes a density of them: one that can be
evaluated, drawn from for ever, saved in a small file, and asked for the evidence.

The data are the heights of a cooling signal, and two models compete for them: a decay :math:`a e^{-k t}` and a straight
line. Each has noise of unknown size. Draws come from a random walk of twenty lines; those of Stan, PyMC, NumPyro or
emcee do as well, as ArviZ or xarray objects, as NetCDF, or as arrays.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from unwarp import POSITIVE, REAL, Space, plots
from unwarp.applications import Draws, Marginals, Posterior, Target, fit_posterior, propose, transport

time = torch.linspace(0.0, 4.0, 16, dtype=torch.float64)
noise = torch.randn(16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
height = 2.0 * torch.exp(-0.7 * time) + 0.15 * noise


def decay(x):
    """Log of prior times likelihood: amplitude, rate and noise are exponential with means 2, 1 and 0.5."""
    a, k, sigma = x.unbind(-1)
    fit = torch.distributions.Normal(a[:, None] * torch.exp(-k[:, None] * time), sigma[:, None])
    prior = -a / 2 - k - sigma / 0.5 - np.log(2 * 1 * 0.5)
    return fit.log_prob(height).sum(-1) + prior


def line(x):
    """Start and slope are normal with deviations 2 and 1, the noise as before."""
    start, slope, sigma = x.unbind(-1)
    fit = torch.distributions.Normal(start[:, None] + slope[:, None] * time, sigma[:, None])
    prior = -0.5 * (start / 2) ** 2 - 0.5 * slope**2 - np.log(2 * 1 * 2 * np.pi) - sigma / 0.5 - np.log(0.5)
    return fit.log_prob(height).sum(-1) + prior


def random_walk(target, steps=12_000, chains=4, seed=0):
    """Metropolis' draws by name, (chains, draws): every third after the first sixth."""
    rng, call = np.random.default_rng(seed), target.to_numpy()
    u = 0.1 * rng.normal(size=(chains, target.dim))
    kept, now = [], call(u)
    for _ in range(steps):
        other = u + 0.25 * rng.normal(size=u.shape)
        value = call(other)
        taken = np.log(rng.random(chains)) < value - now
        u, now = np.where(taken[:, None], other, u), np.where(taken, value, now)
        kept.append(u)
    return target.named(np.stack(kept[steps // 6 :: 3], 1))


decaying = Target.from_torch(decay, Space((3,), POSITIVE), names=["a", "k", "sigma"])
draws = random_walk(decaying)
print(Marginals.of(Draws.of(draws)))

# %%
# R-hat says whether the chains agree (1: they do), and "effective" how many independent draws these are worth.
#
# A density of the draws
# ----------------------
# The target tells names and bounds, and that there is a log density. Half of each chain teaches the flow; the other
# half will judge it. Parameters above 0 stay above 0, in every draw.

posterior = fit_posterior(draws, decaying, max_steps=600)
print(posterior.marginals())
fresh = posterior.draw(4000)
axes = plots.pairs(Draws.of(draws).rows, fresh.rows, columns=fresh.names)
axes[0, 0].figure

# %%
# Below the diagonal are the draws, above it the flow's: mirror images. The density itself is normalised and in the
# parameters' own units. Without a target the same works with bounds by name:
# ``fit_posterior(draws, support={"a": POSITIVE, "k": POSITIVE, "sigma": POSITIVE})``.

at = {"a": [2.0, 2.0], "k": [0.7, 1.0], "sigma": [0.15, 0.15]}
print("log density at the truth and beside it:", posterior.log_prob(at).round(2))

# %%
# The evidence
# ------------
# With a log density there are two ways to the integral: importance sampling from the flow, and a bridge between the
# flow's draws and those kept aside. They must agree, the weights must have a light tail, and a search from far around
# must find no mode that the flow lacks.

found = posterior.log_evidence()
print(found)

# %%
# With three parameters, the answer can be had by brute force too: a sum over a fine grid.

a, k, sigma = (torch.linspace(low, high, 90) for low, high in ((0.5, 3.5), (0.05, 1.8), (0.04, 0.6)))
grid = torch.cartesian_prod(a, k, sigma).double()
cell = float((a[1] - a[0]) * (k[1] - k[0]) * (sigma[1] - sigma[0]))
exact = float(torch.logsumexp(decay(grid), 0)) + np.log(cell)
print(f"by a grid {exact:.4f}, by the flow {found.value:.4f}")
assert abs(exact - found.value) < 0.02

# %%
# The rival
# ---------
# The same for the straight line. The difference of the two is the log Bayes factor: what the data say for the decay.

straight = Target.from_torch(line, Space((3,), (REAL, REAL, POSITIVE)), names=["start", "slope", "sigma"])
rival = fit_posterior(random_walk(straight), straight, max_steps=600).log_evidence()
print(rival)
print(f"log Bayes factor {found.value - rival.value:.2f} nats for the decay")

# %%
# When not to trust it
# --------------------
# These draws are of another posterior, whose noise was wrongly scaled: the two ways to the evidence no longer agree,
# and the answer says so instead of a bare number.

wrong = draws | {"sigma": 1.3 * draws["sigma"]}
print(fit_posterior(wrong, decaying, max_steps=300).log_evidence())

# %%
# A flow helps samplers
# ---------------------
# Seen through the flow, the posterior is nearly a standard normal. ``transport`` gives that density as a target of its
# own, to any sampler: ``latent.to_numpy()`` for emcee and dynesty, ``latent.to_jax()`` for BlackJAX and NumPyro, and
# ``latent.named(z)`` maps what comes out back. Left: the random walk's coordinates; right: the same draws in the latent
# space.

options = {"layers": 3, "hidden": (32,)}
smooth = fit_posterior(draws, decaying, flow="maf", flow_options=options, max_steps=400)
latent = transport(decaying, smooth)
x = torch.from_numpy(Draws.of(draws).rows)
u, z = decaying.to_unconstrained(x)[0].numpy(), latent.to_unconstrained(x)[0].numpy()
figure = Figure(figsize=(7.6, 3.4), layout="constrained")
panels = zip(figure.subplots(1, 2), (u, z), ("coordinates log a, log k", "latent coordinates"), strict=True)
for ax, points, title in panels:
    ax.scatter(points[::4, 0], points[::4, 1], s=3, alpha=0.4, color=plots.DATA, linewidths=0)
    ax.set(title=title, aspect="equal", xlabel="first", ylabel="second")
    ax.grid(color=plots.GRID, linewidth=0.5)
figure

# %%
# The simplest sampler of all needs no tuning and no gradient: independent draws of the flow, each accepted or refused
# so that the chain follows the posterior exactly.

exactly = propose(posterior)
print(exactly)

# %%
# Keep it
# -------
# One file holds the flow, names, shapes and bounds. ``unwarp posterior draws.nc -o q.safetensors --report q.html``
# does this for a file of draws. With xarray installed, ``to_xarray`` and ``to_arviz`` hand draws back with the
# dimensions and labels that they came with.

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "decay.safetensors")
    posterior.save(path)
    print(f"{path.stat().st_size / 1e3:.0f} kB:", Posterior.load(path).marginals("k"), sep="\n")
