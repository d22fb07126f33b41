"""Every law on every row of the zoo; then the main ones on flows of drawn sizes with drawn parameters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

import laws
import zoo
from unwarp import flows
from unwarp.doctor import _autodiff, _maps
from unwarp.doctor._calls import special_points
from unwarp.doctor._subject import held, perturbed, subject_of
from unwarp.univariates import RationalQuadratic
from zoo.recipes import known


def _marks(row: str, law: laws.Law | None = None) -> list[pytest.MarkDecorator]:
    return [pytest.mark.slow] if row in zoo.SLOW or law is _autodiff.compiles else []


PAIRS = [pytest.param(row, law, id=f"{law.__name__}[{row}]", marks=_marks(row, law)) for row, law in laws.pairs()]
ROWS = [pytest.param(row, id=row, marks=_marks(row)) for row in zoo.ZOO]


@pytest.mark.parametrize(("row", "law"), PAIRS)
def test_law(row: str, law: laws.Law) -> None:
    figure = law(laws.subject(row))
    assert figure.verdict != "fail", f"{law.__doc__} {figure}"


def hold_derivatives(row: str, *, fast_mode: bool) -> None:
    """Torch's own check of first and second derivatives, for the inputs; the parameters have theirs in the laws."""
    subject = laws.subject(row)
    for call in subject.calls(held(subject.module)):
        inputs = [t[:2].clone().requires_grad_() for t in (call.x, call.context) if t is not None]
        inputs[0].requires_grad_(bool(call.space.contains(call.x + 1e-6).all()))  # whole numbers can't be nudged
        if not any(t.requires_grad for t in inputs):
            continue

        def run(*inputs: torch.Tensor, call: Any = call) -> Any:
            return call.run(inputs[0], inputs[1] if len(inputs) > 1 else None)

        assert gradcheck(run, inputs, fast_mode=fast_mode)
        assert gradgradcheck(run, inputs, atol=1e-4, fast_mode=fast_mode)


@pytest.mark.parametrize("row", ROWS)
def test_gradcheck(row: str) -> None:
    """Derivatives along a random direction."""
    hold_derivatives(row, fast_mode=True)


@pytest.mark.slow
@pytest.mark.parametrize("row", zoo.ZOO)
def test_gradcheck_of_every_entry(row: str) -> None:
    hold_derivatives(row, fast_mode=False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, on importing inductor
@pytest.mark.parametrize("row", ["Coupling(RationalQuadratic, context)", "maf"])
def test_compiles_to_machine_code(row: str) -> None:
    figure = _autodiff.compiles(laws.subject(row), backend="inductor")
    assert figure.verdict == "pass", str(figure)


@pytest.mark.parametrize("row", zoo.UNIVARIATES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_scalar_maps_never_turn_back(row: str, dtype: torch.dtype) -> None:
    """Over a dense grid with every hard value and its two neighbours, y does not fall by more than its last digits."""
    univariate = zoo.UNIVARIATES[row]()
    layer = laws.subject(row).map
    values = special_points(layer.domain, layer.domain.draw(50_000, dtype=dtype).flatten().unsqueeze(-1).expand(-1, 2))
    x = values[univariate.domain.contains(values).all(-1)].flatten()
    neighbours = [x.nextafter(torch.full_like(x, end)) for end in (-torch.inf, torch.inf)]
    x = torch.cat([x, *neighbours])
    x = x[univariate.domain.contains(x)].sort().values
    for params in (torch.zeros(univariate.n_params), torch.linspace(-1, 1, univariate.n_params)):
        y, ladj = univariate.forward(x, params.to(dtype).expand(len(x), -1))
        fall = univariate.codomain.difference(y[:-1], y[1:])[y[1:].isfinite()]
        assert bool((fall <= 8 * torch.finfo(dtype).eps * (1 + y[1:][y[1:].isfinite()].abs())).all())
        assert not bool(ladj.isnan().any())


@pytest.mark.parametrize(
    ("dtype", "in_x", "in_ladj"),
    [(torch.float32, 2e-5, 2e-2), (torch.float64, 1e-13, 1e-10)],
    ids=["float32", "float64"],
)
def test_spline_on_its_own_knots(dtype: torch.dtype, in_x: float, in_ladj: float) -> None:
    """On the knots that drawn parameters make, and one step beside them: there and back, with agreeing ladj."""
    spline = RationalQuadratic(bins=6, bound=3.0)
    params = torch.randn(200, 1, spline.n_params, generator=torch.Generator().manual_seed(0), dtype=dtype)
    share = spline.min_bin + (1 - spline.min_bin * 6) * params[:, 0, :6].softmax(-1)
    knots = (6 * share.cumsum(-1) - 3).clamp(-3, 3)
    knots = torch.cat([knots, knots.new_full((200, 1), -3.0)], -1)
    x = torch.stack([knots, *(knots.nextafter(torch.full_like(knots, end)) for end in (-9.0, 9.0))], -1).flatten(1)
    y, ladj = spline.forward(x, params)
    back, ladj_back = spline.inverse(y, params)
    assert float((back - x).abs().max()) <= in_x
    assert float((ladj + ladj_back).abs().max()) <= in_ladj


@st.composite
def flow_and_scale(draw: st.DrawFn) -> tuple[flows.Flow, float]:
    """A recipe with drawn sizes, and how far its parameters are from zero."""
    options: dict[str, Any] = {
        "context": draw(st.integers(0, 8)),
        "layers": draw(st.integers(1, 4)),
        "hidden": draw(st.sampled_from([(1,), (16,), (8, 8)])),
        "base": draw(st.sampled_from(["normal", "student", "mixture"])),
        "tails": draw(st.sampled_from(["light", "heavy"])),
    }
    name = draw(st.sampled_from(flows.names("vectors")))
    if name == "nsf":
        options["structure"] = draw(st.sampled_from(["coupling", "autoregressive"]))
        options["bins"] = draw(st.integers(2, 12))
    features = draw(st.integers(1, 32))
    # beyond, slopes spread over so many powers of ten that digits are lost, and free maps cease to be one to one
    scale = 10 ** draw(st.floats(-3, -1 if name in zoo.FREE else 0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw(st.integers(0, 99)))
        return flows.flow(name, features, **known(name, options)), scale


def hold_to_main_laws(model: flows.Flow, scale: float) -> None:
    subject = subject_of(perturbed(model, scale=scale), rows=4)
    for law in (_maps.round_trip, _maps.ladj_both_ways, _maps.jacobian):
        figure = law(subject)
        assert figure.verdict != "fail", f"{law.__doc__} {figure} {model.spec}"


@given(flow_and_scale())
def test_drawn_flows(drawn: tuple[flows.Flow, float]) -> None:
    hold_to_main_laws(*drawn)


@pytest.mark.slow
@settings(max_examples=250)
@given(flow_and_scale())
def test_many_drawn_flows(drawn: tuple[flows.Flow, float]) -> None:
    hold_to_main_laws(*drawn)
