"""Learned maps of great freedom without a closed inverse: sigmoidal layers and mixtures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from unwarp import _check, functional
from unwarp.errors import ConfigError
from unwarp.univariates._base import Univariate

__all__ = ["DeepSigmoid", "MixtureQuantile"]

_STEEP = 3.0  # bound of a unit's log slope


@dataclass(frozen=True, slots=True)
class DeepSigmoid(Univariate):
    r"""A network with positive weights: $h \mapsto \operatorname{logit}(W\,\sigma(a \odot U h + b))$ in layers.

    Rows of W and U are shares, $a > 0$. One layer is the deep sigmoidal flow (DSF), more are the dense one (DDSF).
    Smooth everywhere, onto the real line, and mixed with a little of the identity, so that slopes have a floor.

    Use it where splines' boxes or knots are a nuisance: it has neither. Its inverse is a search.

    Args:
        units: sigmoids in each layer.
        layers: number of layers.
        min_slope: floor of the slope, the identity's share.

    Shapes: x `(...)`; params `(..., n_params)`, unconstrained -> y, ladj `(...)`; ladj in nats.

    Raises:
        ConfigError: if a size is below 1, or `min_slope` is not between 0 and 1.

    Source: Huang, Krueger, Lacoste and Courville, *Neural Autoregressive Flows*, 2018, arXiv:1804.00779, equations 8
    and 9. Differs: zero params are the identity, log slopes are bounded by 3, and slopes have a floor.

    Example:
        >>> f = DeepSigmoid(units=4)
        >>> y, ladj = f.forward(torch.tensor([3.0, -1e6]), torch.zeros(2, f.n_params))
        >>> bool(((y / torch.tensor([3.0, -1e6]) - 1).abs() < 1e-5).all()), bool((ladj.abs() < 1e-5).all())
        (True, True)
    """

    units: int = 8
    layers: int = 1
    min_slope: float = 1e-3

    def __post_init__(self) -> None:
        _check.at_least("DeepSigmoid", "units", self.units, 1)
        _check.at_least("DeepSigmoid", "layers", self.layers, 1)
        hold_floor("DeepSigmoid", self.min_slope)

    @property
    def n_params(self) -> int:
        inner = self.layers - 1
        return self.layers * 2 * self.units + inner * 2 * self.units**2 + self.units

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        y, ladj = functional.deep_sigmoid(x, params, units=self.units, layers=self.layers, max_log_slope=_STEEP)
        return functional.tilted(x, y, ladj, self.min_slope)


Family = Literal["normal", "logistic"]
_FAR = 50.0  # beyond, the map goes on as a straight line
_APART = 3.0  # means are measured from an even grid on [-3, 3]


@dataclass(frozen=True, slots=True)
class MixtureQuantile(Univariate):
    r"""Makes one bell of a mixture: $y = e^s F^{-1}(\sum_k w_k F((x - \mu_k)/\sigma_k)) + t$.

    F is the normal or the logistic distribution function. Computed from logarithms of the smaller tail, so that no
    digit is lost far out; straight beyond 50, and mixed with a little of the identity.

    Use it with `Elementwise` to turn marginals into normal ones (`adapt` starts it at the data's quantiles), in
    Gaussianization flows, and in couplings. Its inverse is a search.

    Args:
        components: number of components K.
        family: "normal" (Gaussianization) or "logistic" (Flow++).
        min_slope: floor of the slope before $e^s$, the identity's share.

    Shapes: x `(...)`; params `(..., 3K + 2)`, unconstrained: s, t, K means, K log scales, K log weights -> y, ladj
    `(...)`; ladj in nats.

    Raises:
        ConfigError: if `components < 1`, the family is another word, or `min_slope` is not between 0 and 1.

    Source: Meng, Song, Song and Ermon, *Gaussianization Flows*, 2020, arXiv:2003.01941, section 3.1; Ho et al.,
    *Flow++*, 2019, arXiv:1902.00275, section 3.2. Differs: zero params are the identity, and slopes have a floor.

    Example:
        >>> f = MixtureQuantile(4)
        >>> y, ladj = f.forward(torch.tensor([3.0, -1e6]), torch.zeros(2, f.n_params))
        >>> bool(((y / torch.tensor([3.0, -1e6]) - 1).abs() < 1e-5).all()), bool((ladj.abs() < 1e-5).all())
        (True, True)
    """

    components: int = 8
    family: Family = "normal"
    min_slope: float = 1e-3

    def __post_init__(self) -> None:
        _check.at_least("MixtureQuantile", "components", self.components, 1)
        if self.family not in get_args(Family):
            raise ConfigError(
                f'MixtureQuantile: expected family "normal" or "logistic"; got {self.family!r}. Change it.'
            )
        hold_floor("MixtureQuantile", self.min_slope)

    @property
    def n_params(self) -> int:
        return 3 * self.components + 2

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        ends, raw_mean, raw_scale, raw_w = params.split([2, *[self.components] * 3], -1)
        mean = raw_mean * functional.spread(self.components, _APART, x)
        log_slope, log_w = -functional.soft_clip(raw_scale, _STEEP), raw_w.log_softmax(-1)
        merge = functional.normal_mixture if self.family == "normal" else functional.logistic_mixture

        def inside(x: Tensor) -> tuple[Tensor, Tensor]:
            return merge((x.unsqueeze(-1) - mean) * log_slope.exp(), log_slope, log_w)

        y, ladj = functional.straight_beyond(inside, x, _FAR)
        y, ladj = functional.tilted(x, y, ladj, self.min_slope)
        log_scale = functional.soft_clip(ends[..., 0], _STEEP)
        return y * log_scale.exp() + ends[..., 1], ladj + log_scale

    def guess(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """Means at evenly spaced quantiles, scales as wide as their distances: a smooth estimate of the marginals."""
        share = torch.full_like(x[:, 0], 1 / len(x)) if weight is None else weight.to(x) / weight.sum()
        order = x.argsort(0)
        mass = share[order].cumsum(0)
        at = [(k + 0.5) / self.components for k in range(self.components)]
        rows = torch.stack([(mass < q).sum(0).clamp(max=len(x) - 1) for q in at])
        mean = x.gather(0, order).gather(0, rows).mT
        deviation = ((share @ x.square()) - (share @ x).square()).clamp(min=0.0).sqrt()
        if self.components > 1:
            gaps = torch.cat([mean[:, 1:2] - mean[:, :1], mean.diff(dim=-1), mean[:, -1:] - mean[:, -2:-1]], -1)
            scale = 0.5 * torch.minimum(gaps[:, 1:], gaps[:, :-1]) + 0.25 * (gaps[:, 1:] + gaps[:, :-1])
        else:
            mean, scale = (share @ x).unsqueeze(-1), deviation.unsqueeze(-1)
        scale = torch.maximum(scale, 0.05 * deviation.unsqueeze(-1)).clamp(min=1e-6)
        unit = 1.0 if self.family == "normal" else math.sqrt(3) / math.pi  # a logistic variable's own is pi / sqrt(3)
        raw_scale = _STEEP * ((unit * scale).log() / _STEEP).clamp(-0.95, 0.95).atanh()
        raw_mean = mean / functional.spread(self.components, _APART, x)
        ends = x.new_tensor([_STEEP * math.atanh(math.log(unit) / _STEEP), 0.0]).expand(x.shape[1], 2)
        return torch.cat([ends, raw_mean, raw_scale, torch.zeros_like(mean)], -1)


def hold_floor(where: str, min_slope: float) -> None:
    """Refuse a floor of slopes that leaves no room."""
    if not 0 < min_slope < 1:
        raise ConfigError(f"{where}: expected 0 < min_slope < 1; got {min_slope!r}. Change min_slope.")
