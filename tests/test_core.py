"""Construction, doors and errors of the core; what the laws don't cover."""

import re

import pytest
import torch

from unwarp import Flow, Interval, Space, fit, flows, trace
from unwarp._space import POSITIVE, REAL
from unwarp.distributions import Normal, Uniform
from unwarp.errors import ConfigError, ContextError, RecipeError, ShapeError, SpaceError
from unwarp.flows._rates import RATES
from unwarp.networks import MLP, MaskedMLP
from unwarp.transforms import Autoregressive, Compose, Coupling, Elementwise, Permute, Standardize, Unconstrain
from unwarp.univariates import Affine, Exp, RationalQuadratic
from zoo.recipes import known

ERRORS = [
    (lambda: Compose([]), ConfigError, "at least one transform"),
    (lambda: Compose([Permute([0, 1]), Standardize(3)]), SpaceError, "part 1 to start where part 0 ends"),
    (lambda: Flow(Standardize(2), Normal(3)), SpaceError, "end in the base's space"),
    (lambda: Flow(Standardize(2), Uniform(2)), SpaceError, "end in the base's space"),
    (lambda: Permute([0, 2]), ConfigError, "permutation"),
    (lambda: Coupling(2, Affine(), MLP(1, 3)), ShapeError, "1 x 2 = 2 numbers; got 3"),
    (lambda: Coupling(2, Affine(), MLP(1, 2), mask=[True, True]), ConfigError, "mask of 2 booleans"),
    (lambda: Coupling(2, Exp(), MLP(1, 2)), SpaceError, "within one support"),
    (lambda: Autoregressive(3, Affine(), MaskedMLP(3, 3)), ShapeError, "(3, 2) numbers a row"),
    (lambda: RationalQuadratic(1), ConfigError, "bins"),
    (lambda: RationalQuadratic(8, -1.0), ConfigError, "bound"),
    (lambda: Interval(1.0, 1.0), ConfigError, "low < high"),
    (lambda: Space((2,), (REAL,)), ConfigError, "one support"),
    (lambda: MLP(2, 2, hidden=(0,)), ConfigError, "hidden[0]"),
    (lambda: Unconstrain(Space((2, 2))), SpaceError, "vectors"),
    (lambda: flows.flow("nfs", 2), RecipeError, 'Did you mean "nsf"?'),
    (lambda: flows.nsf(2, layers=0), RecipeError, "layers"),
    (lambda: flows.nsf(2, layers=10**9), RecipeError, "layers"),
    (lambda: flows.nsf(2.5), RecipeError, "features"),  # pyright: ignore[reportArgumentType]
    (lambda: flows.nsf(2, support=["real"]), RecipeError, "each of 2 features"),
    (lambda: flows.build({"recipe": "nsf"}), RecipeError, "recipe, features and options"),
    (lambda: Normal(2).log_prob(torch.zeros(3)), ShapeError, "(*batch, 2); got (3,)"),
    (lambda: flows.nsf(2).log_prob(torch.zeros(2), torch.zeros(1)), ContextError, "no context"),
    (lambda: flows.nsf(2, context=3).log_prob(torch.zeros(2)), ContextError, "got none"),
    (lambda: flows.nsf(2, context=3).sample(), ContextError, "got none"),
    (lambda: flows.nsf(2, context=3).log_prob(torch.zeros(2), torch.zeros(2)), ContextError, "(*batch, 3); got (2,)"),
]


@pytest.mark.parametrize(("call", "kind", "says"), ERRORS, ids=lambda value: value if isinstance(value, str) else "")
def test_errors_say_what_was_expected_and_what_to_do(call, kind, says) -> None:
    with pytest.raises(kind, match=re.escape(says)) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert "expected" in message or "no such recipe" in message
    assert message.endswith((".", "?"))


def test_context_and_sample_shapes_broadcast() -> None:
    flow = flows.maf(2, context=3, layers=2, hidden=(8,))
    context = torch.randn(4, 3)
    assert flow.sample((5,), context).shape == (5, 4, 2)
    assert flow.log_prob(torch.zeros(2), context).shape == (4,)
    assert flow.log_prob(torch.zeros(6, 1, 2), context).shape == (6, 4)


def test_given_is_a_torch_distribution() -> None:
    flow = flows.nsf(2, context=1, layers=2, hidden=(8,), support="positive")
    given = flow.given(torch.zeros(3, 1))
    assert isinstance(given, torch.distributions.Distribution)
    assert given.batch_shape == (3,) and given.event_shape == (2,)
    draws = given.rsample((7,))
    assert draws.shape == (7, 3, 2) and draws.requires_grad
    assert bool(given.support.check(draws).all())
    assert given.log_prob(draws).shape == (7, 3)
    draws, log_prob = given.rsample_and_log_prob((7,))
    assert draws.shape == (7, 3, 2) and torch.allclose(log_prob, given.log_prob(draws), atol=1e-4)
    wide = given.expand((5, 3))
    assert wide.sample().shape == (5, 3, 2) and wide.log_prob(torch.ones(2)).shape == (5, 3)
    assert torch.distributions.kl_divergence  # registering is the user's; being one is ours


def test_outside_the_support_the_density_is_zero_and_nan_stays_nan() -> None:
    flow = flows.nsf(2, support=["positive", "real"], layers=1, hidden=(8,))
    nan = float("nan")
    log_prob = flow.log_prob(torch.tensor([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [nan, 0.0], [-1.0, nan]]))
    assert log_prob[:2].tolist() == [-torch.inf] * 2
    assert bool(torch.isfinite(log_prob[2])) and bool(log_prob[3:].isnan().all())


@pytest.mark.parametrize("hidden", [(), (7,), (16, 5, 9)])
@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("features", [1, 2, 9])
def test_masked_network_is_causal_and_the_same_step_by_step(hidden, context, features) -> None:
    torch.manual_seed(0)
    net = MaskedMLP(features, 3, hidden=hidden, context=context).double()
    for p in net.parameters():
        torch.nn.init.normal_(p)
    x = torch.randn(4, features, dtype=torch.float64)
    c = torch.randn(4, context, dtype=torch.float64) if context else None
    whole = net(x, c)
    state = net.begin(x, c)
    for i in range(features):
        assert torch.allclose(net.emit(state, i), whole[:, i : i + 1], atol=1e-12)
        state = net.advance(state, x[:, i : i + 1], i)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda v: net(v, None if c is None else c[0]).sum(-1)))(x)
    assert not bool(jacobian.triu().any())
    if features > 1 and hidden:
        assert bool((jacobian[:, -1, :-1].abs().sum(0) > 0).any())


SEARCHED = {"bnaf", "cnf", "naf", "otflow", "unaf"}  # a search or a derivative for each feature: 30 will do
REAL_RECIPES = [name for name in flows.names("tables") if name != "circular"]
DEAR = {"bpf", "copula", "cpflow", "sospf", "tarflow"}  # several seconds for a thousand: those are the slow suite's
SIZES = [(name, 1) for name in REAL_RECIPES]
SIZES += [(name, 30) for name in REAL_RECIPES if name in SEARCHED | DEAR]
SIZES += [
    pytest.param(name, 1000, marks=[pytest.mark.slow] * (name in DEAR)) for name in REAL_RECIPES if name not in SEARCHED
]


@pytest.mark.parametrize(("name", "features"), SIZES)
def test_every_recipe_works_for_one_feature_and_for_a_thousand(name: str, features: int) -> None:
    flow = flows.flow(name, features, **known(name, {"layers": 2, "hidden": (32,), "context": 2}))
    x, context = torch.randn(3, features), None if flow.context_shape is None else torch.randn(3, 2)
    log_prob = flow.log_prob(x, context)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(-1)
    assert torch.allclose(log_prob, expected, atol=1e-2) or name == "gmm"  # the identity at the start
    assert flow.sample((2, 3) if context is None else (2,), context).shape == (2, 3, features)


def test_couplings_let_every_feature_reach_every_other() -> None:
    torch.manual_seed(0)
    flow = flows.realnvp(6, layers=6, hidden=(16,)).double()
    for p in flow.parameters():
        torch.nn.init.normal_(p, std=0.5)
    jacobian = torch.func.jacrev(flow.transform.encode)(torch.randn(6, dtype=torch.float64))
    assert bool((jacobian.abs() > 1e-9).all())


def test_adapt_standardises_and_keeps_the_density_in_the_datas_units() -> None:
    generator = torch.Generator().manual_seed(0)
    x = 100 + 5 * torch.randn(2000, 2, generator=generator, dtype=torch.float64)
    flow = flows.nsf(2, layers=1, hidden=(8,)).double()
    flow.adapt(x)
    expected = torch.distributions.Normal(100.0, 5.0).log_prob(x).sum(-1).mean()
    assert float(flow.log_prob(x).detach().mean()) == pytest.approx(float(expected), abs=0.02)


def test_the_ideas_change_of_variables_in_one_and_two_dimensions() -> None:
    z = torch.linspace(-2, 2, 9, dtype=torch.float64)
    standard = torch.distributions.Normal(0.0, 1.0)
    log_normal = Flow(Unconstrain(Space((1,), POSITIVE)), Normal(1)).double()
    expected = torch.distributions.LogNormal(torch.zeros((), dtype=torch.float64), 1.0).log_prob(z.exp())
    assert torch.allclose(log_normal.log_prob(z.exp().unsqueeze(-1)), expected)
    line = Standardize(1).double()
    line.center.fill_(3.0)
    line.scale.fill_(2.0)
    x = 2 * z + 3
    log_prob = Flow(line, Normal(1)).double().log_prob(x.unsqueeze(-1))
    assert torch.allclose(log_prob, standard.log_prob(z) - torch.tensor(2.0).log())
    exp = Elementwise(1, Exp())
    assert torch.allclose(exp(z.unsqueeze(-1))[1], z)


def test_trace_adds_up_to_the_density_and_shows_each_jacobian() -> None:
    torch.manual_seed(0)
    flow = flows.nsf(2, layers=3, hidden=(8,), mixing="whiten", context=1).double()
    for p in flow.parameters():
        torch.nn.init.normal_(p, std=0.5)
    x, context = torch.randn(6, 2, dtype=torch.float64), torch.randn(6, 1, dtype=torch.float64)
    steps = trace(flow, x, context)
    log_prob = flow.base.log_prob(steps[-1].points) + steps[-1].total
    assert torch.allclose(log_prob, flow.log_prob(x, context), atol=1e-10)
    for step in steps[1:]:
        assert step.jacobian is not None
        assert torch.allclose(torch.linalg.slogdet(step.jacobian)[1], step.ladj, atol=1e-10)


def test_recipes_bring_their_learning_rate() -> None:
    assert (flows.nsf(2).lr, flows.planar(2).lr, Normal(2).lr) == (1e-2, 5e-2, 1e-2)
    assert set(RATES) <= set(flows.names())
    first, second = (flows.planar(1, layers=1) for _ in range(2))
    second.load_state_dict(first.state_dict())
    x = torch.randn(100, 1, generator=torch.Generator().manual_seed(0))
    fit(first, x, max_steps=5, seed=0, baselines=())
    fit(second, x, max_steps=5, seed=0, baselines=(), lr=5e-2)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_splines_reckon_with_rows_far_outside_their_box() -> None:
    torch.manual_seed(0)
    x = torch.distributions.StudentT(1.5).sample((4_000, 2))
    train, test = x.split(2_000)
    flow = flows.nsf(2, layers=1, hidden=(8,))
    flow.adapt(train)
    light = flows.nsf(2, layers=1, hidden=(8,), tails="light")
    light.adapt(train)
    assert flow.log_prob(test).mean() > light.log_prob(test).mean() + 1
