r"""
Expansion, compression, collapse
================================

The log-determinant says what happens to volume: positive where the map expands, negative where it compresses. A
density can
follow it both ways, but not to the end: a map that flattens a direction to nothing has no inverse, and its image has
no density.
"""

import torch
from matplotlib.figure import Figure

from unwarp import plots
from unwarp.errors import ConfigError
from unwarp.transforms import Linear

maps = {"expands": [[1.8, 0.0], [0.0, 1.5]], "compresses": [[0.6, 0.0], [0.0, 0.5]], "keeps": [[1.25, 0.5], [0.0, 0.8]]}
for name, matrix in maps.items():
    factor = float(Linear(matrix)(torch.zeros(2))[1].exp())
    print(f"{name:10} |det| = {factor:.2f}, log|det| = {torch.tensor(factor).log():+.3f}")

# %%
# On the way to collapse
# ----------------------
# The second direction shrinks: the log-determinant falls without bound, and the density on the line rises without
# bound.

figure = Figure(figsize=(9.5, 2.4), layout="constrained")
z = torch.randn(800, 2, generator=torch.Generator().manual_seed(0))
for ax, share in zip(figure.subplots(1, 4, sharex=True, sharey=True), (1.0, 0.3, 0.05, 0.001), strict=True):
    x, ladj = Linear([[1.0, 0.0], [0.5, share]])(z)
    ax.scatter(*x.T, s=2, color=plots.DATA)
    ax.set(title=f"log|det| = {float(ladj[0]):+.2f}", aspect="equal", xlim=(-3.5, 3.5), ylim=(-3, 3))
figure

# %%
# At the end there is no flow any more, and unwarp says so, with the direction that is lost:

try:
    Linear([[1.0, 0.0], [0.5, 0.0]])
except ConfigError as error:
    print(error)

# %%
# This is why the layers of a flow keep away from the edge by construction: scales are bounded, splines have a least
# slope,
# residual layers are contractions. ``doctor.audit`` tells row by row where a trained flow comes close.
