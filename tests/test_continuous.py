"""Flows along vector fields: known solutions, adaptive solvers, estimates, and objectives."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from unwarp import fit, flows
from unwarp.distributions import Flow, Normal, estimate
from unwarp.doctor._subject import perturbed
from unwarp.errors import ConfigError, NotConvergedError, ShapeError
from unwarp.functional import TABLEAUS, jacobian, runge_kutta
from unwarp.networks import PotentialField, VectorField
from unwarp.training import likelihood, matching, regularised_likelihood
from unwarp.transforms import Continuous

A = torch.tensor([[0.3, -0.8, 0.1], [0.5, -0.4, 0.0], [0.2, 0.1, 0.6]], dtype=torch.float64)


class Given(nn.Module):
    """A field by formula."""

    def __init__(self, formula) -> None:
        super().__init__()
        self.formula = formula

    def forward(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        return self.formula(x, t) if context is None else self.formula(x, t) + context


def field(features: int = 2, context: int = 0, scale: float = 0.5) -> VectorField:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return perturbed(VectorField(features, hidden=(8, 8), context=context), scale=scale).double()


def points(n: int, features: int = 2) -> Tensor:
    return torch.randn(n, features, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(("solver", "options"), [("rk4", {"steps": 20}), ("dopri5", {"tolerance": 1e-9})])
def test_linear_field_is_the_matrix_exponential(solver, options):
    layer = Continuous(3, Given(lambda x, t: x @ A.mT.to(x)), solver=solver, **options)
    x = points(5, 3)
    z, ladj = layer(x)
    assert torch.allclose(z, x @ torch.linalg.matrix_exp(A).mT, atol=1e-6)
    assert torch.allclose(ladj, A.trace().expand(5), atol=1e-6)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_error_falls_with_the_order(solver, order):
    def end(steps: int) -> Tensor:
        x = torch.ones((), dtype=torch.float64)
        for n in range(steps):
            x = runge_kutta(lambda x, t: -x * (1 + t), x, n / steps, 1 / steps, TABLEAUS[solver])[0]
        return x

    truth = torch.tensor(-1.5, dtype=torch.float64).exp()
    ratio = float((end(20) - truth).abs() / (end(40) - truth).abs())
    assert 2**order * 0.8 < ratio < 2**order * 1.25


@pytest.mark.parametrize("made", [field(3, 2), perturbed(PotentialField(3, width=6, context=2), scale=0.5).double()])
def test_slopes_that_fields_write_out(made):
    x, context, t = points(4, 3), points(4), torch.tensor(0.3, dtype=torch.float64)
    value, slope = made.linearize(x, t, context)
    expected = jacobian(lambda x: made(x, t, context), x)
    assert torch.allclose(value, expected[0], atol=1e-12)
    assert torch.allclose(slope, expected[1], atol=1e-12)


def test_derivatives_that_fields_write_out_along_directions():
    made, x, context, ways = field(3, 2), points(4, 3), points(4), points(8, 3).unflatten(0, (4, 2))
    t = torch.tensor(0.3, dtype=torch.float64)
    value, along = made.push(x, t, context, ways)
    expected = jacobian(lambda x: made(x, t, context), x)
    assert torch.allclose(value, expected[0], atol=1e-12)
    assert torch.allclose(along, ways @ expected[1].mT, atol=1e-12)


def test_potential_is_one():
    """The slope of a gradient is symmetric, and the Hamilton-Jacobi term is zero where nothing moves."""
    made = perturbed(PotentialField(3, width=6), scale=0.5).double()
    slope = made.linearize(points(4, 3), torch.zeros(4, dtype=torch.float64))[1]
    assert torch.allclose(slope, slope.mT, atol=1e-12)
    assert PotentialField(3).hamilton_jacobi(torch.ones(3), torch.zeros(())) == 0


def test_steps_approach_the_equation():
    fine = Continuous(2, field(), solver="dopri8", tolerance=1e-11)
    x, errors = points(8), []
    with torch.no_grad():
        z, ladj = fine(x)
    for steps in (4, 8):
        other = fine.with_solver(solver="rk4", steps=steps)
        assert other.field is fine.field
        with torch.no_grad():
            got = other(x)
        errors.append(float(torch.maximum((got[0] - z).abs().max(), (got[1] - ladj).abs().max())))
    assert errors[1] < errors[0] / 10 < 1e-3


@pytest.mark.parametrize("trace", ["exact", "hutchinson"])
def test_adaptive_solver_comes_back(trace):
    layer = Continuous(2, field(2, 1), context=1, solver="dopri5", tolerance=1e-9, trace=trace).eval()
    x, context = points(6), points(6, 1)
    z, ladj = layer(x, context)
    back, ladj_back = layer.inverse(z, context)
    assert torch.allclose(back, x, atol=1e-6)
    if trace == "exact":
        assert torch.allclose(ladj_back, -ladj, atol=1e-6)
        slope = jacobian(lambda x: layer.with_solver(solver="rk4", steps=40).encode(x, context), x)[1]
        assert torch.allclose(torch.linalg.slogdet(slope).logabsdet, ladj, atol=1e-6)


def test_adjoint_gradients_are_the_direct_ones():
    slopes = []
    for gradients in ("direct", "adjoint"):
        made = field(2, 1)
        layer = Continuous(2, made, context=1, solver="dopri5", tolerance=1e-9, gradients=gradients)
        x, context = points(4).requires_grad_(), points(4, 1).requires_grad_()
        z, ladj = layer(x, context)
        slopes.append(torch.autograd.grad((z.square().sum(-1) + ladj).sum(), [x, context, *made.parameters()]))
    for direct, adjoint in zip(*slopes, strict=True):
        assert torch.allclose(direct, adjoint, atol=1e-5)


def test_stuck_solver_says_so():
    layer = Continuous(1, Given(lambda x, t: 50 * x**3), solver="dopri5", tolerance=1e-2)
    with pytest.raises(NotConvergedError, match="dopri5: expected a solution"):
        layer(torch.ones(1, 1))


def test_estimate_is_unbiased():
    exact = Continuous(2, field(scale=0.4), steps=1)
    guess = Continuous(2, exact.field, steps=1, trace="hutchinson").eval()
    x = points(20)
    found = estimate(Flow(guess, Normal(2).double()), x, draws=100)
    assert found.kind == "estimate"
    with torch.no_grad():
        surprise = (found.value - Flow(exact, Normal(2).double()).log_prob(x)).abs() / (found.error + 1e-3)
    assert float(surprise.max()) < 4.5


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"solver": "rk45"}, ConfigError),
        ({"steps": 0}, ConfigError),
        ({"tolerance": 0.0}, ConfigError),
        ({"trace": "guess"}, ConfigError),
        ({"gradients": "adjoint"}, ConfigError),
        ({"features": 3}, ShapeError),
    ],
)
def test_impossible_options(options, error):
    with pytest.raises(error, match="Continuous: expected"):
        Continuous(**{"features": 2, "field": Given(lambda x, t: x[..., :2])} | options)


@pytest.mark.parametrize(
    ("objective", "made", "says"),
    [
        (matching, lambda: flows.nsf(2), "one Continuous layer"),
        (matching, lambda: flows.cnf(2, layers=2), "one Continuous layer"),
        (matching, lambda: Normal(2), "a flow"),
        (regularised_likelihood, lambda: flows.nsf(2), "Continuous layers"),
        (regularised_likelihood, lambda: flows.cnf(2, solver="dopri5"), "fixed steps"),
        (partial(regularised_likelihood, hamilton_jacobi=1.0), lambda: flows.cnf(2), "potential"),
    ],
)
def test_objectives_refuse_other_flows(objective, made, says):
    with pytest.raises(ConfigError, match=says):
        objective(made(), torch.zeros(4, 2))


def test_costs_of_a_known_way():
    """Along dx/dt = (1, 2) the kinetic integral is 5; along dx/dt = x the slope's is D."""
    x = points(4)
    straight = Flow(Continuous(2, Given(lambda x, t: x * 0 + torch.tensor([1.0, 2.0]).to(x))), Normal(2).double())
    kinetic = regularised_likelihood(straight, x, kinetic=1.0, jacobian=1.0) - likelihood(straight, x)
    assert torch.allclose(kinetic, torch.tensor(5.0, dtype=torch.float64))
    growing = Flow(Continuous(2, Given(lambda x, t: x)), Normal(2).double())
    rough = regularised_likelihood(growing, x, kinetic=0.0, jacobian=1.0) - likelihood(growing, x)
    assert torch.allclose(rough, torch.tensor(2.0, dtype=torch.float64))


def test_matching_learns_a_conditional_density():
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(2000, 1, generator=generator)
    x = 3 + 2 * context + 0.5 * torch.randn(2000, 1, generator=generator)
    flow = flows.cnf(1, context=1, hidden=(32,), solver="rk4", steps=4, mixing="whiten")
    history = fit(flow, x, matching, context=context, max_steps=600, seed=0)
    assert history.held_out is not None
    assert history.best is not None
    truth = -0.5 - 0.919 + 0.693
    assert truth - 0.25 < history.held_out < truth + 0.15
    assert history.held_out > history.baselines["gaussian"] + 0.5


def test_optimal_coupling_needs_less():
    """Between a row and its draw lies less than by chance; contexts and weights are refused."""
    torch.manual_seed(0)
    flow = flows.cnf(2)  # at rest, so the loss is the mean squared distance
    x = torch.randn(256, 2)
    near, far = (float(matching(flow, x, coupling=how).detach()) for how in ("optimal", "independent"))
    assert near < 0.2 * far
    with pytest.raises(ConfigError, match="no context or weight"):
        matching(flow, x, weight=torch.ones(256), coupling="optimal")
