"""Maps that the user gives, as a matrix or as functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from unwarp._space import Space
from unwarp.errors import ConfigError
from unwarp.transforms._base import Transform

__all__ = ["Function", "Linear"]


class Linear(Transform):
    r"""$z = A x + b$ with given, fixed A and b; $\text{ladj} = \log|\det A|$ everywhere.

    Use it for a map that is known, such as a rotation, a change of units, or an example on a blackboard. Layers that
    learn are `LU` and its kin.

    Args:
        matrix: A, `(D, D)`, with a determinant that is not 0.
        shift: b, `(D)`; zeros by default.

    Shapes: x, z `(*batch, D)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: when A is not square, not finite, or singular, with the direction that it flattens.

    Example:
        >>> layer = Linear([[3.0, 1.0], [0.0, 2.0]])
        >>> z, ladj = layer(torch.tensor([1.0, 1.0]))
        >>> z.tolist(), round(float(ladj.exp()), 4)
        ([4.0, 2.0], 6.0)
    """

    matrix: Tensor
    shift: Tensor
    ladj: Tensor

    def __init__(
        self, matrix: Tensor | Sequence[Sequence[float]], shift: Tensor | Sequence[float] | None = None
    ) -> None:
        dtype = torch.get_default_dtype()
        a = torch.as_tensor(matrix).to(dtype)
        if a.dim() != 2 or a.shape[0] != a.shape[1] or not len(a) or not bool(a.isfinite().all()):
            raise ConfigError(
                f"Linear: expected a square matrix of finite numbers; got shape {tuple(a.shape)}: {_short(a)}. "
                "Give D rows of D numbers."
            )
        b = torch.zeros(len(a), dtype=dtype) if shift is None else torch.as_tensor(shift).to(dtype)
        if tuple(b.shape) != (len(a),) or not bool(b.isfinite().all()):
            raise ConfigError(f"Linear: expected a shift of {len(a)} finite numbers; got {_short(b)}. Give one a row.")
        super().__init__(Space((len(a),)))
        _hold_invertible(a)
        self.register_buffer("matrix", a)
        self.register_buffer("shift", b)
        self.register_buffer("ladj", torch.linalg.slogdet(a.double()).logabsdet.to(dtype))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x @ self.matrix.mT + self.shift, self.ladj.expand(x.shape[:-1])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        rows = (z - self.shift).reshape(-1, z.shape[-1])
        x = torch.linalg.solve(self.matrix, rows.mT).mT
        return x.reshape(z.shape), -self.ladj.expand(z.shape[:-1])

    def extra_repr(self) -> str:
        return _short(self.matrix)


class Function(Transform):
    r"""Any smooth bijection given as two functions; ladj is the log-determinant of the Jacobian, by autodiff.

    Use it to try a map, or to look at one: write $f$ and $f^{-1}$ for a single event, and get a transform that can be
    chained, traced, drawn and checked (`doctor.check` tells whether the two really undo each other). It costs D
    backward passes a call, and a model file can't hold it.

    Args:
        forward: f, from one event x `(*domain.shape)` to z `(*codomain.shape)`, of torch operations.
        inverse: its inverse.
        domain: where x lives.
        codomain: where z lives; by default as x.

    Shapes: x `(*batch, *domain.shape)`, z `(*batch, *codomain.shape)`; ladj `(*batch)`, nats.

    Raises:
        ConfigError: when the two spaces don't have equally many numbers.

    Example:
        >>> from unwarp import POSITIVE
        >>> log = Function(torch.log, torch.exp, Space((1,), POSITIVE), Space((1,)))
        >>> z, ladj = log(torch.tensor([[1.0], [2.0]]))
        >>> [round(float(v), 4) for v in ladj.exp()]
        [1.0, 0.5]
    """

    def __init__(
        self,
        forward: Callable[[Tensor], Tensor],
        inverse: Callable[[Tensor], Tensor],
        domain: Space,
        codomain: Space | None = None,
    ) -> None:
        super().__init__(domain, codomain)
        entries = [torch.Size(space.shape).numel() for space in (self.domain, self.codomain)]
        if entries[0] != entries[1]:
            raise ConfigError(
                f"Function: expected as many numbers after the map as before; got {entries[0]} and {entries[1]}. "
                "A bijection keeps the dimension."
            )
        self._forward = forward
        self._inverse = inverse

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._apply_to(self._forward, x, self.domain, self.codomain)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._apply_to(self._inverse, z, self.codomain, self.domain)

    @staticmethod
    def _apply_to(f: Callable[[Tensor], Tensor], x: Tensor, start: Space, end: Space) -> tuple[Tensor, Tensor]:
        batch = x.shape[: x.dim() - len(start.shape)]
        n = torch.Size(start.shape).numel()
        rows = x.reshape(-1, n)
        if not len(rows):
            return x.reshape(*batch, *end.shape), x.new_zeros(batch)

        def flat(row: Tensor) -> tuple[Tensor, Tensor]:
            y = f(row.reshape(start.shape)).reshape(n)
            return y, y

        jacobian, y = vmap(jacrev(flat, has_aux=True))(rows)
        return y.reshape(*batch, *end.shape), torch.linalg.slogdet(jacobian).logabsdet.reshape(batch)


def _hold_invertible(a: Tensor) -> None:
    """Refuse a matrix that flattens a direction, and name the direction."""
    _, sizes, ways = torch.linalg.svd(a.double())
    if bool(sizes[-1] <= sizes[0] * len(a) * torch.finfo(torch.float64).eps) or float(sizes[0]) == 0:
        way = ways[-1] * ways[-1][ways[-1].abs().argmax()].sign()
        raise ConfigError(
            f"Linear: expected a matrix whose determinant is not 0; got {_short(a)}, which flattens the direction "
            f"{_short(way)} to nothing. No inverse and no density exist: change the matrix."
        )


def _short(values: Tensor) -> str:
    text = str((values.double() * 1e4).round().div(1e4).tolist())
    return text if len(text) <= 60 else text[:57] + "..."
