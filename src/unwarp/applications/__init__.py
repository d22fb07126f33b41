"""What flows are used for: posteriors and evidence, and judging synthetic rows beside the real ones."""

from unwarp.applications._builder import builder
from unwarp.applications._checks import Checks, LocalCheck
from unwarp.applications._diagnosis import Diagnosis
from unwarp.applications._doors import NumpyTarget
from unwarp.applications._draws import Draws
from unwarp.applications._evidence import Evidence, bridge_sampling, importance_sampling
from unwarp.applications._judgement import Judgement
from unwarp.applications._marginals import Marginals
from unwarp.applications._measures import Closest, ColumnScore, Duplicates, Likelihood, PairScore, Utility
from unwarp.applications._nle import NLE, SampledPosterior
from unwarp.applications._npe import FMPE, NPE, PosteriorAt
from unwarp.applications._posterior import Posterior, fit_posterior
from unwarp.applications._prior import Box, Independent, Prior
from unwarp.applications._synthesis import judge
from unwarp.applications._target import Target
from unwarp.applications._transport import Proposed, propose, transport
from unwarp.applications._weights import effective_size, pareto_smoothed

__all__ = [
    "FMPE",
    "NLE",
    "NPE",
    "Box",
    "Checks",
    "Closest",
    "ColumnScore",
    "Diagnosis",
    "Draws",
    "Duplicates",
    "Evidence",
    "Independent",
    "Judgement",
    "Likelihood",
    "LocalCheck",
    "Marginals",
    "NumpyTarget",
    "PairScore",
    "Posterior",
    "PosteriorAt",
    "Prior",
    "Proposed",
    "SampledPosterior",
    "Target",
    "Utility",
    "bridge_sampling",
    "builder",
    "effective_size",
    "fit_posterior",
    "importance_sampling",
    "judge",
    "pareto_smoothed",
    "propose",
    "transport",
]
