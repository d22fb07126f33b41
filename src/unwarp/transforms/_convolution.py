"""Linear maps of images that mix neighbouring pixels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unwarp import _check
from unwarp._space import Space
from unwarp.errors import ConfigError
from unwarp.functional import (
    bound_kernel,
    causal_convolution,
    causal_convolution_inverse,
    full_convolution,
    soft_clip,
)
from unwarp.transforms._base import Transform
from unwarp.transforms._linear import LIMIT

__all__ = ["ConvolutionExponential", "EmergingConvolution", "PeriodicConvolution"]

_SHARE = 0.9  # bound of the norm of what is added to the identity, so that the sum is never singular
_TERMS = 18  # of the exponential's series: 1 / 18! is below the last digit of float64


class EmergingConvolution(Transform):
    r"""$z = K_2 * (K_1 * x) + b$ with two triangular convolutions, one in the pixels' order and one against it.

    Use it in image flows in place of a 1x1 convolution where neighbours should be mixed too. Each kernel is
    $e^s (I + N)$ with $|s| < 5$, and the norm of N's convolution below 0.9, so that going back can't blow up, however
    large the image; $\text{ladj} = H W \sum s$. Going back takes a triangular solve for each row of pixels.

    Args:
        channels: C.
        height: H.
        width: W.
        kernel: side of the square of pixels that each pixel sees, odd.

    Shapes: x, z `(*batch, C, H, W)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if a size is below 1, or `kernel` is not odd or below 3.

    Source: Hoogeboom, van den Berg and Welling, *Emerging Convolutions for Generative Normalizing Flows*, 2019,
    arXiv:1901.11137. Differs: the kernels are bounded.

    Example:
        >>> x = torch.randn(2, 3, 4, 4)
        >>> z, ladj = EmergingConvolution(3, 4, 4)(x)
        >>> bool((z == x).all()), ladj.tolist()
        (True, [0.0, 0.0])
    """

    mask: Tensor
    center: Tensor

    def __init__(self, channels: int, height: int, width: int, *, kernel: int = 3) -> None:
        super().__init__(Space(_image("EmergingConvolution", (channels, height, width), kernel)))
        r = kernel // 2
        self.weight = nn.Parameter(torch.zeros(2, channels, channels, r + 1, kernel))
        self.log_scale = nn.Parameter(torch.zeros(2, channels))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))
        mask = torch.ones(channels, channels, r + 1, kernel)
        mask[:, :, r, r:] = 0
        mask[:, :, r, r] = torch.ones(channels, channels).tril(-1)
        center = torch.zeros_like(mask)
        center[:, :, r, r] = torch.eye(channels)
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("center", center, persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        first, second = self._kernels()
        z = causal_convolution(x.reshape(-1, *self.domain.shape), first)
        z = causal_convolution(z.flip(1, 2, 3), second).flip(1, 2, 3)
        return z.reshape(x.shape) + self.bias, self._log_det().expand(x.shape[:-3])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        first, second = self._kernels()
        x = (z - self.bias).reshape(-1, *self.domain.shape)
        x = causal_convolution_inverse(x.flip(1, 2, 3), second).flip(1, 2, 3)
        return causal_convolution_inverse(x, first).reshape(z.shape), -self._log_det().expand(z.shape[:-3])

    def _kernels(self) -> list[Tensor]:
        scales = soft_clip(self.log_scale, LIMIT).exp().reshape(2, -1, 1, 1, 1).unbind()
        parts = [bound_kernel(weight * self.mask, _SHARE) + self.center for weight in self.weight.unbind()]
        return [scale * part for scale, part in zip(scales, parts, strict=True)]

    def _log_det(self) -> Tensor:
        return soft_clip(self.log_scale, LIMIT).sum() * self.domain.shape[1] * self.domain.shape[2]

    def extra_repr(self) -> str:
        return f"{self.domain.shape}, kernel={self.weight.shape[-1]}"


class PeriodicConvolution(Transform):
    r"""$z = e^s (x + N * x) + b$ around the edges: in the frequencies f a matrix $I + \hat N_f$ over the channels each.

    $\text{ladj} = \sum_f \log|\det(I + \hat N_f)| + H W \sum s$. Use it for images and fields that wrap around:
    simulations in periodic boxes, textures, maps of the globe. The norm of N's convolution stays below 0.9, so no
    frequency is lost, and $|s| < 5$.

    Args:
        channels: C.
        height: H.
        width: W.
        kernel: side of the square of pixels that each pixel sees, odd, no larger than the image.

    Shapes: x, z `(*batch, C, H, W)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if a size is below 1, or `kernel` is not odd, below 3, or larger than a side.

    Source: Hoogeboom, van den Berg and Welling, *Emerging Convolutions for Generative Normalizing Flows*, 2019,
    arXiv:1901.11137. Differs: the identity plus a bounded kernel.

    Example:
        >>> x = torch.randn(2, 3, 4, 4)
        >>> z, ladj = PeriodicConvolution(3, 4, 4)(x)
        >>> bool((z - x).abs().max() < 1e-5), bool(ladj.abs().max() < 1e-5)
        (True, True)
    """

    def __init__(self, channels: int, height: int, width: int, *, kernel: int = 3) -> None:
        super().__init__(Space(_image("PeriodicConvolution", (channels, height, width), kernel)))
        if kernel > min(height, width):
            raise ConfigError(
                f"PeriodicConvolution: expected a kernel that fits in {height} x {width} pixels; got {kernel}. "
                "Take a smaller one."
            )
        self.weight = nn.Parameter(torch.zeros(channels, channels, kernel, kernel))
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        matrix = self._matrix()
        z = self._filtered(x, matrix.matmul)
        return z * self._scale().exp() + self.bias, self._log_det(matrix).expand(x.shape[:-3])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        matrix = self._matrix()
        x = self._filtered((z - self.bias) * (-self._scale()).exp(), partial(torch.linalg.solve, matrix))
        return x, -self._log_det(matrix).expand(z.shape[:-3])

    def _filtered(self, x: Tensor, act: Callable[[Tensor], Tensor]) -> Tensor:
        """Images after `act` on each frequency's channels, `(*batch, H, W // 2 + 1, C, 1)`."""
        if not x.numel():  # torch.fft refuses empty batches
            return x
        spectrum = act(torch.fft.rfft2(x).movedim(-3, -1).unsqueeze(-1))
        return torch.fft.irfft2(spectrum.squeeze(-1).movedim(-1, -3), s=x.shape[-2:])

    def _scale(self) -> Tensor:
        return soft_clip(self.log_scale, LIMIT)

    def _matrix(self) -> Tensor:
        """The matrix over the channels of each frequency of half the spectrum, `(H, W // 2 + 1, C, C)`."""
        channels, height, width = self.domain.shape
        kernel = bound_kernel(self.weight, _SHARE)
        side = kernel.shape[-1]
        kernel = F.pad(kernel, (0, width - side, 0, height - side)).roll((-(side // 2), -(side // 2)), (-2, -1))
        eye = torch.eye(channels, dtype=kernel.dtype, device=kernel.device)
        return torch.fft.rfft2(kernel).permute(2, 3, 0, 1) + eye

    def _log_det(self, matrix: Tensor) -> Tensor:
        """Frequencies that stand for their mirror image too count twice."""
        _, height, width = self.domain.shape
        by_frequency = torch.linalg.slogdet(matrix).logabsdet.sum(0)
        mirrored = by_frequency[1 : (width + 1) // 2].sum()
        return by_frequency.sum() + mirrored + self._scale().sum() * height * width

    def extra_repr(self) -> str:
        return f"{self.domain.shape}, kernel={self.weight.shape[-1]}"


class ConvolutionExponential(Transform):
    r"""$z = e^{K *} x + b = x + K * x + K * K * x / 2 + \dots + b$, with zeros around the image.

    $\text{ladj} = H W \operatorname{tr} K_0$ with $K_0$ the middle tap, and the inverse is the exponential of $-K$.
    Use it in image flows in place of a 1x1 convolution where neighbours should be mixed too, and both directions be
    equally cheap: 18 convolutions. The norm of K's convolution stays below 1.

    Args:
        channels: C.
        height: H.
        width: W.
        kernel: side of the square of pixels that each term sees, odd.

    Shapes: x, z `(*batch, C, H, W)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if a size is below 1, or `kernel` is not odd or below 3.

    Source: Hoogeboom, Satorras, Tomczak and Welling, *The Convolution Exponential and Generalized Sylvester Flows*,
    2020, arXiv:2006.01910. Differs: the bound comes from the taps' norms rather than from power iterations,
    and the series goes to float64's last digit.

    Example:
        >>> x = torch.randn(2, 3, 4, 4)
        >>> z, ladj = ConvolutionExponential(3, 4, 4)(x)
        >>> bool((z == x).all()), ladj.tolist()
        (True, [0.0, 0.0])
    """

    def __init__(self, channels: int, height: int, width: int, *, kernel: int = 3) -> None:
        super().__init__(Space(_image("ConvolutionExponential", (channels, height, width), kernel)))
        self.weight = nn.Parameter(torch.zeros(channels, channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kernel = bound_kernel(self.weight, 1.0)
        return self._exponential(x, kernel) + self.bias, self._log_det(kernel).expand(x.shape[:-3])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kernel = bound_kernel(self.weight, 1.0)
        return self._exponential(z - self.bias, -kernel), -self._log_det(kernel).expand(z.shape[:-3])

    def _exponential(self, x: Tensor, kernel: Tensor) -> Tensor:
        total = term = x.reshape(-1, *self.domain.shape)
        for k in range(1, _TERMS + 1):
            term = full_convolution(F.pad(term, [kernel.shape[-1] // 2] * 4), kernel) / k
            total = total + term
        return total.reshape(x.shape)

    def _log_det(self, kernel: Tensor) -> Tensor:
        _, height, width = self.domain.shape
        middle = kernel.shape[-1] // 2
        return kernel[:, :, middle, middle].trace() * height * width

    def extra_repr(self) -> str:
        return f"{self.domain.shape}, kernel={self.weight.shape[-1]}"


def _image(where: str, shape: tuple[int, int, int], kernel: int) -> tuple[int, ...]:
    """The shape, when it is an image's and `kernel` is a side that has a middle and neighbours."""
    if _check.at_least(where, "kernel", kernel, 3) % 2 == 0:
        raise ConfigError(f"{where}: expected an odd kernel; got {kernel}. Take {kernel + 1}.")
    return _check.sizes(where, "shape", shape)
