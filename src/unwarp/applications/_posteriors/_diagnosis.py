"""How well a flow fits a log density: its weights, its bound, and the modes that it lost."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unwarp.applications._posteriors._modes import lost_mode
from unwarp.applications._posteriors._target import Target
from unwarp.applications._posteriors._weights import effective_size, pareto_smoothed
from unwarp.distributions import Flow

__all__ = ["Diagnosis", "diagnosed", "drawn", "log_ratios"]

Floats = NDArray[np.float64]
_JUDGED = 4000  # draws by which a fit is judged
_LARGEST_K = 0.7
_LOST = 5.0  # nats by which q may be too low at a mode


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """How well a flow fits the log density that it stands for.

    Attributes:
        elbo: the evidence's lower bound, nats.
        elbo_error: its standard error.
        pareto_k: shape of the importance weights' tail.
        effective: effective sample size of the weights, a share of the draws.
        lost: by how many nats the flow's density is too low at the worst mode that a search found; above 5 one is lost.
        trust: whether k is at most 0.7 and no mode is lost.
    """

    elbo: float
    elbo_error: float
    pareto_k: float
    effective: float
    lost: float
    trust: bool

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def __str__(self) -> str:
        said = [
            f"ELBO {self.elbo:.3f} +- {self.elbo_error:.3f} nats",
            f"importance weights: k {self.pareto_k:.2f}, worth {100 * self.effective:.0f} % of the draws",
            f"at the worst mode found the flow is too low by {max(0.0, self.lost):.1f} nats",
        ]
        verdict = "The fit can be trusted." if self.trust else "The fit can't be trusted as it is: weigh or refit."
        return "; ".join(said) + f". {verdict}"


def diagnosed(flow: Flow, target: Target, seed: int) -> Diagnosis:
    """Importance weights, the evidence's lower bound, and a search for lost modes."""
    log_weight = log_ratios(flow, target, drawn(flow, _JUDGED, seed))
    _, k = pareto_smoothed(log_weight)
    lost = lost_mode(flow, target, float(np.logaddexp.reduce(log_weight)) - math.log(len(log_weight)), seed=seed)
    share = effective_size(log_weight) / len(log_weight)
    error = float(log_weight.std() / math.sqrt(len(log_weight)))
    return Diagnosis(float(log_weight.mean()), error, k, share, lost, k <= _LARGEST_K and lost <= _LOST)


def drawn(flow: Flow, n: int, seed: int) -> Tensor:
    """Draws of the flow without gradients, by a seed."""
    with torch.no_grad():
        return flow.sample((n,), generator=torch.Generator().manual_seed(seed))


def log_ratios(flow: Flow, target: Target, u: Tensor) -> Floats:
    """Log of target over flow; where the target is not finite, minus infinity."""
    with torch.no_grad():
        ratio = target.log_density(u) - flow.log_prob(u)
    return torch.where(ratio.isfinite(), ratio, -torch.inf).numpy()
