"""Scale and shift."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unwarp import _check, functional
from unwarp.univariates._base import Univariate

__all__ = ["Affine", "Shift"]


@dataclass(frozen=True, slots=True)
class Affine(Univariate):
    r"""$y = x e^s + t$ with the log scale bounded, $s = c \tanh(\theta_2 / c)$ and $t = \theta_1$.

    Use it in RealNVP and MAF layers: the cheapest map that changes volume.

    Args:
        max_log_scale: the bound $c > 0$ of $|s|$.

    Shapes: x `(...)`; params `(..., 2)` -> y, ladj `(...)`, ladj in nats.

    Raises:
        ConfigError: if `max_log_scale` is not finite and positive.

    Source: Dinh, Sohl-Dickstein and Bengio, *Density estimation using Real NVP*, 2017, arXiv:1605.08803, eq. 7.

    Example:
        >>> y, ladj = Affine().forward(torch.tensor([3.0]), torch.zeros(1, 2))
        >>> y.item(), ladj.item()
        (3.0, 0.0)
    """

    max_log_scale: float = 3.0

    def __post_init__(self) -> None:
        _check.positive("Affine", "max_log_scale", self.max_log_scale)

    @property
    def n_params(self) -> int:
        return 2

    @property
    def by_kernel(self) -> functional.ScalarMap:
        return functional.ScalarMap(limit=self.max_log_scale)

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.bounded_affine(x, params, limit=self.max_log_scale)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.bounded_affine_inverse(y, params, limit=self.max_log_scale)


@dataclass(frozen=True, slots=True)
class Shift(Univariate):
    """$y = x + t$: no change of volume, ladj 0.

    Use it in NICE layers, or where a constant log-det is wanted.

    Shapes: x `(...)`; params `(..., 1)` -> y, ladj `(...)`.

    Source: Dinh, Krueger and Bengio, *NICE: Non-linear Independent Components Estimation*, 2015, arXiv:1410.8516,
    eq. 9.

    Example:
        >>> y, ladj = Shift().forward(torch.tensor([3.0]), torch.tensor([[2.0]]))
        >>> y.item(), ladj.item()
        (5.0, 0.0)
    """

    @property
    def n_params(self) -> int:
        return 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        y = x + params.squeeze(-1)
        return y, y.new_zeros(()).expand_as(y)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        x = y - params.squeeze(-1)
        return x, x.new_zeros(()).expand_as(x)
