"""Maps of a sphere onto itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unwarp._manifold import Sphere
from unwarp._space import Space
from unwarp.errors import ConfigError
from unwarp.functional import rotation
from unwarp.transforms._base import Transform

__all__ = ["Conformal", "Spin"]

_LIMIT = 0.95  # bound of the length of omega


class Conformal(Transform):
    r"""$z = \frac{1 - |\omega|^2}{|x - \omega|^2}(x - \omega) - \omega$, a Moebius transformation of the sphere.

    It stretches the sphere near the direction of $\omega$ alike in all directions, so that
    $\text{ladj} = (n - 1) \log \frac{1 - |\omega|^2}{|x - \omega|^2}$ for unit vectors of n entries.

    Use it on spheres for one preferred direction: it is smooth, has no poles, and costs next to nothing.

    Args:
        features: entries n of the unit vectors.

    Shapes: x, z `(*batch, n)`; ladj `(*batch)`, nats, by area.

    Raises:
        ConfigError: if `features < 2`.

    Source: Rezende et al., *Normalizing Flows on Tori and Spheres*, 2020, arXiv:2002.02428, section 2.1.1 and appendix.

    Example:
        >>> x = torch.tensor([0.0, 0.6, 0.8])
        >>> bool(torch.allclose(Conformal(3).encode(x), x))
        True
    """

    def __init__(self, features: int) -> None:
        super().__init__(Space((features,), Sphere(features)))
        self.raw = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._around(x, self._omega())

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._around(z, -self._omega())

    def _omega(self) -> Tensor:
        return _LIMIT * self.raw * (1 + self.raw.square().sum()).rsqrt()

    @staticmethod
    def _around(x: Tensor, omega: Tensor) -> tuple[Tensor, Tensor]:
        apart = x - omega
        scale = (1 - omega.square().sum()) / apart.square().sum(-1, keepdim=True)
        return scale * apart - omega, (x.shape[-1] - 1) * scale.squeeze(-1).log()

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}"


class Spin(Transform):
    r"""$z = P e^{A - A^\top} x$: a learned rotation of the sphere, then another order of the axes; ladj is 0.

    Use it between layers in cylindrical coordinates, so that their poles lie elsewhere each time.

    Args:
        features: entries n of the unit vectors.
        order: of the axes after the rotation, a permutation of 0 to n - 1; by default as they are.

    Shapes: x, z `(*batch, n)`; ladj `(*batch)`, zero.

    Raises:
        ConfigError: if `features < 2` or `order` is not a permutation.

    Example:
        >>> Spin(3, order=[1, 2, 0]).encode(torch.tensor([1.0, 0.0, 0.0])).tolist()
        [0.0, 0.0, 1.0]
    """

    order: Tensor
    place: Tensor
    sign: Tensor

    def __init__(self, features: int, *, order: Sequence[int] | None = None) -> None:
        super().__init__(Space((features,), Sphere(features)))
        order = list(range(features)) if order is None else list(order)
        if sorted(order) != list(range(features)):
            raise ConfigError(
                f"Spin: expected a permutation of 0 to {features - 1}; got {order}. List every axis once."
            )
        self.turn = nn.Parameter(torch.zeros(features * (features - 1) // 2))
        row, column = torch.tril_indices(features, features, -1).unbind(0)
        place = torch.zeros(features, features, dtype=torch.long)
        place[row, column] = place[column, row] = torch.arange(len(row))
        sign = torch.ones(features, features).tril(-1)
        self.register_buffer("order", torch.tensor(order), persistent=False)
        self.register_buffer("place", place.flatten(), persistent=False)
        self.register_buffer("sign", sign - sign.mT, persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x @ self._matrix().mT, x.new_zeros(x.shape[:-1])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z @ self._matrix(), z.new_zeros(z.shape[:-1])

    def _matrix(self) -> Tensor:
        skew = self.turn.index_select(0, self.place).view_as(self.sign) * self.sign
        return rotation(skew).index_select(0, self.order)

    def extra_repr(self) -> str:
        return f"{self.domain.shape[0]}"
