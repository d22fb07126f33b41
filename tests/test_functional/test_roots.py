"""Roots of increasing functions: found to the last digits, however steep, flat or bent, in few evaluations."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from unwarp.functional import solve_increasing

Pair = tuple[Tensor, Tensor]


def cubic(x: Tensor) -> Pair:
    return x + x**3, (1 + 3 * x.square()).log()


def step(x: Tensor) -> Pair:
    """Nearly flat but for one wall."""
    s = torch.sigmoid(1e3 * (x - 1))
    return 1e-3 * x + 5 * s, (1e-3 + 5e3 * s * (1 - s)).log()


def stairs(x: Tensor) -> Pair:
    """Newton's steps from one of them lead far past the next."""
    s = torch.sigmoid(20 * (x.unsqueeze(-1) - 7 * torch.linspace(-4, 4, 9, dtype=x.dtype)))
    return 1e-2 * x + s.sum(-1), (1e-2 + (20 * s * (1 - s)).sum(-1)).log()


def kinks(x: Tensor) -> Pair:
    slope = torch.where(x < 0, 1e-4, torch.where(x < 1, 1e4, 1e-2)).to(x.dtype)
    return torch.where(x < 0, 1e-4 * x, torch.where(x < 1, 1e4 * x, 1e4 + 1e-2 * (x - 1))), slope.log()


def logarithm(x: Tensor) -> Pair:
    return x.sign() * x.abs().log1p(), -x.abs().log1p()


def wave(x: Tensor) -> Pair:
    return x + 0.9 * x.sin(), (1 + 0.9 * x.cos()).log()


CASES: dict[str, tuple[Callable[[Tensor], Pair], tuple[float, float] | None, float]] = {
    "cubic": (cubic, None, 1e3),
    "step": (step, None, 1e3),
    "stairs": (stairs, None, 1e3),
    "kinks": (kinks, None, 1e3),
    "logarithm": (logarithm, None, 50.0),
    "wave": (wave, (-3.0, 3.0), 3.0),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("how", ["ordinary", "mapped"])
def test_every_root_is_found(case: str, dtype: torch.dtype, how: str) -> None:
    f, ends, widest = CASES[case]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, dtype=dtype, generator=generator) * torch.logspace(-4, 3, 500, dtype=dtype)
    y = f(x.clamp(-widest, widest))[0]
    solve = torch.func.vmap(lambda y: solve_increasing(f, y, ends=ends)) if how == "mapped" else None
    found = solve(y) if solve else solve_increasing(f, y, ends=ends)
    assert float(((f(found)[0] - y).abs() / (1 + y.abs())).max()) <= 2 * torch.finfo(dtype).eps


def test_a_smooth_function_is_asked_few_times() -> None:
    asked: list[int] = []

    def counted(x: Tensor) -> Pair:
        asked.append(1)
        return cubic(x)

    solve_increasing(counted, torch.linspace(-2, 2, 100, dtype=torch.float64))
    assert len(asked) <= 14  # 46 where the bracket is halved each time, to the end


def test_where_there_is_no_number_there_is_no_root() -> None:
    found = solve_increasing(cubic, torch.tensor([1.0, torch.nan, 10.0]))
    assert found.isnan().tolist() == [False, True, False]
