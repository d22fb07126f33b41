"""Posteriors and likelihoods of simulators: learned from pairs of parameters and data, and checked.

Given: a `_prior`, made of `_laws`, and `_simulations`. Learned: `_npe` and `_nle`, of flows that are `_learned`, in
`_rounds`; draws of likelihoods are `_tempered`; a `_builder` for sbi. Checked: `_checks`, by `_calibration`, and
`_strange` observations.
"""

from unwarp.applications._simulators._builder import builder
from unwarp.applications._simulators._checks import Checks, LocalCheck
from unwarp.applications._simulators._nle import NLE, SampledPosterior
from unwarp.applications._simulators._npe import FMPE, NPE, PosteriorAt
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
