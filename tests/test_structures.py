"""Structures and the recipes made of them: what the laws don't see."""

from __future__ import annotations

import re

import pytest
import torch

from unwarp.errors import ConfigError
from unwarp.transforms import BlockNeural

ERRORS = [
    (lambda: BlockNeural(0), ConfigError, "features"),
    (lambda: BlockNeural(2, hidden=(0,)), ConfigError, "hidden[0]"),
    (lambda: BlockNeural(2, context=-1), ConfigError, "context"),
]


@pytest.mark.parametrize(("call", "kind", "says"), ERRORS, ids=lambda value: value if isinstance(value, str) else "")
def test_errors_say_what_was_expected(call, kind, says) -> None:
    with pytest.raises(kind, match=re.escape(says)) as caught:
        call()
    assert "expected" in str(caught.value) and str(caught.value).endswith(".")


def test_block_neural_reaches_every_latent_with_wild_weights() -> None:
    torch.manual_seed(0)
    layer = BlockNeural(3, hidden=(5, 4)).double()
    for p in layer.parameters():
        torch.nn.init.normal_(p, std=3.0)
    z = torch.tensor([0.0, -1.0, 40.0, -1e3, 1e6], dtype=torch.float64).unsqueeze(-1).expand(-1, 3)
    x, ladj = layer.inverse(z)
    again, back = layer.forward(x)
    assert torch.allclose(again, z, rtol=1e-9, atol=1e-9)
    assert torch.allclose(ladj, -back, atol=1e-8)
    jacobian = torch.func.jacrev(layer.encode)(x[0])
    assert bool((jacobian.triu(1) == 0).all()) and bool((jacobian.diagonal() > 0).all())
