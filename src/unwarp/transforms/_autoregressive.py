"""Each feature moves, told how by the ones before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from unwarp import _check, functional
from unwarp._space import Space
from unwarp.errors import ConfigError, ShapeError, SpaceError
from unwarp.transforms._base import Transform
from unwarp.transforms._conditioner import ask, in_other_precision
from unwarp.transforms._coupling import through
from unwarp.univariates import Univariate

__all__ = ["Autoregressive", "CausalNet", "Solution"]


class CausalNet(Protocol):
    """A network whose output i sees the inputs before i only, all at once or step by step.

    See `networks.MaskedMLP` for features and `networks.CausalTransformer` for tokens.

    Attributes:
        steps: which outputs depend on the inputs of earlier steps alone, for each step.
    """

    steps: tuple[tuple[int, ...], ...]

    def __call__(self, x: Tensor, context: Tensor | None = None) -> Tensor: ...
    def begin(self, x: Tensor, context: Tensor | None = None) -> Any: ...
    def emit(self, state: Any, step: int) -> Tensor: ...
    def advance(self, state: Any, x: Tensor, step: int) -> Any: ...


@dataclass(frozen=True, slots=True)
class Solution:
    """What `Autoregressive.solve` found.

    Attributes:
        x: the points, `(*batch, *event)`.
        residual: how far their images are from z, the largest $|f(x) - z| / (1 + |z|)$ of the event, `(*batch)`.
        sweeps: passes of the network that it took.
    """

    x: Tensor
    residual: Tensor
    sweeps: int


class Autoregressive(Transform):
    r"""$z_i = f(x_i; \theta_i)$ with $\theta_i = \text{net}_i(x_{<i}, \text{context})$; $\text{ladj} = \sum_i \log f'$.

    Use it for density estimation: every feature depends on all before it. `forward` is one pass of the network. There
    are two inverses, equal up to rounding. "cached" takes the features one by one, computes every hidden unit once, and
    so costs about one pass in D small steps. "jacobi" starts from x = z and corrects all features at once,
    $x \leftarrow f^{-1}(z; \text{net}(x))$: after k sweeps the first k features are exact, so D sweeps always do. A
    network that groups features (`passes`) or follows a graph (`adjacency`) has fewer steps and sweeps than D. Few
    of them are needed where features depend little on each other; `decode`, and so a flow's `sample`, stops as soon as
    f(x) is z up to rounding (see `solve`), `inverse` never does before the end. On one core of a CPU "cached" was the
    faster one of `tarflow` throughout; where starting a small step is dear, a few wide sweeps may be.

    Args:
        features: number of features D, or (tokens, channels): then each token's channels depend on the tokens before.
        univariate: the scalar map from the reals to the reals.
        net: causal network with `univariate.n_params` outputs for each feature, such as `networks.MaskedMLP`; for
            tokens such as `networks.CausalTransformer`.
        order: which feature or token comes first, second, ...; a permutation of 0 to D - 1.
        context: length of the context; 0 for none.
        inverse: "cached" or "jacobi".

    Shapes: x, z `(*batch, D)` or `(*batch, tokens, channels)`; context `(*batch, context)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: when `order` is not a permutation, or `inverse` is another word.
        ShapeError: when the network's output does not fit.
        SpaceError: when the scalar map leaves its support.

    Source: Papamakarios, Pavlakou and Murray, *Masked Autoregressive Flow for Density Estimation*, 2017,
    arXiv:1705.07057; for tokens Zhai et al., *Normalizing Flows are Capable Generative Models*, 2024, arXiv:2412.06329;
    for Jacobi sweeps Song, Meng, Liao and Ermon, *Accelerating Feedforward Computation via Parallel Nonlinear Equation
    Solving*, 2021, arXiv:2002.03629, algorithm 1. Differs: the sweeps stop at a residual of the map itself.

    Example:
        >>> layer = Autoregressive(3, Affine(), MaskedMLP(3, 2))
        >>> z, ladj = layer(torch.ones(4, 3))
        >>> bool((z == 1).all()), ladj.shape
        (True, torch.Size([4]))
    """

    order: Tensor
    back: Tensor
    sequence: Tensor
    columns: Tensor

    def __init__(
        self,
        features: int | Sequence[int],
        univariate: Univariate,
        net: nn.Module,
        *,
        order: Sequence[int] | None = None,
        context: int = 0,
        inverse: Literal["cached", "jacobi"] = "cached",
    ) -> None:
        shape = _check.event("Autoregressive", features)
        order = list(range(shape[0])) if order is None else list(order)
        if sorted(order) != list(range(shape[0])):
            raise ConfigError(
                f"Autoregressive: expected order to be a permutation of 0 to {shape[0] - 1}; got {order}. "
                "List every feature once."
            )
        if inverse not in ("cached", "jacobi"):
            raise ConfigError(f'Autoregressive: expected inverse "cached" or "jacobi"; got {inverse!r}. Change it.')
        if univariate.domain != univariate.codomain:
            raise SpaceError(
                "Autoregressive: expected a scalar map within one support; "
                f"got {univariate.domain} -> {univariate.codomain}. "
                "Use Unconstrain before it."
            )
        super().__init__(Space(shape, univariate.domain), context=context)
        self.univariate = univariate
        self.net = net
        self._solver = inverse
        self._axis = -len(shape)
        self._in_order = order == list(range(shape[0]))
        index = torch.tensor(order)
        self.register_buffer("order", index, persistent=False)
        self.register_buffer("back", index.argsort(), persistent=False)
        self._hold_net_to(shape, context)
        sequence = [i for step in self._causal.steps for i in step]
        self._in_sequence = sequence == list(range(shape[0]))
        self.register_buffer("sequence", torch.tensor(sequence), persistent=False)
        self.register_buffer("columns", index[torch.tensor(sequence)], persistent=False)  # of the network's inputs

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return through([self], x, context, inverse=False)

    def step(self, *, inverse: bool) -> functional.CouplingStep | None:
        """The layer as compiled code takes it; None where it can't be taken apart."""
        scalar, affinities = self.univariate.by_kernel, getattr(self.net, "in_sequence", None)
        if inverse or scalar is None or affinities is None or self._axis != -1 or in_other_precision():
            return None
        layers, columns = affinities(), self.columns
        return layers and functional.CouplingStep(scalar, self.univariate.forward, columns, columns, inverse, layers)

    def plainly(self, x: Tensor, context: Tensor | None, *, inverse: bool) -> tuple[Tensor, Tensor]:
        """The layer by single operations."""
        if inverse:
            return self.inverse(x, context)
        x = self._ordered(x)
        z, ladj = self.univariate.forward(x, ask(self._causal, x, context))
        return self._restored(z), ladj.flatten(self._axis).sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z = self._ordered(z)
        x, ladj = self._by_steps(z, context) if self._solver == "cached" else self._by_sweeps(z, context)
        return self._restored(x), ladj

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        if self._solver == "cached" or torch.compiler.is_compiling():
            return self.inverse(z, context)[0]
        return self.solve(z, context).x

    def solve(self, z: Tensor, context: Tensor | None = None, *, tolerance: float | None = None) -> Solution:
        """`x` by Jacobi sweeps that stop once every residual is at most `tolerance`, and how well x solves f(x) = z.

        Use it where the inverse should be quick on a GPU, or should come with a proof. The stop depends on data, so it
        can be neither compiled nor mapped by vmap; `inverse` can. After as many sweeps as the network has steps x
        is exact whatever the tolerance. Gradients flow through the sweeps that were made.

        Args:
            z: latents, `(*batch, *event)`.
            context: `(*batch, context)`.
            tolerance: largest residual; by default 64 units in the last place.
        """
        z = self._ordered(z)
        allowed = 64 * torch.finfo(z.dtype).eps if tolerance is None else tolerance
        x, sweeps = z, 0
        while True:
            params = self._causal(x, context)
            missed = (self.univariate.forward(x, params)[0] - z).abs() / (1 + z.abs())
            residual = missed.detach().flatten(self._axis).amax(-1)
            sweeps += 1
            if sweeps > len(self._causal.steps) or bool((residual <= allowed).all()):
                return Solution(self._restored(x), residual, sweeps)
            x = self.univariate.inverse(z, params)[0]

    def _by_steps(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Some features or tokens after others, at once where there is compiled code for it."""
        z = z if self._in_sequence else z.index_select(self._axis, self.sequence)
        found = None if torch.compiler.is_compiling() else self._at_once(z, context)
        x, ladj = self.one_by_one(z, context) if found is None else found
        return x if self._in_sequence else x.index_select(self._axis, self.sequence.argsort()), ladj

    def _at_once(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """What `one_by_one` gives, where there is compiled code for it."""
        unrolled = getattr(self.net, "unrolled", None)
        if unrolled is None:
            return None
        names, parameters = zip(*self.named_parameters(prefix="layer"), strict=True)

        def reference(z: Tensor, context: Tensor | None, *parameters: Tensor) -> tuple[Tensor, Tensor]:
            return functional_call(_OneByOne(self), dict(zip(names, parameters, strict=True)), (z, context))

        scalar = self.univariate.by_kernel
        return functional.undo_in_order(scalar, lambda: unrolled(context), reference, z, context, *parameters)

    def one_by_one(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """x and its ladj from z, both in the network's order, from what the network remembers of the steps before."""
        state = self._causal.begin(z, context)
        points: list[Tensor] = []
        total = z.new_zeros(())
        for step, z_i in enumerate(z.split([len(step) for step in self._causal.steps], self._axis)):
            x_i, ladj = self.univariate.inverse(z_i, self._causal.emit(state, step))
            state = self._causal.advance(state, x_i, step)
            points.append(x_i)
            total = total + ladj.flatten(self._axis).sum(-1)
        batch = total.shape
        return torch.cat([x_i.expand(*batch, *x_i.shape[self._axis :]) for x_i in points], self._axis), total

    def _by_sweeps(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """All at once, as often as it takes in the worst case."""
        x = ladj = z
        for _ in self._causal.steps:
            x, ladj = self.univariate.inverse(z, self._causal(x, context))
        return x, ladj.flatten(self._axis).sum(-1)

    def _ordered(self, x: Tensor) -> Tensor:
        return x if self._in_order else x.index_select(self._axis, self.order)

    def _restored(self, x: Tensor) -> Tensor:
        return x if self._in_order else x.index_select(self._axis, self.back)

    @property
    def _causal(self) -> CausalNet:
        return cast("CausalNet", self.net)

    def _hold_net_to(self, shape: tuple[int, ...], context: int) -> None:
        """Try the network on a batch of no rows, which costs nothing."""
        with torch.no_grad():
            got = self._causal(torch.zeros(0, *shape), torch.zeros(0, context) if context else None).shape[1:]
        if tuple(got) != (*shape, self.univariate.n_params):
            size = shape[0] if len(shape) == 1 else shape
            raise ShapeError(
                f"Autoregressive: expected net to give {(*shape, self.univariate.n_params)} numbers a row; "
                f"got {tuple(got)}. Build it as {'CausalTransformer' if len(shape) > 1 else 'MaskedMLP'}"
                f"({size}, {self.univariate.n_params})."
            )

    def extra_repr(self) -> str:
        shape = self.domain.shape
        return f"{shape[0] if len(shape) == 1 else shape}, {self.univariate}"


class _OneByOne(nn.Module):
    """The inverse of a layer step by step, as a module of its own, so that it can be called with other parameters."""

    def __init__(self, layer: Autoregressive) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.layer.one_by_one(z, context)
