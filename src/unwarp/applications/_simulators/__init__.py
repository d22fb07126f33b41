"""Posteriors and likelihoods of simulators: learned from pairs of parameters and data, and checked.

Given: a `_prior`, made of `_laws`, and `_simulations`. Learned: flows as in `_learned`. `_npe` is `_neural`, goes in
`_rounds` and gives a `_posterior_at` an observation; draws of `_nle` are `_tempered`; sbi has a `_builder`. Checked:
`_checks`, by `_calibration`, and `_strange` observations.
"""

from unwarp.applications._simulators._builder import builder
from unwarp.applications._simulators._checks import Checks, LocalCheck
from unwarp.applications._simulators._nle import NLE, SampledPosterior
from unwarp.applications._simulators._npe import FMPE, NPE
from unwarp.applications._simulators._posterior_at import PosteriorAt
from unwarp.applications._simulators._prior import Box, Independent, Prior

__all__ = [
    "FMPE",
    "NLE",
    "NPE",
    "Box",
    "Checks",
    "Independent",
    "LocalCheck",
    "PosteriorAt",
    "Prior",
    "SampledPosterior",
    "builder",
]
