r"""
A flow in my VAE
================

A variational autoencoder explains an image :math:`x` by a short code :math:`z`: a *prior* :math:`p(z)`, a *decoder*
:math:`p(x \mid z)`, and a *posterior* :math:`q(z \mid x)` that guesses the code of a given image. All three are
trained at once, by the evidence's lower bound (ELBO)

.. math:: \log p(x) \ge \mathbb E_{z \sim q(z \mid x)} \left[\log p(x \mid z) + \log p(z) - \log q(z \mid x)\right].

Prior and posterior are usually normal, because one must draw from them and know their density. Flows can do both, and
that is all that it takes to put them there. The data are the 8 x 8 digits that come with scikit-learn; pixels are 0
or 1, by whether they are more than half black. Codes have two numbers here, so that everything can be drawn.
"""

import math

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import nn

from unwarp import Flow, fit, flow
from unwarp.distributions import Gaussian, Normal
from unwarp.training import ReverseKL
from unwarp.transforms import Compose, Elementwise, Inverse
from unwarp.univariates import Affine

digits = load_digits()
order = torch.randperm(len(digits.images), generator=torch.Generator().manual_seed(0))
black = torch.as_tensor(digits.images > 8, dtype=torch.float32).flatten(1)[order]
label = torch.as_tensor(digits.target)[order]
train, test = black[:1500], black[1500:]

# %%
# The posterior
# -------------
#
# The encoder is any network. Of what it tells, the first numbers are the place and the scale of the code, as ever; a
# flow sees all of it as its *context*. Noise runs through the flow first, and is then put in place. ``Inverse`` says
# which direction is drawn: from noise to code. The recipes for posteriors have theirs the right way round: a draw
# from ``iaf``, or from ``planar`` with ``explicit="sampling"``, takes one pass, and so does its density.

TOLD = 20


class First(nn.Module):
    """The first numbers of the context, as they are."""

    def forward(self, nothing, context):
        return context[..., :4]


def posterior(*layers):
    place = Inverse(Elementwise(2, Affine(5.0), net=First(), context=TOLD))
    return Flow(Compose([place, *layers]), Normal(2))


# %%
# The model
# ---------
#
# ``sample_and_log_prob`` gives codes and their densities together, with gradients through the draws. Several draws
# for each image are asked for by a shape; ``context`` broadcasts.


class VAE(nn.Module):
    def __init__(self, prior, posterior):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, TOLD))
        self.decoder = nn.Sequential(nn.Linear(2, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 64))
        self.prior, self.posterior = prior, posterior

    def log_joint(self, z, x):
        logits = self.decoder(z)
        log_likelihood = -F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)
        return log_likelihood + self.prior.log_prob(z)

    def log_weights(self, x, draws):
        z, log_q = self.posterior.sample_and_log_prob((draws,), self.encoder(x))
        return self.log_joint(z, x) - log_q


def trained(make, steps=1200, batch=64):
    torch.manual_seed(0)
    vae = make()
    optimiser = torch.optim.Adam(vae.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        x = train[torch.randint(len(train), (batch,))]
        loss = -vae.log_weights(x, 1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return vae.eval().requires_grad_(requires_grad=False)


models = {
    "plain": trained(lambda: VAE(Normal(2), posterior())),
    "flow prior": trained(lambda: VAE(flow("nsf", 2, layers=4, hidden=(64,), tails="light"), posterior())),
    "flow posterior": trained(
        lambda: VAE(Normal(2), posterior(flow("nsf", 2, context=TOLD, layers=4, hidden=(64,), tails="light").transform))
    ),
}

# %%
# How good is it?
# ---------------
#
# The ELBO mixes two questions: how good is the model, and how good is the posterior? The *importance-weighted bound*,
# the logarithm of the mean of K weights, comes closer to :math:`\log p(x)` as K grows. With codes of two numbers a sum
# over a grid gives :math:`\log p(x)` itself, and the rest is the posterior's fault: a flow loses less. Which model is
# the best one is not to be seen after so short a training of one seed; figures of that kind, with MNIST, are on the
# page about autoencoders.

side = torch.linspace(-5, 5, 101)
shape = (101, 101)
grid = torch.cartesian_prod(side, side)
log_cell = 2 * math.log(float(side[1] - side[0]))
LEVELS = [0.05, 0.2, 0.4, 0.6, 0.8, 1.0]


def measured(vae, x):
    weights = vae.log_weights(x, 100)
    exact = torch.stack([vae.log_joint(grid, one).logsumexp(0) + log_cell for one in x])
    return weights.mean(0), weights.logsumexp(0) - math.log(100), exact


torch.manual_seed(1)
for which, x in (("training", train), ("test", test)):
    print(f"{which} images   ELBO   weighted, K = 100   log p(x)   lost by the posterior")
    for name, vae in models.items():
        elbo, bound, exact = (float(each.mean()) for each in measured(vae, x[:50]))
        print(f"  {name:14} {elbo:7.2f} {bound:18.2f} {exact:10.2f} {exact - elbo:22.2f}")

# %%
# Where codes are
# ---------------
#
# A normal prior is a round hill, but codes of real images lie in clumps and leave gaps. A flow as prior learns where
# they are: contours are the prior's density, points are codes of training images, coloured by digit.

figure = Figure(figsize=(10, 4.6), layout="constrained")
for ax, name in zip(figure.subplots(1, 2), ("plain", "flow prior"), strict=True):
    vae = models[name]
    codes = vae.posterior.sample((), vae.encoder(train))
    density = vae.prior.log_prob(grid).exp().reshape(shape)
    ax.contourf(side, side, density.T, levels=12, cmap="Greys", alpha=0.7)
    ax.scatter(*codes.T, c=label[:1500], cmap="tab10", s=4)
    ax.set(title=name, xlim=(-4, 4), ylim=(-4, 4), xlabel="$z_1$", ylabel="$z_2$")
figure

# %%
# What a posterior may look like
# ------------------------------
#
# Take the plain model as it is, and of some training images the one whose true posterior, by the grid, is least like a
# normal one with independent coordinates. Filled: that posterior. Lines: what three families say, each trained for this
# image alone, so that no encoder is to blame. An ellipse along the axes cannot bend. Planar maps, those of the paper
# that named flows, can, and splines follow even to parts that lie apart. What is lost is the Kullback-Leibler
# divergence: the bound's distance from :math:`\log p(x)`.

vae = models["plain"]
log_p = torch.stack([vae.log_joint(grid, x) for x in train[:200]])
p = log_p.softmax(-1)
variance = p @ grid.square() - (p @ grid).square()
entropy = log_cell - (p * p.clamp(min=1e-30).log()).sum(-1)
chosen = (0.5 * (2 * math.pi * math.e * variance).log().sum(-1) - entropy).argmax()
image, log_p = train[chosen], log_p[chosen]
families = {
    "mean-field": Gaussian(2),
    "planar": flow("planar", 2, layers=12, explicit="sampling"),
    "spline": flow("nsf", 2, layers=4, hidden=(32,), tails="light"),
}
evidence = log_p.logsumexp(0) + log_cell
figure = Figure(figsize=(10, 3.7), layout="constrained")
for ax, (name, q) in zip(figure.subplots(1, 3, sharex=True, sharey=True), families.items(), strict=True):
    objective = ReverseKL(lambda z: vae.log_joint(z, image), gradient="total")
    fit(q, torch.zeros(128, 2), objective, start="keep", validation=0, max_steps=400, lr=2e-2, seed=0, baselines=())
    with torch.no_grad():
        z, log_q = q.sample_and_log_prob((4000,))
        lost = float((evidence - vae.log_joint(z, image) + log_q).mean())
        told = q.log_prob(grid).exp().reshape(shape).T
    ax.contourf(side, side, (log_p - log_p.max()).exp().reshape(shape).T, levels=LEVELS, cmap="Blues")
    ax.contour(side, side, told / told.max(), levels=[0.05, 0.4, 0.8], colors="C1")
    ax.set_title(f"{name}: {lost:.2f} nats lost", size=10)
near = grid[log_p > log_p.max() - 4]
ax.set(xlim=(near[:, 0].min() - 0.5, near[:, 0].max() + 0.5), ylim=(near[:, 1].min() - 0.5, near[:, 1].max() + 0.5))
figure

# %%
# Images
# ------
#
# Draws from the prior, decoded, and test images (first line) through codes of each model and back.


def show(rows, names):
    figure = Figure(figsize=(9, 0.62 * len(rows)), layout="constrained")
    for ax, images, name in zip(figure.subplots(len(rows), 1), rows, names, strict=True):
        tiles = F.pad(images.reshape(-1, 8, 8), (1, 0, 0, 0))
        ax.imshow(torch.cat(list(tiles), -1), cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        ax.set_ylabel(name, rotation=0, ha="right", va="center", size=9)
    return figure


show([vae.decoder(vae.prior.sample((16,))).sigmoid() for vae in models.values()], models)

# %%

back = [vae.decoder(vae.posterior.sample((), vae.encoder(test[:16]))).sigmoid() for vae in models.values()]
show([test[:16], *back], ["images", *models])

# %%
# The same with MNIST, more codes, planar, spline and autoregressive layers, model files and a command line is in
# ``examples/vae.py``.
