"""Networks that multiply 16-bit numbers, while all else keeps its precision."""

import pytest
import torch

from unwarp import fit, flow
from unwarp.errors import ConfigError
from unwarp.transforms import LU, conditioners_in

X = torch.randn(300, 3, generator=torch.Generator().manual_seed(0)) @ torch.tensor(
    [[2.0, 1, 0], [0, 0.5, 1], [0, 0, 1]]
)


def made(name: str = "nsf", **options: object):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = flow(name, 3, **{"layers": 2, "hidden": (16,)} | options)
        for value in model.parameters():
            value.data.add_(torch.randn_like(value), alpha=0.1)
    return model


@pytest.mark.parametrize("name", ["nsf", "realnvp", "maf"])
def test_networks_round_and_points_do_not(name: str) -> None:
    model = made(name)
    exact = model.log_prob(X)
    with conditioners_in(torch.bfloat16):
        rounded = model.log_prob(X)
        z = model.transform.encode(X)
    assert rounded.dtype == torch.float32 and not torch.equal(rounded, exact)
    assert float((rounded - exact).detach().abs().max()) < 0.3
    kept = model.transform.parts[0].encode(X)
    assert torch.equal(model.log_prob(X), exact)  # and all is as before
    assert z.dtype == kept.dtype == torch.float32


def test_linear_maps_of_the_data_keep_their_precision() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = LU(3)
        layer.adapt(X)
    exact = layer.encode(X)
    with conditioners_in(torch.bfloat16):
        assert torch.equal(layer.encode(X), exact)


def test_fit_takes_it_and_scores_in_full_precision() -> None:
    model, plain = made(), made()
    history = fit(model, X, max_steps=30, seed=0, conditioners="bfloat16", baselines=())
    fit(plain, X, max_steps=30, seed=0, baselines=())
    assert any(not torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))
    assert history.held_out is not None
    assert abs(float((model.log_prob(X) - plain.log_prob(X)).detach().mean())) < 0.2


def test_other_words_are_refused() -> None:
    with pytest.raises(ConfigError, match='expected conditioners to be "full" or "bfloat16"; got \'half\''):
        fit(made(), X, max_steps=1, conditioners="half")  # pyright: ignore[reportArgumentType]
