"""Structures and the recipes made of them: what the laws don't see."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from unwarp import flows
from unwarp.errors import ConfigError, RecipeError, ShapeError
from unwarp.networks import MLP, Centered, MaskedMLP
from unwarp.transforms import Autoregressive, BlockNeural, Coupling, Embedded, Permute
from unwarp.univariates import Affine


def conditional() -> Coupling:
    return Coupling(2, Affine(), MLP(1, 2, context=3), context=3)


ERRORS = [
    (lambda: BlockNeural(0), ConfigError, "features"),
    (lambda: BlockNeural(2, hidden=(0,)), ConfigError, "hidden[0]"),
    (lambda: BlockNeural(2, context=-1), ConfigError, "context"),
    (lambda: Embedded(Permute([0, 1]), nn.Linear(2, 2), context=2), ConfigError, "context before and after"),
    (lambda: Embedded(conditional(), nn.Linear(5, 2), context=5), ShapeError, "of shape (3,); got (2,)"),
    (lambda: Centered(MLP(1, 2), max_log_scale=0.0), ConfigError, "max_log_scale"),
    (lambda: MaskedMLP(3, 1, adjacency=[(0, 1), (1, 2), (2, 0)]), ConfigError, "got 0 <- 1 <- 2 <- 0"),
    (lambda: MaskedMLP(4, 1, adjacency=[(3, 0), (1, 2), (2, 1)]), ConfigError, "got 1 <- 2 <- 1"),
    (lambda: MaskedMLP(2, 1, adjacency=[(1, 1)]), ConfigError, "got 1 <- 1"),
    (lambda: MaskedMLP(2, 1, adjacency=[(2, 0)]), ConfigError, "of 0 to 1; got (2, 0)"),
    (lambda: MaskedMLP(2, 1, passes=0), ConfigError, "passes"),
    (lambda: MaskedMLP(2, 1, passes=2, adjacency=[]), ConfigError, "passes or adjacency"),
    (lambda: flows.maf(3, adjacency=[(0, 1), (1, 0)]), RecipeError, "0 <- 1 <- 0"),
    (lambda: flows.maf(3, adjacency=[(0, 3)]), RecipeError, "of 0 to 2"),
    (lambda: flows.maf(3, passes=0), RecipeError, "passes"),
    (lambda: flows.nsf(3, adjacency=[(0, 1)]), RecipeError, "for couplings"),
]


@pytest.mark.parametrize(("call", "kind", "says"), ERRORS, ids=lambda value: value if isinstance(value, str) else "")
def test_errors_say_what_was_expected(call, kind, says) -> None:
    with pytest.raises(kind, match=re.escape(says)) as caught:
        call()
    assert "expected" in str(caught.value) and str(caught.value).endswith(".")


def test_block_neural_reaches_every_latent_with_wild_weights() -> None:
    torch.manual_seed(0)
    layer = BlockNeural(3, hidden=(5, 4)).double()
    for p in layer.parameters():
        torch.nn.init.normal_(p, std=3.0)
    z = torch.tensor([0.0, -1.0, 40.0, -1e3, 1e6], dtype=torch.float64).unsqueeze(-1).expand(-1, 3)
    x, ladj = layer.inverse(z)
    again, back = layer.forward(x)
    assert torch.allclose(again, z, rtol=1e-9, atol=1e-9)
    assert torch.allclose(ladj, -back, atol=1e-8)
    jacobian = torch.func.jacrev(layer.encode)(x[0])
    assert bool((jacobian.triu(1) == 0).all()) and bool((jacobian.diagonal() > 0).all())


@pytest.mark.parametrize("hidden", [(), (1,), (7,), (9, 5)])
@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("edges", [[], [(0, 3), (1, 0), (1, 2), (4, 1), (4, 3), (2, 5)]], ids=["none", "some"])
def test_masked_network_sees_the_parents_and_nobody_else(hidden, context, edges) -> None:
    torch.manual_seed(0)
    net = MaskedMLP(6, 2, hidden=hidden, context=context, adjacency=edges).double()
    for p in net.parameters():
        torch.nn.init.uniform_(p, 0.5, 1.0)  # no unit is silent and none cancels another
    x, c = torch.rand(6, dtype=torch.float64), torch.rand(2, dtype=torch.float64) if context else None
    jacobian = torch.func.jacrev(lambda v: net(v, c).sum(-1))(x)
    assert {tuple(edge) for edge in jacobian.nonzero().tolist()} == set(edges)
    whole, state = net(x, c), net.begin(x, c)
    for i, step in enumerate(net.steps):
        assert torch.allclose(net.emit(state, i), whole[list(step)], atol=1e-12)
        state = net.advance(state, x[list(step)], i)


def test_steps_of_an_inverse_are_the_levels_of_the_graph_or_the_groups() -> None:
    chain = MaskedMLP(4, 2, hidden=(8,), adjacency=[(0, 1), (1, 2), (2, 3)])
    assert chain.steps == ((3,), (2,), (1,), (0,))
    star = Autoregressive(5, Affine(), MaskedMLP(5, 2, hidden=(8,), adjacency=[(i, 0) for i in range(1, 5)]))
    assert len(star.net.steps) == 2 and star.solve(torch.randn(3, 5)).sweeps <= 3
    assert MaskedMLP(7, 1, passes=3).steps == ((0, 1), (2, 3), (4, 5, 6))


def test_density_factorises_along_the_graph() -> None:
    """Given its one parent, a child does not depend on the rest: mixed second derivatives of log p vanish."""
    torch.manual_seed(0)
    flow = flows.nsf(
        3, layers=1, bins=4, hidden=(8,), structure="autoregressive", adjacency=[(0, 1), (2, 1)], floor=0.1
    ).double()
    for p in flow.parameters():
        torch.nn.init.normal_(p)
    curvature = torch.func.jacrev(torch.func.jacrev(flow.log_prob))(torch.tensor([0.3, -0.4, 0.9], dtype=torch.float64))
    assert curvature[0, 2].abs() < 1e-12 < 1e-3 < curvature[0, 1].abs()


@pytest.mark.parametrize("features", [1, 2, 5])
@pytest.mark.parametrize("scale", [0.3, 30.0])
def test_gin_keeps_volume_but_stretches(features: int, scale: float) -> None:
    torch.manual_seed(0)
    flow = flows.gin(features, layers=3, hidden=(8,)).double()
    couplings = [part for part in flow.transform.parts if isinstance(part, Coupling)]
    for p in flow.parameters():
        torch.nn.init.normal_(p, std=scale)
    x = torch.randn(64, features, dtype=torch.float64)
    for layer in couplings:
        x, ladj = layer(x)
        assert bool((ladj.abs() < 1e-12).all()) and bool(x.isfinite().all())
    if features > 3 and scale < 1:
        jacobian = torch.func.jacrev(couplings[0].encode)(x[0])
        assert bool((jacobian.diagonal().log().abs() > 0.01).any())


def test_triangular_flow_is_triangular() -> None:
    torch.manual_seed(0)
    flow = flows.triangular(4, layers=3, bins=4).double()
    for p in flow.parameters():
        torch.nn.init.normal_(p, std=0.5)
    jacobian = torch.func.jacrev(flow.transform.encode)(torch.randn(4, dtype=torch.float64))
    assert bool((jacobian.triu(1) == 0).all()) and bool((jacobian.tril().abs() > 0).sum() == 10)


def test_embedding_network_is_trained_with_the_flow() -> None:
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(8), nn.Linear(8, 3))
    before = net[1].running_mean.clone()
    layer = Embedded(conditional(), net, context=(2, 4))
    assert torch.equal(net[1].running_mean, before) and net.training
    for p in layer.parameters():
        torch.nn.init.normal_(p)
    context = torch.randn(3, 4, 2, 4)
    z, ladj = layer.eval()(torch.randn(3, 4, 2), context)
    assert z.shape == (3, 4, 2) and ladj.shape == (3, 4)
    z.sum().backward()
    assert bool(net[2].weight.grad.any())


def test_long_graphs_are_sorted_in_time() -> None:
    features = 20_000
    with pytest.raises(ConfigError, match="cycle"):
        MaskedMLP(features, 1, adjacency=[(i, (i + 1) % features) for i in range(features)])


def test_conditioners_see_three_however_far_a_feature_is() -> None:
    net = MLP(1, 1, hidden=(4,))
    nn.init.normal_(net.out.weight)
    near, far, farther = net(torch.tensor([[1e6], [1e20], [1e38]]))
    assert torch.allclose(near, far, atol=1e-5) and torch.equal(far, farther)
