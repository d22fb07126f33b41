"""Chains of transforms, and a transform read backwards."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Generator, Sequence
from functools import partial
from itertools import groupby, pairwise

import torch
from torch import Tensor, nn

from unwarp import _check
from unwarp.errors import ConfigError, ContextError, ShapeError, SpaceError
from unwarp.transforms._autoregressive import Autoregressive
from unwarp.transforms._base import Kind, Loses, Memory, Transform
from unwarp.transforms._coupling import Coupling, carried, score_through, through
from unwarp.transforms._image import folded, folds
from unwarp.transforms._reversible import Step, reversible_steps

__all__ = ["Compose", "Embedded", "Inverse", "reversible"]

Together = Callable[..., tuple[Tensor, Tensor]]


class Compose(Transform):
    r"""Maps one after another, in reading order: $z = f_n(\dots f_1(x))$, ladj the sum of theirs.

    Use it to build a flow's map out of layers. Neighbours are held to each other when it is built; nested chains are
    flattened.

    Args:
        parts: transforms, the one nearest to the data first.

    Shapes: x as the first part's, z as the last part's, context `(*batch, *context_shape)`; ladj `(*batch)`, nats.

    Attributes:
        memory: "stored", or "reversible" within `reversible`.

    Raises:
        ConfigError: when there is no part.
        SpaceError: when a part's codomain is not the next part's domain.
        ContextError: when two parts want contexts of different shapes, or a call's context does not fit.
        ShapeError: when a call's x does not fit.

    Example:
        >>> chain = Compose([Permute([1, 0]), Standardize(2)])
        >>> z, ladj = chain(torch.zeros(5, 2))
        >>> z.shape, ladj.shape
        (torch.Size([5, 2]), torch.Size([5]))
    """

    memory: Memory = "stored"

    def __init__(self, parts: Sequence[Transform]) -> None:
        flat = [leaf for part in parts for leaf in (part.parts if isinstance(part, Compose) else [part])]
        if not flat:
            raise ConfigError("Compose: expected at least one transform; got none. Give a list of transforms.")
        for i, (a, b) in enumerate(pairwise(flat)):
            if a.codomain != b.domain:
                raise SpaceError(
                    f"Compose: expected part {i + 1} to start where part {i} ends; "
                    f"got {type(a).__name__} -> {a.codomain} "
                    f"and {type(b).__name__} <- {b.domain}. Put a map between them."
                )
        kind, loses = weakest([part.kind for part in flat]), joint_loss([part.loses for part in flat])
        super().__init__(flat[0].domain, flat[-1].codomain, kind=kind, loses=loses)
        self.context_shape = joint_context([part.context_shape for part in flat])
        self.parts: Sequence[Transform] = nn.ModuleList(flat)  # pyright: ignore[reportAttributeAccessIssue]

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = _check.broadcast_event("Compose.forward", x, self.domain.shape, context, self.context_shape)
        return _through(self._steps(list(self.parts), backwards=False), x, context)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z = _check.broadcast_event("Compose.inverse", z, self.codomain.shape, context, self.context_shape)
        return _through(self._steps(list(reversed(self.parts)), backwards=True), z, context)

    def encode(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = _check.broadcast_event("Compose.encode", x, self.domain.shape, context, self.context_shape)
        for together, run in _runs(list(self.parts), backwards=False):
            if together is None:
                for part in run:
                    x = part.encode(x, context)
            else:
                x, _ = together(run, x, context, inverse=False)
        return x

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        z = _check.broadcast_event("Compose.decode", z, self.codomain.shape, context, self.context_shape)
        for together, run in _runs(list(reversed(self.parts)), backwards=True):
            if together is None:
                for part in run:
                    z = part.decode(z, context)
            else:
                z, _ = together(run, z, context, inverse=True)
        return z

    def carry(self, z: Tensor, score: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        r"""`inverse`, and the gradient of the log density at x from the one at z, layer by layer on the way.

        $$ \partial_x \log q(x) = \left(\partial_z \log p_z(z) - \partial_z \log|\det \partial x/\partial z|\right)
        \left(\partial x / \partial z\right)^{-1} $$

        with the layers' parameters held. Of couplings it takes what their networks said anyway and one way back through
        them; other layers are undone once more. Use it for draws whose gradient goes along their path.

        Args:
            z: `(*batch, *codomain.shape)`.
            score: $\partial_z \log p_z(z)$, of the shape of z.
            context: as of `inverse`.

        Shapes: x `(*batch, *domain.shape)`, ladj `(*batch)` of the inverse in nats, score as x, without derivatives.

        Source: Vaitl, Winkler, Richter and Kessel, *Fast and Unified Path Gradient Estimators for Normalizing Flows*,
        2024, arXiv:2403.15881. Differs: through the way back of each layer, which any bijection has.
        """
        z = _check.broadcast_event("Compose.carry", z, self.codomain.shape, context, self.context_shape)
        total, score = z.new_zeros(()), score.expand(z.shape)
        for coupled, group in groupby(reversed(self.parts), lambda part: isinstance(part, Coupling)):
            step = partial(carried, inverse=True) if coupled else _undone
            z, ladj, score = step(list(group), z, context, score)  # pyright: ignore[reportArgumentType]
            total = total + ladj
        return z, total, score

    def adapt(self, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None) -> None:
        last = max((i for i, part in enumerate(self.parts) if type(part).adapt is not Transform.adapt), default=-1)
        for i, part in enumerate(self.parts[: last + 1]):  # what follows has nothing to adapt
            part.adapt(x, context, weight)
            if i < last:
                with torch.no_grad():
                    x = part.encode(x, context)

    def _steps(self, parts: Sequence[Transform], *, backwards: bool) -> Sequence[Step]:
        """What to call one after another."""
        if self.memory == "reversible" and torch.is_grad_enabled():
            return reversible_steps(parts, backwards=backwards, nests=Compose)
        steps: list[Step] = []
        for together, run in _runs(parts, backwards=backwards):
            if together is None:
                steps += [part.inverse if backwards else part.forward for part in run]
            else:
                steps.append(partial(together, run, inverse=backwards))
        return steps

    def __repr__(self) -> str:
        return repr(self.parts).replace("ModuleList", "Compose", 1)


@contextlib.contextmanager
def reversible(module: nn.Module) -> Generator[None, None, None]:
    r"""Within, every chain in `module` keeps its two ends for the way back instead of all activations.

    Gradients are those of the ordinary way up to rounding: each layer's input is found again by its inverse from its
    output, and the layer is run once more. Memory for activations stops growing with depth; a step takes about twice as
    long where both directions cost one pass, and far longer for autoregressive layers, which are undone feature by
    feature. Layers that are no exact bijections keep their activations as ever.

    Use it where images or depth fill the memory; `training.fit` does with `memory="reversible"`. The call must be
    within, `backward` may come later. The first points found again are held to the true ones, and so is the sum of the
    log-determinants. Neither second derivatives nor `torch.func` go through.

    Args:
        module: a flow, or any module with chains in it.

    Raises:
        UnwarpError: in `backward`, when rounding has drifted too far for right gradients (1e-3 in float32, 6e-8 in
            float64, relative); a layer that draws, or a `BatchNorm` in training, drifts at once.

    Source: Gomez, Ren, Urtasun and Grosse, *The Reversible Residual Network: Backpropagation Without Storing
    Activations*, 2017, arXiv:1707.04585, algorithm 1. Differs: for any bijection, and the drift is measured.

    Example:
        >>> chain = Compose([Standardize(2), Permute([1, 0])])
        >>> x = torch.ones(3, 2, requires_grad=True)
        >>> with reversible(chain):
        ...     z, ladj = chain(x)
        >>> torch.autograd.grad(z[:, 0].sum(), x)[0].tolist()[0]
        [0.0, 1.0]
    """
    chains = [m for m in module.modules() if isinstance(m, Compose)]
    before: list[Memory] = [chain.memory for chain in chains]
    try:
        for chain in chains:
            chain.memory = "reversible"
        yield
    finally:
        for chain, memory in zip(chains, before, strict=True):
            chain.memory = memory


class Inverse(Transform):
    """A transform with its two directions exchanged: `Inverse(f).forward` is `f.inverse`.

    Use it where the slow direction of a map should be sampling rather than density: IAF is `Inverse` of MAF's layer.

    Args:
        transform: the map to read backwards.

    Shapes: as the transform's, with x and z exchanged.

    Example:
        >>> Inverse(Permute([2, 0, 1])).encode(torch.tensor([10.0, 20.0, 30.0])).tolist()
        [20.0, 30.0, 10.0]
    """

    def __init__(self, transform: Transform) -> None:
        super().__init__(
            transform.codomain, transform.domain, kind=_backwards(transform), loses=_EXCHANGED[transform.loses]
        )
        self.context_shape = transform.context_shape
        self.transform = transform

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.transform.inverse(x, context)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.transform.forward(z, context)

    def encode(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.transform.decode(x, context)

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self.transform.encode(z, context)

    def __repr__(self) -> str:
        inner = repr(self.transform)
        return super().__repr__() if "\n" in inner else f"Inverse({inner})"


_EXCHANGED: dict[Loses, Loses] = {"nothing": "nothing", "forward": "inverse", "inverse": "forward", "both": "both"}


def _backwards(transform: Transform) -> Kind:
    """What a map's ladj is when the map is read backwards: a bound where then its inverse loses something."""
    if isinstance(transform, Compose):
        return weakest([_backwards(part) for part in transform.parts])
    if _EXCHANGED[transform.loses] in ("inverse", "both"):
        return "bound"
    return "exact" if transform.loses == "inverse" else transform.kind


class Embedded(Transform):
    """A transform whose context goes through a network first; both are trained together.

    Use it where the context is no short vector: an image, a long measurement, a set. Wrap the chain of all layers, so
    that the network runs once.

    Args:
        transform: a map with a context.
        net: network from the context, `(n, *context)`, to the transform's, `(n, *transform.context_shape)`.
        context: length of the context, or its event shape.

    Shapes: x and z as the transform's; context `(*batch, *context)`.

    Raises:
        ConfigError: when the transform has no context.
        ShapeError: when the network gives something else than the transform's context.

    Example:
        >>> inner = Coupling(2, Affine(), MLP(1, 2, context=3), context=3)
        >>> layer = Embedded(inner, nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), context=(8, 8))
        >>> layer(torch.zeros(5, 2), torch.ones(5, 8, 8))[0].shape
        torch.Size([5, 2])
    """

    def __init__(self, transform: Transform, net: nn.Module, *, context: int | Sequence[int]) -> None:
        super().__init__(transform.domain, transform.codomain, context=context, kind=transform.kind)
        want = transform.context_shape
        if want is None or self.context_shape is None:
            raise ConfigError(
                f"Embedded: expected a context before and after the network; got {context} and {want}. "
                "Build the transform with context=..."
            )
        with torch.no_grad():
            got = tuple(copy.deepcopy(net).eval()(torch.zeros(1, *self.context_shape)).shape[1:])
        if got != want:
            raise ShapeError(
                f"Embedded: expected net to give the transform's context of shape {want}; got {got}. "
                "Change the network's last layer."
            )
        self.transform = transform
        self.net = net

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.transform.forward(x, self._embed(context))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.transform.inverse(z, self._embed(context))

    def encode(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.transform.encode(x, self._embed(context))

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self.transform.decode(z, self._embed(context))

    def adapt(self, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None) -> None:
        with torch.no_grad():
            given = self._embed(context)
        self.transform.adapt(x, given, weight)

    def _embed(self, context: Tensor | None) -> Tensor | None:
        if context is None or self.context_shape is None:
            return None
        batch = context.shape[: context.dim() - len(self.context_shape)]
        rows = self.net(context.reshape(-1, *self.context_shape))
        return rows.reshape(*batch, *rows.shape[1:])


def _through(steps: Sequence[Step], x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """The point after all steps, and the sum of their ladjs."""
    x, total = steps[0](x, context)
    for step in steps[1:]:
        x, ladj = step(x, context)
        total = total + ladj
    return x, total


def _runs(parts: Sequence[Transform], *, backwards: bool) -> list[tuple[Together | None, list[Transform]]]:
    """The parts in groups, each with what passes through it at once, if anything does."""
    if torch.compiler.is_compiling():
        return [(None, list(parts))]
    groups = [(together, list(run)) for together, run in groupby(parts, partial(_together, backwards=backwards))]
    return [(None if together is folded and len(run) == 1 else together, run) for together, run in groups]


def _together(part: Transform, *, backwards: bool) -> Together | None:
    """What passes through a run of such maps at once."""
    if isinstance(part, Coupling if backwards else (Coupling, Autoregressive)):
        return through
    return folded if folds(part) else None


def _undone(
    parts: Sequence[Transform], z: Tensor, context: Tensor | None, score: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The point before some maps and their inverses' ladj; and the score there, through the maps themselves."""
    x, ladj = _through([part.inverse for part in parts], z, context)
    with torch.enable_grad():
        at = x.detach().requires_grad_()
        again, ladj_again = _through([part.forward for part in reversed(parts)], at, context)
    (score,) = score_through(again, ladj_again, score, (at,))
    return x, ladj, score


def weakest(kinds: Sequence[Kind]) -> Kind:
    """What a sum of ladjs is: a bound if any is one, else an estimate if any is one."""
    return "bound" if "bound" in kinds else "estimate" if "estimate" in kinds else "exact"


def joint_loss(losses: Sequence[Loses]) -> Loses:
    """What a chain loses: in each direction what any part loses in it."""
    forward = any(loses in ("forward", "both") for loses in losses)
    inverse = any(loses in ("inverse", "both") for loses in losses)
    return "both" if forward and inverse else "forward" if forward else "inverse" if inverse else "nothing"


def joint_context(shapes: Sequence[tuple[int, ...] | None]) -> tuple[int, ...] | None:
    """The one context shape that all parts share; None when no part takes a context."""
    wanted = {shape for shape in shapes if shape is not None}
    if len(wanted) > 1:
        raise ContextError(
            f"Compose: expected one context shape among the parts; got {sorted(wanted)}. "
            "Build the parts with the same context."
        )
    return wanted.pop() if wanted else None
