"""Maps that let something go on the way to the latent, and draw it on the way back; their densities are exact."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unwarp import _check
from unwarp._manifold import Ordered
from unwarp._space import POSITIVE, REAL, Space
from unwarp.errors import ConfigError, ShapeError
from unwarp.transforms._base import Transform
from unwarp.transforms._compose import Inverse
from unwarp.transforms._elementwise import Elementwise
from unwarp.transforms._fill import Fill
from unwarp.transforms._image import Pixelwise
from unwarp.transforms._noise import Noise
from unwarp.univariates import Exp

__all__ = ["Abs", "MaxPool", "Slice", "Sort"]

_NEAR = 1e-30  # what a difference of 0 is taken for, so that its logarithm and slope are finite


class Slice(Transform):
    r"""$z$ is the first part of x; the rest s is drawn from $q(s \mid z)$, and $\text{ladj} = \log q(s \mid z)$.

    `Inverse(Slice(...))` augments: it adds drawn features to x, and its ladj, $-\log q$, makes a lower bound.

    Use it to reduce the dimension within a flow, or, read backwards, to give a flow room to move in.

    Args:
        features: number of features D, or the event's shape, channels first.
        keep: how many features (channels) stay.
        fill: map from the rest to standard normal noise, told of z where it takes a context; None draws it normal.

    Shapes: x `(*batch, D)` or `(*batch, *features)`, z `(*batch, keep)` or the shape with `keep` channels; ladj
    `(*batch)`, nats.

    Raises:
        ConfigError: unless `1 <= keep < D`.
        SpaceError: when `fill` starts, ends or is told elsewhere.

    Source: Nielsen, Jaini, Hoogeboom, Winther and Welling, *SurVAE Flows*, 2020, arXiv:2007.02731, table 3; augmented:
    Huang, Dinh and Courville, *Augmented Normalizing Flows*, 2020, arXiv:2002.07101.

    Example:
        >>> z, ladj = Slice(3, 1)(torch.zeros(4, 3))
        >>> z.shape, bool(torch.isclose(ladj, torch.tensor(-1.837877)).all())
        (torch.Size([4, 1]), True)
    """

    def __init__(self, features: int | Sequence[int], keep: int, *, fill: Transform | None = None) -> None:
        shape = _check.event("Slice", features)
        if not 1 <= _check.at_least("Slice", "keep", keep, 1) < shape[0]:
            raise ConfigError(f"Slice: expected keep from 1 to {shape[0] - 1}; got {keep}. Change keep.")
        kept, rest = Space((keep, *shape[1:])), Space((shape[0] - keep, *shape[1:]))
        super().__init__(Space(shape), kept, loses="forward")
        self.fill = Fill("Slice", rest, kept, fill)
        self._axis, self._sizes = -len(shape), [keep, shape[0] - keep]

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, rest = x.split(self._sizes, self._axis)
        return z, self.fill.log_prob(rest, z)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        rest, log_q = self.fill.draw(z)
        return torch.cat([z, rest], self._axis), -log_q

    def encode(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return x.split(self._sizes, self._axis)[0]

    def extra_repr(self) -> str:
        return f"{self.domain.shape} -> {self.codomain.shape}"


class Abs(Transform):
    r"""$z = |x|$; signs are drawn, $\text{ladj} = \sum_i \log p(\operatorname{sign} x_i \mid z)$.

    Use it for densities that are symmetric about 0, exactly or but for how likely each sign is.

    Args:
        features: number of features D.
        net: network from z to the log odds of a plus for each feature, called as `net(z, None)`; None makes both signs
            equally likely.

    Shapes: x, z `(*batch, D)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1`.
        ShapeError: when the network gives another number of log odds.

    Source: Nielsen et al., *SurVAE Flows*, 2020, arXiv:2007.02731, section 3.1.

    Example:
        >>> z, ladj = Abs(2)(torch.tensor([3.0, -1.0]))
        >>> z.tolist(), bool(torch.isclose(ladj.exp(), torch.tensor(0.25)))
        ([3.0, 1.0], True)
    """

    def __init__(self, features: int, *, net: nn.Module | None = None) -> None:
        shape = (_check.at_least("Abs", "features", features, 1),)
        super().__init__(Space(shape), Space(shape, POSITIVE), loses="forward")
        self.net = net
        self.noise = Noise()
        with torch.no_grad():
            found = None if net is None else tuple(net(torch.ones(1, features), None).shape[1:])
        if found not in (None, shape):
            raise ShapeError(f"Abs: expected net to give {features} log odds; got shape {found}. Build it for that.")

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z = x.abs().clamp(min=_NEAR)
        return z, self._log_p(z, torch.where(x < 0, -1.0, 1.0).to(x))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        odds = torch.zeros_like(z) if self.net is None else self.net(z, None)
        sign = torch.where(self.noise.uniform(z, self.domain.shape) < odds.sigmoid(), 1.0, -1.0).to(z)
        return sign * z, -F.logsigmoid(sign * odds).sum(-1)

    def _log_p(self, z: Tensor, sign: Tensor) -> Tensor:
        odds = torch.zeros_like(z) if self.net is None else self.net(z, None)
        return F.logsigmoid(sign * odds).sum(-1)

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}"


class Sort(Transform):
    r"""The entries in increasing order; the order is drawn, $\text{ladj} = -\log D!$.

    Use it for sets: the density of any flow after it does not depend on the order of x. A `Chart` of its codomain and
    an `Unconstrain` lead on to the real line.

    Args:
        features: number of features D.

    Shapes: x, z `(*batch, D)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if `features < 1`.

    Source: Nielsen et al., *SurVAE Flows*, 2020, arXiv:2007.02731, section 3.1. Differs: the latent lives on ordered
    vectors, so that the density has mass one.

    Example:
        >>> z, ladj = Sort(3)(torch.tensor([3.0, 1.0, 2.0]))
        >>> [round(value) for value in z.tolist()], bool(torch.isclose(ladj.exp(), torch.tensor(1 / 6)))
        ([1, 2, 3], True)
    """

    steps: Tensor

    def __init__(self, features: int) -> None:
        shape = (_check.at_least("Sort", "features", features, 1),)
        super().__init__(Space(shape), Space(shape, Ordered(features)), loses="forward")
        self.noise = Noise()
        self.register_buffer("steps", torch.arange(float(features)), persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z = x.sort(-1).values
        z = z + self.steps * (4 * torch.finfo(z.dtype).eps) * (1 + z.abs())  # equal entries are parted by a rounding
        return z, self._log_p(z)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        order = self.noise.uniform(z, self.domain.shape).argsort(-1)
        return z.gather(-1, order), -self._log_p(z)

    def _log_p(self, z: Tensor) -> Tensor:
        return z.sum(-1) * 0 - math.lgamma(self.domain.shape[0] + 1)

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}"


class MaxPool(Transform):
    r"""The largest of each 2 x 2 pixels; which it was, and how far below the others lie, is drawn.

    $\text{ladj} = \log q(d \mid z) - \tfrac{CHW}{4} \log 4$ for the distances $d > 0$ of the three others.

    Use it between the levels of an image flow in place of letting channels go: what stays is a smaller image.

    Args:
        channels: C.
        height: H, even.
        width: W, even.
        fill: map from the distances, `(3C, H/2, W/2)` and positive, to standard normal noise, told of z where it
            takes a context; None draws their logarithms normal.

    Shapes: x `(*batch, C, H, W)`, z `(*batch, C, H/2, W/2)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: if a size is below 1 or odd where it must be even.
        SpaceError: when `fill` starts, ends or is told elsewhere.

    Source: Nielsen et al., *SurVAE Flows*, 2020, arXiv:2007.02731, section 3.1.

    Example:
        >>> MaxPool(1, 2, 2).encode(torch.tensor([[[1.0, 4.0], [2.0, 3.0]]])).tolist()
        [[[4.0]]]
    """

    def __init__(self, channels: int, height: int, width: int, *, fill: Transform | None = None) -> None:
        shape = _check.sizes("MaxPool", "shape", (channels, height, width))
        if height % 2 or width % 2:
            raise ConfigError(
                f"MaxPool: expected even height and width; got {height} x {width}. Pad or crop the images."
            )
        pooled = (channels, height // 2, width // 2)
        super().__init__(Space(shape, REAL), Space(pooled, REAL), loses="forward")
        apart = Space((3 * channels, *pooled[1:]), POSITIVE)
        if fill is None:
            fill = Pixelwise(_log(3 * channels), *pooled[1:])
        self.fill = Fill("MaxPool", apart, self.codomain, fill)
        self.noise = Noise()

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        blocks = x.unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2)).movedim(-3, -2).flatten(-2)
        z, top = blocks.max(-1, keepdim=True)
        others = torch.arange(3, device=x.device)
        apart = (z - blocks.gather(-1, others + (others >= top))).clamp(min=_NEAR)
        z = z.squeeze(-1)
        return z, self.fill.log_prob(apart.movedim(-1, -3).flatten(-4, -3), z) - self._log_places()

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        apart, log_q = self.fill.draw(z)
        top = (4 * self.noise.uniform(z, self.codomain.shape, dims=3)).floor().unsqueeze(-1)
        lower = z.unsqueeze(-1) - apart.unflatten(-3, (-1, 3)).movedim(-3, -1)
        places = torch.arange(4, device=z.device).expand(*lower.shape[:-1], 4)
        others = lower.gather(-1, torch.where(places < top, places, places - 1).clamp(0, 2))
        blocks = torch.where(places == top, z.unsqueeze(-1), others)
        x = blocks.unflatten(-1, (2, 2)).movedim(-2, -3).flatten(-2).flatten(-3, -2)
        return x, self._log_places() - log_q

    def _log_places(self) -> float:
        return self.codomain.entries * math.log(4)

    def extra_repr(self) -> str:
        return f"{self.domain.shape} -> {self.codomain.shape}"


def _log(features: int) -> Transform:
    return Inverse(Elementwise(features, Exp()))
