"""Fields too steep for their steps: `fit` adds steps where it may, and else keeps to weights that can be undone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unwarp import fit, flows, load, save
from unwarp.training import likelihood, matching


def steep(x: Tensor) -> flows.Flow:
    """A flow whose field pulls the right half of the line in so fast that two steps turn it over."""
    flow = flows.cnf(1, hidden=(1,), time=0, solver="euler", steps=2, tails="light")
    field = flow.transform.parts[-1].field
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.zero_()
        field.hidden[0].weight[0, 0] = 2**0.5
        field.out.weight[0, 0] = -4.0
    flow.adapt(x)
    return flow


@pytest.fixture
def rows() -> Tensor:
    return torch.randn(300, 1, generator=torch.Generator().manual_seed(0))


def test_matching_ends_with_as_many_steps_as_it_takes(rows, tmp_path):
    flow = steep(rows)
    z = flow.transform.encode(rows)
    assert not torch.allclose(flow.transform.decode(z), rows, atol=1e-2)
    fit(flow, rows, matching, max_steps=0, seed=0, start="keep", baselines=())
    assert flow.transform.parts[-1].steps > 2
    assert flow.spec["options"]["steps"] == flow.transform.parts[-1].steps
    assert torch.allclose(flow.transform.decode(flow.transform.encode(rows)), rows, atol=1e-3)
    save(flow, tmp_path / "model.safetensors")
    assert torch.equal(load(tmp_path / "model.safetensors").log_prob(rows), flow.log_prob(rows))


def test_likelihood_says_that_rows_do_not_come_back(rows):
    flow = steep(rows)
    with pytest.warns(UserWarning, match="fit: expected a flow that can be undone"):
        fit(flow, rows, likelihood, max_steps=0, seed=0, start="keep", validation=0.0, baselines=())
    assert flow.transform.parts[-1].steps == 2


def test_weights_that_fold_are_put_back(rows):
    """At a rate far too high the field would fold; the weights kept are those that can be undone."""
    flow = flows.cnf(1, hidden=(8,), steps=1, tails="light")
    history = fit(flow, rows.sinh() * 2, lr=3.0, max_steps=60, seed=0, baselines=())
    assert history.rollbacks
    with torch.no_grad():
        assert torch.allclose(flow.transform.decode(flow.transform.encode(rows)), rows, atol=1e-3)


def test_estimates_end_with_as_many_steps_as_they_need(rows, tmp_path):
    """One step of this field gets the density wrong by a seventh of a nat; training would use that."""
    flow = flows.ffjord(1, hidden=(4,), steps=1, tails="light")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        for parameter in flow.transform.parts[-1].field.parameters():
            torch.nn.init.normal_(parameter, std=0.7)
    flow.adapt(rows)
    before = flow.log_prob(rows).mean()
    fit(flow, rows, likelihood, max_steps=0, seed=0, start="keep", baselines=())
    steps = flow.transform.parts[-1].steps
    assert flow.spec["options"]["steps"] == steps > 1
    exact = flows.cnf(1, hidden=(4,), steps=512, tails="light", solver="rk4")
    exact.load_state_dict({name: t for name, t in flow.state_dict().items() if name in exact.state_dict()})
    truth = exact.log_prob(rows).mean()
    assert (before - truth).abs() > 0.1 > 0.03 > (flow.log_prob(rows).mean() - truth).abs()
    save(flow, tmp_path / "model.safetensors")
    assert load(tmp_path / "model.safetensors").transform.parts[-1].steps == steps
