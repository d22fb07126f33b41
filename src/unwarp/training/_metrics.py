"""Is the flow worth it? Held-out log-likelihood next to plain models, on the same rows and in the same units."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from unwarp import _check
from unwarp._random import mixed
from unwarp.functional import GaussianMixtureFit, fit_gaussian_mixture, gaussian_mixture_log_prob
from unwarp.training._rows import Rows

__all__ = ["Baseline", "Rivals", "bits_per_dimension", "compare"]

Baseline = Literal["gaussian", "linear", "mixture"]
_WORK = 2e9  # what one round of EM may cost: rows x components x features^2
_CHOOSE = 8_192  # held-out rows by which a mixture's size is chosen
_FEATURES = 256  # beyond these a full covariance says more about the number of rows than about the data


def bits_per_dimension(log_prob: Tensor, entries: int, *, width: float = 1.0) -> Tensor:
    r"""Bits that one entry of an event costs: $-\log_2 p / D - \log_2 w$ for D entries recorded in steps of w.

    Use it to compare densities of images and sounds, whatever their size and units. The log probability of whole
    numbers, and its bound, has steps of 1; a density of pixels that were divided by 256 has steps of 1/256.

    Args:
        log_prob: log densities or log probabilities in nats, any shape.
        entries: how many numbers an event has, D: channels times height times width.
        width: distance w of two neighbouring values, in the units of the data that `log_prob` is of.

    Raises:
        ConfigError: if `entries < 1` or `width` is not finite and positive.

    Example:
        >>> import math
        >>> float(bits_per_dimension(torch.tensor(-10 * math.log(256)), 10))
        8.0
    """
    _check.at_least("bits_per_dimension", "entries", entries, 1)
    _check.positive("bits_per_dimension", "width", width)
    return -(log_prob / entries + math.log(width)) / math.log(2)


class Rivals:
    """Plain models to compare with, fitted once for all runs on the same rows.

    Use it as `baselines` of several calls of `fit` that share their rows and held-out rows.

    Args:
        names: which of "gaussian", "linear" and "mixture".

    Example:
        >>> from unwarp import flow
        >>> from unwarp.training import fit
        >>> x, held, rivals = torch.randn(300, 2), torch.randn(100, 2), Rivals(["gaussian"])
        >>> runs = [fit(flow(name, 2), x, validation=held, max_steps=5, baselines=rivals) for name in ("nice", "maf")]
        >>> runs[0].baselines == runs[1].baselines
        True
    """

    def __init__(self, names: Sequence[Baseline] = ("gaussian", "linear", "mixture")) -> None:
        self.names = names
        self._scores: dict[str, Tensor] | None = None

    def scores(self, train: Rows, held: Rows, seed: int) -> dict[str, Tensor]:
        """Log-likelihood of each held-out row by each model, nats."""
        if self._scores is None:
            self._scores = {name: _FIT[name](train, held, seed) for name in _possible(train, self.names)}
        return self._scores


def compare(flow: Tensor, train: Rows, held: Rows, rivals: Rivals, seed: int) -> dict[str, Any]:
    """The figures of `History` about held-out rows, from the flow's log-likelihood of each of them.

    Args:
        flow: log-likelihood of each held-out row in nats, `(n,)`.
        train: rows for fitting the plain models.
        held: rows for comparing.
        rivals: the plain models.
        seed: for the mixture's start.
    """
    weight = held.weight
    figures: dict[str, Any] = {"held_out": held.mean(flow), "held_out_error": _error(flow, weight)}
    scores = rivals.scores(train, held, seed)
    means = {name: held.mean(value) for name, value in scores.items()}
    figures["baselines"] = {name: value for name, value in means.items() if math.isfinite(value)}
    if figures["baselines"]:
        gain = flow.double() - scores[max(figures["baselines"], key=lambda name: means[name])]
        figures |= {"margin": held.mean(gain), "margin_error": _error(gain, weight)}
    return figures


def _possible(train: Rows, wanted: Sequence[Baseline]) -> list[Baseline]:
    """Those that the rows allow: vectors of modest length, and a context for the one that is linear in it."""
    if train.x.dim() != 2 or train.x.shape[1] > _FEATURES or len(train) < 2:
        return []
    return [name for name in wanted if name != "linear" or train.context is not None]


def _error(values: Tensor, weight: Tensor | None) -> float | None:
    """Standard error of the (weighted) mean, sqrt(sum w^2 (v - mean)^2) / sum w; one row has none."""
    if len(values) < 2:
        return None
    w = torch.ones_like(values, dtype=torch.float64) if weight is None else weight.double().cpu()
    values = values.double()
    mean = (w * values).sum() / w.sum()
    return float((w * (values - mean)).square().sum().sqrt() / w.sum())


def _gaussian(train: Rows, held: Rows, seed: int) -> Tensor:
    scaling = _moments(train)
    return _scores(_fitted(1, train, *scaling, seed), held, *scaling)


def _mixture(train: Rows, held: Rows, seed: int) -> Tensor:
    """The best of mixtures of 1, 2, 4, 8, 16 components on the held-out rows; growing ends when it no longer helps."""
    scaling = _moments(train)
    best, reached = _fitted(1, train, *scaling, seed), -math.inf
    some = held.take(slice(_CHOOSE))
    for components in (1, 2, 4, 8, 16):
        if components > 1 and len(train) < 10 * components:
            break
        grown = best if components == 1 else _fitted(components, train, *scaling, seed)
        value = some.mean(_scores(grown, some, *scaling))
        if value <= reached:
            break
        best, reached = grown, value
    return _scores(best, held, *scaling)


def _fitted(components: int, train: Rows, center: Tensor, scale: Tensor, seed: int) -> GaussianMixtureFit:
    """A mixture fitted to (a part of) the training rows, standardised."""
    features = train.x.shape[1]
    rows = max(2_000, min(20_000, int(_WORK / 20 / (components * features**2)))) if components > 1 else len(train)
    part = train.take(slice(0, rows))
    generator = Generator().manual_seed(mixed(seed, components))
    x = (part.x.double().cpu() - center) / scale
    weight = None if part.weight is None else part.weight.double().cpu()
    return fit_gaussian_mixture(x, components, weight=weight, generator=generator, max_iterations=60)


def _scores(fit: GaussianMixtureFit, held: Rows, center: Tensor, scale: Tensor) -> Tensor:
    """Log-likelihood of each row by a mixture of standardised rows."""
    pieces = ((piece.x.double().cpu() - center) / scale for piece in held.chunks(20_000))
    return torch.cat([gaussian_mixture_log_prob(z, *fit) for z in pieces]) - scale.log().sum()


def _linear(train: Rows, held: Rows, seed: int) -> Tensor:
    """A Gaussian whose mean is linear in the context, by weighted least squares: the residuals' Gaussian."""
    design, target = _with_one(train), train.x.double().cpu()
    root = _weights(train).sqrt()
    solution = torch.linalg.lstsq(design * root, target * root, driver="gelsd").solution
    left = Rows(target - design @ solution, None, train.weight)
    return _gaussian(left, Rows(held.x.double().cpu() - _with_one(held) @ solution, None, held.weight), seed)


def _with_one(rows: Rows) -> Tensor:
    if rows.context is None:
        return torch.ones(len(rows), 1, dtype=torch.float64)
    flat = rows.context.double().cpu().flatten(1)
    return torch.cat([torch.ones(len(rows), 1, dtype=torch.float64), flat], dim=1)


def _moments(rows: Rows) -> tuple[Tensor, Tensor]:
    """Weighted mean and standard deviation of each column; one where a column is constant."""
    x = rows.x.double().cpu()
    w = _weights(rows)
    center = (w * x).sum(0) / w.sum()
    scale = ((w * (x - center).square()).sum(0) / w.sum()).sqrt()
    return center, torch.where(scale > 0, scale, 1.0)


def _weights(rows: Rows) -> Tensor:
    """The weights as a float64 column."""
    w = torch.ones(len(rows)) if rows.weight is None else rows.weight
    return w.double().cpu().unsqueeze(-1)


_FIT: dict[Baseline, Callable[[Rows, Rows, int], Tensor]] = {
    "gaussian": _gaussian,
    "linear": _linear,
    "mixture": _mixture,
}
