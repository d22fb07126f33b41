"""The posterior of a simulator's parameters at one observation, and the draws and densities behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from unwarp.applications._posteriors import Draws
from unwarp.applications._simulators._prior import Prior, coordinates
from unwarp.distributions import Mixture

__all__ = ["PosteriorAt", "drawn", "scored"]

Floats = NDArray[np.float64]


class PosteriorAt:
    """The posterior of a simulator's parameters at one observation.

    Attributes:
        names: of the parameters, the columns of draws.
        surprise: the share of training data that are at least as far out as the observation; near 0 the simulator
            does not make such data, and the posterior is an extrapolation.
    """

    def __init__(self, model: Mixture, prior: Prior, x: Tensor, surprise: float) -> None:
        self.names = prior.names
        self.surprise = surprise
        self.prior = prior
        self._model, self._x = model, x

    def sample(self, n: int, *, random_state: int = 0) -> Floats:
        """Draws, `(n, dim)`, all inside the prior's support."""
        u = drawn(self._model, self._x.unsqueeze(0), n, random_state)[:, 0]
        return self.prior.from_normal(u).numpy()

    def log_prob(self, theta: ArrayLike) -> Floats:
        """Log density of parameters `(n, dim)`, nats; minus infinity outside the prior's support."""
        return scored(self._model, self.prior, self.prior.rows(theta), self._x)

    def to_xarray(self, n: int = 4000, *, random_state: int = 0) -> Any:
        """Draws as an `xarray.Dataset` with one chain, as ArviZ takes it.

        Raises:
            ConfigError: when xarray is not installed.
        """
        draws = self.sample(n, random_state=random_state)
        return Draws(draws[None], dict.fromkeys(self.names, ())).to_xarray()


def drawn(model: Mixture, x: Tensor, n: int, seed: int) -> Tensor:
    """Draws at each observation of `(m, *observed)`, `(n, m, dim)`: of each member as many as chance gives it."""
    counts = np.random.default_rng(seed).multinomial(n, [1 / len(model.parts)] * len(model.parts))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        groups = [
            part.sample((int(count),), x, generator=generator)
            for part, count in zip(model.parts, counts, strict=True)
            if count
        ]
    return torch.cat(groups)[torch.randperm(n, generator=generator)]


def scored(model: Mixture, prior: Prior, theta: Tensor, x: Tensor) -> Floats:
    """Log density of parameters `(*batch, dim)` at observations that broadcast with them."""
    flat = theta.reshape(-1, theta.shape[-1]).double()
    u, ladj, inside = coordinates(prior, flat)
    with torch.no_grad():
        value = model.log_prob(u.float().reshape(theta.shape), x).double() + ladj.reshape(theta.shape[:-1])
    return torch.where(inside.reshape(value.shape), value, -torch.inf).numpy()
