"""From whole numbers and categories to densities."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from unwarp import _check, functional
from unwarp._space import UNIT, Integers, Interval, Space
from unwarp.errors import ConfigError
from unwarp.transforms._base import Transform
from unwarp.transforms._fill import Fill
from unwarp.transforms._noise import Noise

__all__ = ["Argmax", "Dequantize"]


class Dequantize(Transform):
    r"""Whole numbers spread over their bins: $z = (x - a + u)/K$ with $u \sim q(u \mid x)$ on $(0, 1)$.

    Forward's $\text{ladj} = -\log q(u \mid x) - D \log K$ makes the flow's `log_prob` a lower bound of the log
    *probability* of x, whose average over u it is; inverse rounds down. `estimate(flow, x, draws=...)` tightens it.

    Use it as the first part of a flow on counts or on images of whole numbers, with a map from the interval to the
    real line after it: `Inverse(Elementwise(shape, Sigmoid(layer.interval)))`.

    Args:
        features: number of features D, or the event's shape.
        low: smallest whole number, a.
        high: largest; there are K = high - low + 1.
        margin: by how much the interval of z is longer than (0, 1) at each end, so that a logit after it stays
            moderate; $m = \alpha/(1 - 2\alpha)$ gives the logit of $\alpha + (1 - 2\alpha) z$.
        fill: map from u, on the unit interval, to standard normal noise, told of x scaled to [-1, 1] where it takes a
            context: variational dequantization. None draws u uniformly.

    Shapes: x, z `(*batch, *event)`; ladj `(*batch)`, nats.

    Attributes:
        interval: where z lives.

    Raises:
        ConfigError: when `low < high` does not hold, there are more than 65536 values, or the margin is negative.
        SpaceError: when `fill` starts, ends or is told elsewhere.

    Source: Ho et al., *Flow++*, 2019, arXiv:1902.00275, section 3.1; the uniform case: Theis, van den Oord and Bethge,
    *A note on the evaluation of generative models*, 2016, arXiv:1511.01844, section 3.1. Differs: with a margin,
    latents beyond the ends belong to the last values, so that the bound stays one.

    Example:
        >>> layer = Dequantize(2, 0, 3)
        >>> x = torch.tensor([[0.0, 3.0], [1.0, 2.0]])
        >>> z, ladj = layer(x)
        >>> bool((layer.decode(z) == x).all()), bool(torch.isclose(ladj, torch.tensor(0.25).log() * 2).all())
        (True, True)
    """

    def __init__(
        self,
        features: int | Sequence[int],
        low: int,
        high: int,
        *,
        margin: float = 0.0,
        fill: Transform | None = None,
    ) -> None:
        shape = _check.event("Dequantize", features)
        if not 0 <= margin < math.inf:
            raise ConfigError(f"Dequantize: expected a margin >= 0; got {margin}. Change margin.")
        domain, unit = Space(shape, Integers(low, high)), Space(shape, UNIT)
        if high - low + 1 > 65536:
            raise ConfigError(f"Dequantize: expected at most 65536 values; got {high - low + 1}. Treat x as real.")
        self.interval = Interval(-margin, 1.0 + margin)
        super().__init__(domain, Space(shape, self.interval), kind="bound", loses="inverse")
        self.low, self.values = low, high - low + 1
        self.source = Noise() if fill is None else Fill("Dequantize", unit, domain, fill)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
        whole = x - self.low
        if isinstance(self.source, Fill):
            u, log_q = self.source.draw(self._centered(whole))
        else:
            u = self.source.uniform(x, self.domain.shape, dims=len(self.domain.shape))
            log_q = whole.flatten(-len(self.domain.shape)).sum(-1) * 0
        return (whole + self._inside(u)) / self.values, -log_q - self._log_volume()

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        spread = z * self.values
        whole = spread.floor().clamp(0, self.values - 1)
        if isinstance(self.source, Fill):
            log_q = self.source.log_prob(self._inside(spread - whole), self._centered(whole))
        else:
            log_q = whole.flatten(-len(self.domain.shape)).sum(-1) * 0
        return whole + self.low, log_q + self._log_volume()

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return (z * self.values).floor().clamp(0, self.values - 1) + self.low

    def _centered(self, whole: Tensor) -> Tensor:
        return whole * (2 / (self.values - 1)) - 1

    def _inside(self, u: Tensor) -> Tensor:
        """u far enough from the ends of its bin that no rounding leads to another one."""
        edge = 4 * self.values * torch.finfo(u.dtype).eps
        return u.clamp(edge, 1 - edge)

    def _log_volume(self) -> float:
        return self.domain.entries * math.log(self.values)

    def extra_repr(self) -> str:
        shape = self.domain.shape
        return f"{shape[0] if len(shape) == 1 else shape}, {self.low} to {self.low + self.values - 1}"


class Argmax(Transform):
    r"""Categories as the argmax of K numbers each: $z \sim q(z \mid x)$ with $\arg\max_k z_{dk} = x_d$.

    From $u \sim q(u \mid x)$ the number of the category itself stays, $t = u_x$, and the others are held below it,
    $z_k = t - \log(1 + e^{t - u_k})$. Forward's $\text{ladj} = -\log q(z \mid x)$ makes a lower bound of the log
    probability.

    Use it as the first part of a flow on categories without an order, where `Dequantize` would give them one.

    Args:
        features: number of features D.
        categories: K; features are whole numbers from 0 to K - 1.
        fill: map from u, `(D, K)` reals, to standard normal noise, told of x scaled to [-1, 1] where it takes a
            context; None draws u normal.

    Shapes: x `(*batch, D)`, z `(*batch, D, K)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1` or `categories < 2`.
        SpaceError: when `fill` starts, ends or is told elsewhere.

    Source: Hoogeboom, Nielsen, Jaini, Forre and Welling, *Argmax Flows and Multinomial Diffusion*, 2021,
    arXiv:2102.05379, section 3.1, "softplus thresholding".

    Example:
        >>> layer, x = Argmax(2, 3), torch.tensor([[0.0, 2.0], [1.0, 1.0]])
        >>> z, ladj = layer(x)
        >>> z.shape, bool((layer.decode(z) == x).all())
        (torch.Size([2, 2, 3]), True)
    """

    def __init__(self, features: int, categories: int, *, fill: Transform | None = None) -> None:
        _check.at_least("Argmax", "features", features, 1)
        _check.at_least("Argmax", "categories", categories, 2)
        domain, codomain = Space((features,), Integers(0, categories - 1)), Space((features, categories))
        super().__init__(domain, codomain, kind="bound", loses="inverse")
        self.fill = Fill("Argmax", codomain, domain, fill)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
        u, log_q = self.fill.draw(self._centered(x))
        own = self._own(x)
        top = torch.where(own, u, 0.0).sum(-1, keepdim=True)
        below, slope = functional.softplus(top - u)
        ladj = torch.where(own, 0.0, slope).flatten(-2).sum(-1) - log_q
        nothing = (x * 0).unsqueeze(-1)  # but for NaN, which stays
        return torch.where(own, u, top - below) + nothing, ladj + nothing.flatten(-2).sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self.decode(z)
        own = self._own(x)
        top = z.amax(-1, keepdim=True)
        gap, slope = functional.softplus_inverse(torch.where(own, 1.0, (top - z).clamp(min=1e-30)))
        log_q = self.fill.log_prob(torch.where(own, z, top - gap), self._centered(x))
        return x, log_q + torch.where(own, 0.0, slope).flatten(-2).sum(-1)

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return z.argmax(-1).to(z.dtype) + z.sum(-1) * 0  # NaN stays

    def _own(self, x: Tensor) -> Tensor:
        """Which of the K numbers is the category's own, bool `(*batch, D, K)`."""
        return x.unsqueeze(-1) == torch.arange(self.codomain.shape[1], device=x.device)

    def _centered(self, x: Tensor) -> Tensor:
        return x * (2 / (self.codomain.shape[1] - 1)) - 1

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}, {self.codomain.shape[1]}"
