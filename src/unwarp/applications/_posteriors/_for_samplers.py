"""A log density as samplers want it: numpy in and out for one point or many, with its gradient; or a JAX function."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from unwarp.errors import ConfigError, ShapeError

__all__ = ["NumpyTarget", "jax_function"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NumpyTarget:
    r"""A log density of real coordinates in numpy; `Target.to_numpy` makes it.

    Where the density is not finite it is minus infinity, as samplers expect, with a gradient of 0.

    Nested samplers integrate a likelihood over a prior on the unit cube: `prior_transform` takes the cube to standard
    normal coordinates, and `log_likelihood` is the log density less the normal one, so that the evidence is that of
    the density. After `transport` by a good flow the likelihood is nearly constant.

    Args:
        dim: number of coordinates.
        log_density: `(n, dim) -> (n,)` in torch.
        differentiable: whether it has a gradient.

    Shapes: points `(dim,)` or `(n, dim)`; values `()` or `(n,)`; gradients as the points.

    Example:
        >>> from unwarp.applications import Target
        >>> call = Target.from_torch(lambda x: -0.5 * x.square().sum(-1), 2).to_numpy()
        >>> call([1.0, 1.0]), call(np.ones((3, 2))).shape, call.gradient([1.0, 2.0]).tolist()
        (-1.0, (3,), [-1.0, -2.0])
        >>> call.prior_transform([0.5, 0.5]).tolist()
        [0.0, 0.0]
    """

    dim: int
    log_density: Callable[[Tensor], Tensor]
    differentiable: bool

    def __call__(self, z: ArrayLike) -> Any:
        """The log density, nats: a float for one point."""
        rows, one = self._rows(z)
        with torch.no_grad():
            value = _finite(self.log_density(rows)).numpy()
        return float(value[0]) if one else value

    def value_and_gradient(self, z: ArrayLike) -> tuple[Any, Floats]:
        """The log density and its gradient.

        Raises:
            ConfigError: when it has none.
        """
        if not self.differentiable:
            raise ConfigError("gradient: expected a density with a gradient; got one without. Give the target one.")
        rows, one = self._rows(z)
        rows.requires_grad_()
        value = self.log_density(rows)
        slope = torch.autograd.grad(torch.where(value.isfinite(), value, 0.0).sum(), rows)[0]
        slope = torch.where(slope.isfinite(), slope, 0.0).numpy()
        height = _finite(value.detach()).numpy()
        return (float(height[0]), slope[0]) if one else (height, slope)

    def gradient(self, z: ArrayLike) -> Floats:
        """The gradient of the log density.

        Raises:
            ConfigError: when it has none.
        """
        return self.value_and_gradient(z)[1]

    def prior_transform(self, cube: ArrayLike) -> Floats:
        """From the unit cube to standard normal coordinates."""
        share = torch.as_tensor(np.asarray(cube, dtype=np.float64)).clamp(1e-16, 1 - 1e-16)
        return torch.special.ndtri(share).numpy()

    def log_likelihood(self, z: ArrayLike) -> Any:
        """The log density less that of standard normal coordinates."""
        rows, _ = self._rows(z)
        normal = 0.5 * rows.square().sum(-1).numpy() + 0.5 * self.dim * math.log(2 * math.pi)
        value = self(z) + normal
        return value if np.ndim(z) > 1 else float(value[0])

    def _rows(self, z: ArrayLike) -> tuple[Tensor, bool]:
        values = np.array(z, dtype=np.float64)
        if values.shape[-1:] != (self.dim,) or values.ndim > 2:
            raise ShapeError(
                f"log density: expected points ({self.dim},) or (n, {self.dim}); got {values.shape}. Reshape them."
            )
        return torch.from_numpy(np.atleast_2d(values)), values.ndim == 1


def jax_function(numpy_target: NumpyTarget, jax: Any) -> Callable[[Any], Any]:
    """The density as a JAX function of one point `(dim,)`, with its gradient; under `vmap` a batch is one call."""
    jnp, dim = jax.numpy, numpy_target.dim

    def both(z: Any) -> tuple[np.ndarray, np.ndarray]:
        points = np.asarray(z)
        value, slope = numpy_target.value_and_gradient(points.reshape(-1, dim))
        return value.reshape(points.shape[:-1]).astype(points.dtype), slope.reshape(points.shape).astype(points.dtype)

    def called(z: Any) -> tuple[Any, Any]:
        shapes = jax.ShapeDtypeStruct(z.shape[:-1], z.dtype), jax.ShapeDtypeStruct(z.shape, z.dtype)
        return jax.pure_callback(both, shapes, z, vmap_method="broadcast_all")

    @jax.custom_vjp
    def log_density(z: Any) -> Any:
        return called(z)[0]

    def forward(z: Any) -> tuple[Any, Any]:
        return called(z)

    def backward(slope: Any, cotangent: Any) -> tuple[Any]:
        return (jnp.expand_dims(cotangent, -1) * slope,)

    log_density.defvjp(forward, backward)
    return log_density


def _finite(value: Tensor) -> Tensor:
    return torch.where(value.isfinite(), value, -torch.inf)
