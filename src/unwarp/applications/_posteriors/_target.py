"""A density to be learned from: its log, the space of its parameters, and their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from unwarp._space import REAL, Space
from unwarp.applications._posteriors._draws import named
from unwarp.applications._posteriors._for_samplers import NumpyTarget, jax_function
from unwarp.applications._posteriors._foreign import bridgestan_parts, jax_slopes, numpyro_parts, pymc_parts
from unwarp.applications._posteriors._outside import LogDensity, need, outside
from unwarp.errors import ConfigError, ShapeError
from unwarp.transforms import Unconstrain

__all__ = ["Target"]


@dataclass(frozen=True)
class Target:
    r"""An unnormalised log density of parameters $\theta$, with a map of theirs to the whole of $\mathbb R^d$.

    Flows learn it on unconstrained coordinates u, where its density is $p(\theta(u))\,|\det d\theta/du|$; the evidence
    $Z = \int p$ is the same for both.

    Use a maker: `Target.from_torch`, `from_callable`, `from_jax`, `from_pymc`, `from_numpyro`, `from_bridgestan`.

    Args:
        dim: how many unconstrained coordinates there are.
        log_density: of unconstrained coordinates, `(n, dim) -> (n,)` nats, Jacobian included.
        to_constrained: from u `(n, dim)` to parameters `(n, k)` and $\log|\det d\theta/du|$ `(n,)`.
        to_unconstrained: back, with the log of the inverse's determinant.
        sizes: names of the parameters and the shape of each, in the order of the k columns.
        differentiable: whether gradients flow through `log_density`, which variational inference needs.
        space: where parameters live, if both maps follow from it; a posterior can then be saved.

    Example:
        >>> from unwarp import POSITIVE
        >>> def gamma(x):  # unnormalised, of shape 2 and rate 1
        ...     return (x.log() - x).sum(-1)
        >>> target = Target.from_torch(gamma, Space((1,), POSITIVE), names=["rate"])
        >>> theta, ladj = target.to_constrained(torch.zeros(3, 1))
        >>> theta.flatten().tolist(), target.log_density(torch.zeros(3, 1)).tolist()
        ([1.0, 1.0, 1.0], [-1.0, -1.0, -1.0])
    """

    dim: int
    log_density: LogDensity
    to_constrained: Callable[[Tensor], tuple[Tensor, Tensor]]
    to_unconstrained: Callable[[Tensor], tuple[Tensor, Tensor]]
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    differentiable: bool = True
    space: Space | None = None

    def named(self, u: ArrayLike | Tensor) -> dict[str, np.ndarray]:
        """Parameters by name at unconstrained coordinates `(*batch, dim)`, each `(*batch, *shape)`."""
        points = u.double() if isinstance(u, Tensor) else torch.from_numpy(np.array(u, dtype=np.float64))
        with torch.no_grad():
            x = self.to_constrained(points.reshape(-1, self.dim))[0].numpy()
        return named(x.reshape(*points.shape[:-1], -1), self.sizes)

    def to_numpy(self) -> NumpyTarget:
        """The density of unconstrained coordinates as samplers in numpy take it: one point or many, with gradient."""
        return NumpyTarget(self.dim, self.log_density, self.differentiable)

    def to_jax(self) -> Callable[[Any], Any]:
        """The density of unconstrained coordinates as a JAX function of one point `(dim,)`, with its gradient.

        For BlackJAX, NumPyro (`potential_fn`) and others; what happens inside is torch, called back from JAX's own
        programs, which costs about a tenth of a millisecond a call.

        Raises:
            ConfigError: when JAX is not installed.
        """
        return jax_function(self.to_numpy(), need("jax"))

    @classmethod
    def from_torch(
        cls, log_density: LogDensity, space: Space | int, *, names: Sequence[str] | Mapping[str, Sequence[int]] = ()
    ) -> Target:
        """From a log density written in torch.

        Args:
            log_density: of parameters `(n, d) -> (n,)`, without a Jacobian.
            space: where parameters live: how many reals, or a space of vectors of real, positive or bounded entries.
            names: of the parameters, or their shapes by name.

        Raises:
            ConfigError: when the names are not as many as the parameters.
        """
        space = Space((space,)) if isinstance(space, int) else space
        chart = None if space.support == REAL else Unconstrain(space).double()

        def to_constrained(u: Tensor) -> tuple[Tensor, Tensor]:
            return (u, u.new_zeros(u.shape[:-1])) if chart is None else chart.inverse(u)

        def to_unconstrained(x: Tensor) -> tuple[Tensor, Tensor]:
            return (x, x.new_zeros(x.shape[:-1])) if chart is None else chart.forward(x)

        def unconstrained(u: Tensor) -> Tensor:
            x, ladj = to_constrained(u)
            value = log_density(x)
            if value.shape != u.shape[:-1]:
                raise ShapeError(
                    f"Target: expected a log density of shape {tuple(u.shape[:-1])} for {tuple(u.shape)}; got "
                    f"{tuple(value.shape)}. Sum over the parameters alone."
                )
            return value + ladj

        sizes = _sizes(names, space.shape[0])
        return cls(space.shape[0], unconstrained, to_constrained, to_unconstrained, sizes, space=space)

    @classmethod
    def from_callable(
        cls,
        log_density: Callable[[np.ndarray], Any],
        space: Space | int,
        *,
        gradient: Callable[[np.ndarray], Any] | None = None,
        names: Sequence[str] | Mapping[str, Sequence[int]] = (),
    ) -> Target:
        """From a log density written in numpy, called with one vector of parameters at a time.

        Args:
            log_density: `(d,) -> ()`.
            space: as in `from_torch`.
            gradient: its derivative, `(d,) -> (d,)`; without one a posterior can be fitted to draws only.
            names: as in `from_torch`.
        """

        def both(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            values = np.array([float(log_density(row)) for row in x])
            slopes = np.zeros_like(x) if gradient is None else np.array([np.asarray(gradient(row)) for row in x])
            return values, slopes.reshape(x.shape)

        made = cls.from_torch(outside(both), space, names=names)
        return replace(made, differentiable=gradient is not None)

    @classmethod
    def from_jax(
        cls,
        log_density: Callable[[Any], Any],
        space: Space | int,
        *,
        names: Sequence[str] | Mapping[str, Sequence[int]] = (),
    ) -> Target:
        """From a log density written in JAX, of one vector of parameters, `(d,) -> ()`; compiled once a batch size."""
        return cls.from_torch(outside(jax_slopes(log_density)), space, names=names)

    @classmethod
    def from_numpyro(cls, model: Callable[..., Any], *args: Any, **kwargs: Any) -> Target:
        """From a NumPyro model and its arguments; parameters keep their names, shapes and constraints.

        Where a parameter's support depends on another parameter there is no way back from constrained draws.
        """
        return cls(*numpyro_parts(model, args, kwargs))

    @classmethod
    def from_pymc(cls, model: Any) -> Target:
        """From a PyMC model; parameters keep their names, shapes and constraints. All rows are one compiled call."""
        return cls(*pymc_parts(model))

    @classmethod
    def from_bridgestan(cls, model: Any) -> Target:
        """From a `bridgestan.StanModel`, whose parameters keep their names and constraints.

        Written to BridgeStan's documented interface and not run against it: it needs a C++ toolchain.
        """
        return cls(*bridgestan_parts(model))


def _sizes(names: Sequence[str] | Mapping[str, Sequence[int]], count: int) -> dict[str, tuple[int, ...]]:
    """Shapes by name."""
    if isinstance(names, Mapping):
        found = {name: tuple(shape) for name, shape in names.items()}
    else:
        found = dict.fromkeys(names or [f"x{i}" for i in range(count)], ())
    total = sum(int(np.prod(shape)) for shape in found.values())
    if total != count:
        raise ConfigError(f"Target: expected names for {count} parameters; got {total}. Name each once.")
    return found
