"""What the checks of a simulator's posterior say, in numbers and in plain words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unwarp.applications._simulators import _calibration as calibration
from unwarp.errors import DataError

__all__ = ["Checks", "LocalCheck", "check"]

Floats = NDArray[np.float64]
_ALPHA = 0.01  # of all tests together
_SHOWN = 0.02  # miscalibration, mean over levels, below which a significant test still means little
_FAR = 0.01  # share of training data beyond an observation from which it is one of them
_FEWEST = 50


class Answers(Protocol):
    """What can be checked: `NPE`, `FMPE`."""

    prior: Any
    usual: Any

    def sample(self, x: ArrayLike, n: int, *, random_state: int = 0) -> Floats: ...

    def log_prob(self, theta: ArrayLike, x: ArrayLike) -> Floats: ...


@dataclass(frozen=True, slots=True)
class LocalCheck:
    """The posterior at one observation.

    Attributes:
        statistic: how well a classifier tells draws from true parameters there; 0 is not at all.
        p: its p-value, by trials among the posterior's own draws.
        beyond: the share of simulated data at least as far out as the observation.
    """

    statistic: float
    p: float
    beyond: float


@dataclass(frozen=True)
class Checks:
    """Calibration of a simulator's posterior on pairs that it has not seen; `NPE.check` makes it.

    Attributes:
        names: of the parameters.
        pairs: how many pairs it was judged by, and `draws` of the posterior at each.
        ranks: of true parameters among draws, `(pairs, parameters)`, uniform where all is well.
        levels: credible levels of the true parameters, by density.
        distances: the like by distance from random points (TARP).
        p: the smaller of two tests of uniformity, for each parameter's ranks, "density" and "distance".
        conservatism: by how much credible regions hold more truths than they claim; below 0 is overconfident.
        local: at the observation that was given, if one was.
    """

    names: tuple[str, ...]
    pairs: int
    draws: int
    ranks: Floats
    levels: Floats
    distances: Floats
    p: dict[str, float]
    conservatism: float
    local: LocalCheck | None = None

    @property
    def trust(self) -> bool:
        """Whether nothing speaks against the posterior."""
        return not self.findings

    @property
    def findings(self) -> list[str]:
        """What is wrong, in words."""
        told: list[str] = []
        failed = [name for name, p in self.p.items() if p < _ALPHA / len(self.p)]
        if failed and (self.conservatism < -_SHOWN):
            told.append(f"regions hold {-100 * self.conservatism:.0f} % fewer truths than they claim: overconfident")
        elif failed and self.conservatism > _SHOWN:
            told.append(f"regions hold {100 * self.conservatism:.0f} % more truths than they claim: too wide")
        elif failed:
            told.append(f"ranks or levels are not uniform: {', '.join(failed[:5])}")
        if self.local is not None and self.local.p < _ALPHA:
            told.append("at the observation a classifier tells the posterior's draws from the truth")
        if self.local is not None and self.local.beyond < _FAR:
            told.append("the simulator seldom or never makes data like the observation: it may be misspecified")
        return told

    @property
    def verdict(self) -> str:
        """Whether to trust it, in a sentence."""
        if self.trust:
            where = "" if self.local is None else ", and nothing speaks against it at the observation"
            return f"The posterior is calibrated on {self.pairs:,} simulations{where}."
        advice = "More simulations, members or rounds help." if not self._only_far else "Look at the simulator first."
        return f"The posterior can't be trusted as it is: {'; '.join(self.findings)}. {advice}"

    @property
    def _only_far(self) -> bool:
        return all("misspecified" in text for text in self.findings)

    def coverage(self, share: float) -> float:
        """How often the region of that credible level holds the truth."""
        return float((self.levels <= share).mean())

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        local = None if self.local is None else asdict(self.local)
        arrays = {name: getattr(self, name).tolist() for name in ("ranks", "levels", "distances")}
        covered = {str(share): self.coverage(share) for share in (0.5, 0.8, 0.9, 0.95)}
        return {
            "names": list(self.names), "pairs": self.pairs, "draws": self.draws, "p": self.p, "coverage": covered,
            "conservatism": self.conservatism, "local": local, "trust": self.trust, "verdict": self.verdict, **arrays,
        }  # fmt: skip

    def __str__(self) -> str:
        tests = ", ".join(f"{name} {p:.2g}" for name, p in self.p.items())
        covered = ", ".join(f"{100 * s:.0f} %: {100 * self.coverage(s):.0f} %" for s in (0.5, 0.8, 0.95))
        said = [f"coverage {covered}", f"p of uniformity: {tests}"]
        if self.local is not None:
            said.append(f"at the observation: classifier p {self.local.p:.2g}, data beyond {self.local.beyond:.2g}")
        return f"{self.verdict} ({'; '.join(said)})"


def check(
    model: Answers, theta: Floats, x: NDArray[np.float32], *, draws: int, at: ArrayLike | None, random_state: int
) -> Checks:
    """Judge a model by pairs that it has not seen.

    Raises:
        DataError: when fewer than 50 pairs are left.
    """
    if len(theta) < _FEWEST:
        raise DataError(f"check: expected at least {_FEWEST} pairs; got {len(theta)}. Simulate more.")
    posterior = model.sample(x, draws, random_state=random_state)
    ranks = calibration.ranks(posterior, theta, random_state)
    log_draws, log_truth = model.log_prob(posterior, x), model.log_prob(theta, x)
    levels = calibration.highest_density_levels(log_draws, log_truth, random_state)
    distances = calibration.distance_levels(posterior, theta, random_state)
    tested = {name: ranks[:, i] for i, name in enumerate(model.prior.names)}
    tested |= {"density": levels, "distance": distances}
    p = {name: min(1.0, 2 * min(calibration.uniformity(values))) for name, values in tested.items()}
    local = None if at is None else _locally(model, theta, x, posterior, np.asarray(at, np.float32), random_state)
    return Checks(
        tuple(model.prior.names), len(theta), draws, ranks, levels, distances, p, calibration.conservatism(levels),
        local,
    )  # fmt: skip


def _locally(
    model: Answers, theta: Floats, x: NDArray[np.float32], posterior: Floats, at: NDArray[np.float32], seed: int
) -> LocalCheck:
    import torch

    at = at.reshape(x.shape[1:])
    probes = model.sample(at[None], 500, random_state=seed + 1)[:, 0]
    flat, point = x.reshape(len(x), -1).astype(np.float64), at.reshape(-1).astype(np.float64)
    if flat.shape[1] > 30:  # a classifier of so few pairs needs few numbers
        groups = np.array_split(np.arange(flat.shape[1]), 30)
        flat = np.stack([flat[:, g].mean(1) for g in groups], 1)
        point = np.array([point[g].mean() for g in groups])
    normal = [
        model.prior.to_normal(torch.from_numpy(np.ascontiguousarray(rows)))[0].numpy()
        for rows in (theta, posterior[0], posterior[1], probes)
    ]
    theta, drawn, again, probes = normal
    statistic, p = calibration.local_two_sample(theta, drawn, again, flat, (probes, point), seed)
    return LocalCheck(statistic, p, model.usual.share_beyond(torch.from_numpy(at)))
