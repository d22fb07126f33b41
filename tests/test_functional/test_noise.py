"""Random numbers that rows bring along: the same after rounding, others for other rows, uniform."""

from __future__ import annotations

import pytest
import torch

from unwarp.functional import noise_sign, noise_uniform

KEY = torch.tensor(3)


@pytest.mark.parametrize(("dtype", "apart"), [(torch.float32, 5e-3), (torch.float64, 1e-6)], ids=str)
def test_rounding_changes_nothing(dtype: torch.dtype, apart: float) -> None:
    """But for the few values that lie where the digits that count change."""
    x = torch.randn(20_000, 3, dtype=dtype, generator=torch.Generator().manual_seed(0))
    rounded = x * (1 + 2 * torch.finfo(dtype).eps)
    assert float((noise_sign(x, (2,), KEY) != noise_sign(rounded, (2,), KEY)).any(-1).double().mean()) <= apart


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_whole_numbers_are_told_apart(dtype: torch.dtype) -> None:
    x = torch.arange(100_000, dtype=dtype).unsqueeze(-1)
    u = noise_uniform(x, (1,), KEY)
    assert len(u.unique()) >= 99_000  # of float32's 2^23 some coincide
    assert abs(float(u.mean()) - 0.5) < 0.01
