r"""
Angles and directions
=====================

An angle of 3.1 and one of -3.1 are neighbours, and so are two places on either side of the date line. A density that
does not know it has a seam: two different values, or a hole, at one and the same place. ``circular`` and ``sphere``
move points on the circle and the sphere themselves, so there is no seam to hide.
"""

import math

import torch
from matplotlib.figure import Figure

from unwarp import doctor, fit, flow, plots

generator = torch.Generator().manual_seed(0)

# %%
# Two angles
# ----------
# A band that winds around both ways, like the torsion angles of a molecule: the second angle follows the first, and the
# crowded place lies right on the seam.

n = 3000
first = math.pi + 1.1 * torch.randn(n, generator=generator)
second = first + 0.9 * torch.sin(2 * first) + 0.35 * torch.randn(n, generator=generator)
angles = torch.remainder(torch.stack([first, second], -1) + math.pi, 2 * math.pi) - math.pi

torch.manual_seed(0)
torus = flow("circular", 2, layers=4, hidden=(32, 32))
fit(torus, angles, max_steps=300, seed=0, baselines=())
print(torus.space)

# %%
# On the left the data, cut open at plus and minus pi. On the right the density over more than one turn in each
# direction: it repeats, and does not notice the dashed cut.

side = torch.linspace(-2 * math.pi, 2 * math.pi, 241)
wide = torch.cartesian_prod(side, side)
wrapped = torch.remainder(wide + math.pi, 2 * math.pi) - math.pi
with torch.no_grad():
    density = torus.log_prob(wrapped).exp().reshape(241, 241)
figure = Figure(figsize=(8.4, 4), layout="constrained")
left, right = figure.subplots(1, 2)
left.scatter(*angles.T, s=2, color=plots.DATA, alpha=0.5, linewidths=0)
left.set(xlim=(-math.pi, math.pi), ylim=(-math.pi, math.pi), box_aspect=1, title="data")
right.imshow(density.T.numpy(), origin="lower", extent=(-2 * math.pi, 2 * math.pi) * 2, cmap="Blues")
for cut in (-math.pi, math.pi):
    right.axvline(cut, color=plots.SAMPLES, linestyle="--", linewidth=1)
    right.axhline(cut, color=plots.SAMPLES, linestyle="--", linewidth=1)
right.set(title="density, two turns each way")
for ax in (left, right):
    ax.set(xlabel="first angle / radians", ylabel="second angle / radians")
figure

# %%
# The two ends of a turn are one place and have one density, and one turn holds all the mass:

ends = torch.tensor([[-math.pi, 1.0], [math.pi, 1.0]])
cell = torch.linspace(-math.pi, math.pi, 401)[:-1] + math.pi / 400
with torch.no_grad():
    low, high = torus.log_prob(ends).tolist()
    mass = torus.log_prob(torch.cartesian_prod(cell, cell)).exp().sum() * (2 * math.pi / 400) ** 2
print(f"log p at -pi {low:.5f}, at pi {high:.5f}; mass of one turn {float(mass):.5f}")
assert abs(low - high) < 1e-3
assert abs(float(mass) - 1) < 1e-2

# %%
# Angles beside other numbers
# ---------------------------
# ``support`` says for each feature where it lives. Here a direction of the wind and its speed: a circle and the
# positive numbers, whose product is half of a cylinder.

turn = math.pi + 0.7 * torch.randn(n, generator=generator)
speed = (1.0 - 0.6 * torch.cos(turn) + 0.3 * torch.randn(n, generator=generator)).exp()
wind = torch.stack([torch.remainder(turn + math.pi, 2 * math.pi) - math.pi, speed], -1)
torch.manual_seed(0)
cylinder = flow("circular", 2, support=["circle", "positive"], layers=4, hidden=(32, 32))
fit(cylinder, wind, max_steps=250, seed=0, baselines=())
drawn = cylinder.sample((n,), generator=torch.Generator().manual_seed(1)).detach()
print(cylinder.space)
figure = Figure(figsize=(8, 4), layout="constrained")
titles = {"data": (wind, plots.DATA), "draws": (drawn, plots.SAMPLES)}
for k, (title, (points, colour)) in enumerate(titles.items()):
    ax = figure.add_subplot(1, 2, k + 1, projection="polar")
    ax.scatter(*points.T, s=2, color=colour, alpha=0.5, linewidths=0)
    ax.set(rlim=(0, 12), title=f"{title}: direction, and speed outwards")
figure

# %%
# The globe
# ---------
# Places are unit vectors. The data lie along a belt that runs by both poles and across the date line.

along = 2 * math.pi * torch.rand(n, generator=generator)
across = 0.12 * torch.randn(n, generator=generator)
tilt = math.radians(75)
belt = torch.stack([across.cos() * along.cos(), across.cos() * along.sin(), across.sin()], -1)
turned = torch.eye(3)
turned[1:, 1:] = torch.tensor([[math.cos(tilt), -math.sin(tilt)], [math.sin(tilt), math.cos(tilt)]])
places = torch.nn.functional.normalize(belt @ turned.T, dim=-1)

torch.manual_seed(0)
globe = flow("sphere", 3, layers=4, hidden=(32, 32))
fit(globe, places, max_steps=250, seed=0, baselines=())


def to_map(points):
    return torch.atan2(points[:, 1], points[:, 0]), points[:, 2].clamp(-1, 1).asin()


longitude = torch.linspace(-math.pi, math.pi, 181)
latitude = torch.linspace(-math.pi / 2, math.pi / 2, 91)
lon, lat = torch.meshgrid(longitude, latitude, indexing="ij")
grid = torch.stack([lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()], -1)
with torch.no_grad():
    density = globe.log_prob(grid).exp()
figure = Figure(figsize=(9, 2.9), layout="constrained")
left = figure.add_subplot(1, 2, 1, projection="mollweide")
left.scatter(*to_map(places), s=2, color=plots.DATA, alpha=0.5, linewidths=0)
right = figure.add_subplot(1, 2, 2, projection="mollweide")
drawn = right.pcolormesh(lon.numpy(), lat.numpy(), density.numpy(), cmap="Blues", shading="gouraud")
figure.colorbar(drawn, ax=right, label="density / steradian", shrink=0.8)
for ax, title in ((left, "data"), (right, "density")):
    ax.set_title(title)
    ax.grid(alpha=0.4)
    ax.tick_params(labelsize=6)
figure

# %%
# The density is one of areas on the sphere, per steradian; a map's cells count with the cosine of their latitude.

mass = torch.trapezoid(torch.trapezoid(density * lat.cos(), latitude, dim=1), longitude)
uniform = 1 / (4 * math.pi)
print(f"mass {float(mass):.4f}; highest density {float(density.max()):.3f}, where a uniform one has {uniform:.4f}")
assert abs(float(mass) - 1) < 2e-2

# %%
# What the laws check here
# ------------------------
# "ends meet" is the law of the missing seam: both ends of a turn go to one place. "jacobian" and "ladj by integration"
# measure on the surface itself, and the inputs of every law lie on the circle or the sphere, because the space says
# where. Here for the layers of the torus:

print(doctor.check(torus.transform))
