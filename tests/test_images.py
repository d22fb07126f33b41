"""Images: what the laws don't see of maps on images and of flows for them."""

import math
import re
from dataclasses import replace
from inspect import signature
from pathlib import Path

import pytest
import torch

import laws
from unwarp import fit, flows, load, save, trace
from unwarp._space import POSITIVE, REAL, Integers, Space
from unwarp.distributions import Uniform, estimate
from unwarp.doctor import _densities
from unwarp.errors import ConfigError, RecipeError, ShapeError, SpaceError
from unwarp.networks import MLP, ConvNet
from unwarp.training import bits_per_dimension
from unwarp.transforms import (
    LU,
    Abs,
    ActNorm,
    Argmax,
    Checkerboard,
    Compose,
    Coupling,
    Dequantize,
    Elementwise,
    Inverse,
    MaxPool,
    MultiScale,
    Pixelwise,
    Reshape,
    Slice,
    Sort,
    Squeeze,
    Stochastic,
    Unconstrain,
)
from unwarp.univariates import Affine, Histogram, Sigmoid
from zoo import images

ERRORS = [
    (lambda: Pixelwise(LU(2), 0, 2), ConfigError, "height"),
    (lambda: Pixelwise(Pixelwise(LU(2), 2, 2), 2, 2), SpaceError, "map of vectors"),
    (lambda: Pixelwise(Unconstrain(Space((2,), (POSITIVE, REAL))), 2, 2), SpaceError, "share one support"),
    (lambda: Squeeze(1, 3, 2), ConfigError, "multiples of 2; got 3 x 2"),
    (lambda: Checkerboard(1, 2, 3), ConfigError, "even width; got 3"),
    (lambda: Coupling((2, 4, 4), Affine(), ConvNet(1, 3)), ShapeError, "1 x 2 = 2 numbers for each entry of (4, 4)"),
    (lambda: Coupling((2, 4, 4), Affine(), ConvNet(1, 2), mask=[True] * 4), ConfigError, "mask of 2 booleans"),
    (lambda: ConvNet(1, 2, kernel=4), ConfigError, "kernel to be odd; got 4"),
    (lambda: ConvNet(1, 2, inner=2), ConfigError, "inner to be odd; got 2"),
    (lambda: Histogram(bins=1), ConfigError, "bins to be a whole number >= 2"),
    (lambda: Elementwise(1, Affine(), params="frozen"), ConfigError, '"learned" or "adapted"; got \'frozen\''),
    (lambda: ConvNet(1, 2, context=(2, 2)), ConfigError, "a vector or (channels, height, width); got (2, 2)"),
    (lambda: Integers(3, 3), ConfigError, "low < high"),
    (lambda: Dequantize(2, 0, 3, margin=-0.1), ConfigError, "margin >= 0"),
    (lambda: Dequantize(2, 0, 3, fill=LU(2)), SpaceError, "expected fill to lead from"),
    (lambda: MultiScale([]), ConfigError, "at least one level"),
    (lambda: MultiScale([LU(3), LU(1)]), ConfigError, "even number of channels"),
    (lambda: MultiScale([LU(4), LU(4)]), SpaceError, "level 1 to start with the first half"),
    (lambda: flows.glow((1, 28, 28), levels=3), ConfigError, "at most 2 levels for images of 28 x 28"),
    (lambda: flows.glow((1, 7, 8), levels=1), ConfigError, "at most 0 levels"),
    (lambda: flows.glow(4), RecipeError, "features"),
    (lambda: flows.glow((1, 8, 8), values=1), RecipeError, "values"),
    (lambda: flows.nsf((1, 8, 8)), RecipeError, "features"),
    (lambda: bits_per_dimension(torch.zeros(1), 0), ConfigError, "entries"),
    (lambda: bits_per_dimension(torch.zeros(1), 2, width=0.0), ConfigError, "width"),
    (lambda: Slice(3, 3), ConfigError, "keep from 1 to 2; got 3"),
    (lambda: Slice(3, 1, fill=LU(3)), SpaceError, "fill to lead from"),
    (lambda: Abs(2, net=MLP(2, 3)), ShapeError, "2 log odds; got shape (3,)"),
    (lambda: MaxPool(1, 3, 2), ConfigError, "even height and width"),
    (lambda: Argmax(2, 1), ConfigError, "categories"),
    (lambda: Stochastic(Space((3,)), Space((1,)), LU(1), LU(2)), SpaceError, "fill to lead from"),
    (lambda: Reshape((2, 2), (5,)), ConfigError, "as many entries; got (2, 2) and (5,)"),
]


@pytest.mark.parametrize(("call", "kind", "says"), ERRORS, ids=lambda value: value if isinstance(value, str) else "")
def test_errors_say_what_was_expected_and_what_to_do(call, kind, says) -> None:
    with pytest.raises(kind, match=re.escape(says)) as caught:
        call()
    assert "expected" in str(caught.value)
    assert str(caught.value).endswith((".", "?"))


def test_pixelwise_is_a_convolution_of_one_pixel() -> None:
    layer = Pixelwise(LU(3), 4, 5)
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    matrix = layer.transform.encode(torch.eye(3)) - layer.transform.encode(torch.zeros(1, 3))
    bias = layer.transform.encode(torch.zeros(3))
    by_torch = torch.nn.functional.conv2d(x, matrix.mT.reshape(3, 3, 1, 1), bias)
    assert torch.allclose(layer.encode(x), by_torch, atol=1e-6)


def test_pixelwise_adapts_to_pixels_as_rows() -> None:
    layer = Pixelwise(ActNorm(2), 3, 3)
    x = torch.randn(50, 2, 3, 3, generator=torch.Generator().manual_seed(0)) * 5 + 3
    layer.adapt(x, None, torch.rand(50, generator=torch.Generator().manual_seed(1)) + 0.5)
    layer.adapt(x)
    z = layer.encode(x)
    assert torch.allclose(z.mean((0, 2, 3)), torch.zeros(2), atol=1e-5)
    assert torch.allclose(z.std((0, 2, 3), correction=0), torch.ones(2), atol=1e-5)


def test_squeeze_puts_blocks_into_channels() -> None:
    x = torch.arange(2 * 4 * 6.0).reshape(2, 4, 6)
    assert torch.equal(Squeeze(2, 4, 6).encode(x), torch.nn.functional.pixel_unshuffle(x, 2))


def test_checkerboard_parts_the_colours() -> None:
    x = torch.arange(4).unsqueeze(-1).add(torch.arange(6)).remainder(2).expand(3, 4, 6).float()
    white, black = Checkerboard(3, 4, 6).encode(x).chunk(2)
    assert not white.any() and black.all()


def test_coupling_keeps_the_channels_of_its_mask() -> None:
    layer = Coupling((3, 4, 4), Affine(), ConvNet(2, 2, hidden=(4,)), mask=[True, False, True])
    with torch.no_grad():
        layer.net.out.bias.fill_(1.0)  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
    x = torch.ones(5, 3, 4, 4)
    moved = (layer.encode(x) != x).flatten(2).all(-1)
    assert moved.tolist() == [[False, True, False]] * 5


def test_convnet_sees_an_image_as_context() -> None:
    """A pixel's output depends on the block of the context's pixels that lies under it, and on no distant one."""
    net = ConvNet(1, 1, hidden=(4,), kernel=1, context=(2, 4, 6), block=(2, 3))
    with torch.no_grad():
        net.out.weight.fill_(1.0)  # pyright: ignore[reportCallIssue, reportArgumentType]
    context = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    net(torch.zeros(1, 2, 2), context)[0, 1, 0].backward()
    assert context.grad is not None
    felt = context.grad.abs().sum(0) > 0
    assert felt[2:, :3].any() and not felt[:2].any() and not felt[:, 3:].any()


def test_vectors_and_images_of_one_pixel_agree() -> None:
    net = MLP(2, 2 * Affine().n_params, hidden=(8,))

    class OnePixel(torch.nn.Module):
        def forward(self, kept: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
            return net(kept.flatten(-3), context).unsqueeze(-1).unsqueeze(-1)

    with torch.no_grad():
        net.out.weight.normal_(generator=torch.Generator().manual_seed(0))
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    image = Coupling((4, 1, 1), Affine(), OnePixel())(x.reshape(5, 4, 1, 1))
    vector = Coupling(4, Affine(), net)(x)
    assert torch.equal(image[0].flatten(1), vector[0]) and torch.allclose(image[1], vector[1])


@pytest.mark.parametrize("row", images.TRUTHS)
def test_bounds_are_held_to_the_truth_and_tighten(row: str) -> None:
    """Many draws bring the bound up to the truth (but for a margin's mass), and one that is too high is found out."""
    subject = laws.subject(row)
    x = subject.density.space.draw(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert subject.truth is not None
    truth = subject.truth(x)
    found = estimate(subject.density, x, draws=600)
    gap, error = (found.value - truth).detach(), 5 * found.error + 1e-3
    assert found.kind == "bound"
    assert bool((gap <= error).all())
    assert bool((gap >= -error - 0.1 * ("margin" in row)).all())
    assert _densities.is_a_bound(subject).verdict == "pass"
    assert _densities.is_a_bound(replace(subject, truth=lambda x: truth.min() - 3 + 0 * x[..., 0])).verdict == "fail"


def test_dequantized_values_stay_in_their_bins() -> None:
    for dtype in (torch.float32, torch.float64):
        layer = Dequantize((1, 50, 50), 0, 255).to(dtype)
        x = layer.domain.draw(20, generator=torch.Generator().manual_seed(0), dtype=dtype)
        z = layer.encode(x)
        assert bool(layer.codomain.contains(z).all())
        assert torch.equal(layer.decode(z), x)
        assert 0.45 < float((z * 256 - x).mean()) < 0.55


def test_dequantization_is_fresh_in_training_and_fixed_in_evaluation() -> None:
    layer, x = Dequantize(3, 0, 9), torch.tensor([[0.0, 5.0, 9.0]])
    assert not torch.equal(layer.train().encode(x), layer.encode(x))
    assert torch.equal(layer.eval().encode(x), layer.encode(x))


def test_what_a_chain_loses() -> None:
    rounding = Dequantize(2, 0, 3)
    chain = Compose([rounding, Inverse(Elementwise(2, Sigmoid()))])
    assert (chain.kind, chain.loses) == ("bound", "inverse")
    assert (Inverse(chain).kind, Inverse(chain).loses) == ("exact", "forward")
    assert (Compose([Inverse(chain), chain]).kind, Compose([Inverse(chain), chain]).loses) == ("bound", "both")


def test_multiscale_lets_go_of_the_second_half() -> None:
    layer = MultiScale([Squeeze(1, 4, 4), Squeeze(2, 2, 2), Pixelwise(LU(4), 1, 1)])
    x = torch.arange(16.0).reshape(1, 4, 4)
    first = Squeeze(1, 4, 4).encode(x)
    z = layer.encode(x)
    assert torch.equal(z[:8], first[2:].flatten())
    assert sorted(z.tolist()) == sorted(x.flatten().tolist())
    assert torch.equal(layer.decode(z), x)


def test_bits_of_a_uniform_byte_are_eight() -> None:
    """As whole numbers; as reals on the unit interval in steps of 1/256; and through a flow that knows nothing yet."""
    as_numbers = bits_per_dimension(-6 * torch.tensor(256.0).log(), 6)
    as_reals = bits_per_dimension(torch.zeros(3), 6, width=1 / 256)
    assert torch.allclose(as_numbers, torch.tensor(8.0))
    assert torch.allclose(as_reals, torch.full((3,), 8.0))
    layer = Dequantize((2, 1, 3), 0, 255)
    bound = layer(layer.domain.draw(4))[1] + Uniform((2, 1, 3)).log_prob(layer.encode(layer.domain.draw(4)))
    assert torch.allclose(bits_per_dimension(bound, 6), torch.full((4,), 8.0))


def stripes(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of 4 x 4 pixels with values 0 to 3, each of one of two kinds of stripes, and the kinds in one-hot form."""
    generator = torch.Generator().manual_seed(0)
    kind = torch.randint(2, (n,), generator=generator)
    rows = torch.tensor([0.0, 3.0, 0.0, 3.0]).unsqueeze(-1).expand(4, 4)
    x = torch.where(kind[:, None, None, None] == 0, rows, rows.mT)
    flip = torch.rand(n, 1, 4, 4, generator=generator) < 0.05
    return torch.where(flip, 3 - x, x), torch.nn.functional.one_hot(kind, 2).float()


OF_WHOLE_NUMBERS = [
    pytest.param(name, marks=[pytest.mark.slow] if name == "residual_image" else [])  # ten passes a step
    for name in flows.names("images")
    if "values" in signature(getattr(flows, name)).parameters
]


def test_heaped_values_are_spread_before_training() -> None:
    """Nine tenths of the pixels are black: a flow starts near the entropy of a pixel, and far above it without."""
    x = (torch.rand(2000, 1, 4, 4, generator=torch.Generator().manual_seed(0)) > 0.9).float() * 255
    entropy = -(0.9 * math.log2(0.9) + 0.1 * math.log2(0.1))
    bits: dict[str, float] = {}
    for word in ("histogram", "none"):
        flow = flows.flow("glow", (1, 4, 4), levels=1, layers=1, hidden=(4,), equalize=word)
        flow.adapt(x)
        with torch.no_grad():
            bits[word] = float(bits_per_dimension(flow.log_prob(x), 16).mean())
    assert bits["histogram"] < entropy + 0.5 < bits["none"]


def test_adapted_parameters_are_saved_but_not_learned() -> None:
    layer = Elementwise(1, Histogram(bins=4), params="adapted")
    layer.adapt(torch.tensor([[0.1], [0.1], [0.1], [0.6]]))
    assert list(layer.parameters()) == [] and "params" in layer.state_dict()
    assert torch.allclose(layer.encode(torch.tensor([[0.25]])), torch.tensor([[0.7413]]), atol=1e-3)


CONVOLUTIONS = {"levels": 1, "hidden": (16,)}
SIZES = {"jet": {"layers": 4, "depth": 1, "width": 16}, "tarflow": {"depth": 1, "width": 16}}


@pytest.mark.parametrize("name", OF_WHOLE_NUMBERS)
def test_recipes_learn_whole_numbers(name: str) -> None:
    """Independent pixels take half a nat or more each; the kind of stripes and few flips take much less."""
    x, kind = stripes(400)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = flows.flow(name, (1, 4, 4), **{"layers": 2, "values": 4, "context": 2} | SIZES.get(name, CONVOLUTIONS))
    history = fit(flow, x, context=kind, max_steps=60, seed=0)
    assert history.baselines == {}
    assert flow.kind == "bound"
    assert history.held_out is not None and bits_per_dimension(torch.tensor(history.held_out), 16) < 1.6
    draws = flow.sample((20,), torch.eye(2))
    assert draws.shape == (20, 2, 1, 4, 4)
    assert bool(flow.space.contains(draws).all())
    assert torch.equal(flow.log_prob(x.byte(), kind), flow.log_prob(x, kind))
    assert [step.name for step in trace(flow, x[:2], kind[:2])][:2] == ["data", "Dequantize"]


def test_image_flows_are_saved_with_their_shape(tmp_path: Path) -> None:
    flow = flows.flow("realnvp_image", (2, 4, 4), levels=1, layers=1, hidden=(4,), dequantization="variational").eval()
    assert flow.spec is not None and flow.spec["features"] == [2, 4, 4]
    save(flow, tmp_path / "images.safetensors")
    x = flow.space.draw(3)
    assert torch.equal(load(tmp_path / "images.safetensors").eval().log_prob(x), flow.log_prob(x))


def test_what_lies_off_the_grid_has_no_probability() -> None:
    flow = flows.glow((1, 2, 2), levels=1, layers=1, hidden=(4,), values=4)
    x = torch.zeros(3, 1, 2, 2)
    x[1, 0, 0, 0], x[2, 0, 1, 1] = 0.5, 4.0
    assert flow.log_prob(x).isfinite().tolist() == [True, False, False]


def test_maxpool_is_torch_s_and_comes_back() -> None:
    layer = MaxPool(2, 4, 6)
    x = torch.randn(5, 2, 4, 6, generator=torch.Generator().manual_seed(0))
    z = layer.encode(x)
    assert torch.equal(z, torch.nn.functional.max_pool2d(x, 2))
    drawn = layer.decode(z)
    assert torch.equal(torch.nn.functional.max_pool2d(drawn, 2), z)
    place = torch.nn.functional.max_pool2d(layer.decode(torch.rand(500, 2, 2, 3)), 2, return_indices=True)[1]
    assert len(place[:, 0, 0, 0].unique()) == 4  # any of the four may be the largest


def test_surjections_draw_what_they_let_go() -> None:
    z = torch.rand(4000, 2, generator=torch.Generator().manual_seed(0)).cumsum(-1)
    signs = Abs(2).eval().decode(z).sign()
    assert abs(float(signs.mean())) < 0.05 and abs(float(signs.prod(-1).mean())) < 0.05
    swapped = (Sort(2).eval().decode(z).diff(dim=-1) < 0).float().mean()
    assert 0.45 < float(swapped) < 0.55
    rest = Slice(3, 2).eval().decode(z)[:, 2]
    assert abs(float(rest.mean())) < 0.06 and 0.94 < float(rest.std()) < 1.06


def test_density_of_sorted_sets_does_not_see_the_order() -> None:
    flow = laws.subject("Flow(Sort)").density
    x = torch.randn(7, 2, dtype=torch.float64)
    assert torch.allclose(flow.log_prob(x), flow.log_prob(x.flip(-1)))


def test_argmax_keeps_categories() -> None:
    layer = Argmax(4, 5)
    x = layer.domain.draw(200)
    z, ladj = layer(x)
    assert torch.equal(layer.decode(z), x) and torch.equal(z.argmax(-1).float(), x)
    assert torch.allclose(layer.inverse(z)[1], -ladj, atol=1e-3)


def test_augmenting_is_slicing_backwards() -> None:
    layer = Inverse(Slice(5, 2))
    z, ladj = layer(torch.ones(3, 2))
    assert z.shape == (3, 5) and torch.equal(z[:, :2], torch.ones(3, 2))
    assert (layer.kind, layer.loses) == ("bound", "inverse")
    assert torch.allclose(ladj, -torch.distributions.Normal(0.0, 1.0).log_prob(z[:, 2:]).sum(-1), atol=1e-5)
