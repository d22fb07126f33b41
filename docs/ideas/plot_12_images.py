r"""
Images
======

A flow of images is a flow of very many features, with three ideas of its own. Pixels are whole numbers, which have
probabilities and not densities: they are *spread* over their bins first. Neighbours belong together: networks are
convolutions, and 2 x 2 pixels become one with four *channels*. And most details are decided early: after each *level*
half of the channels are done. The latent is still one vector, as long as the image has pixels.

The data are the 8 x 8 digits that come with scikit-learn, pixels from 0 to 16.
"""

import math

import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from unwarp import fit, flow, plots, trace
from unwarp.distributions import estimate
from unwarp.training import bits_per_dimension

digits = load_digits()
x = torch.as_tensor(digits.images, dtype=torch.float32).unsqueeze(1)
label = torch.nn.functional.one_hot(torch.as_tensor(digits.target), 10).float()
train, test = slice(0, 1500), slice(1500, None)
print(f"{len(x)} images of shape {tuple(x.shape[1:])}, values {int(x.min())} to {int(x.max())}")


def show(images, across):
    """Images `(n, 1, 8, 8)` in rows."""
    down = len(images) // across
    sheet = images.reshape(down, across, 8, 8).permute(0, 2, 1, 3).reshape(8 * down, 8 * across)
    figure = Figure(figsize=(0.75 * across, 0.75 * down), layout="constrained")
    ax = figure.subplots()
    ax.imshow(sheet.numpy(), cmap="gray_r", vmin=0, vmax=16)
    ax.set(xticks=[k - 0.5 for k in range(8, 8 * across, 8)], yticks=[k - 0.5 for k in range(8, 8 * down, 8)])
    ax.grid(color="white", linewidth=2)
    ax.tick_params(length=0, labelbottom=False, labelleft=False)
    return figure


# %%
# A small Glow that is told which digit it is
# -------------------------------------------

torch.manual_seed(0)
model = flow("glow", (1, 8, 8), values=17, context=10, levels=2, layers=4, hidden=(32, 32))
history = fit(model, x[train], context=label[train], max_steps=250, lr=1e-2, seed=0, baselines=())
print(f"{sum(p.numel() for p in model.parameters())} parameters, {history.steps} steps")

# %%
# Draws, a column for each digit. They are whole numbers again, as the data are. Below, data for comparison.

with torch.no_grad():
    drawn = model.sample((5,), torch.eye(10), generator=torch.Generator().manual_seed(0))
assert bool((drawn == drawn.round()).all())
show(drawn.flatten(0, 1), 10)

# %%

real = torch.stack([x[digits.target == k][:5] for k in range(10)], 1)
show(real.flatten(0, 1), 10)

# %%
# From pixels to one flat latent
# ------------------------------
# An image on its way: its pixels are spread, mapped from their interval to the real line and standardised; then it goes
# through the levels, which end in one vector of 64 numbers.

for step in trace(model, x[:1], label[:1]):
    print(f"{step.name:12} {tuple(step.points.shape[1:])!s:10} ladj {float(step.ladj):+9.2f}")

# %%
# Spread: a pixel of value 3 becomes a number between 3 and 4, another one each time. (The layer also divides by 17,
# which the picture undoes.)

spread = 17 * torch.cat([model.transform.parts[0](x[train])[0] for _ in range(3)])[:, 0, 2, 2]
figure = Figure(figsize=(7, 2.4), layout="constrained")
ax = figure.subplots()
ax.hist(spread, bins=17 * 6, range=(0, 17), color=plots.SAMPLES, alpha=0.7, label="spread, three times")
values = torch.arange(17)
counts = torch.stack([(x[train, 0, 2, 2] == value).sum() for value in values])
ax.vlines(values, 0, 0.5 * counts, color=plots.DATA, linewidth=2.5, label="whole numbers")
ax.set(xlabel="value of the pixel in row 2, column 2", ylabel="images", xlim=(-0.5, 17.5))
ax.legend(frameon=False)
figure

# %%
# Bits per dimension
# ------------------
# The price of a pixel, when the flow's probabilities are used to store images that it has not seen. A pixel that takes
# any of 17 values with the same probability costs :math:`\log_2 17` bits; pixels each by itself, with the frequencies
# of the training images, cost less. ``log_prob`` is a lower bound, because the spreading is random, so its bits are at
# least as many as the true ones; ``estimate`` tightens it by averaging over draws.

flat = x.flatten(1).long()
frequencies = torch.nn.functional.one_hot(flat[train], 17).double().mean(0) + 1e-2
frequencies = frequencies / frequencies.sum(-1, keepdim=True)
alone = frequencies.log().gather(-1, flat[test].T).sum(0)
with torch.no_grad():
    bound = model.log_prob(x[test], label[test])
    tighter = estimate(model, x[test], label[test], draws=8).value
bits = {
    "any value alike": math.log2(17),
    "each pixel alone": float(bits_per_dimension(alone, 64).mean()),
    "the flow, bound": float(bits_per_dimension(bound, 64).mean()),
    "the flow, 8 draws": float(bits_per_dimension(tighter, 64).mean()),
}
for name, value in bits.items():
    print(f"{name:18} {value:.3f} bits a pixel")

# %%
# What the levels hold
# --------------------
# The latent's first half left after the first level, the second half went on to the coarser one. In the upper row the
# coarse half stays and the other is drawn anew: the shape is kept, details change. In the lower row it is the other
# way round.

generator = torch.Generator().manual_seed(1)
one = label[3].expand(10, 10)
with torch.no_grad():
    z = model.transform.encode(x[3:4], label[3:4]).expand(10, -1)
    anew = model.base.sample((10,), generator=generator)
    details = model.transform.decode(torch.cat([anew[:, :32], z[:, 32:]], -1), one)
    shapes = model.transform.decode(torch.cat([z[:, :32], anew[:, 32:]], -1), one)
show(torch.cat([details, shapes]), 10)

# %%
# Between two images
# ------------------
# Straight ways in the latent, from one digit to another of its kind. Each step keeps the length that a normal draw has
# (a straight line would pass closer to the middle than any draw does), and the flow makes a digit of each.

rows = []
for digit in (0, 3, 4, 7):
    first, last = x[digits.target == digit][[4, 11]]
    told = torch.eye(10)[digit]
    with torch.no_grad():
        a, b = model.transform.encode(torch.stack([first, last]), told.expand(2, 10))
        share = torch.linspace(0, 1, 10).unsqueeze(-1)
        way = torch.lerp(a, b, share)
        way = way / way.norm(dim=-1, keepdim=True) * torch.lerp(a.norm(), b.norm(), share)
        rows.append(model.transform.decode(way, told.expand(10, 10)))
show(torch.cat(rows), 10)
