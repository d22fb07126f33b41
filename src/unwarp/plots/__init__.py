"""Pictures of tables, samples and densities: functions that take and return matplotlib axes.

Every function draws on the axes that it is given, or makes a figure of its own (never through ``pyplot``, so nothing
global changes and threads can draw at once) and returns the axes; ``axes.figure.savefig("name.png")`` writes it.
Colours mean one thing everywhere: `DATA` is what was measured, `SAMPLES` is what the model draws.

matplotlib comes with ``pip install "unwarp[plot]"``.
"""

from unwarp.plots._axes import DATA, GRID, INK, MUTED, SAMPLES
from unwarp.plots._fits import calibration, deviations, latent, training
from unwarp.plots._mixed import closest, columns
from unwarp.plots._tables import beside, density, marginals, pairs
from unwarp.plots._warps import animate, lines, stretch, warp

__all__ = [
    "DATA",
    "GRID",
    "INK",
    "MUTED",
    "SAMPLES",
    "animate",
    "beside",
    "calibration",
    "closest",
    "columns",
    "density",
    "deviations",
    "latent",
    "lines",
    "marginals",
    "pairs",
    "stretch",
    "training",
    "warp",
]
