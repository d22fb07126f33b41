"""Rank-one, Sylvester, residual and convex-potential maps: what the laws do not see."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from unwarp import flows
from unwarp.distributions import Flow, Normal, estimate
from unwarp.doctor import _maps
from unwarp.doctor._subject import subject_of
from unwarp.errors import ConfigError, RecipeError, ShapeError
from unwarp.networks import MLP, ConvexNet, LipschitzConvNet, LipschitzNet
from unwarp.networks._lipschitz import spectral_bound
from unwarp.transforms import ConvexPotential, Inverse, Noise, Planar, Radial, Residual, Sylvester, Transform

MAKERS: dict[str, Callable[[], Transform]] = {
    "Planar": lambda: Planar(3),
    "Radial": lambda: Radial(3),
    "Sylvester(orthogonal)": lambda: Sylvester(3, rank=2),
    "Sylvester(householder)": lambda: Sylvester(3, basis="householder"),
    "Sylvester(triangular)": lambda: Sylvester(3, basis="triangular"),
}


def wild(make: Callable[[], Transform], scale: float, seed: int = 0) -> Transform:
    """A map in float64 with parameters far from their start."""
    generator = torch.Generator().manual_seed(seed)
    f = make().double()
    for p in f.parameters():
        torch.nn.init.normal_(p, std=scale, generator=generator)
    return f


@pytest.mark.parametrize("name", MAKERS)
def test_no_parameters_are_singular(name: str) -> None:
    """With any parameters points come back, however far out they are."""
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for seed in range(20):
        f = wild(MAKERS[name], 4.0, seed)
        with torch.no_grad():
            for size in (1.0, 1e6, 1e12):
                z, ladj = f.forward(size * x)
                back, ladj_back = f.inverse(z)
                assert float((back - size * x).abs().max()) <= 1e-9 * size
                assert float((ladj + ladj_back).abs().max()) <= 1e-4 if size == 1 else bool(ladj_back.isfinite().all())


@pytest.mark.parametrize("name", MAKERS)
def test_numbers_of_any_size_stay_finite_in_float32(name: str) -> None:
    f = wild(MAKERS[name], 1.0).float()
    x = torch.tensor([[1e30, -1e30, 1.0], [0.0, 0.0, 0.0], [1e-30, 1e18, -1e18]], requires_grad=True)
    for run in (f.forward, f.inverse):
        moved, ladj = run(x)
        (slope,) = torch.autograd.grad((moved / 1e30).sum() + ladj.sum(), x)
        assert bool(moved.isfinite().all()) and bool(ladj.isfinite().all()) and bool(slope.isfinite().all())


def test_both_directions_serve_as_densities() -> None:
    """A latent-to-data planar flow, as in variational inference, has a density that integrates to one."""
    for f in (wild(lambda: Planar(1), 2.0), wild(lambda: Radial(1), 2.0)):
        for part in (f, Inverse(f)):
            x = torch.linspace(-60, 60, 60_001, dtype=torch.float64).unsqueeze(-1)
            with torch.no_grad():
                mass = float(Flow(part, Normal(1).double()).log_prob(x).exp().sum()) * 120 / 60_000
            assert abs(mass - 1) < 1e-3


def test_planar_is_the_formula_of_the_paper() -> None:
    f = Planar(2)
    with torch.no_grad():
        f.params.own.copy_(torch.tensor([1.0, 0.5, 2.0, -1.0, 0.3]))  # u, w, b with w.u > 0: no correction
    x = torch.tensor([[0.2, -0.4]])
    t = math.tanh(2 * 0.2 + 0.4 + 0.3)
    z, ladj = f.forward(x)
    assert torch.allclose(z, torch.tensor([[0.2 + t, -0.4 + 0.5 * t]]))
    assert float(ladj.detach()) == pytest.approx(math.log(1 + 1.5 * (1 - t * t)), abs=1e-6)


def test_sylvester_of_rank_one_is_planar() -> None:
    one, other = Sylvester(2, rank=1).double(), Planar(2).double()
    along, p, b = torch.tensor([0.6, 0.8]), 0.7, -0.2
    with torch.no_grad():
        one.params.own.copy_(torch.tensor([*along, 0.0, p, b]))
        q = torch.linalg.qr(along.unsqueeze(-1)).Q.squeeze(-1)  # along, but for its sign
        other.params.own.copy_(torch.tensor([*(p * q), *q, b]))
    x = torch.randn(10, 2, dtype=torch.float64)
    for found, expected in zip(one.forward(x), other.forward(x), strict=True):
        assert torch.allclose(found, expected, atol=1e-6)


def stretch(net: LipschitzNet, x: torch.Tensor, context: torch.Tensor | None) -> float:
    """The largest singular value of the network's Jacobian over the rows of x."""
    eye = torch.eye(x.shape[-1], dtype=x.dtype).expand(len(x), -1, -1)
    return float(torch.linalg.matrix_norm(net.prepared(context)(x)[1](eye), 2).max())


@pytest.mark.parametrize("scale", [0.0, 0.3, 3.0, 1000.0])
def test_contraction_holds_for_any_weights(scale: float) -> None:
    """In training and in evaluation, near and far, and it is not loose by much: weights can get to 70 % of it."""
    generator = torch.Generator().manual_seed(0)
    net = LipschitzNet(3, hidden=(32, 8), lipschitz=0.8, context=2).double()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn(p.shape, generator=generator, dtype=p.dtype), alpha=scale)
        x = torch.randn(5000, 3, generator=generator, dtype=torch.float64)
        context = torch.randn(5000, 2, generator=generator, dtype=torch.float64)
        for size in (0.1, 1.0, 30.0):
            assert stretch(net, size * x, context) < 0.8
            a, b = (net(points, context) for points in (size * x, size * x.roll(1, 0)))
            assert bool(((a - b).norm(dim=-1) < 0.8 * size * (x - x.roll(1, 0)).norm(dim=-1)).all() or scale == 0)


def test_spectral_bound_is_above_and_near() -> None:
    for shape in ((1, 1), (1, 9), (64, 64), (128, 16), (5, 40)):
        w = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        ratio = float(spectral_bound(w) / torch.linalg.matrix_norm(w, 2))
        assert 1 - 1e-12 <= ratio <= 1.03
    low_rank = torch.ones(50, 50)
    assert float(spectral_bound(low_rank)) == pytest.approx(50.0, rel=1e-5)
    assert float(spectral_bound(torch.zeros(3, 4))) < 1e-6


def matrix(net: LipschitzConvNet, x: torch.Tensor) -> torch.Tensor:
    """The whole Jacobian at each row of x."""
    eye = torch.eye(math.prod(net.shape), dtype=x.dtype).reshape(-1, *net.shape)
    return net.prepared()(x)[1](eye.expand(len(x), *eye.shape)).flatten(-3)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 2), (2, 5, 4), (4, 6, 6)])
def test_contraction_of_images_holds_for_any_weights(shape: tuple[int, int, int]) -> None:
    """Also right after loading; nothing but the weights is needed, however they were drawn."""
    for scale in (0.3, 3.0, 1000.0):
        net = LipschitzConvNet(*shape, hidden=(8, 5), kernel=5, lipschitz=0.8).double()
        generator = torch.Generator().manual_seed(0)
        drawn = {
            key: value + scale * torch.randn(value.shape, generator=generator, dtype=value.dtype)
            for key, value in net.state_dict().items()
        }
        net.load_state_dict(drawn)
        x = torch.randn(5, *shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            for size in (0.1, 1.0, 30.0):
                assert float(torch.linalg.matrix_norm(matrix(net, size * x), 2).max()) < 0.8


@pytest.mark.parametrize(("kernel", "size"), [(3, 1), (3, 4), (3, 8), (5, 8), (3, 14)])
def test_bound_of_a_convolution_is_above_and_near(kernel: int, size: int) -> None:
    """The norm of the whole matrix, zeros around the image, is below 1 and near it; flat kernels are the worst."""
    net = LipschitzConvNet(2, size, size, hidden=(3,), kernel=kernel).double()
    generator = torch.Generator().manual_seed(1)
    for K, least in (
        (torch.randn(2, 3, kernel, kernel, generator=generator, dtype=torch.float64), 0.9),
        (torch.ones(2, 3, kernel, kernel, dtype=torch.float64), 0.75),
    ):
        eye = torch.eye(3 * size * size, dtype=torch.float64).reshape(-1, 3, size, size)
        short = net._shortened(5 * K)
        whole = torch.nn.functional.conv2d(eye, short, padding=kernel // 2).flatten(1)
        assert least < float(torch.linalg.matrix_norm(whole, 2)) <= 1 + 1e-12


def test_bound_by_frequencies_has_the_gradient_of_its_value() -> None:
    net = LipschitzConvNet(1, 12, 11).double()
    kernel = torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.autograd.gradcheck(net._norm, kernel.requires_grad_())


def test_image_is_a_vector_of_its_entries() -> None:
    """A residual map of images is that of vectors, whose network sees them as images."""
    net = LipschitzConvNet(1, 2, 3, hidden=(4,))
    f = wild(lambda: Residual((1, 2, 3), net), 1.0)
    x = torch.randn(5, 1, 2, 3, dtype=torch.float64)
    z, ladj = f.forward(x)
    jacobian = torch.eye(6, dtype=torch.float64) + matrix(net, x)
    assert torch.allclose(ladj, torch.linalg.slogdet(jacobian).logabsdet)
    assert torch.equal(z, x + net(x))
    assert torch.allclose(f.decode(z), x)


def test_bound_with_an_estimate_inside_is_averaged() -> None:
    """The mean of exponentials would be above the bound by what the estimate scatters."""
    flow = flows.residual_image((1, 2, 2), levels=1, layers=2, hidden=(8,), values=4, lipschitz=0.8)
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    x = torch.ones(3, 1, 2, 2)
    found = estimate(flow.eval(), x, draws=50)
    mean = torch.stack([_next(flow, x) for _ in range(50)]).mean(0)
    assert found.kind == "bound"
    assert torch.allclose(found.value, mean, atol=1e-5)


def _next(flow: Flow, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        value = flow.log_prob(x)
    for part in flow.modules():
        if isinstance(part, Noise):
            part.passes.add_(1)
    return value


@pytest.mark.parametrize("ladj", ["exact", "roulette"])
def test_inverse_reaches_its_residual(ladj: str) -> None:
    """Steep networks of many features, in both dtypes: the misfit is of the size of rounding."""
    for dtype, allowed in ((torch.float64, 1e-13), (torch.float32, 1e-5)):
        f = wild(lambda: Residual(16, LipschitzNet(16, hidden=(32, 32), lipschitz=0.9), ladj=ladj), 2.0).to(dtype)
        z = torch.randn(50, 16, generator=torch.Generator().manual_seed(2), dtype=dtype)
        with torch.no_grad():
            for size in (1.0, 1e4):
                misfit = f.encode(f.decode(size * z)) - size * z
                assert float(misfit.abs().max()) <= allowed * size * 5


def roulette() -> tuple[Flow, Flow]:
    """The same flow with an estimated and with an exact ladj."""
    rough = wild(lambda: Residual(3, LipschitzNet(3, hidden=(8,), lipschitz=0.5), ladj="roulette", terms=2), 1.0)
    fine = Residual(3, rough.net).double()
    return Flow(rough, Normal(3).double()).eval(), Flow(fine, Normal(3).double()).eval()


def test_roulette_is_unbiased() -> None:
    rough, fine = roulette()
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found, exact = estimate(rough, x, draws=600), estimate(fine, x)
    assert (found.kind, exact.kind) == ("estimate", "exact")
    assert float(found.error.max()) < 0.05
    assert bool(((found.value - exact.value).abs() < 4.5 * found.error).all())


def test_gradient_of_roulette_is_unbiased() -> None:
    """In training the gradient is another estimate, by Neumann's series; its mean is the exact gradient."""
    rough, fine = roulette()
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    parameters = list(fine.parameters())  # the net's, which both have
    exact = torch.autograd.grad(fine.log_prob(x).mean(), parameters)
    draws = [torch.autograd.grad(rough.train().log_prob(x).mean(), parameters) for _ in range(300)]
    for i, reference in enumerate(exact):
        values = torch.stack([draw[i] for draw in draws])
        error = values.std(0) / math.sqrt(len(draws))
        assert bool(((values.mean(0) - reference).abs() <= 5 * error + 1e-9).all())


def test_the_law_of_estimates_bites() -> None:
    """A series that is always cut after its first term is biased, and the doctor sees it."""
    f = wild(lambda: Residual(1, LipschitzNet(1, hidden=(8,)), ladj="roulette"), 1.0)
    assert _maps.estimate_is_unbiased(subject_of(f)).verdict == "pass"
    f._weights = lambda x, noise: (torch.ones(1, dtype=x.dtype), 1)  # type: ignore[method-assign]
    assert _maps.estimate_is_unbiased(subject_of(f)).verdict == "fail"


def convex(features: int, scale: float, seed: int = 0) -> ConvexPotential:
    f = ConvexPotential(features, ConvexNet(features, hidden=(16, 8), context=2)).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in f.parameters():
            p.add_(torch.randn(p.shape, generator=generator, dtype=p.dtype), alpha=scale)
    return f


def test_gradient_and_hessian_of_a_convex_network() -> None:
    """What is written out is what autograd finds, and no weights bend it down by more than 0.15."""
    for scale in (0.3, 3.0, 30.0):
        net = convex(3, scale).net
        context = torch.randn(20, 2, dtype=torch.float64)
        x = torch.randn(20, 3, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(net(x, context).sum(), x, create_graph=True)
        rows = torch.stack([torch.autograd.grad(s.sum(), x, retain_graph=True)[0] for s in slope.unbind(-1)], -2)
        gradient, push = net.prepared(context)(x)
        hessian = push(torch.eye(3, dtype=torch.float64).expand(20, 3, 3))
        assert torch.allclose(gradient, slope, atol=1e-12)
        assert torch.allclose(hessian, rows, atol=1e-8)  # torch's softplus is straight from 20 on
        assert float(torch.linalg.eigvalsh(hessian.detach()).min()) >= -0.15


@pytest.mark.parametrize("scale", [1.0, 10.0])
@pytest.mark.parametrize("features", [1, 3, 16])
def test_convex_potentials_come_back_for_any_weights(features: int, scale: float) -> None:
    context = torch.randn(50, 2, dtype=torch.float64)
    for seed in range(5):
        f = convex(features, scale, seed)
        z = torch.randn(50, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        with torch.no_grad():
            for size in (1.0, 30.0, 1e6):
                assert float((f.encode(f.decode(size * z, context), context) - size * z).abs().max()) <= 1e-11 * size


@pytest.mark.parametrize("name", ["cpflow", "resflow", "sylvester"])
def test_training_leaves_the_identity(name: str) -> None:
    """A few steps on a ring beat a normal distribution by far: no start is a saddle that holds."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = flows.flow(name, 2, layers=4, hidden=(32,))
    noise = 0.1 * torch.randn(512, 2, generator=generator)
    x = torch.nn.functional.normalize(torch.randn(512, 2, generator=generator), dim=-1) * 1.4 + noise
    plain = float(flows.flow(name, 2).log_prob(x).mean().detach())
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(100):
        optimizer.zero_grad()
        (-model.log_prob(x).mean()).backward()
        optimizer.step()
    assert float(model.log_prob(x).mean().detach()) > plain + 0.25


ERRORS: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "no features": (lambda: Planar(0), ConfigError, "features"),
    "context without net": (lambda: Planar(2, context=3), ConfigError, "net"),
    "net without context": (lambda: Radial(2, net=MLP(0, 4)), ConfigError, "context"),
    "net too short": (lambda: Planar(2, net=MLP(0, 4, context=1), context=1), ShapeError, "5 numbers"),
    "rank too high": (lambda: Sylvester(2, rank=3), ConfigError, "rank <= 2"),
    "rank without choice": (lambda: Sylvester(3, rank=2, basis="triangular"), ConfigError, "rank == 3"),
    "unknown basis": (lambda: Sylvester(3, basis="square"), ConfigError, "basis"),  # type: ignore[arg-type]
    "no contraction": (lambda: LipschitzNet(2, lipschitz=1.0), ConfigError, "lipschitz"),
    "nothing at all": (lambda: LipschitzNet(2, lipschitz=0.0), ConfigError, "lipschitz"),
    "no contraction of images": (lambda: LipschitzConvNet(1, 2, 2, lipschitz=1.0), ConfigError, "lipschitz"),
    "even kernel": (lambda: LipschitzConvNet(1, 2, 2, kernel=2), ConfigError, "odd kernel"),
    "no contraction in a recipe": (lambda: flows.residual_image((1, 2, 2), lipschitz=1.0), RecipeError, "lipschitz"),
    "unknown ladj": (lambda: Residual(2, LipschitzNet(2), ladj="series"), ConfigError, "ladj"),  # type: ignore[arg-type]
    "unknown direction": (lambda: flows.flow("planar", 2, explicit="both"), RecipeError, "explicit"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_impossible_options(case: str) -> None:
    make, error, word = ERRORS[case]
    with pytest.raises(error, match=word):
        make()
