"""Every tolerance of the laws, named once. Relative ones are of 1 + |what is compared|; all hold in float64."""

from __future__ import annotations

import torch

ROUND_TRIP = 1e-9  # |x' - x|, beyond what a rounding of z explains
LADJ = 1e-8  # ladj against the Jacobian's, or against the other direction's
ESTIMATE = 1e-3  # mean of an estimate against the log-determinant, beyond its standard errors, nats
INTEGRAL = {1: 1e-5, 2: 2e-4}  # image of a cell against the integral of exp(ladj), by dimension
MASS = {1: 1e-3, 2: 2e-3}  # total probability by quadrature, by dimension
EVIDENCE = 1e-2  # total probability by importance sampling
BATCH = 1e-10  # one batch against row by row: matrix products round differently
GRADIENT = 1e-5  # directional derivative against central differences
SAME = 1e-10  # two ways to run the same formulas: compiled, mapped, reloaded, draw and density
START = 1e-12  # the identity at the start
SURPRISE = 6.0  # -log10 of the p-value of a statistical test
SCREEN = (40, 120)  # lines and columns of a repr


def rounding(dtype: torch.dtype) -> float:
    """How far a z may be nudged before its image is called a fault of the map: a few units in the last place."""
    return 16 * torch.finfo(dtype).eps
