"""Flows that help samplers: a target seen through a flow, and a flow's draws as proposals."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unwarp.applications._posteriors._diagnosis import drawn, log_ratios
from unwarp.applications._posteriors._draws import Draws
from unwarp.applications._posteriors._posterior import Posterior
from unwarp.applications._posteriors._target import Target
from unwarp.distributions import Flow, Normal
from unwarp.errors import ConfigError, ShapeError

__all__ = ["Proposed", "propose", "transport"]


def transport(target: Target, by: Posterior | Flow) -> Target:
    r"""The target in the latent space of a flow: $\log p(u(z)) + \log|\det du/dz|$.

    Where the flow fits, z is nearly standard normal: a sampler meets no funnel and no narrow ridge. Whatever the fit,
    draws of z that are exact give exact draws of the parameters, by `to_constrained` or `named`, and the evidence is
    the same. It is a `Target` like any other: `to_numpy` and `to_jax` give what samplers take.

    Use it with gradient samplers on posteriors of one mode, and with nested samplers on any. A flow whose latent is a
    mixture keeps the modes in the latent space, and a warning says so.

    Args:
        target: the log density.
        by: a posterior that was fitted to it, roughly or well, or a flow of unconstrained coordinates.

    Raises:
        ShapeError: when the flow has another number of coordinates.

    Source: Parno and Marzouk, *Transport map accelerated Markov chain Monte Carlo*, 2018, arXiv:1412.5492; Hoffman et
    al., *NeuTra-lizing Bad Geometry in Hamiltonian Monte Carlo*, 2019, arXiv:1903.03704.

    Example:
        >>> from unwarp import flow
        >>> target = Target.from_torch(lambda x: -0.5 * (x / 5).square().sum(-1), 2, names=["a", "b"])
        >>> latent = transport(target, flow("maf", 2, layers=1).double())
        >>> call = latent.to_numpy()
        >>> call([0.0, 0.0]) == target.to_numpy()([0.0, 0.0]), latent.named(torch.zeros(3, 2))["a"].shape
        (True, (3,))
    """
    flow = by.flow if isinstance(by, Posterior) else by
    if flow.space.shape != (target.dim,):
        raise ShapeError(
            f"transport: expected a flow of {target.dim} coordinates; got {flow.space.shape}. Fit one to this target."
        )
    if not isinstance(flow.base, Normal):
        warnings.warn(
            f"transport: expected a flow with a normal latent; got {type(flow.base).__name__}, whose shape the sampler "
            'still meets. Fit with flow="nsf".',
            stacklevel=2,
        )
    chart = flow.transform

    def log_density(z: Tensor) -> Tensor:
        u, ladj = chart.inverse(z)
        return target.log_density(u) + ladj

    def to_constrained(z: Tensor) -> tuple[Tensor, Tensor]:
        u, first = chart.inverse(z)
        x, second = target.to_constrained(u)
        return x, first + second

    def to_unconstrained(x: Tensor) -> tuple[Tensor, Tensor]:
        u, first = target.to_unconstrained(x)
        z, second = chart.forward(u)
        return z, first + second

    return Target(target.dim, log_density, to_constrained, to_unconstrained, target.sizes, target.differentiable)


@dataclass(frozen=True, slots=True)
class Proposed:
    """Chains of a flow's draws, each accepted or not so that they follow the target exactly.

    Attributes:
        draws: of the parameters, `(chains, draws, k)`.
        acceptance: share of the proposals that were accepted.
        effective: how many independent draws they are worth, the least of the parameters'.
        longest: steps that a chain stayed at one point at most; long stays say that the flow is too low there.
    """

    draws: Draws
    acceptance: float
    effective: float
    longest: int

    def __str__(self) -> str:
        count = self.draws.values.shape[0] * self.draws.values.shape[1]
        return (
            f"{count} draws in {len(self.draws.values)} chains, worth {self.effective:.0f}; accepted "
            f"{100 * self.acceptance:.0f} % of the proposals, stayed for {self.longest} steps at most"
        )


def propose(posterior: Posterior, *, draws: int = 1000, chains: int = 4, random_state: int = 0) -> Proposed:
    """Draws of the target itself by independent proposals of the flow: z' replaces z with chance min(1, w'/w).

    w is the ratio of target to flow. What the flow gets slightly wrong is mended exactly, at the price of repeated
    draws, and no gradient is needed. Each chain starts from one of a hundred draws of the flow, chosen by weight.

    Use it where the flow is good: the acceptance says how good. A mode that the flow lacks stays lacking.

    Args:
        posterior: with a log density.
        draws: of each chain.
        chains: how many.
        random_state: seed.

    Raises:
        ConfigError: when there is no log density.
        ShapeError: when `draws` or `chains` is below 1.

    Source: Hastings, *Monte Carlo sampling methods using Markov chains and their applications*, 1970; Tierney, *Markov
    Chains for Exploring Posterior Distributions*, 1994, section 2.3.3.

    Example:
        >>> from unwarp import flow
        >>> target = Target.from_torch(lambda x: -0.5 * x.square().sum(-1), 2)
        >>> found = propose(Posterior(flow("maf", 2, layers=1).double(), target, known=True))
        >>> found.acceptance, found.draws.values.shape  # this flow is the target
        (1.0, (4, 1000, 2))
    """
    if not posterior.known:
        raise ConfigError("propose: expected a log density; got draws alone. Give fit_posterior a target too.")
    if min(draws, chains) < 1:
        raise ShapeError(f"propose: expected draws and chains of at least 1; got {draws} and {chains}. Ask for more.")
    rng = np.random.default_rng(random_state)
    u = drawn(posterior.flow, chains * (100 + draws), random_state)
    weight = log_ratios(posterior.flow, posterior.target, u)
    places = np.arange(len(u)).reshape(chains, -1)
    first = weight[places[:, :100]] + rng.gumbel(size=(chains, 100))
    here = places[np.arange(chains), first.argmax(1)]
    chance, kept, accepted = np.log(rng.random((draws, chains))), np.empty((chains, draws), dtype=np.int64), 0
    for step in range(draws):
        new = places[:, 100 + step]
        taken = chance[step] < weight[new] - weight[here]
        here = np.where(taken, new, here)
        kept[:, step] = here
        accepted += int(taken.sum())
    with torch.no_grad():
        x = posterior.target.to_constrained(u[torch.from_numpy(kept).flatten()])[0].numpy()
    found = Draws(
        x.reshape(chains, draws, -1), dict(posterior.target.sizes), posterior.dims, posterior.coords
    )  # fmt: skip
    return Proposed(found, accepted / (draws * chains), found.effective, _longest(kept))


def _longest(kept: np.ndarray) -> int:
    """The longest run of equal numbers in a row."""
    longest = run = np.ones(len(kept), dtype=np.int64)
    for before, after in zip(kept.T[:-1], kept.T[1:], strict=True):
        run = np.where(before == after, run + 1, 1)
        longest = np.maximum(longest, run)
    return int(longest.max())
