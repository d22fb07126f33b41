"""Images: what the laws don't see of maps on images and of flows for them."""

import re
from dataclasses import replace

import pytest
import torch

import laws
import zoo
from unwarp._space import POSITIVE, REAL, Integers, Space
from unwarp.distributions import estimate
from unwarp.doctor import _densities
from unwarp.errors import ConfigError, ShapeError, SpaceError
from unwarp.networks import MLP, ConvNet
from unwarp.transforms import (
    LU,
    ActNorm,
    Checkerboard,
    Compose,
    Coupling,
    Dequantize,
    Elementwise,
    Inverse,
    MultiScale,
    Pixelwise,
    Reshape,
    Squeeze,
    Unconstrain,
)
from unwarp.univariates import Affine, Sigmoid

ERRORS = [
    (lambda: Pixelwise(LU(2), 0, 2), ConfigError, "height"),
    (lambda: Pixelwise(Pixelwise(LU(2), 2, 2), 2, 2), SpaceError, "map of vectors"),
    (lambda: Pixelwise(Unconstrain(Space((2,), (POSITIVE, REAL))), 2, 2), SpaceError, "share one support"),
    (lambda: Squeeze(1, 3, 2), ConfigError, "multiples of 2; got 3 x 2"),
    (lambda: Checkerboard(1, 2, 3), ConfigError, "even width; got 3"),
    (lambda: Coupling((2, 4, 4), Affine(), ConvNet(1, 3)), ShapeError, "1 x 2 = 2 numbers for each entry of (4, 4)"),
    (lambda: Coupling((2, 4, 4), Affine(), ConvNet(1, 2), mask=[True] * 4), ConfigError, "mask of 2 booleans"),
    (lambda: ConvNet(1, 2, kernel=4), ConfigError, "odd kernel; got 4"),
    (lambda: ConvNet(1, 2, context=(2, 2)), ConfigError, "a vector or (channels, height, width); got (2, 2)"),
    (lambda: Integers(3, 3), ConfigError, "low < high"),
    (lambda: Dequantize(2, 0, 3, margin=-0.1), ConfigError, "margin >= 0"),
    (lambda: Dequantize(2, 0, 3, fill=LU(2)), SpaceError, "expected fill to lead from"),
    (lambda: MultiScale([]), ConfigError, "at least one level"),
    (lambda: MultiScale([LU(3), LU(1)]), ConfigError, "even number of channels"),
    (lambda: MultiScale([LU(4), LU(4)]), SpaceError, "level 1 to start with the first half"),
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


@pytest.mark.parametrize("row", zoo.TRUTHS)
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
