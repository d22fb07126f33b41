r"""
I have a simulator
==================

A simulator can be run, but nobody can write its likelihood. Here: an epidemic in a town of 1,000 people. On each of 60
days chance decides who is infected and who recovers, and a survey of 100 people is taken every fourth day. How fast
does the disease spread, and how long does it last? We answer by simulations alone, and check the answer.
"""

import numpy as np
from torch import distributions

from unwarp import Interval, plots
from unwarp.applications import NPE, Independent

TOWN, SURVEYED, DAYS = 1000, 100, 60


def simulate(theta, seed=0):
    """Ill people in each of 15 surveys, a row for each pair (contacts a day, days ill)."""
    rng = np.random.default_rng(seed)
    contacts, days_ill = theta.T
    ill = np.full(len(theta), 5)
    well = TOWN - ill
    seen = []
    for day in range(DAYS):
        caught = rng.binomial(well, 1 - np.exp(-contacts * ill / TOWN))
        cured = rng.binomial(ill, 1 - np.exp(-1 / days_ill))
        well, ill = well - caught, ill + caught - cured
        if day % 4 == 3:
            seen.append(rng.binomial(SURVEYED, ill / TOWN))
    return np.stack(seen, 1).astype(float)


# %%
# The prior says what is possible before any data: contacts a day of people who would catch it, around 0.4; an
# illness of 3 to 20 days. A law of its own for each parameter, and names that stay with them.

prior = Independent({"contacts": distributions.LogNormal(-0.9, 0.6), "days ill": Interval(3.0, 20.0)})
theta = prior.sample(3000)
x = simulate(theta)
truth = np.array([[0.45, 8.0]])
observed = simulate(truth, seed=4)[0]
print("parameters", theta.shape, "data", x.shape)
print("observed", observed.astype(int))

# %%
# Learn once
# ----------
# ``NPE`` trains three flows on the 3,000 pairs. Each says how the two parameters are distributed given 15 numbers,
# for any 15 numbers. Nothing of the observation is used yet.

npe = NPE(prior, max_steps=500).fit(theta, x)
posterior = npe.posterior(observed)
draws = posterior.sample(4000)
print("days ill: prior 3 to 20, posterior", np.quantile(draws[:, 1], [0.05, 0.95]).round(1))
print("draws outside the prior's support:", int((~prior.contains(draws)).sum()))

# %%
# Below the diagonal the prior, above it the posterior; on it both.

plots.pairs(prior.sample(4000), draws, columns=prior.names)[0, 0].figure

# %%
# Does it predict what was seen?
# ------------------------------
# Parameters from the posterior go back into the simulator. Grey: epidemics from the prior. Blue: from the
# posterior. The dots were observed.

before, after = simulate(prior.sample(200, random_state=1), 1), simulate(draws[:200], 2)
days = np.arange(4, 61, 4)
ax = plots.lines(days, [("prior, median", np.median(before, 0)), ("posterior, median", np.median(after, 0))])
ax.plot(days, before.T, color=plots.MUTED, linewidth=0.5, alpha=0.25)
ax.plot(days, after.T, color=plots.DATA, linewidth=0.5, alpha=0.35)
ax.plot(days, observed, "o", color=plots.INK, markersize=5)
ax.set(xlabel="day", ylabel="ill people among 100", ylim=(0, 80))
ax.figure

# %%
# Is it right?
# ------------
# A posterior that looks good can be wrong. Fresh simulations know their true parameters: over many of them, a
# region that claims 90 % must hold the truth 90 % of the time, and the truth must stand anywhere among the draws.
# ``check`` also asks at *our* observation whether a classifier can tell the posterior's draws from true parameters,
# and whether the simulator makes such data at all.

fresh = prior.sample(400, random_state=7)
checks = npe.check(fresh, simulate(fresh, 7), at=observed, draws=100)
print(checks.verdict)
print({name: round(p, 3) for name, p in checks.p.items()})

# %%
# Left: ranks by density, with the band of chance. Right: what regions hold against what they claim.

plots.calibration(1 - checks.levels)[0].figure

# %%
# When the simulator is wrong
# ---------------------------
# Suppose that the laboratory lost every second survey and wrote down a zero, which the simulator knows nothing of.
# The flow gives an answer all the same. What tells is how far out such data are among the simulated ones.

broken = np.where(np.arange(15) % 2, 0.0, observed)
strange = npe.check(fresh, simulate(fresh, 7), at=broken, draws=100)
print(
    f"simulations as far out: {100 * checks.local.beyond:.1f} % as observed, {100 * strange.local.beyond:.1f} % broken"
)
print(strange.verdict)

# %%
# To hand on: ``npe.save("epidemic.safetensors")`` keeps flows, prior and what data look like;
# ``report.write_checks(checks, "checks.html")`` writes the checks as a page.
