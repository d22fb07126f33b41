"""The fused kernels equal their references in torch, value and gradient, and stand back where they must."""

from __future__ import annotations

import logging
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import jacrev, jvp, vmap

from unwarp import functional, kernels
from unwarp.kernels import _library, _spline

ROOT = Path(__file__).parent.parent
BOX = {"bound": 3.0, "min_bin": 1e-3, "min_slope": 1e-3}
DIRECTIONS = [functional.rational_quadratic, functional.rational_quadratic_inverse]
AROUND = [functional.periodic_rational_quadratic, functional.periodic_rational_quadratic_inverse]
AROUND_BOX = {"min_bin": 1e-3, "min_slope": 1e-3}
BUILT = set(kernels.status().values()) == {"in use"}

needs_kernels = pytest.mark.skipif(not BUILT, reason=f"kernels: {next(iter(kernels.status().values()))}")
both_ways = pytest.mark.parametrize("spline", DIRECTIONS, ids=["forward", "inverse"])
Spline = Callable[..., tuple[Tensor, Tensor]]


def reference(spline: Spline) -> Spline:
    return getattr(spline, "__wrapped__", spline)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the compiled library was asked for since the test began."""
    made: list[str] = []
    for name in ("values", "gradients"):
        whole = getattr(_spline.Spline, name)
        monkeypatch.setattr(
            _spline.Spline, name, lambda self, *args, n=name, f=whole: (made.append(n), f(self, *args))[1]
        )
    return made


def results(
    spline: Spline, x: Tensor, params: Tensor, dtype: torch.dtype = torch.float64, box: dict[str, float] = BOX
) -> list[Tensor]:
    """Both values and both gradients under fixed weights, in float64 whatever they were computed in."""
    generator = torch.Generator().manual_seed(1)
    x, params = x.to(dtype, copy=True).requires_grad_(), params.to(dtype, copy=True).requires_grad_()
    y, ladj = spline(x, params, **box)
    weights = [torch.randn(y.shape, generator=generator, dtype=torch.float64).to(dtype) for _ in range(2)]
    found = [y, ladj, *torch.autograd.grad((y, ladj), (x, params), weights)]
    return [t.detach().double() for t in found]


def error(found: list[Tensor], right: list[Tensor]) -> list[float]:
    return [float(((a - b).abs() / (1 + b.abs())).max()) for a, b in zip(found, right, strict=True)]


def points(count: int, bins: int, scale: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points in the box, at its edges and far outside, and parameters up to `scale`; all exact in float32."""
    generator = torch.Generator().manual_seed(seed)
    x = 2 * torch.randn(count, generator=generator)
    params = scale * (2 * torch.rand(count, 3 * bins - 1, generator=generator) - 1)
    near = torch.tensor([-3.0, 3.0]).repeat(3)
    toward = torch.tensor([-9.0, -9.0, 9.0, 9.0])
    edges = torch.cat([near[:4].nextafter(toward), near[:2], torch.tensor([0.0, 1e-30, -1e-30, 1e6, -1e30])])
    x[: len(edges)] = edges[:count]
    return x.double(), params.double()


@needs_kernels
@both_ways
@pytest.mark.parametrize("scale", [0.0, 1.0, 5.0, 50.0])
@pytest.mark.parametrize("bins", [2, 3, 8, 20])
def test_equal_the_reference_in_float64(spline: Spline, bins: int, scale: float) -> None:
    x, params = points(1003, bins, scale)
    y, ladj, to_x, to_params = error(results(spline, x, params), results(reference(spline), x, params))
    assert max(y, ladj) < 1e-11
    assert max(to_x, to_params) < 1e-8


@needs_kernels
@both_ways
@pytest.mark.parametrize("scale", [0.0, 1.0, 5.0, 50.0])
@pytest.mark.parametrize("bins", [2, 3, 8, 20])
def test_as_right_as_the_reference_in_float32(spline: Spline, bins: int, scale: float) -> None:
    """Against float64, the kernel is at most a few times as far off as the reference."""
    x, params = points(1003, bins, scale)
    right = results(reference(spline), x, params)
    found = error(results(spline, x, params, torch.float32), right)
    allowed = error(results(reference(spline), x, params, torch.float32), right)
    assert all(f <= 8 * a + 1e-5 for f, a in zip(found, allowed, strict=True))


@needs_kernels
@pytest.mark.parametrize("spline", AROUND, ids=["forward", "inverse"])
@pytest.mark.parametrize("scale", [0.0, 2.0, 50.0])
@pytest.mark.parametrize("bins", [2, 3, 20])
def test_the_periodic_spline_equals_its_reference(spline: Spline, bins: int, scale: float, calls: list[str]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = math.pi * (2 * torch.rand(501, generator=generator) - 1)
    x[:4] = torch.tensor([-3.1415925, 3.1415925, 0.0, 1e-30])
    x, params = x.double(), scale * (2 * torch.rand(501, 3 * bins, generator=generator) - 1).double()
    right = results(reference(spline), x, params, box=AROUND_BOX)
    y, ladj, to_x, to_params = error(results(spline, x, params, box=AROUND_BOX), right)
    assert calls == ["values", "gradients"]
    assert max(y, ladj) < 1e-11
    assert max(to_x, to_params) < 1e-8
    found = error(results(spline, x, params, torch.float32, AROUND_BOX), right)
    allowed = error(results(reference(spline), x, params, torch.float32, AROUND_BOX), right)
    assert all(f <= 8 * a + 1e-5 for f, a in zip(found, allowed, strict=True))


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_periodic_spline_has_one_slope_at_both_ends(dtype: torch.dtype) -> None:
    params = torch.randn(1, 12, generator=torch.Generator().manual_seed(0)).to(dtype)
    ends = torch.tensor([[-math.pi], [math.pi]], dtype=dtype)
    for spline in AROUND:
        y, ladj = spline(ends, params, **AROUND_BOX)
        assert torch.allclose(y, ends, atol=4 * torch.finfo(dtype).eps)
        assert float(ladj.diff(dim=0).abs().max()) < 50 * torch.finfo(dtype).eps
        assert float(ladj.abs().max()) > 0.1


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_parameters_are_the_identity(dtype: torch.dtype) -> None:
    x = torch.linspace(-4, 4, 999, dtype=dtype)
    for spline in DIRECTIONS:
        y, ladj = spline(x, x.new_zeros(999, 23), **BOX)
        assert float((y - x).abs().max()) <= 4 * torch.finfo(dtype).eps
        assert float(ladj.abs().max()) <= 4 * torch.finfo(dtype).eps


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_on_knots_fall_into_the_bins_of_the_reference(dtype: torch.dtype) -> None:
    """Where masses are exact, so are knots; the slope of ladj jumps there, so the bin shows in the gradient."""
    spline, bins = functional.rational_quadratic, 8
    params = torch.zeros(bins - 1, 3 * bins - 1, dtype=dtype)
    params[:, 2 * bins :] = torch.linspace(-2, 2, bins - 1)
    share = 1 / params.new_tensor(bins) * (1 - 1e-3 * bins)
    knots = torch.arange(1, bins, dtype=dtype) * share + 1e-3 * torch.arange(1, bins, dtype=dtype)
    for shift in (0, 1, -1):
        x = 6 * knots - 3
        x = x.nextafter(x + shift)
        found, right = results(spline, x, params, dtype), results(reference(spline), x, params, dtype)
        assert max(error(found, right)) < 300 * torch.finfo(dtype).eps


@needs_kernels
@both_ways
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_continuous_across_knots(spline: Spline, dtype: torch.dtype) -> None:
    params = torch.randn(1, 17, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    at = 0 if spline is functional.rational_quadratic else 6
    knots = 6 * (1e-3 + (1 - 6e-3) * params[0, at : at + 6].softmax(-1)).cumsum(-1)[:-1] - 3
    x = torch.stack([knots.to(dtype).nextafter(torch.full((5,), end, dtype=dtype)) for end in (-9.0, 9.0)])
    y, ladj = spline(x, params.to(dtype), **BOX)
    eps = torch.finfo(dtype).eps
    assert float((y[0] - y[1]).abs().max()) < 50 * eps
    assert float((ladj[0] - ladj[1]).abs().max()) < 500 * eps


@needs_kernels
@both_ways
def test_what_is_not_finite(spline: Spline) -> None:
    """Points beyond all bounds stay; NaN stays NaN, of a point as of a parameter; infinite widths are bounded."""
    x = torch.tensor([torch.inf, -torch.inf, torch.nan, 0.5, 0.5])
    params = torch.randn(5, 23, generator=torch.Generator().manual_seed(0))
    params[3, 2], params[4, 2] = torch.nan, torch.inf
    for found, right in zip(spline(x, params, **BOX), reference(spline)(x, params, **BOX), strict=True):
        assert torch.equal(found.isnan(), right.isnan())
        assert torch.allclose(found, right, rtol=1e-4, atol=1e-5, equal_nan=True)


@both_ways
@pytest.mark.parametrize(
    ("of_x", "of_params"),
    [((0,), (0,)), ((2, 0, 3), (2, 0, 3)), ((7, 3), (3,)), ((3,), (7, 3)), ((4, 1), (1, 5)), ((), ())],
)
def test_any_shapes(spline: Spline, of_x: tuple[int, ...], of_params: tuple[int, ...]) -> None:
    x, params = torch.randn(of_x).double(), torch.randn(*of_params, 23).double()
    found, right = results(spline, x, params), results(reference(spline), x, params)
    assert [t.shape for t in found] == [t.shape for t in right]
    assert all(torch.allclose(a, b, atol=1e-9) for a, b in zip(found, right, strict=True))


@needs_kernels
@both_ways
def test_any_strides(spline: Spline, calls: list[str]) -> None:
    x = torch.randn(6, 5, dtype=torch.float64).T
    params = torch.randn(23, 6, 10, dtype=torch.float64).permute(2, 1, 0)[::2]
    before = x.clone(), params.clone()
    x.requires_grad_(), params.requires_grad_()
    y, ladj = spline(x, params, **BOX)
    found = torch.autograd.grad(y.mT.sum() + ladj.sum(), (x, params))
    y, ladj = reference(spline)(x, params, **BOX)
    for a, b in zip(found, torch.autograd.grad(y.mT.sum() + ladj.sum(), (x, params)), strict=True):
        assert torch.allclose(a, b, atol=1e-9)
    assert torch.equal(x, before[0]) and torch.equal(params, before[1])
    assert calls == ["values", "gradients"]


@needs_kernels
@both_ways
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_threads_change_nothing(spline: Spline, dtype: torch.dtype) -> None:
    x, params = points(3 * 8192 + 5, 4, 2.0)
    one = results(spline, x, params, dtype)
    torch.set_num_threads(3)
    try:
        three = results(spline, x, params, dtype)
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(a, b) for a, b in zip(one, three, strict=True))


@needs_kernels
@both_ways
def test_one_gradient_alone(spline: Spline) -> None:
    x, params = points(40, 4, 1.0)
    right = results(reference(spline), x, params)
    y, _ = spline(x.clone().requires_grad_(), params, **BOX)
    y.sum().backward()
    params = params.requires_grad_()
    y, ladj = spline(x, params, **BOX)
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(40, generator=generator, dtype=torch.float64) for _ in range(2)]
    (to_params,) = torch.autograd.grad((y, ladj), params, weights)
    assert torch.allclose(to_params, right[3], atol=1e-9)


@needs_kernels
@both_ways
def test_derivatives_of_every_order(spline: Spline, calls: list[str]) -> None:
    x, params = points(24, 3, 1.0, seed=4)
    x, params = x[11:14].requires_grad_(), params[11:14].requires_grad_()

    def run(x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return spline(x, params, **BOX)

    assert gradcheck(run, (x, params), check_batched_grad=True, check_forward_ad=True)
    assert "gradients" in calls
    assert gradgradcheck(run, (x, params), atol=1e-4)


@needs_kernels
@both_ways
def test_gradients_to_be_differentiated_where_parameters_follow_from_points(spline: Spline) -> None:
    x, params = points(24, 3, 1.0, seed=4)
    x, params = x[11:].requires_grad_(), params[11:]

    def total(spline: Spline) -> Tensor:
        return sum(spline(x, x.sin().unsqueeze(-1) * params, **BOX)).sum()

    (found,) = torch.autograd.grad(total(spline), x, create_graph=True)
    assert torch.allclose(found, torch.autograd.grad(total(reference(spline)), x)[0], atol=1e-9)


@needs_kernels
@both_ways
def test_stands_back_from_transformations(spline: Spline, calls: list[str]) -> None:
    x, params = points(24, 3, 1.0, seed=4)
    x, params = x[11:], params[11:]

    def one(x: Tensor, p: Tensor) -> Tensor:
        return sum(spline(x, p, **BOX))

    expected = sum(reference(spline)(x, params, **BOX))
    assert torch.allclose(vmap(one)(x, params), expected)
    assert torch.allclose(vmap(lambda x: one(x, params[0]))(x), one(x, params[:1]))
    assert jacrev(one, argnums=(0, 1))(x, params)[1].shape == (13, 13, 8)
    assert torch.allclose(jvp(lambda x: one(x, params), (x,), (torch.ones_like(x),))[0], expected)
    learned = params.clone().requires_grad_()
    assert vmap(lambda _: one(x, learned))(torch.zeros(2)).shape == (2, 13)
    with forward_ad.dual_level():
        assert forward_ad.unpack_dual(one(forward_ad.make_dual(x, torch.ones_like(x)), params)).tangent is not None
    calls.clear()
    traced = torch.fx.experimental.proxy_tensor.make_fx(one)(x, params)
    assert calls == []
    assert torch.allclose(traced(x + 0.1, params), one(x + 0.1, params))


@pytest.mark.slow
@needs_kernels
@both_ways
def test_stands_back_from_the_compiler(spline: Spline, calls: list[str]) -> None:
    x, params = points(24, 3, 1.0)
    torch.compiler.reset()
    compiled = torch.compile(lambda x, p: spline(x, p, **BOX), fullgraph=True, backend="eager")
    found = compiled(x, params)
    torch.compiler.reset()
    assert calls == []
    assert all(torch.allclose(a, b) for a, b in zip(found, spline(x, params, **BOX), strict=True))


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_stands_back_from_other_numbers(dtype: torch.dtype, calls: list[str]) -> None:
    x = torch.zeros(3, dtype=dtype)
    assert functional.rational_quadratic(x, torch.zeros(3, 11, dtype=dtype), **BOX)[0].dtype == dtype
    assert functional.rational_quadratic(x.float(), torch.zeros(3, 11, dtype=torch.float64), **BOX)[0].shape == (3,)
    assert functional.rational_quadratic(x.to("meta"), torch.zeros(3, 11, dtype=dtype, device="meta"), **BOX)[0].is_meta
    assert functional.rational_quadratic(x.float(), torch.zeros(3, 3 * 300 - 1), **BOX)[0].shape == (3,)
    assert calls == []


def test_why_there_is_no_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "unwarp.kernels")
    monkeypatch.delenv("UNWARP_KERNELS", raising=False)
    library, reason = _library.load(tmp_path / "none.so")
    assert library is None and "compiler" in reason and caplog.messages == [reason]
    (tmp_path / "text.so").write_text("no library")
    assert _library.load(tmp_path / "text.so")[1].startswith("not loaded")
    if BUILT:
        monkeypatch.setattr(_library, "INTERFACE", 0)
        assert "install unwarp again" in _library.load()[1]
    monkeypatch.setenv("UNWARP_KERNELS", "off")
    assert "UNWARP_KERNELS" in _library.load()[1]


@pytest.mark.slow
def test_the_laws_hold_without_kernels() -> None:
    """The rows of the zoo that have splines, once more by the reference."""
    rows = ["tests/test_laws.py", "tests/test_functional/test_spline.py", "-k", "RationalQuadratic or test_spline"]
    code = f"import sys, pytest; sys.exit(pytest.main({['-q', '-p', 'no:cacheprovider', '-m', 'not slow', *rows]}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "UNWARP_KERNELS": "off"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode()


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["working", "broken"])
def test_builds_with_and_without_a_compiler(compiler: str, tmp_path: Path) -> None:
    """A build without a compiler succeeds, and has no library; one with a compiler has one that loads."""
    if compiler == "working" and shutil.which("c++") is None:
        pytest.skip("there is no C++ compiler")
    env = os.environ | ({} if compiler == "working" else {"CC": "/bin/false", "CXX": "/bin/false"})
    where = ["--build-lib", str(tmp_path / "lib"), "--build-temp", str(tmp_path / "temp")]
    done = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--force", *where],
        cwd=ROOT,
        env=env,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    built = list(tmp_path.rglob("_fused.so"))
    assert len(built) == (compiler == "working")
    if built:
        assert _library._open(built[0])[0] is not None or os.environ.get("UNWARP_KERNELS") == "off"


@pytest.mark.skipif(os.environ.get("UNWARP_KERNELS") == "off", reason="kernels are switched off")
def test_kernels_are_there_where_a_compiler_is() -> None:
    """Otherwise all tests above would be left out without a word."""
    assert (BUILT and kernels.in_order is not None) or shutil.which("c++") is None, kernels.status()
