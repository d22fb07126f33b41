"""Ordinary differential equations: explicit Runge-Kutta steps of fixed size, and torchdiffeq's adaptive solvers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from unwarp.errors import NotConvergedError

__all__ = ["TABLEAUS", "Stage", "Tableau", "integrate_adaptively", "runge_kutta"]

_MOST_STEPS = 10_000  # an adaptive solver that needs more is taken for stuck


@dataclass(frozen=True, slots=True)
class Tableau:
    r"""An explicit Runge-Kutta method: $k_i = f(t + c_i h, x + h \sum_{j<i} a_{ij} k_j)$, $x' = x + h \sum_i b_i k_i$.

    Attributes:
        nodes: c.
        matrix: the rows of a, the i-th of length i.
        weights: b.
        order: the error of a step is of order $h^{\text{order} + 1}$.
    """

    nodes: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    order: int


TABLEAUS: dict[str, Tableau] = {
    "euler": Tableau((0.0,), ((),), (1.0,), 1),
    "midpoint": Tableau((0.0, 0.5), ((), (0.5,)), (0.0, 1.0), 2),
    "rk4": Tableau((0.0, 0.5, 0.5, 1.0), ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6), 4),
}


class Stage(NamedTuple):
    """A point at which a step looked at the field, and what it counts there: $h b_i$, time, point and slope."""

    share: float
    time: Tensor
    point: Tensor
    slope: Tensor


def runge_kutta(
    f: Callable[[Tensor, Tensor], Tensor], x: Tensor, t: float, h: float, tableau: Tableau
) -> tuple[Tensor, list[Stage]]:
    r"""One explicit step of $dx/dt = f(x, t)$ from t to t + h, and its stages. Negative h goes back in time.

    The integral of a quantity g along the way is, to the order of the method, the sum of share times g over the stages.

    Shapes: x `(...)`; f from x `(...)` and t `()` to `(...)` -> `(...)`.

    Source: Hairer, Nørsett and Wanner, *Solving Ordinary Differential Equations I*, 1993, section II.1.

    Example:
        >>> x, stages = runge_kutta(lambda x, t: x, torch.ones(()), 0.0, 1.0, TABLEAUS["rk4"])
        >>> round(float(x), 4), len(stages)
        (2.7083, 4)
    """
    stages: list[Stage] = []
    for c, row, b in zip(tableau.nodes, tableau.matrix, tableau.weights, strict=True):
        time = x.new_full((), t + c * h)
        point = x + _sum(h, row, [stage.slope for stage in stages])
        stages.append(Stage(h * b, time, point, f(point, time)))
    return x + _sum(h, tableau.weights, [stage.slope for stage in stages]), stages


def _sum(h: float, shares: Sequence[float], slopes: Sequence[Tensor]) -> Tensor | float:
    return sum((h * share * slope for share, slope in zip(shares, slopes, strict=True) if share), 0.0)


def integrate_adaptively(
    f: Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]],
    state: tuple[Tensor, ...],
    times: tuple[float, float],
    *,
    solver: str,
    tolerance: float,
    gradients: Literal["direct", "adjoint"] = "direct",
    params: Sequence[nn.Parameter] = (),
) -> tuple[Tensor, ...]:
    r"""The state at the second time, by one of torchdiffeq's solvers that choose their own steps.

    The size of a step is judged over the whole state, so rows that are solved together share it. With "adjoint" the
    gradients come from a second equation that runs backwards, in constant memory and to the tolerance; they reach
    `state` and `params`, and nothing else that f holds.

    Raises:
        NotConvergedError: when a step becomes too small for the dtype, or more than 10,000 are needed.

    Source: Chen, Rubanova, Bettencourt and Duvenaud, *Neural Ordinary Differential Equations*, 2018, arXiv:1806.07366.
    """
    import torchdiffeq  # pyright: ignore[reportMissingTypeStubs]

    options: dict[str, Any] = {"rtol": tolerance, "atol": tolerance, "method": solver}
    options["options"] = {"max_num_steps": _MOST_STEPS}
    solve: Any = torchdiffeq.odeint
    if gradients == "adjoint":
        solve = torchdiffeq.odeint_adjoint
        options |= {"adjoint_params": tuple(params), "adjoint_options": {"max_num_steps": _MOST_STEPS}}
    try:
        ends = solve(f, state, torch.tensor(times, dtype=state[0].dtype, device=state[0].device), **options)
    except AssertionError as error:
        raise NotConvergedError(
            f"{solver}: expected a solution to tolerance {tolerance:g}; got no further ({str(error)[:60]}). "
            "Raise the tolerance, use float64, or take a solver with fixed steps."
        ) from None
    return tuple(end[-1] for end in ends)
