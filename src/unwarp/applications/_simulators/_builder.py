"""Flows inside sbi's own trainers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from unwarp.applications._simulators._learned import Embedding, Plan, build, prepare
from unwarp.applications._simulators._prior import Prior, coordinates
from unwarp.distributions import Mixture
from unwarp.errors import ConfigError

__all__ = ["builder"]


def builder(
    flow: str = "nsf",
    *,
    prior: Prior | None = None,
    flow_options: Mapping[str, Any] | None = None,
    embedding: Embedding = "none",
    summary: int = 32,
    random_state: int = 0,
) -> Callable[[Tensor, Tensor], Any]:
    """What sbi's trainers take as `density_estimator`, such as `sbi.inference.NPE(prior, density_estimator=builder())`.

    Use it where a study already runs in sbi. `NPE` here needs no more, trains faster and has members.

    Args:
        flow: a recipe for vectors.
        prior: with one, the flow lives on its normal coordinates, and no draw leaves its support.
        flow_options: of the recipe.
        embedding: as for `NPE`.
        summary: as for `NPE`.
        random_state: seed of the weights.

    Returns:
        A function of parameters and data, of which it takes shapes and scales; it makes sbi's estimator.

    Raises:
        ConfigError: when it is called and sbi is not installed.

    Example:
        >>> callable(builder("maf"))
        True
    """
    plan = Plan(
        flow=flow, options=dict(flow_options or {}), embedding=embedding, summary=summary, random_state=random_state
    )

    def make(theta: Tensor, x: Tensor) -> Any:
        kind = _estimator()
        rows = theta.reshape(len(theta), -1).float()
        model = build(plan, rows.shape[1], tuple(x.shape[1:]))
        u = rows if prior is None else prior.to_normal(rows)[0].float()
        prepare(model, u, x.float())
        return kind(model, prior, theta.shape[1:], x.shape[1:])

    return make


def _estimator() -> Any:
    """The class, made where sbi is: its base class cannot be named before."""
    try:
        base: Any = import_module("sbi.neural_nets.estimators.base").ConditionalDensityEstimator
    except ImportError as error:
        raise ConfigError("builder: expected the package sbi; got none. Install it: pip install sbi.") from error

    class Estimator(base):
        """Shapes: input `(draws, batch, d)`, condition `(batch, *observed)` -> `(draws, batch)`."""

        def __init__(self, model: Mixture, prior: Prior | None, input_shape: Any, condition_shape: Any) -> None:
            super().__init__(model, torch.Size(input_shape), torch.Size(condition_shape))
            self._prior = prior

        def log_prob(self, input: Tensor, condition: Tensor, **_: Any) -> Tensor:  # noqa: A002 - sbi's own name
            theta, given, _count = self._broadcast_and_align(input, condition)
            if self._prior is None:
                return self.net.log_prob(theta, given)
            rows = theta.flatten(0, 1)
            u, ladj, inside = (part.unflatten(0, theta.shape[:2]) for part in coordinates(self._prior, rows))
            value = self.net.log_prob(u.to(theta), given) + ladj.to(theta)
            return torch.where(inside, value, -torch.inf)

        def loss(self, input: Tensor, condition: Tensor, **_: Any) -> Tensor:  # noqa: A002 - sbi's own name
            return -self.log_prob(input.unsqueeze(0), condition)[0]

        def sample(self, sample_shape: Any, condition: Tensor, **_: Any) -> Tensor:
            u = self.net.sample(tuple(sample_shape), condition)
            if self._prior is None:
                return u
            theta = self._prior.from_normal(u.reshape(-1, u.shape[-1]))
            return self._inside(theta.to(u)).reshape(u.shape)

        def _inside(self, theta: Tensor) -> Tensor:
            """Numbers of float32 that rounding put on an edge, moved off it."""
            space = self._prior.space if self._prior is not None else None
            for i, support in enumerate(() if space is None else space.supports):
                low, high = getattr(support, "low", None), getattr(support, "high", None)
                if low is not None and high is not None:
                    column = theta[:, i]
                    up, down = column.new_tensor(low).nextafter(column.new_tensor(torch.inf)), column.new_tensor(high)
                    theta[:, i] = column.clamp(up, down.nextafter(-down.new_tensor(torch.inf)))
            return theta

    return Estimator
