"""Fixed maps from the real line onto half lines and intervals; no parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from unwarp import functional
from unwarp._space import POSITIVE, UNIT, Interval, Support
from unwarp.univariates._base import Univariate

__all__ = ["Exp", "Rescale", "Sigmoid", "Softplus", "Tanh"]


@dataclass(frozen=True, slots=True)
class Exp(Univariate):
    """$y = e^x$, from the reals onto the positive numbers; its inverse is the logarithm.

    Use it for positive quantities that vary by factors; the normal distribution becomes the log-normal.

    Shapes: x `(...)`, params `(..., 0)` -> y, ladj `(...)`; ladj in nats.

    Example:
        >>> y, ladj = Exp().forward(torch.tensor([2.0]), torch.zeros(1, 0))
        >>> bool(torch.isclose(y.log(), ladj))
        True
    """

    @property
    def n_params(self) -> int:
        return 0

    @property
    def codomain(self) -> Support:
        return POSITIVE

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.exp(x)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.log(y)


@dataclass(frozen=True, slots=True)
class Softplus(Univariate):
    r"""$y = \log(1 + e^x)$, from the reals onto the positive numbers, a straight line far to the right.

    Use it for positive quantities whose large values vary by differences, not by factors.

    Shapes: x `(...)`, params `(..., 0)` -> y, ladj `(...)`; ladj in nats.

    Example:
        >>> y, _ = Softplus().forward(torch.tensor([50.0]), torch.zeros(1, 0))
        >>> y.item()
        50.0
    """

    @property
    def n_params(self) -> int:
        return 0

    @property
    def codomain(self) -> Support:
        return POSITIVE

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.softplus(x)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.softplus_inverse(y)


@dataclass(frozen=True, slots=True)
class Sigmoid(Univariate):
    r"""$y = a + (b - a)/(1 + e^{-x})$, from the reals onto the interval $(a, b)$; its inverse is the logit.

    Use it for quantities with two hard ends.

    Args:
        interval: the interval $(a, b)$.

    Shapes: x `(...)`, params `(..., 0)` -> y, ladj `(...)`; ladj in nats.

    Example:
        >>> y, _ = Sigmoid(Interval(0.0, 4.0)).forward(torch.tensor([0.0]), torch.zeros(1, 0))
        >>> y.item()
        2.0
    """

    interval: Interval = UNIT

    @property
    def n_params(self) -> int:
        return 0

    @property
    def codomain(self) -> Support:
        return self.interval

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.sigmoid(x, self.interval.low, self.interval.high)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.logit(y, self.interval.low, self.interval.high)


@dataclass(frozen=True, slots=True)
class Rescale(Univariate):
    """The straight line from one interval onto another.

    Use it to bring a bounded quantity to the interval that a map or a base expects.

    Args:
        source: the interval of x.
        target: the interval of y.

    Shapes: x `(...)`, params `(..., 0)` -> y, ladj `(...)`; ladj in nats.

    Example:
        >>> y, ladj = Rescale(UNIT, Interval(-1.0, 1.0)).forward(torch.tensor([0.75]), torch.zeros(1, 0))
        >>> y.item(), bool(torch.isclose(ladj.exp(), torch.tensor([2.0])))
        (0.5, True)
    """

    source: Interval
    target: Interval

    @property
    def n_params(self) -> int:
        return 0

    @property
    def domain(self) -> Support:
        return self.source

    @property
    def codomain(self) -> Support:
        return self.target

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.rescale(x, (self.source.low, self.source.high), (self.target.low, self.target.high))

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return functional.rescale(y, (self.target.low, self.target.high), (self.source.low, self.source.high))


@dataclass(frozen=True, slots=True)
class Tanh(Univariate):
    r"""$y = \tanh x$, from the reals onto $(-1, 1)$; exact where $1 - y^2$ has no digits left.

    Use it to squash actions or pixels; `Sigmoid` is for other intervals.

    Shapes: x `(...)`, params `(..., 0)` -> y, ladj `(...)`; ladj in nats.

    Example:
        >>> y, ladj = Tanh().forward(torch.tensor([0.0, 100.0]), torch.zeros(2, 0))
        >>> ladj[0].item(), bool((ladj[1] + 200).abs() < 2)
        (0.0, True)
    """

    @property
    def n_params(self) -> int:
        return 0

    @property
    def codomain(self) -> Support:
        return Interval(-1.0, 1.0)

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        y, ladj = functional.sigmoid(2 * x, -1.0, 1.0)
        return y, ladj + math.log(2)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        x, ladj = functional.logit(y, -1.0, 1.0)
        return 0.5 * x, ladj - math.log(2)
