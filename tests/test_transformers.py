"""Transformers as conditioners, maps on tokens, and the two inverses of autoregressive maps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from unwarp import flows
from unwarp.distributions import Flow, Mixture, Normal, denoise
from unwarp.doctor._subject import perturbed
from unwarp.errors import ConfigError, RecipeError, ShapeError, UnwarpError
from unwarp.networks import CausalTransformer, MaskedMLP, Transformer
from unwarp.transforms import Autoregressive, Compose, Patches, Standardize
from unwarp.univariates import Affine, RationalQuadratic

SIZES = {"width": 8, "depth": 2, "heads": 2}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tokens(length: int, *, scale: float = 0.3) -> Autoregressive:
    """An autoregressive map of tokens of three channels, away from its start; given a context."""
    net = CausalTransformer((length, 3), 2, context=2, **SIZES)
    order = list(range(length))[::-1]
    return perturbed(Autoregressive((length, 3), Affine(), net, order=order, context=2).double(), scale=scale)


def test_each_token_sees_those_before_it_and_no_other() -> None:
    net = perturbed(CausalTransformer((5, 2), 3, **SIZES).double())
    slopes = torch.func.jacrev(net)(drawn(5, 2)).abs().sum((1, 2, 4))  # outputs by inputs
    assert torch.equal(slopes > 0, torch.ones(5, 5).tril(-1).bool())


def test_transformer_sees_every_kept_token_wherever_it_reads() -> None:
    net = perturbed(Transformer((3, 2), (4, 1), **SIZES).double())
    slopes = torch.func.jacrev(net)(drawn(6)).abs().unflatten(-1, (3, 2)).sum(-1)
    assert bool((slopes > 0).all())


@pytest.mark.parametrize("length", [2, 9])
def test_both_inverses_agree(length: int) -> None:
    layer = tokens(length)
    z, context = drawn(6, length, 3), drawn(6, 2, seed=1)
    x, ladj = layer.inverse(z, context)
    layer._solver = "jacobi"
    swept, ladj_swept = layer.inverse(z, context)
    assert torch.allclose(swept, x, rtol=1e-11, atol=1e-11)
    assert torch.allclose(ladj_swept, ladj, rtol=1e-11, atol=1e-11)
    assert torch.allclose(layer.decode(z, context), x, rtol=1e-9, atol=1e-9)


def test_residual_is_what_the_map_says() -> None:
    layer, z, context = tokens(9), drawn(4, 9, 3), drawn(4, 2, seed=1)
    found = layer.solve(z, context, tolerance=1e-3)
    missed = ((layer(found.x, context)[0] - z).abs() / (1 + z.abs())).amax((-2, -1))
    assert torch.allclose(found.residual, missed)
    assert float(found.residual.max()) <= 1e-3
    assert 1 < found.sweeps < 10


def test_as_many_sweeps_as_tokens_always_do() -> None:
    layer, z, context = tokens(6, scale=1.0), drawn(4, 6, 3), drawn(4, 2, seed=1)
    found = layer.solve(z, context, tolerance=0.0)
    assert found.sweeps == 7
    assert torch.allclose(found.x, layer.inverse(z, context)[0], rtol=1e-8, atol=1e-8)


def test_sweeps_need_no_tokens() -> None:
    layer = perturbed(Autoregressive(4, RationalQuadratic(4), MaskedMLP(4, 11, hidden=(8,)), order=[2, 0, 3, 1]))
    layer, z = layer.double(), drawn(16, 4)
    found = layer.solve(z)
    assert float(found.residual.max()) < 1e-13
    assert torch.allclose(found.x, layer.inverse(z)[0], rtol=1e-9, atol=1e-9)


def test_patches_are_squares_row_by_row() -> None:
    image = torch.arange(2 * 4 * 6.0).reshape(2, 4, 6)
    tokens = Patches((2, 4, 6), 2).encode(image)
    assert tokens.shape == (6, 8)
    assert torch.equal(tokens[4], image[:, 2:4, 2:4].flatten())


@pytest.mark.parametrize("name", ["tarflow", "jet"])
@pytest.mark.parametrize("features", [3, (4, 2), (2, 4, 6)], ids=str)
def test_recipes_take_vectors_sequences_and_images(name: str, features: int | tuple[int, ...]) -> None:
    flow = flows.flow(name, features, layers=2, context=2, support="positive", **SIZES)
    shape = (features,) if isinstance(features, int) else features
    x = flow.sample((2,), torch.zeros(3, 2))
    assert x.shape == (2, 3, *shape)
    assert bool((x > 0).all())
    assert flow.spec is not None
    assert flow.spec["features"] == (features if isinstance(features, int) else list(features))
    assert flows.build(flow.spec).space == flow.space


def test_jet_lets_every_entry_meet_every_other() -> None:
    flow = perturbed(flows.jet((4, 4), layers=8, **SIZES).double())
    slopes = torch.func.jacrev(lambda x: flow.transform(x)[0])(drawn(4, 4)).flatten(1)
    assert bool((slopes != 0).all())


def test_images_are_cut_into_few_tokens() -> None:
    flow = flows.tarflow((1, 28, 28), layers=1, **SIZES)
    layers = [part for part in flow.transform.parts if isinstance(part, Autoregressive)]
    assert [layer.domain.shape for layer in layers] == [(49, 16)]


def test_denoised_draws_are_means_of_what_was_there() -> None:
    """Data at -1 and 1 with noise of deviation s: the mean of what was there is tanh(x / s^2)."""
    s = 0.8
    halves = [Flow(Compose([Standardize(1)]), Normal(1)) for _ in range(2)]
    for half, center in zip(halves, (-1.0, 1.0), strict=True):
        part = half.transform.parts[0]
        assert isinstance(part, Standardize)
        part.center.fill_(center)
        part.scale.fill_(s)
    x = torch.linspace(-3, 3, 13).unsqueeze(-1)
    assert torch.allclose(denoise(Mixture(halves), x, scale=s), (x / s**2).tanh(), atol=1e-5)


ERRORS: dict[str, tuple[type[UnwarpError], Callable[[], object]]] = {
    "heads that do not divide the width": (ConfigError, lambda: Transformer((2, 2), (2, 2), width=6, heads=4)),
    "one size": (ConfigError, lambda: CausalTransformer((2,), 2)),
    "no tokens": (ConfigError, lambda: CausalTransformer((0, 2), 2)),
    "squares that do not fill the image": (ConfigError, lambda: Patches((1, 4, 6), 4)),
    "another word": (ConfigError, lambda: Autoregressive(2, Affine(), MaskedMLP(2, 2), inverse="newton")),  # pyright: ignore[reportArgumentType]
    "patches of three in four features": (RecipeError, lambda: flows.tarflow(4, patch=3)),
    "whole numbers in a vector": (RecipeError, lambda: flows.jet(2, values=4)),
    "whole numbers in an interval": (
        RecipeError,
        lambda: flows.tarflow((1, 4, 4), values=4, support=("interval", 0.0, 1.0)),
    ),
    "one value": (RecipeError, lambda: flows.jet((1, 4, 4), values=1)),
    "four axes": (RecipeError, lambda: flows.jet((1, 2, 2, 2))),
    "a support for each pixel": (RecipeError, lambda: flows.jet((1, 1, 2), support=["real", "positive"])),
    "no noise": (ConfigError, lambda: denoise(Normal(1), torch.zeros(1), scale=0.0)),
    "a network for other tokens": (
        ShapeError,
        lambda: Autoregressive((3, 2), Affine(), CausalTransformer((3, 2), 1, width=4, heads=1)),
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error(name: str) -> None:
    kind, make = ERRORS[name]
    with pytest.raises(kind, match=r"^\w+: expected .*; got .*\. \w.*\.$"):
        make()
