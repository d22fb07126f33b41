"""Posteriors as flows: learned from a log density or from draws, judged, and of use to samplers.

Given: a `_target` (`_foreign` ones are computed `_outside`; `_for_samplers` leads there); `_draws` with `_chains` and
`_marginals`.
Learned: `_posterior`, by `_variational`, which begins at `_start`, or `_from_draws`; kept in a `_posterior_file`.
Judged: `_diagnosis`, lost `_modes`, `_weights`, `_evidence`. Of use: `_transport`.
"""

from unwarp.applications._posteriors._diagnosis import Diagnosis
from unwarp.applications._posteriors._draws import Draws
from unwarp.applications._posteriors._evidence import Evidence, bridge_sampling, importance_sampling
from unwarp.applications._posteriors._for_samplers import NumpyTarget
from unwarp.applications._posteriors._marginals import Marginals
from unwarp.applications._posteriors._posterior import Posterior, fit_posterior
from unwarp.applications._posteriors._target import Target
from unwarp.applications._posteriors._transport import Proposed, propose, transport
from unwarp.applications._posteriors._weights import effective_size, pareto_smoothed

__all__ = [
    "Diagnosis",
    "Draws",
    "Evidence",
    "Marginals",
    "NumpyTarget",
    "Posterior",
    "Proposed",
    "Target",
    "bridge_sampling",
    "effective_size",
    "fit_posterior",
    "importance_sampling",
    "pareto_smoothed",
    "propose",
    "transport",
]
