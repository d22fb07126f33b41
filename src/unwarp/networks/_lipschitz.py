"""Networks that bring points closer together, and say what they do to directions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unwarp import _check
from unwarp.errors import ConfigError
from unwarp.functional import squash
from unwarp.networks._conv import Convolution
from unwarp.networks._layers import Dense

__all__ = ["Linearized", "LipschitzConvNet", "LipschitzNet", "shortened", "spectral_bound"]

_SQUARINGS = 6
_FEW = 128  # entries of an image whose convolutions' whole matrices are cheap
_SWISH = 1.1  # the largest slope of x sigmoid(x) is 1.0998

Push = Callable[[Tensor], Tensor]
Linearized = Callable[[Tensor], tuple[Tensor, Push]]


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
        widths = (features, *_check.sizes("LipschitzNet", "hidden", hidden))
        self.lipschitz = _check_lipschitz("LipschitzNet", lipschitz)
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
        weights = [shortened(dense.weight * dense.scale) for dense in (*(layer.dense for layer in layers), self.out)]
        biases: list[Tensor] = [dense.bias for dense in (*(layer.dense for layer in layers), self.out)]  # pyright: ignore[reportAssignmentType]
        if self.of_context is not None and context is not None:
            biases[0] = biases[0] + self.of_context(squash(context))
        maps = [partial(F.linear, weight=weight) for weight in (*weights[:-1], self.lipschitz * weights[-1])]
        return _chained(maps, biases, [layer.sharpness for layer in layers], axis=-2)

    def extra_repr(self) -> str:
        return f"lipschitz={self.lipschitz}"


class LipschitzConvNet(nn.Module):
    r"""Convolutional network g of images with $|g(x) - g(y)| \le c\,|x - y|$ for every pair, zero at the start.

    The first and the last layer see squares of pixels, the layers between one pixel at a time; zeros are around the
    image. Such a convolution is a part of one around the edges of an image that is larger by half a kernel, and that
    one is a matrix over the channels for each frequency f: $\|K\|_2 \le \max_f \|\hat K_f\|_2$, where each norm is
    bounded as in `LipschitzNet`. Where an image has few entries, the convolution's whole matrix takes the place of the
    frequencies. So g is a contraction for any weights, in training as in evaluation, without any state.

    Use it in `Residual` on images.

    Args:
        channels: of x and of the output.
        height: rows of the image, H.
        width: columns of the image, W.
        hidden: channels of the hidden layers.
        kernel: side of the first and of the last convolution, odd.
        lipschitz: c.
        context: length of the context, which moves the first layer's biases without a bound; 0 for none.

    Shapes: x `(*batch, channels, H, W)`, context `(*batch, context)` -> `(*batch, channels, H, W)`; the batches
    broadcast.

    Raises:
        ConfigError: if a size is out of range, the kernel is even, or c is not between 0 and 1.

    Source: Chen, Behrmann, Duvenaud and Jacobsen, *Residual Flows for Invertible Generative Modeling*, 2019,
    arXiv:1906.02735, section 4 and appendix E; the bound: Delattre, Barthelemy, Araujo and Allauzen, *Efficient Bound
    of Lipschitz Constant for Convolutional Layers by Gram Iteration*, 2023, arXiv:2305.16173, section 4, instead of
    power iteration. Differs: the circle is so wide that the bound holds for zeros around the image.

    Example:
        >>> LipschitzConvNet(2, 4, 4, hidden=(8,))(torch.ones(3, 2, 4, 4)).abs().max().item()
        0.0
    """

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        *,
        hidden: Sequence[int] = (64, 64),
        kernel: int = 3,
        lipschitz: float = 0.9,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.shape = _check.sizes("LipschitzConvNet", "shape", (channels, height, width))
        _check.at_least("LipschitzConvNet", "context", context, 0)
        if _check.at_least("LipschitzConvNet", "kernel", kernel, 1) % 2 == 0:
            raise ConfigError(f"LipschitzConvNet: expected an odd kernel; got {kernel}. Take {kernel + 1}.")
        widths = (channels, *_check.sizes("LipschitzConvNet", "hidden", hidden))
        self.lipschitz = _check_lipschitz("LipschitzConvNet", lipschitz)
        self.context = context
        self.of_context = Dense(context, widths[1], zero=True, bias=False) if context else None
        sides = [kernel, *[1] * (len(widths) - 2)]
        self.hidden = nn.ModuleList(
            Convolution(a, b, side) for (a, b), side in zip(pairwise(widths), sides, strict=True)
        )
        self.sharpness = nn.Parameter(torch.zeros(len(widths) - 1))
        self.out = Convolution(widths[-1], channels, kernel, zero=True)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.prepared(context)(x)[0]

    def prepared(self, context: Tensor | None = None) -> Linearized:
        """The network for this context, as that of `LipschitzNet`; directions are `(*batch, K, *x.shape[-3:])`."""
        layers: list[Convolution] = [*self.hidden, self.out]  # pyright: ignore[reportAssignmentType]
        kernels = [self._shortened(layer.weight * layer.scale) for layer in layers]
        biases = [layer.bias.unsqueeze(-1).unsqueeze(-1) for layer in layers]
        if self.of_context is not None and context is not None:
            biases[0] = biases[0] + self.of_context(squash(context)).unsqueeze(-1).unsqueeze(-1)
        maps = [partial(_convolved, kernel=kernel) for kernel in (*kernels[:-1], self.lipschitz * kernels[-1])]
        return _chained(maps, biases, self.sharpness.unbind(), axis=-4)

    def _shortened(self, kernel: Tensor) -> Tensor:
        """The kernel, made smaller where the norm of its convolution may be above 1."""
        if kernel.shape[-1] == 1:
            return shortened(kernel.flatten(1)).reshape(kernel.shape)
        return kernel / self._norm(kernel).clamp(min=1.0)

    def _norm(self, kernel: Tensor) -> Tensor:
        """An upper bound of the norm of the convolution of images of this size, zeros around them."""
        out, inputs, side, _ = kernel.shape
        adjoint = kernel.transpose(0, 1).flip(2, 3)
        kernel = adjoint if out < inputs else kernel  # as norms go, the same
        entries = min(out, inputs) * math.prod(self.shape[1:])
        if entries <= _FEW:
            eye = torch.eye(entries, dtype=kernel.dtype, device=kernel.device)
            return spectral_bound(_convolved(eye.unflatten(-1, (-1, *self.shape[1:])), kernel).flatten(1))
        circle = [max(size + side // 2, side) for size in self.shape[1:]]
        return spectral_bound(torch.fft.rfft2(kernel, s=circle).permute(2, 3, 0, 1)).amax()

    def extra_repr(self) -> str:
        return f"{self.shape}, lipschitz={self.lipschitz}"


class _Hidden(nn.Module):
    """A hidden layer's weights and the sharpness of its activation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.dense = Dense(inputs, outputs)
        self.sharpness = nn.Parameter(torch.zeros(()))


def _check_lipschitz(where: str, lipschitz: float) -> float:
    if not 0 < lipschitz < 1:
        raise ConfigError(f"{where}: expected lipschitz between 0 and 1; got {lipschitz!r}. Take 0.9, or more layers.")
    return lipschitz


def _chained(maps: Sequence[Push], biases: Sequence[Tensor], sharpness: Sequence[Tensor], *, axis: int) -> Linearized:
    """Linear maps with LipSwish between them, and their derivative along directions, which stand along `axis`."""

    def linearized(x: Tensor) -> tuple[Tensor, Push]:
        h = x
        slopes: list[Tensor] = []
        for linear, bias, own in zip(maps[:-1], biases[:-1], sharpness, strict=True):
            h, slope = _lip_swish(linear(h) + bias, own)
            slopes.append(slope.unsqueeze(axis))

        def push(v: Tensor) -> Tensor:
            for linear, slope in zip(maps[:-1], slopes, strict=True):
                v = linear(v) * slope
            return maps[-1](v)

        return maps[-1](h) + biases[-1], push

    return linearized


def _lip_swish(x: Tensor, sharpness: Tensor) -> tuple[Tensor, Tensor]:
    """LipSwish and its slope."""
    beta = F.softplus(sharpness + 0.5)
    s = (beta * x).sigmoid()
    return x * s / _SWISH, (s + beta * x * s * (1 - s)) / _SWISH


def _convolved(x: Tensor, kernel: Tensor) -> Tensor:
    """The convolution of images with zeros around, whatever the batch."""
    out = F.conv2d(x.reshape(-1, *x.shape[-3:]), kernel, padding=kernel.shape[-1] // 2)
    return out.reshape(*x.shape[:-3], *out.shape[-3:])


def shortened(weight: Tensor, limit: float = 1.0) -> Tensor:
    """The matrix, made shorter where the bound of its spectral norm is above `limit`."""
    return weight / (spectral_bound(weight) / limit).clamp(min=1.0)


def spectral_bound(weight: Tensor) -> Tensor:
    """An upper bound of the spectral norm of real or complex matrices, a few percent too large at most.

    Shapes: weight `(*batch, a, b)` -> `(*batch)`.
    """
    gram = weight @ weight.mH if weight.shape[-2] < weight.shape[-1] else weight.mH @ weight
    tiny = torch.finfo(gram.dtype).tiny
    log_square = 0.0
    for k in range(_SQUARINGS + 1):
        size = ((gram * gram.conj()).real.sum((-1, -2)) + tiny).sqrt()
        log_square = log_square + size.log() / 2**k
        gram = gram / size.unsqueeze(-1).unsqueeze(-1)
        gram = gram @ gram
    return (0.5 * torch.as_tensor(log_square)).exp()
