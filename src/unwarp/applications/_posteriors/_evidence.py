"""The integral of an unnormalised density, by two methods that must agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unwarp.applications._posteriors._weights import effective_size, pareto_smoothed

__all__ = ["Evidence", "bridge_sampling", "importance_sampling"]

Floats = NDArray[np.float64]
_ROUNDS = 1000
_LARGEST_K = 0.7
_LARGEST_ALONE = 0.5  # beyond it weights have no variance, so their standard error means nothing
_WORST_ERROR = 0.2  # nats
_FEWEST = 100  # independent draws
_AGREE = 3.0  # standard errors of the difference


@dataclass(frozen=True, slots=True)
class Evidence:
    """The log evidence, and whether to believe it.

    Attributes:
        value: log of the integral, nats: by bridge sampling where there are draws, otherwise by importance sampling.
        error: its standard error.
        pareto_k: shape of the importance weights' tail; above 0.7 they can't be trusted, and above 0.5 neither can the
            standard error, for which there is another only where there are draws.
        method: "bridge" or "importance".
        trust: whether k is at most 0.7 (0.5 without draws), the error at most 0.2 nats, both methods agree where there
            are both, and nothing else speaks against it: chains that disagree, too few draws, a mode that the flow
            lacks.
        reasons: why not, in words.
        importance: value and error by importance sampling.
        bridge: value and error by bridge sampling; None without draws.
    """

    value: float
    error: float
    pareto_k: float
    method: str
    trust: bool
    reasons: tuple[str, ...]
    importance: tuple[float, float]
    bridge: tuple[float, float] | None

    @classmethod
    def of(
        cls,
        log_weight: Floats,
        at_draws: Floats | None,
        effective_draws: float | None = None,
        *,
        against: Sequence[str] = (),
    ) -> Evidence:
        """From log ratios of target to proposal at the proposal's draws, and at the target's where there are some.

        Draws of the target see its tails, which those of a proposal with lighter ones never do: k is the larger of
        what both say. If weights have a tail of shape k under the proposal, they have one of k / (1 - k) under the
        target.

        Args:
            log_weight: at the proposal's draws, `(n,)`.
            at_draws: at the target's, `(m,)`.
            effective_draws: how many independent draws the latter are worth; all by default.
            against: what else speaks against trust, in words.
        """
        found = importance_sampling(log_weight)
        _, k = pareto_smoothed(log_weight)
        bridge = None
        reasons = list(against)
        if at_draws is not None:
            effective = float(len(at_draws)) if effective_draws is None else effective_draws
            bridge = bridge_sampling(log_weight, at_draws, effective)
            k = max(k, _seen_from_target(at_draws))
            if effective < _FEWEST:
                reasons.append(f"the held-out draws are worth {effective:.0f} independent ones, below {_FEWEST}")
        value, error = found if bridge is None else bridge
        largest = _LARGEST_ALONE if bridge is None else _LARGEST_K
        if not k <= largest:
            reasons.append(f"the importance weights have a tail of shape {k:.2f}, above {largest}")
        if not error <= _WORST_ERROR:
            reasons.append(f"the standard error is {error:.2g} nats, above {_WORST_ERROR}")
        if bridge is not None and not abs(bridge[0] - found[0]) <= _AGREE * math.hypot(bridge[1], found[1]) + 0.01:
            reasons.append(f"importance sampling says {found[0]:.3f} and bridge sampling {bridge[0]:.3f}")
        method = "importance" if bridge is None else "bridge"
        return cls(value, error, k, method, not reasons, tuple(reasons), found, bridge)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def __str__(self) -> str:
        said = "trusted" if self.trust else "not to be trusted: " + "; ".join(self.reasons)
        return (
            f"log evidence {self.value:.4f} +- {self.error:.4f} ({self.method} sampling, k {self.pareto_k:.2f}): {said}"
        )


def importance_sampling(log_weight: Floats) -> tuple[float, float]:
    r"""$\log \frac1n \sum p/q$ of draws from q, and its standard error by the delta method.

    Example:
        >>> importance_sampling(np.full(100, 2.0))
        (2.0, 0.0)
    """
    top = float(np.max(log_weight))
    if not math.isfinite(top):
        return top, math.inf
    value = top + math.log(float(np.exp(log_weight - top).mean()))
    size = effective_size(log_weight)
    return value, math.sqrt(max(0.0, 1 / size - 1 / len(log_weight)))


def bridge_sampling(log_weight: Floats, at_draws: Floats, effective: float | None = None) -> tuple[float, float]:
    r"""The optimal bridge between draws of the proposal q and of the target p, and its standard error.

    With $l = \log(p/q)$ at both, $r \leftarrow \frac{n_q^{-1} \sum_q e^l/(s_p e^l + s_q r)}{n_p^{-1} \sum_p 1/(s_p e^l
    + s_q r)}$ until it stays.

    Args:
        log_weight: l at draws of q, `(n_q,)`.
        at_draws: l at draws of p that q was not fitted to, `(n_p,)`.
        effective: how many independent draws those of p are worth; all by default.

    Source: Meng and Wong, *Simulating Ratios of Normalizing Constants via a Simple Identity*, 1996; the error is that
    of Fruehwirth-Schnatter, *Estimating Marginal Likelihoods for Mixture and Markov Switching Models*, 2004.

    Example:
        >>> value, error = bridge_sampling(np.full(100, 2.0), np.full(50, 2.0))
        >>> round(value, 6), round(error, 6)
        (2.0, 0.0)
    """
    effective = float(len(at_draws)) if effective is None else effective
    share_p = effective / (effective + len(log_weight))
    s_p, s_q = math.log(share_p), math.log1p(-share_p)
    value = importance_sampling(log_weight)[0]
    if not math.isfinite(value) or not np.isfinite(at_draws).all():
        return math.nan, math.inf
    for _ in range(_ROUNDS):
        above = log_weight - np.logaddexp(s_p + log_weight, s_q + value)
        below = -np.logaddexp(s_p + at_draws, s_q + value)
        new = float(_log_mean(above) - _log_mean(below))
        if abs(new - value) < 1e-10:
            break
        value = new
    f_q = np.exp(log_weight - value - np.logaddexp(s_p + log_weight - value, s_q))
    f_p = np.exp(-np.logaddexp(s_p + at_draws - value, s_q))
    squared = f_q.var() / f_q.mean() ** 2 / len(log_weight) + f_p.var() / f_p.mean() ** 2 / effective
    return value, math.sqrt(float(squared))


def _seen_from_target(at_draws: Floats) -> float:
    """Shape of the weights' tail under the proposal, as the target's draws tell it."""
    _, k = pareto_smoothed(np.where(np.isfinite(at_draws), at_draws, -np.inf))
    return k / (1 + k) if 0 < k < math.inf else min(k, 0.0)


def _log_mean(values: Floats) -> float:
    top = float(values.max())
    return top + math.log(float(np.exp(values - top).mean()))
