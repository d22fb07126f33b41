"""Maps that move every point within a subspace."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from unwarp import _check
from unwarp._space import Space
from unwarp.errors import ConfigError
from unwarp.functional import soft_clip, solve_increasing
from unwarp.transforms._base import Transform
from unwarp.transforms._parameters import Parameters, above_minus_one

__all__ = ["Sylvester"]

Basis = Literal["orthogonal", "householder", "triangular"]


class Sylvester(Transform):
    r"""$z = x + Q R \tanh(\tilde R Q^\top x + b)$: a layer of M hidden units whose Jacobian is an M by M determinant.

    Q is D by M with orthonormal columns, R and $\tilde R$ are upper triangular, and $R_{ii} \tilde R_{ii} > -0.99$, so
    that $\text{ladj} = \sum_i \log(1 + R_{ii} \tilde R_{ii} (1 - \tanh_i^2))$ is finite. For the inverse the equations
    are triangular too: M increasing scalar ones, solved one after another.

    Use it, some four or more in a row, for posteriors of variational inference with parameters from a network, or
    where a few directions out of many matter. The identity at the start.

    Args:
        features: number of features D.
        rank: number of hidden units M, at most D; D by default. Only "orthogonal" has fewer.
        basis: how Q is made: "orthogonal" from the QR factors of a free matrix, "householder" as a product of
            reflections, "triangular" is the identity: put a `Permute` between such layers.
        reflections: how many, for "householder".
        net: network that moves the `Sylvester.n_params(...)` parameters, called as `net(nothing, context)`.
        context: length of the context; 0 for none.

    Shapes: x, z `(*batch, D)`; context `(*batch, context)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: when a size is out of range, "householder" or "triangular" is given a rank below D, or a context
            comes without a network or the other way round.
        ShapeError: when the network's output has another length.

    Source: van den Berg, Hasenclever, Tomczak and Welling, *Sylvester Normalizing Flows for Variational Inference*,
    2018, arXiv:1803.05649, eq. 13 and section 4. Differs: the margin, R = 0 at the start, a QR factorisation instead of
    an iterative one, and the inverse.

    Example:
        >>> layer = Sylvester(5, rank=2)
        >>> x = torch.randn(4, 5)
        >>> z, ladj = layer(x)
        >>> bool((z == x).all()), ladj.tolist()
        (True, [0.0, 0.0, 0.0, 0.0])
    """

    places: Tensor

    def __init__(
        self,
        features: int,
        *,
        rank: int | None = None,
        basis: Basis = "orthogonal",
        reflections: int = 4,
        net: nn.Module | None = None,
        context: int = 0,
    ) -> None:
        super().__init__(Space((_check.at_least("Sylvester", "features", features, 1),)), context=context)
        rank = features if rank is None else _check.at_least("Sylvester", "rank", rank, 1)
        if basis not in ("orthogonal", "householder", "triangular"):
            raise ConfigError(
                f'Sylvester: expected basis "orthogonal", "householder" or "triangular"; got {basis!r}. Change it.'
            )
        if rank > features or (rank < features and basis != "orthogonal"):
            raise ConfigError(
                f'Sylvester: expected rank {"<=" if basis == "orthogonal" else "=="} {features} for basis "{basis}"; '
                f"got {rank}. Change rank or basis."
            )
        self._basis: Basis = basis
        columns = {"orthogonal": rank, "householder": _check.at_least("Sylvester", "reflections", reflections, 1)}
        self._sizes = _sizes(features, rank, columns.get(basis, 0))
        start = torch.zeros(sum(self._sizes))
        start[: self._sizes[0]] = torch.randn(self._sizes[0])
        self.params = Parameters("Sylvester", start, net, context)
        above = rank * (rank - 1) // 2
        places = torch.full((rank, rank), above)
        places[tuple(torch.triu_indices(rank, rank, 1))] = torch.arange(above)
        self.register_buffer("places", places.flatten(), persistent=False)

    @staticmethod
    def n_params(features: int, *, rank: int | None = None, basis: Basis = "orthogonal", reflections: int = 4) -> int:
        """How many numbers a network has to give."""
        rank = features if rank is None else rank
        return sum(_sizes(features, rank, {"orthogonal": rank, "householder": reflections}.get(basis, 0)))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        free, outer, inner, bias, slope = self._factors(x, context)
        t = (_times(inner, self._onto(free, x)) + bias).tanh()
        return x + self._from(free, _times(outer, t)), (slope * (1 - t * t)).log1p().sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        free, outer, inner, bias, slope = self._factors(z, context)
        target = _times(inner, self._onto(free, z)) + bias
        mixed = inner @ outer
        t = torch.zeros_like(target[..., :0])
        ladj = torch.zeros_like(target[..., 0])
        for i in reversed(range(target.shape[-1])):
            beyond = (mixed[..., i, i + 1 :] * t).sum(-1)
            a = _solve(slope[..., i], target[..., i] - beyond).tanh()
            ladj = ladj - (slope[..., i] * (1 - a * a)).log1p()
            t = torch.cat([a.unsqueeze(-1), t], -1)
        return z - self._from(free, _times(outer, t)), ladj

    def _factors(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """What Q is made of, $R$, $\\tilde R$, b, and the diagonal of $R \\tilde R$."""
        free, above, below, log_diagonal, slope, bias = self.params(context).split(self._sizes, -1)
        slope = above_minus_one(slope)
        diagonal = soft_clip(log_diagonal, 3.0).exp()
        free = free.unflatten(-1, (free.shape[-1] // x.shape[-1], x.shape[-1]))
        if self._basis == "orthogonal":
            free = torch.linalg.qr(free.mT).Q
        return free, self._upper(slope / diagonal, above), self._upper(diagonal, below), bias, slope

    def _upper(self, diagonal: Tensor, above: Tensor) -> Tensor:
        """The upper triangular matrix of this diagonal and these entries above it."""
        entries = torch.cat([above, torch.zeros_like(diagonal[..., :1])], -1).index_select(-1, self.places)
        return entries.unflatten(-1, (diagonal.shape[-1], -1)) + diagonal.diag_embed()

    def _onto(self, free: Tensor, x: Tensor) -> Tensor:
        r"""$Q^\top x$."""
        if self._basis == "orthogonal":
            return _times(free.mT, x)
        for v in free.unbind(-2):
            x = _reflected(x, v)
        return x

    def _from(self, free: Tensor, y: Tensor) -> Tensor:
        """$Q y$."""
        if self._basis == "orthogonal":
            return _times(free, y)
        for v in reversed(free.unbind(-2)):
            y = _reflected(y, v)
        return y

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}, rank={self._sizes[-1]}, {self._basis}"


def _sizes(features: int, rank: int, columns: int) -> tuple[int, ...]:
    """Lengths of: what Q is made of, above R's diagonal, above the other's, its diagonal, their product's, the bias."""
    above = rank * (rank - 1) // 2
    return (columns * features, above, above, rank, rank, rank)


def _times(matrix: Tensor, x: Tensor) -> Tensor:
    return (matrix @ x.unsqueeze(-1)).squeeze(-1)


def _reflected(x: Tensor, v: Tensor) -> Tensor:
    v = v / (v.square().sum(-1, keepdim=True) + torch.finfo(v.dtype).tiny).sqrt()
    return x - 2 * (x * v).sum(-1, keepdim=True) * v


def _solve(slope: Tensor, target: Tensor) -> Tensor:
    def rising(a: Tensor) -> tuple[Tensor, Tensor]:
        t = a.tanh()
        return a + slope * t, (slope * (1 - t * t)).log1p()

    return solve_increasing(rising, target)
