"""Networks that bring points closer together, and say what they do to directions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unwarp import _check
from unwarp.errors import ConfigError
from unwarp.networks._layers import Dense, squash

__all__ = ["Linearized", "LipschitzNet", "shortened", "spectral_bound"]

_SQUARINGS = 6
_SWISH = 1.1  # the largest slope of x sigmoid(x) is 1.0998

Linearized = Callable[[Tensor], tuple[Tensor, Callable[[Tensor], Tensor]]]


class LipschitzNet(nn.Module):
    r"""Fully connected network g with $|g(x) - g(y)| \le c\,|x - y|$ for every pair of points, zero at the start.

    Every weight matrix is divided by a bound of its spectral norm where that is above 1: $\|W\|_2^{2^{k+1}} \le
    \|(W^\top W)^{2^k}\|_F$, which holds for any weights, in training as in evaluation, without any state. With k = 6 it
    is at most $r^{1/256}$ too large for rank r. Activations are LipSwish, $x\,\sigma(\beta x)/1.1$ with a learned
    $\beta$.

    Use it in `Residual`. `prepared` gives the network together with its derivative along any directions.

    Args:
        features: length of x and of the output.
        hidden: sizes of the hidden layers.
        lipschitz: c.
        context: length of the context, which moves the first layer's biases without a bound; 0 for none.

    Shapes: x `(*batch, features)`, context `(*batch, context)` -> `(*batch, features)`; the batches broadcast.

    Raises:
        ConfigError: if a size is out of range, or c is not between 0 and 1.

    Source: Chen, Behrmann, Duvenaud and Jacobsen, *Residual Flows for Invertible Generative Modeling*, 2019,
    arXiv:1906.02735, section 3.3; the bound: Delattre, Barthelemy, Araujo and Allauzen, *Efficient Bound of Lipschitz
    Constant for Convolutional Layers by Gram Iteration*, 2023, arXiv:2305.16173, theorem 1, instead of power iteration.

    Example:
        >>> LipschitzNet(2, hidden=(16,))(torch.ones(3, 2)).abs().max().item()
        0.0
    """

    def __init__(
        self, features: int, *, hidden: Sequence[int] = (64, 64), lipschitz: float = 0.9, context: int = 0
    ) -> None:
        super().__init__()
        _check.at_least("LipschitzNet", "features", features, 1)
        _check.at_least("LipschitzNet", "context", context, 0)
        if not 0 < lipschitz < 1:
            raise ConfigError(
                f"LipschitzNet: expected lipschitz between 0 and 1; got {lipschitz!r}. Take 0.9, or more layers."
            )
        widths = (features, *_check.sizes("LipschitzNet", "hidden", hidden))
        self.lipschitz = lipschitz
        self.context = context
        self.of_context = Dense(context, widths[1], zero=True, bias=False) if context else None
        self.hidden = nn.ModuleList(_Hidden(a, b) for a, b in pairwise(widths))
        self.out = Dense(widths[-1], features, zero=True)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.prepared(context)(x)[0]

    def prepared(self, context: Tensor | None = None) -> Linearized:
        """The network for this context, its weights made once.

        Returns:
            A function from x to $g(x)$ and to the function that multiplies directions by the Jacobian at x.

        Shapes: directions `(*batch, K, features)` -> `(*batch, K, features)`.
        """
        layers: list[_Hidden] = list(self.hidden)  # pyright: ignore[reportAssignmentType]
        weights = [shortened(layer.dense.weight * layer.dense.scale) for layer in layers]
        last = self.lipschitz * shortened(self.out.weight * self.out.scale)
        offset = 0.0 if self.of_context is None or context is None else self.of_context(squash(context))

        def linearized(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
            h = x
            slopes: list[Tensor] = []
            for i, (layer, weight) in enumerate(zip(layers, weights, strict=True)):
                h, slope = layer.act(F.linear(h, weight, layer.dense.bias) + (0.0 if i else offset))
                slopes.append(slope.unsqueeze(-2))

            def push(v: Tensor) -> Tensor:
                for weight, slope in zip(weights, slopes, strict=True):
                    v = F.linear(v, weight) * slope
                return F.linear(v, last)

            return F.linear(h, last, self.out.bias), push

        return linearized

    def extra_repr(self) -> str:
        return f"lipschitz={self.lipschitz}"


class _Hidden(nn.Module):
    """A hidden layer's weights and the sharpness of its activation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.dense = Dense(inputs, outputs)
        self.sharpness = nn.Parameter(torch.zeros(()))

    def act(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """LipSwish and its slope."""
        beta = F.softplus(self.sharpness + 0.5)
        s = (beta * x).sigmoid()
        return x * s / _SWISH, (s + beta * x * s * (1 - s)) / _SWISH


def shortened(weight: Tensor, limit: float = 1.0) -> Tensor:
    """The matrix, made shorter where the bound of its spectral norm is above `limit`."""
    return weight / (spectral_bound(weight) / limit).clamp(min=1.0)


def spectral_bound(weight: Tensor) -> Tensor:
    """An upper bound of the spectral norm, a few percent too large at most.

    Shapes: weight `(a, b)` -> `()`.
    """
    tiny = torch.finfo(weight.dtype).tiny
    gram = weight @ weight.mT if weight.shape[0] < weight.shape[1] else weight.mT @ weight
    log_square = weight.new_zeros(())
    for k in range(_SQUARINGS + 1):
        size = (gram.square().sum() + tiny).sqrt()
        log_square = log_square + size.log() / 2**k
        gram = gram / size
        gram = gram @ gram
    return (0.5 * log_square).exp()
