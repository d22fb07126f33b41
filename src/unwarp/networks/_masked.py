"""The conditioner whose i-th output sees only the inputs before i."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from unwarp import _check
from unwarp.errors import ConfigError
from unwarp.functional import Affinity, Unrolled, squash
from unwarp.networks._layers import Dense, Encode, affinities, rectified
from unwarp.networks._masks import along, in_passes

__all__ = ["MaskedMLP"]


class _State(NamedTuple):
    """What the network has computed so far: each layer's finished units, the inputs themselves first."""

    layers: tuple[Tensor, ...]
    offset: Tensor  # the context's share of the first hidden layer


class MaskedMLP(nn.Module):
    """Fully connected network with `params` outputs for each feature, the i-th feature's seeing only inputs before i.

    What is before i may be coarser: with `passes`, features come in groups, and one sees the groups before its own;
    with `adjacency`, it sees its parents in a graph. Hidden units are sorted by when the inputs that they see are
    known, so that `begin`, `emit` and `advance` compute every unit once while inputs arrive: an autoregressive inverse
    costs about one pass, in as many steps as there are features, groups, or levels of the graph.

    Use it as the conditioner of `transforms.Autoregressive`. Inputs are squashed to [-3, 3]; the last layer is
    zero at the start.

    Args:
        features: number of inputs, and of groups of outputs.
        params: outputs for each feature.
        hidden: sizes of the hidden layers.
        context: length of the context, which every output sees; 0 for none.
        passes: number of groups, as even as can be; as many as features by default. Two are like a coupling.
        adjacency: pairs (child, parent) without a cycle; none at all make every feature depend on the context alone.
            Each set of parents has a hidden unit at least, even where `hidden` asks for fewer.
        angles: which inputs are angles in radians; the network sees their cosine and sine.

    Shapes: x `(*batch, features)`, context `(*batch, context)` -> `(*batch, features, params)`; the batches broadcast.

    Raises:
        ConfigError: if a size is out of range, the graph has a cycle (which is named), or both `passes` and `adjacency`
            are given.

    Source: Germain et al., *MADE: Masked Autoencoder for Distribution Estimation*, 2015, arXiv:1502.03509, section 4;
    the graph is that of Wehenkel and Louppe, *Graphical Normalizing Flows*, 2021, arXiv:2006.02548, section 3.
    Differs: degrees are evenly spaced and sorted, not drawn; one network serves all features of a graph.

    Example:
        >>> net = MaskedMLP(3, 2, hidden=(16,))
        >>> net(torch.ones(5, 3)).shape
        torch.Size([5, 3, 2])
    """

    order: Tensor
    back: Tensor

    def __init__(
        self,
        features: int,
        params: int,
        *,
        hidden: Sequence[int] = (128, 128),
        context: int = 0,
        passes: int | None = None,
        adjacency: Sequence[tuple[int, int]] | None = None,
        angles: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.features = _check.at_least("MaskedMLP", "features", features, 1)
        self.params = _check.at_least("MaskedMLP", "params", params, 1)
        self.context = _check.at_least("MaskedMLP", "context", context, 0)
        sizes = _check.sizes("MaskedMLP", "hidden", hidden)
        if adjacency is None:
            passes = features if passes is None else _check.at_least("MaskedMLP", "passes", passes, 1)
            plan = in_passes(features, min(passes, features), sizes, context=bool(context))
        elif passes is None:
            plan = along(features, adjacency, sizes, context=bool(context))
        else:
            raise ConfigError("MaskedMLP: expected passes or adjacency; got both. Leave one out.")
        self.steps = plan.steps
        order = torch.tensor([i for step in plan.steps for i in step])
        self._in_order = order.tolist() == list(range(features))
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("back", order.argsort(), persistent=False)
        self.angles = Encode(features, [order.tolist().index(i) for i in angles]) if angles else None
        masks = list(plan.masks)
        if self.angles is not None:
            masks[0] = masks[0].repeat_interleave(torch.tensor(self.angles.widths), 1)
        *inner, outer = *masks[:-1], masks[-1].repeat_interleave(params, 0)
        self.hidden = nn.ModuleList(Dense(len(m[0]), len(m), mask=m) for m in inner)
        self.out = Dense(len(outer[0]), len(outer), mask=outer, zero=True)
        self.of_context = Dense(context, len([*inner, outer][0]), bias=False, zero=not hidden) if context else None
        self._rows = tuple(accumulate((len(step) * params for step in plan.steps), initial=0))
        self._ends = tuple(_ends(ready, len(plan.steps)) for ready in plan.ready)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = x if self._in_order else x.index_select(-1, self.order)
        h = x if self.angles is None else self.angles(x)
        layers = [*self.hidden, self.out]
        params = rectified(layers, h, squashed=self.angles is None, offset=self._offset(context))
        params = params.reshape(*params.shape[:-1], self.features, self.params)
        return params if self._in_order else params.index_select(-2, self.back)

    def in_sequence(self) -> list[Affinity] | None:
        """What `functional.couple` takes of the network, inputs and outputs in the order of `steps`; None of one with
        a context, with angles, or with hooks.
        """
        hooked = self._forward_hooks or self._forward_pre_hooks
        if type(self) is not MaskedMLP or self.angles is not None or self.of_context is not None or hooked:
            return None
        return affinities([*self.hidden, self.out])

    def unrolled(self, context: Tensor | None = None) -> Unrolled | None:
        """What `functional.undo_in_order` takes of the network; None of one without hidden layers or with angles."""
        layers = affinities([*self.hidden, self.out])
        if layers is None or not self.hidden or self.angles is not None:
            return None
        firsts = [row // self.params for row in self._rows]
        return Unrolled(layers, self._ends, firsts, self._offset(context))

    def begin(self, x: Tensor, context: Tensor | None = None) -> _State:
        """The state before any input is known; `x: (*batch, features)` only tells batch, dtype and device."""
        empty = x[..., :0]
        offset = self._offset(context)
        state = _State((empty,) * (len(self.hidden) + 1), x.new_zeros(()) if offset is None else offset)
        return self._finish(state, 0)

    def emit(self, state: _State, step: int) -> Tensor:
        """The outputs of a step's features, `(*batch, features of the step, params)`, once those before are known."""
        rows = slice(*self._rows[step : step + 2])
        offset = 0.0 if self.hidden else _columns(state.offset, rows)
        return (self.out.part(state.layers[-1], rows) + offset).unflatten(-1, (-1, self.params))

    def advance(self, state: _State, x: Tensor, step: int) -> _State:
        """The state once the inputs of a step, `x: (*batch, features of the step)`, are known too."""
        known = state.layers[0]
        first = self._rows[step] // self.params
        new = squash(x) if self.angles is None else self.angles(x, first)
        known = torch.cat([known.expand(*x.shape[:-1], -1), new], -1)
        return self._finish(state._replace(layers=(known, *state.layers[1:])), step + 1)

    def _finish(self, state: _State, steps: int) -> _State:
        """Compute the hidden units that can be known after so many steps."""
        layers = [state.layers[0]]
        offset = state.offset
        for i, layer in enumerate(cast("list[Dense]", self.hidden)):
            below, done = layers[-1], state.layers[i + 1]
            rows = slice(done.shape[-1], self._ends[i][steps])
            if rows.start == rows.stop:
                layers.append(done)
            else:
                new = (layer.part(below, rows) + _columns(offset, rows)).relu()
                layers.append(torch.cat([done.expand(*new.shape[:-1], -1), new], -1))
            offset = below.new_zeros(())
        return _State(tuple(layers), state.offset)

    def _offset(self, context: Tensor | None) -> Tensor | None:
        return None if self.of_context is None or context is None else self.of_context(squash(context))


def _ends(ready: Tensor, steps: int) -> tuple[int, ...]:
    """After 0 to `steps` steps, how many units are known."""
    with torch.device("cpu"):
        return tuple(torch.searchsorted(ready, torch.arange(steps + 1), right=True).tolist())


def _columns(offset: Tensor, rows: slice) -> Tensor:
    return offset[..., rows] if offset.dim() else offset
