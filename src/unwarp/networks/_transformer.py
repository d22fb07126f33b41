"""Transformers: conditioners of maps on tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unwarp import _check
from unwarp.errors import ConfigError
from unwarp.functional import squash
from unwarp.networks._layers import Dense

__all__ = ["CausalTransformer", "Transformer"]

Pair = tuple[Tensor, Tensor]


class _Block(nn.Module):
    """Attention, then a network of one hidden layer; each sees normalised tokens and is added to what was there."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.split = Dense(width, 3 * width, bias=False)
        self.join = Dense(width, width)
        self.up = Dense(width, 4 * width)
        self.down = Dense(4 * width, width)

    def forward(self, h: Tensor, *, causal: bool) -> Tensor:
        return self._close(h, _attend(*self._parts(h), causal=causal))

    def step(self, h: Tensor, past: Pair | None) -> tuple[Tensor, Pair]:
        """The next token `(*batch, 1, width)` given the keys and values of those before it, and theirs with its own."""
        query, *own = self._parts(h)
        keys, values = own if past is None else (torch.cat(pair, -2) for pair in zip(past, own, strict=True))
        return self._close(h, _attend(query, keys, values, causal=False)), (keys, values)

    def _parts(self, h: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values, each `(*batch, heads, tokens, width / heads)`."""
        return self.split(_normal(h)).unflatten(-1, (3, self.heads, -1)).movedim(-4, -2).unbind(-4)

    def _close(self, h: Tensor, seen: Tensor) -> Tensor:
        h = h + self.join(seen.movedim(-3, -2).flatten(-2))
        return h + self.down(F.gelu(self.up(_normal(h))))


def _normal(h: Tensor) -> Tensor:
    """Each token with mean 0 and variance 1, on its own."""
    return F.layer_norm(h, h.shape[-1:])


def _attend(query: Tensor, keys: Tensor, values: Tensor, *, causal: bool) -> Tensor:
    """Attention of each head.

    On the CPU with heads among the rows: that way torch has second derivatives and vmap. On a GPU its fused kernels,
    which have first derivatives only (`torch.nn.attention.sdpa_kernel` chooses others).
    """
    batch = query.shape[: -3 if query.is_cuda else -2].numel()
    q, k, v = (t.reshape(batch, *t.shape[-3 if t.is_cuda else -2 :]) for t in (query, keys, values))
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal).reshape(query.shape)


def _sizes(where: str, sizes: Sequence[int], width: int, depth: int, heads: int, context: int) -> tuple[int, int]:
    """Tokens and channels, once all sizes are in range."""
    _check.at_least(where, "width", width, 1)
    _check.at_least(where, "depth", depth, 0)
    _check.at_least(where, "context", context, 0)
    if width % _check.at_least(where, "heads", heads, 1):
        raise ConfigError(f"{where}: expected heads to divide width = {width}; got {heads}. Change one of them.")
    if len(sizes) != 2:
        raise ConfigError(f"{where}: expected two sizes, (tokens, channels); got {tuple(sizes)}. Give both.")
    return _check.at_least(where, "tokens", sizes[0], 0), _check.at_least(where, "channels", sizes[1], 1)


class Transformer(nn.Module):
    """Every output token sees every input token: a vision transformer between two sequences that may differ in length.

    Use it as the conditioner of a `transforms.Coupling` over tokens, some kept and some moved, laid out as vectors.
    Inputs are squashed to [-3, 3]; positions are learned; the last layer is zero at the start. The i-th output is read
    where the i-th input was put in; where there are more outputs than inputs, further places know their position alone.

    Args:
        inputs: (tokens, channels) of what goes in; tokens may be 0.
        outputs: (tokens, channels) of what comes out.
        width: length of a token inside; `heads` divides it.
        depth: number of blocks of attention.
        heads: attention heads.
        context: length of the context, which is added to every token; 0 for none.

    Shapes: x `(*batch, tokens x channels)`, context `(*batch, context)` -> `(*batch, tokens x channels)` of the
    outputs; the batches broadcast.

    Raises:
        ConfigError: if a size is out of range or `heads` does not divide `width`.

    Source: Dosovitskiy et al., *An Image is Worth 16x16 Words*, 2021, arXiv:2010.11929, section 3.1, without the class
    token. Differs: weights are measured in units of their fan-in, and normalisation has no parameters.

    Example:
        >>> Transformer((4, 3), (4, 6), width=8, heads=2)(torch.ones(5, 12)).shape
        torch.Size([5, 24])
    """

    def __init__(
        self,
        inputs: Sequence[int],
        outputs: Sequence[int],
        *,
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.inputs = _sizes("Transformer", inputs, width, depth, heads, context)
        self.outputs = _sizes("Transformer", outputs, width, depth, heads, context)
        self.places = nn.Parameter(torch.randn(max(self.inputs[0], self.outputs[0]), width))
        self.embed = Dense(self.inputs[1], width, bias=False) if self.inputs[0] else None
        self.of_context = Dense(context, width, bias=False) if context else None
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))
        self.out = Dense(width, self.outputs[1], zero=True)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        places, width = self.places.shape
        h = self.places.expand(*x.shape[:-1], places, width)
        if self.embed is not None:
            tokens = self.embed(squash(x.unflatten(-1, self.inputs)))
            h = h + F.pad(tokens, (0, 0, 0, places - self.inputs[0]))
        h = _with_context(h, self.of_context, context)
        for block in self.blocks:
            h = block(h, causal=False)
        return self.out(_normal(h[..., : self.outputs[0], :])).flatten(-2)

    def __repr__(self) -> str:
        return f"Transformer({self.inputs}, {self.outputs}, {_inside(self.places, self.blocks)})"


class _State(NamedTuple):
    """What the network has computed so far: keys and values of each block, and the last token."""

    past: tuple[Pair, ...]
    last: Tensor
    context: Tensor | None


class CausalTransformer(nn.Module):
    """`params` outputs for each channel of each token, the i-th token's seeing only the tokens before i.

    Use it as the conditioner of `transforms.Autoregressive` on tokens. `begin`, `emit` and `advance` keep the keys and
    values of what came before, so that an inverse token by token costs about one pass. Inputs are squashed to [-3, 3];
    positions are learned; the first token's outputs depend on its position and the context alone; the last layer is
    zero at the start.

    Args:
        features: (tokens, channels).
        params: outputs for each channel.
        width: length of a token inside; `heads` divides it.
        depth: number of blocks of attention.
        heads: attention heads.
        context: length of the context, which is added to every token; 0 for none.

    Shapes: x `(*batch, tokens, channels)`, context `(*batch, context)` -> `(*batch, tokens, channels, params)`; the
    batches broadcast.

    Raises:
        ConfigError: if a size is out of range or `heads` does not divide `width`.

    Source: Zhai et al., *Normalizing Flows are Capable Generative Models*, 2024, arXiv:2412.06329, section 2.3.
    Differs: the first token has learned parameters, weights are measured in units of their fan-in, and normalisation
    has no parameters.

    Example:
        >>> CausalTransformer((4, 3), 2, width=8, heads=2)(torch.ones(5, 4, 3)).shape
        torch.Size([5, 4, 3, 2])
    """

    def __init__(
        self,
        features: Sequence[int],
        params: int,
        *,
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.tokens, self.channels = _sizes("CausalTransformer", features, width, depth, heads, context)
        _check.at_least("CausalTransformer", "tokens", self.tokens, 1)
        self.params = _check.at_least("CausalTransformer", "params", params, 1)
        self.steps = tuple((i,) for i in range(self.tokens))
        self.places = nn.Parameter(torch.randn(self.tokens, width))
        self.embed = Dense(self.channels, width, bias=False) if self.tokens > 1 else None
        self.of_context = Dense(context, width, bias=False) if context else None
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))
        self.out = Dense(width, self.channels * params, zero=True)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        h = self.places.expand(*x.shape[:-1], -1)
        if self.embed is not None:
            h = h + F.pad(self.embed(squash(x[..., :-1, :])), (0, 0, 1, 0))
        h = _with_context(h, self.of_context, context)
        for block in self.blocks:
            h = block(h, causal=True)
        return self._read(h)

    def begin(self, x: Tensor, context: Tensor | None = None) -> _State:
        """The state before any token is known; `x: (*batch, tokens, channels)` only tells the batch."""
        first = self.places[:1].expand(*x.shape[:-2], 1, -1)
        return self._step(None, _with_context(first, self.of_context, context), context)

    def emit(self, state: _State, step: int) -> Tensor:
        """The outputs of the step's one token, `(*batch, 1, channels, params)`, once the tokens before are known."""
        return self._read(state.last)

    def advance(self, state: _State, x: Tensor, step: int) -> _State:
        """The state once the step's token, `x: (*batch, 1, channels)`, is known too."""
        if self.embed is None or step + 1 == self.tokens:
            return state
        h = self.embed(squash(x)) + self.places[step + 1]
        return self._step(state.past, _with_context(h, self.of_context, state.context), state.context)

    def _step(self, past: tuple[Pair, ...] | None, h: Tensor, context: Tensor | None) -> _State:
        kept: list[Pair] = []
        for i, block in enumerate(cast("list[_Block]", self.blocks)):
            h, pair = block.step(h, None if past is None else past[i])
            kept.append(pair)
        return _State(tuple(kept), h, context)

    def _read(self, h: Tensor) -> Tensor:
        return self.out(_normal(h)).unflatten(-1, (self.channels, self.params))

    def __repr__(self) -> str:
        inside = _inside(self.places, self.blocks)
        return f"CausalTransformer({(self.tokens, self.channels)}, {self.params}, {inside})"


def _with_context(h: Tensor, net: nn.Module | None, context: Tensor | None) -> Tensor:
    """Tokens `(*batch, tokens, width)` with what the context says added to each."""
    return h if net is None or context is None else h + net(squash(context)).unsqueeze(-2)


def _inside(places: Tensor, blocks: nn.ModuleList) -> str:
    heads = f", heads={cast('_Block', blocks[0]).heads}" if len(blocks) else ""
    return f"width={places.shape[-1]}, depth={len(blocks)}{heads}"
