"""Some features move, told how by the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from unwarp import _check, functional
from unwarp._space import Space
from unwarp.errors import ConfigError, ShapeError, SpaceError
from unwarp.transforms._base import Transform
from unwarp.transforms._conditioner import ask, in_other_precision
from unwarp.univariates import Univariate

__all__ = ["Coupling"]


class Link(Protocol):
    """A layer that can be one of several in one operation."""

    def step(self, *, inverse: bool) -> functional.CouplingStep | None: ...
    def plainly(self, x: Tensor, context: Tensor | None, *, inverse: bool) -> tuple[Tensor, Tensor]: ...


class Coupling(Transform):
    r"""$z_a = x_a$ and $z_b = f(x_b; \theta)$ with $\theta = \text{net}(x_a, \text{context})$.

    The log-determinant is $\text{ladj} = \sum_b \log f'(x_b; \theta)$. Of a vector some features are kept, of an image
    (or any event of more axes) some channels, its first axis.

    Use it where density and sampling should both cost one pass of the network. Exchange the parts between layers.
    Images of few channels want a `Squeeze` before, or a `Checkerboard` around it.

    Args:
        features: number of features D, or the event's shape, channels first: (channels, height, width). With one
            feature nothing is kept, and the map depends on the context alone.
        univariate: the scalar map, within one support.
        net: network from the kept part (and the context) to `univariate.n_params` numbers for each moved one,
            called as `net(kept, context)`; of an image, as many channels for each moved channel.
        space: where vectors live whose features are not all of the univariate's support; the moved ones must be.
        mask: which features (channels) are kept, D booleans; by default the first half.
        context: length of the context, or its event shape; 0 for none.

    Shapes: x, z `(*batch, D)` or `(*batch, *features)`; context `(*batch, context)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: when the mask has another length or keeps everything.
        ShapeError: when the network's output has another shape than the moved part needs.
        SpaceError: when the scalar map leaves its support, or a moved feature lives in another.

    Source: Dinh, Krueger and Bengio, *NICE*, 2015, arXiv:1410.8516, section 3.2; images: Dinh, Sohl-Dickstein and
    Bengio, *Density estimation using Real NVP*, 2017, arXiv:1605.08803, section 3.4.

    Example:
        >>> layer = Coupling(2, Affine(), MLP(1, 2))
        >>> z, ladj = layer(torch.ones(4, 2))
        >>> bool((z == 1).all()), ladj.shape
        (True, torch.Size([4]))
    """

    kept: Tensor
    moved: Tensor
    order: Tensor

    def __init__(
        self,
        features: int | Sequence[int],
        univariate: Univariate,
        net: nn.Module,
        *,
        space: Space | None = None,
        mask: Sequence[bool] | None = None,
        context: int | Sequence[int] = 0,
    ) -> None:
        shape = _check.event("Coupling", features)
        keep = [i < shape[0] // 2 for i in range(shape[0])] if mask is None else [bool(m) for m in mask]
        if len(keep) != shape[0] or all(keep):
            raise ConfigError(
                f"Coupling: expected a mask of {shape[0]} booleans, at least one False; got {keep}. "
                "Mark the kept features True."
            )
        if univariate.domain != univariate.codomain:
            raise SpaceError(
                "Coupling: expected a scalar map within one support; "
                f"got {univariate.domain} -> {univariate.codomain}. "
                "Use Unconstrain before the couplings."
            )
        super().__init__(_hold_space(shape, univariate, keep, space), context=context)
        self.univariate = univariate
        self.net = net
        kept, moved = [i for i in range(len(keep)) if keep[i]], [i for i in range(len(keep)) if not keep[i]]
        order = sorted(range(len(keep)), key=(kept + moved).__getitem__)
        for name, index in (("kept", kept), ("moved", moved), ("order", order)):
            self.register_buffer(name, torch.tensor(index, dtype=torch.long), persistent=False)
        self._axis = -len(shape)
        everything = list(range(len(keep)))
        self._kept_first = kept + moved == everything
        self._in_two = self._kept_first or moved + kept == everything
        self._hold_net_to(len(kept), len(moved))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return through([self], x, context, inverse=False)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return through([self], z, context, inverse=True)

    def step(self, *, inverse: bool) -> functional.CouplingStep | None:
        """The layer as compiled code takes it; None where it can't be taken apart."""
        own = self._buffers  # which are found here in a fraction of the time that `self.kept` takes
        kept, moved = own["kept"], own["moved"]
        scalar, affinities = self.univariate.by_kernel, getattr(self._modules["net"], "affinities", None)
        if scalar is None or affinities is None or self._axis != -1 or in_other_precision():
            return None
        layers = affinities()
        if layers is None or kept is None or moved is None:
            return None
        move = self.univariate.inverse if inverse else self.univariate.forward
        return functional.CouplingStep(scalar, move, kept, moved, inverse, layers)

    def image_step(self, *, inverse: bool) -> functional.ImageStep | None:
        """The layer on images as compiled code takes it; None where it can't be taken apart."""
        scalar, filters = self.univariate.by_kernel, getattr(self.net, "filters", None)
        if scalar is None or filters is None or self._axis != -3 or in_other_precision():
            return None
        layers = filters()
        if layers is None:
            return None
        move = self.univariate.inverse if inverse else self.univariate.forward
        return functional.ImageStep(scalar, move, self.kept, self.moved, inverse, layers)

    def plainly(self, x: Tensor, context: Tensor | None, *, inverse: bool) -> tuple[Tensor, Tensor]:
        """The layer by single operations, or by one on images where it can be."""
        step = None if torch.compiler.is_compiling() else self.image_step(inverse=inverse)
        found = None if step is None else functional.couple_images(step, x)
        if found is not None:
            return found
        kept, moved = self._split(x)
        move = self.univariate.inverse if inverse else self.univariate.forward
        moved, ladj = move(moved, self._params(kept, context))
        return self._join(kept, moved), ladj.flatten(self._axis).sum(-1)

    def plainly_carried(
        self, x: Tensor, context: Tensor | None, score: Tensor, *, inverse: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The layer by single operations, with the score carried: what the network says of the point before is what it
        says of the point after, so that the way back costs the scalar map alone.
        """
        there, back = self.univariate.forward, self.univariate.inverse
        there, back = (back, there) if inverse else (there, back)
        with torch.enable_grad():
            kept, moved = self._split(x if x.requires_grad else x.detach().requires_grad_())
            params = self._params(kept, context)
            moved, ladj = there(moved, params)
            at = moved.detach().requires_grad_()
            before, before_ladj = back(at, params)
        kept_score, moved_score = self._split(score)
        to_kept, to_moved = score_through(before, before_ladj, moved_score, (kept, at))
        score = self._join(kept_score + to_kept, to_moved)
        return self._join(kept, moved), ladj.flatten(self._axis).sum(-1), score

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The kept and the moved part, without a copy where each is in one piece."""
        if not self._in_two:
            return x.index_select(self._axis, self.kept), x.index_select(self._axis, self.moved)
        kept, moved = self.kept.shape[0], self.moved.shape[0]
        first, second = x.split([kept, moved] if self._kept_first else [moved, kept], self._axis)
        return (first, second) if self._kept_first else (second, first)

    def _params(self, kept: Tensor, context: Tensor | None) -> Tensor:
        """What the network says of each moved number, along a last axis."""
        found, sizes = ask(self.net, kept, context), (self.moved.shape[0], self.univariate.n_params)
        if self._axis == -1:
            return found.reshape(*found.shape[:-1], *sizes)
        return found.unflatten(self._axis, sizes).movedim(self._axis, -1)

    def _join(self, kept: Tensor, moved: Tensor) -> Tensor:
        batch = moved.shape[: self._axis]
        kept = kept if kept.shape[: self._axis] == batch else kept.expand(*batch, *kept.shape[self._axis :])
        if self._in_two:
            return torch.cat([kept, moved] if self._kept_first else [moved, kept], self._axis)
        return torch.cat([kept, moved], self._axis).index_select(self._axis, self.order)

    def _hold_net_to(self, kept: int, moved: int) -> None:
        """Try the network on a batch of no rows, which costs nothing."""
        rest, context = self.domain.shape[1:], self.context_shape
        want = (moved * self.univariate.n_params, *rest)
        with torch.no_grad():
            found = self.net(torch.zeros(0, kept, *rest), None if context is None else torch.zeros(0, *context))
        if tuple(found.shape[1:]) != want:
            got = found.shape[-1] if len(want) == 1 else tuple(found.shape[1:])
            raise ShapeError(
                f"Coupling: expected net to give {moved} x {self.univariate.n_params} = {want[0]} numbers"
                f"{f' for each entry of {rest}' if rest else ''}; got {got}. "
                f"Build it with {kept} inputs and {want[0]} outputs."
            )

    def extra_repr(self) -> str:
        shape = self.domain.shape
        return f"{shape[0] if len(shape) == 1 else shape}, {self.univariate}"


def through(couplings: Sequence[Link], x: Tensor, context: Tensor | None, *, inverse: bool) -> tuple[Tensor, Tensor]:
    """The point after the layers, in this order, and the sum of their ladjs; one operation where it can be."""
    found = _as_one(couplings, x, context, None, inverse=inverse)
    if found is not None:
        z, ladj = found
        return z, ladj
    if len(couplings) == 1:
        return couplings[0].plainly(x, context, inverse=inverse)
    total = x.new_zeros(())
    for coupling in couplings:
        x, ladj = through([coupling], x, context, inverse=inverse)
        total = total + ladj
    return x, total


def carried(
    couplings: Sequence[Coupling], x: Tensor, context: Tensor | None, score: Tensor, *, inverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """As `through`, and the gradient of the log density at the point after, from `score`, the one at x."""
    found = _as_one(couplings, x, context, score, inverse=inverse)
    if found is not None:
        z, ladj, score = found
        return z, ladj, score
    if len(couplings) == 1:
        return couplings[0].plainly_carried(x, context, score, inverse=inverse)
    total = x.new_zeros(())
    for coupling in couplings:
        x, ladj, score = carried([coupling], x, context, score, inverse=inverse)
        total = total + ladj
    return x, total, score


def score_through(z: Tensor, ladj: Tensor, score: Tensor, to: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The gradient to each of `to` of a log density at z, whose own is `score`, and of all that ladj adds."""
    felt = [(t, grad) for t, grad in ((z, score), (ladj, torch.ones_like(ladj))) if t.requires_grad]
    outputs, grads = zip(*felt, strict=True)
    return torch.autograd.grad(outputs, to, grads, retain_graph=True, materialize_grads=True)


def _as_one(
    couplings: Sequence[Link], x: Tensor, context: Tensor | None, score: Tensor | None, *, inverse: bool
) -> tuple[Tensor, ...] | None:
    """The layers as one operation, where they can be."""
    if torch.compiler.is_compiling():
        return None
    steps: list[functional.CouplingStep] = []
    for coupling in couplings:
        step = coupling.step(inverse=inverse)
        if step is None:
            return None
        steps.append(step)
    return functional.couple(steps, x, context, score)


def _hold_space(shape: tuple[int, ...], univariate: Univariate, keep: Sequence[bool], space: Space | None) -> Space:
    """Where events live; refused when a moved feature does not live where the scalar map does."""
    if space is None:
        return Space(shape, univariate.domain)
    pairs = zip(space.supports, space.widths, strict=True)
    supports = [s for s, width in pairs for _ in range(width)]
    if space.shape != shape or len(shape) != 1:
        raise SpaceError(f"Coupling: expected a space of vectors of {shape[0]}; got {space.shape}. Change the space.")
    wrong = [i for i, (kept, s) in enumerate(zip(keep, supports, strict=True)) if not kept and s != univariate.domain]
    if wrong:
        raise SpaceError(
            f"Coupling: expected moved features of {univariate.domain}; "
            f"got {supports[wrong[0]]} for feature {wrong[0]}. "
            "Keep it, and move it in another coupling."
        )
    return space
