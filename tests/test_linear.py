"""Linear maps: known closed forms, bounds that hold far from the start, and what can't be built."""

from __future__ import annotations

import re

import pytest
import scipy.fft
import torch
import torch.nn.functional as F
from torch import Tensor

from unwarp import flow
from unwarp.doctor._subject import perturbed
from unwarp.errors import ConfigError
from unwarp.functional import bound_kernel, causal_convolution, cayley, householder, householder_inverse, rotation, skew
from unwarp.transforms import (
    DCT,
    LU,
    QR,
    SVD,
    BatchNorm,
    Butterfly,
    Cayley,
    ConvolutionExponential,
    Coupling,
    EmergingConvolution,
    Haar,
    Householder,
    LowRank,
    MatrixExponential,
    PeriodicConvolution,
    Permute,
    Rotation,
    Transform,
    Triangular,
    Whiten,
)

ERRORS = [
    (lambda: Permute.reverse(0), "features"),
    (lambda: Permute.random(0, seed=0), "features"),
    (lambda: LU(0), "LU: expected features"),
    (lambda: Rotation(0), "Rotation: expected features"),
    (lambda: LowRank(3, rank=0), "rank"),
    (lambda: Householder(3, reflections=3), "even number of reflections; got 3. Take 4"),
    (lambda: QR(3, reflections=0), "reflections"),
    (lambda: Butterfly(3), "Use Householder for an odd number"),
    (lambda: Butterfly(12, levels=3), "8 divides for 3 levels; got 12. Take at most 2"),
    (lambda: DCT((2, 2)), "a length or a shape (C, H, W)"),
    (lambda: DCT(()), "features"),
    (lambda: Haar(1, 4, 3), "even sides; got 4 x 3"),
    (lambda: EmergingConvolution(1, 4, 4, kernel=4), "odd kernel; got 4. Take 5"),
    (lambda: ConvolutionExponential(1, 0, 4), "shape[1]"),
    (lambda: PeriodicConvolution(1, 8, 4, kernel=5), "fits in 8 x 4 pixels; got 5"),
    (lambda: BatchNorm(2, momentum=0.0), "momentum"),
    (lambda: BatchNorm(2, momentum=1.5), "momentum <= 1"),
]


@pytest.mark.parametrize(("call", "says"), ERRORS, ids=lambda value: value if isinstance(value, str) else "")
def test_errors_say_what_was_expected_and_what_to_do(call, says) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def jacobian(layer: Transform, shape: tuple[int, ...]) -> Tensor:
    n = torch.Size(shape).numel()
    x = torch.zeros(shape, dtype=torch.float64)
    return torch.func.jacrev(layer.encode)(x).reshape(n, n)


def test_a_drawn_order_depends_on_its_seed_alone_and_is_loaded() -> None:
    state = torch.get_rng_state()
    a, b, c = (Permute.random(50, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    x = torch.randn(50)
    assert torch.equal(a.encode(x), b.encode(x))
    assert not torch.equal(a.encode(x), c.encode(x))
    c.load_state_dict(a.state_dict())
    assert torch.equal(a.encode(x), c.encode(x))
    assert torch.equal(c.decode(c.encode(x)), x)


def test_reflections_all_at_once_are_reflections_one_by_one() -> None:
    torch.manual_seed(0)
    vectors, x = torch.randn(7, 5).double(), torch.randn(3, 5).double()
    vectors[2] = vectors[1] + 1e-9  # nearly parallel
    one_by_one = x
    for v in vectors.flip(0):
        one_by_one = one_by_one - 2 * (one_by_one @ v).unsqueeze(-1) * v / (v @ v)
    z = householder(x, vectors)
    assert torch.allclose(z, one_by_one, atol=1e-12)
    assert torch.allclose(householder_inverse(z, vectors), x, atol=1e-12)
    vectors[4] = 0  # reflects nothing
    rest = vectors[[0, 1, 2, 3, 5, 6]]
    assert torch.allclose(householder(x, vectors), householder(x, rest), atol=1e-12)


@pytest.mark.parametrize("make", [Cayley, Rotation, Householder], ids=lambda make: make.__name__)
@pytest.mark.parametrize("scale", [0.3, 3.0, 30.0])
def test_rotations_keep_lengths_however_large_the_parameters(make, scale: float) -> None:
    layer = perturbed(make(40), scale=scale).double()
    matrix = jacobian(layer, (40,))
    assert torch.allclose(matrix @ matrix.mT, torch.eye(40, dtype=torch.float64), atol=1e-10)
    assert layer(torch.ones(2, 40, dtype=torch.float64))[1].tolist() == [0.0, 0.0]
    assert not torch.allclose(matrix, torch.eye(40, dtype=torch.float64), atol=0.1)


@pytest.mark.parametrize("angle", [0.0, 1e-200, 1e-9, 1e-3, 3.0, torch.pi, 50.0])
def test_rotations_are_exponentials(angle: float) -> None:
    for features in (2, 3, 5):
        A = torch.randn(features, features, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        A = (angle * A).requires_grad_()
        found, right = rotation(skew(A)), torch.linalg.matrix_exp(skew(A))
        weight = torch.linspace(-1, 1, features**2, dtype=torch.float64).view(features, features)
        to_found, to_right = (torch.autograd.grad((m * weight).sum(), A)[0] for m in (found, right))
        assert torch.allclose(found, right, atol=1e-12)
        assert torch.allclose(to_found, to_right, atol=1e-12)


def test_cayley_has_no_reflection() -> None:
    torch.manual_seed(0)
    turn = cayley(skew(torch.randn(5, 5, dtype=torch.float64)))
    assert float(torch.linalg.det(turn)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "make",
    [LowRank, lambda d: LowRank(d, rank=4), MatrixExponential, SVD, lambda d: Butterfly(d, levels=2)],
    ids=["LowRank", "LowRank(rank=4)", "MatrixExponential", "SVD", "Butterfly"],
)
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_mixes_are_never_singular(make, scale: float) -> None:
    """Far from the start the map is still invertible, and its ladj that of its matrix."""
    layer = perturbed(make(8), scale=scale).double()
    x = torch.randn(5, 8, dtype=torch.float64)
    z, ladj = layer(x)
    matrix = jacobian(layer, (8,))
    assert torch.allclose(ladj, torch.linalg.slogdet(matrix).logabsdet, atol=1e-6)
    assert torch.allclose(layer.decode(z), x, atol=1e-6 * max(1.0, scale))


def test_triangular_is_causal() -> None:
    matrix = jacobian(perturbed(Triangular(4)).double(), (4,))
    assert not bool(matrix.triu(1).any()) and bool((matrix.diagonal() > 0).all())


def test_butterfly_lets_every_feature_reach_every_other() -> None:
    assert bool((jacobian(perturbed(Butterfly(8)).double(), (8,)).abs() > 0).all())


@pytest.mark.parametrize("features", [1, 2, 7, 1000])
def test_cosines_are_scipys_and_exact_for_long_vectors(features: int) -> None:
    x = torch.randn(4, features)
    layer = DCT(features)
    expected = torch.as_tensor(scipy.fft.dct(x.double().numpy(), norm="ortho"))
    assert torch.allclose(layer.encode(x).double(), expected, atol=1e-5)
    assert torch.allclose(layer.decode(layer.encode(x)), x, atol=1e-5)
    image = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    expected = torch.as_tensor(scipy.fft.dctn(image.numpy(), axes=(-2, -1), norm="ortho"))
    assert torch.allclose(DCT((3, 4, 5)).encode(image), expected)


def test_wavelets_put_means_first_and_keep_lengths() -> None:
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    z = Haar(3, 4, 6).encode(x)
    assert torch.allclose(z[:, :3], 2 * F.avg_pool2d(x, 2))
    assert torch.allclose(z.square().sum((1, 2, 3)), x.square().sum((1, 2, 3)))
    flat = Haar(3, 4, 6).encode(torch.ones_like(x))
    assert not bool(flat[:, 3:].any())


def test_convolution_exponential_is_the_exponential_of_its_convolution() -> None:
    layer = perturbed(ConvolutionExponential(2, 3, 4), scale=3.0).double()
    kernel = bound_kernel(layer.weight.detach(), 1.0)
    eye = torch.eye(24, dtype=torch.float64).reshape(24, 2, 3, 4)
    matrix = F.conv2d(eye, kernel, padding=1).reshape(24, 24).mT
    assert float(torch.linalg.matrix_norm(matrix, 2)) < 1
    assert torch.allclose(jacobian(layer, (2, 3, 4)), matrix.matrix_exp(), atol=1e-12)


def test_periodic_convolution_goes_around_the_edges() -> None:
    layer = perturbed(PeriodicConvolution(2, 5, 6), scale=3.0).double()
    torch.nn.init.zeros_(layer.log_scale)
    x = torch.randn(3, 2, 5, 6, dtype=torch.float64)
    kernel = bound_kernel(layer.weight, 0.9).flip(-1, -2)  # torch's convolution is a correlation
    expected = x + F.conv2d(F.pad(x, (1, 1, 1, 1), mode="circular"), kernel) + layer.bias
    assert torch.allclose(layer.encode(x), expected)
    assert torch.allclose(layer.encode(x.roll((2, 3), (-2, -1))), layer.encode(x).roll((2, 3), (-2, -1)))
    for width in (5, 6):  # odd and even: how often a frequency counts
        layer = perturbed(PeriodicConvolution(1, 3, width), scale=3.0).double()
        _, ladj = layer(torch.zeros(1, 3, width, dtype=torch.float64))
        assert torch.allclose(ladj, torch.linalg.slogdet(jacobian(layer, (1, 3, width))).logabsdet)


@pytest.mark.parametrize("kernel", [3, 5])
def test_emerging_convolution_sees_a_square_in_triangular_steps(kernel: int) -> None:
    layer = perturbed(EmergingConvolution(2, 4, 5, kernel=kernel)).double()
    first = layer._kernels()[0]
    eye = torch.eye(40, dtype=torch.float64).reshape(40, 4, 5, 2).movedim(-1, 1)
    matrix = causal_convolution(eye, first).movedim(1, -1).reshape(40, 40)
    assert not bool(matrix.tril(-1).any())
    x = torch.randn(3, 2, 4, 5, dtype=torch.float64)
    assert torch.allclose(layer.decode(layer.encode(x)), x)
    seen = jacobian(layer, (2, 4, 5)).reshape(2, 4, 5, 2, 4, 5)[0, 2, 2, 0] != 0  # from the middle
    r = kernel // 2
    rows, columns = torch.arange(4).sub(2).abs() <= 2 * r, torch.arange(5).sub(2).abs() <= 2 * r
    assert bool(seen.any()) and not bool((seen & ~(rows.unsqueeze(-1) & columns)).any())
    assert bool(seen[1:, 1:4].all())


@pytest.mark.parametrize(
    "make", [EmergingConvolution, PeriodicConvolution, ConvolutionExponential], ids=lambda make: make.__name__
)
def test_convolutions_come_back_in_float32_from_any_weights(make) -> None:
    """The bound on the kernel is what keeps the way back from growing along a large image."""
    layer = make(3, 24, 24)
    torch.nn.init.normal_(layer.weight, std=100.0, generator=torch.Generator().manual_seed(0))
    x = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        z, ladj = layer(x)
        back, ladj_back = layer.inverse(z)
    assert float((back - x).abs().max()) < 1e-4
    assert float((ladj + ladj_back).abs().max()) < 1e-2


def test_batch_norm_in_training_and_after() -> None:
    torch.manual_seed(0)
    layer = BatchNorm(3, momentum=0.5).double()
    x = 2 + 3 * torch.randn(50, 3, dtype=torch.float64)
    z, ladj = layer(x)
    assert torch.allclose(z.mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(z.var(0, correction=0), torch.ones(3, dtype=torch.float64))
    assert torch.allclose(ladj, -x.std(0, correction=0).log().sum())
    assert torch.allclose(layer.mean, 0.5 * x.mean(0))
    assert torch.allclose(layer.variance, 0.5 + 0.5 * x.var(0, correction=0))
    kept = layer.mean.clone()
    one = layer.encode(x[0])  # a single row has no variance
    assert torch.equal(layer.mean, kept)
    layer.eval()
    assert torch.equal(layer.encode(x)[0], one) and torch.equal(layer.mean, kept)
    assert torch.allclose(layer.decode(layer.encode(x)), x)


def test_batch_norm_bears_a_constant_feature() -> None:
    layer = BatchNorm(2)
    x = torch.ones(10, 2).requires_grad_()
    z, ladj = layer(x)
    (slope,) = torch.autograd.grad(z.sum() + ladj.sum(), x)
    assert bool(z.isfinite().all() & ladj.isfinite().all() & slope.isfinite().all())


@pytest.mark.parametrize(("mixing", "mixes"), [("none", 0), ("whiten", 1), ("lu", 2), ("householder", 2)])
def test_mixing_comes_between_the_layers(mixing: str, mixes: int) -> None:
    kinds = [type(part) for part in flow("nsf", 2, layers=3, hidden=(8,), mixing=mixing).transform.modules()]
    assert sum(kind in (LU, Householder, Whiten) for kind in kinds) == mixes
    order = [kind.__name__ for kind in kinds if kind in (LU, Householder, Whiten, Coupling)]
    assert order[0] == "Coupling" and order[-1] == "Coupling" and len(order) == 3 + mixes


@pytest.mark.parametrize(
    ("convolution", "kind"),
    [("emerging", EmergingConvolution), ("periodic", PeriodicConvolution), ("exponential", ConvolutionExponential)],
)
def test_glow_has_larger_convolutions(convolution: str, kind: type[Transform]) -> None:
    made = flow("glow", (1, 8, 8), levels=1, layers=2, hidden=(4,), convolution=convolution)
    assert sum(isinstance(part, kind) for part in made.modules()) == 2
    with pytest.raises(ConfigError, match="fits in 2 x 2 pixels"):
        flow("glow", (1, 4, 4), levels=1, convolution="periodic")
