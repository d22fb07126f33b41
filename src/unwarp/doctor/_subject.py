"""What the laws are run on: an object of the library, and how to call it and draw its inputs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Generator, Tensor, nn

from unwarp._space import Space
from unwarp.distributions import Distribution, Flow
from unwarp.errors import ConfigError
from unwarp.flows import build
from unwarp.transforms import Compose, Elementwise, Noise, Transform
from unwarp.univariates import Univariate

__all__ = ["Call", "Module", "Outputs", "Run", "Subject", "held", "perturbed", "subject_of", "transform_of"]

Module = Transform | Distribution
M = TypeVar("M", bound=nn.Module)
Outputs = tuple[Tensor, ...]
Run = Callable[[Tensor, Tensor | None], Outputs]


@dataclass(frozen=True, slots=True)
class Call:
    """One way to run the subject, with a batch of inputs to run it on.

    Attributes:
        name: forward, inverse or log_prob.
        run: the function: x and context to a tuple of tensors, the last of which has the batch shape.
        x: typical inputs, `(rows, *space.shape)`.
        context: their contexts, `(rows, *context_shape)`, or None.
        space: where x lives.
        onto: where the first output lives; None for log_prob.
    """

    name: str
    run: Run
    x: Tensor
    context: Tensor | None
    space: Space
    onto: Space | None

    def __call__(self) -> Outputs:
        return self.run(self.x, self.context)


@dataclass(frozen=True)
class Subject:
    """A transform or a distribution under examination: a private copy in float64 on the CPU.

    Attributes:
        name: what to call it in a report.
        module: the copy.
        fresh: builds the object anew, as it was before any training; None when there is no way to.
        rows: how many inputs a law draws.
        seed: of every draw.
        truth: the exact log density, for an object whose own is a bound.
    """

    name: str
    module: Module
    fresh: Callable[[], Module] | None = None
    rows: int = 16
    seed: int = 0
    truth: Callable[[Tensor], Tensor] | None = None

    @property
    def has_map(self) -> bool:
        """Is there a transform to examine?"""
        return isinstance(self.module, (Transform, Flow))

    @property
    def has_density(self) -> bool:
        """Is there a distribution to examine?"""
        return isinstance(self.module, Distribution)

    @property
    def map(self) -> Transform:
        """The transform under examination: the module itself, or its flow's."""
        return transform_of(self.module)

    @property
    def density(self) -> Distribution:
        """The distribution under examination."""
        if isinstance(self.module, Distribution):
            return self.module
        raise ConfigError(
            f"check: expected a distribution; got {type(self.module).__name__}. Run the laws of transforms on it."
        )

    @property
    def door(self) -> Module:
        """Where calls are checked: a distribution's methods, or a chain around a lone transform."""
        return Compose([self.module]) if isinstance(self.module, Transform) else self.module

    @property
    def features(self) -> int:
        """How many numbers an event has."""
        return max(1, self.space.entries)

    @property
    def space(self) -> Space:
        """Where the subject's events live."""
        return self.module.space if isinstance(self.module, Distribution) else self.module.domain

    @property
    def dimension(self) -> int:
        """How many coordinates an event has."""
        return self.space.flat.shape[0]

    def generator(self, stream: int = 0) -> Generator:
        """A new generator; `stream` keeps the draws of one law apart."""
        return torch.Generator().manual_seed(1000 * self.seed + stream)

    def context(self, rows: int) -> Tensor | None:
        """`rows` contexts in float64, or None."""
        shape = self.module.context_shape
        if shape is None:
            return None
        return torch.randn((rows, *shape), generator=self.generator(1), dtype=torch.float64)

    def x(self, rows: int) -> Tensor:
        """`rows` typical events: draws of a distribution, or of a transform's domain."""
        if isinstance(self.module, Distribution):
            return self._draw(self.module, rows)
        return self.module.domain.draw(rows, generator=self.generator(2), dtype=torch.float64)

    def z(self, rows: int) -> Tensor:
        """`rows` typical latents: draws of a flow's base, or of a transform's codomain."""
        if isinstance(self.module, Flow):
            return self._draw(self.module.base, rows)
        return self.map.codomain.draw(rows, generator=self.generator(3), dtype=torch.float64)

    def calls(
        self, module: Module | None = None, dtype: torch.dtype = torch.float64, device: str = "cpu"
    ) -> list[Call]:
        """Every way to run `module` (a copy that some law made; else the subject's own), on inputs of the subject's."""
        whole = self.module if module is None else module
        x, context = self.x(self.rows).to(device, dtype), _to(self.context(self.rows), device, dtype)
        calls: list[Call] = []
        if self.has_map:
            f = transform_of(whole)
            z, within = self.z(self.rows).to(device, dtype), context if f.context_shape is not None else None
            calls.append(Call("forward", f.forward, x, within, f.domain, f.codomain))
            calls.append(Call("inverse", f.inverse, z, within, f.codomain, f.domain))
        if isinstance(whole, Distribution):
            calls.append(Call("log_prob", lambda x, c: (whole.log_prob(x, c),), x, context, whole.space, None))
        return calls

    def _draw(self, density: Distribution, rows: int) -> Tensor:
        context = self.context(rows) if density.context_shape is not None else None
        with torch.no_grad():
            return density.sample((rows,) if context is None else (), context, generator=self.generator(4))


def _to(x: Tensor | None, device: str, dtype: torch.dtype) -> Tensor | None:
    return None if x is None else x.to(device, dtype)


def transform_of(module: Module) -> Transform:
    """A transform itself, or a flow's."""
    module = module.transform if isinstance(module, Flow) else module
    if isinstance(module, Transform):
        return module
    raise ConfigError(f"check: expected a transform; got {type(module).__name__}. Run the laws of distributions on it.")


def subject_of(
    obj: object,
    *,
    fresh: Callable[[], Module] | None = None,
    rows: int = 16,
    seed: int = 0,
    truth: Callable[[Tensor], Tensor] | None = None,
) -> Subject:
    """The examination of `obj`: a transform, a univariate, a distribution, or a fitted estimator's flow."""
    obj = getattr(obj, "flow_", getattr(obj, "model_", obj))
    if isinstance(obj, Univariate):
        name, module = repr(obj), Elementwise(2, obj)
    elif isinstance(obj, (Transform, Distribution)):
        name, module = type(obj).__name__, obj
        spec = obj.spec if isinstance(obj, Flow) else None
        if spec is not None:
            name = f"{spec['recipe']} of {spec['features']} features"
            fresh = fresh or (lambda: build(spec))
    else:
        raise ConfigError(
            "check: expected a transform, a univariate, a distribution or a fitted estimator; "
            f"got {type(obj).__name__}. Pass the object that the flow is made of."
        )
    return Subject(name, copy.deepcopy(module).to("cpu", torch.float64).eval(), fresh, rows, seed, truth)


def held(module: M) -> M:
    """A copy of `module` whose random numbers do not depend on the last digits of the row."""
    module = copy.deepcopy(module)
    for part in module.modules():
        if isinstance(part, Noise):
            part.held = True
    return module


def perturbed(module: M, *, seed: int = 0, scale: float = 0.3) -> M:
    """A copy of `module` with Gaussian noise of standard deviation `scale` added to every parameter."""
    generator = torch.Generator().manual_seed(seed)
    module = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(scale * noise.to(parameter))
    return module
