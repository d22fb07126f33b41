"""sbi trains unwarp's flows, samples them and evaluates them as its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from unwarp.applications import Box, builder

inference = pytest.importorskip("sbi.inference")
utils = pytest.importorskip("sbi.utils")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """sbi writes its logs where it is called."""
    monkeypatch.chdir(tmp_path)


LOW, HIGH = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 3.0])


def simulated(n: int = 600) -> tuple[Any, torch.Tensor, torch.Tensor]:
    prior = utils.BoxUniform(LOW, HIGH)
    generator = torch.Generator().manual_seed(0)
    theta = LOW + (HIGH - LOW) * torch.rand(n, 2, generator=generator)
    return prior, theta, theta + 0.1 * torch.randn(n, 2, generator=generator)


@pytest.mark.parametrize("bounded", ["bounded", "free"])
def test_npe_takes_our_flows(bounded: str) -> None:
    prior, theta, x = simulated()
    made = builder("nsf", prior=Box(LOW.numpy(), HIGH.numpy()) if bounded == "bounded" else None)
    trainer = inference.NPE(prior, density_estimator=made, show_progress_bars=False)
    estimator = trainer.append_simulations(theta, x).train(max_num_epochs=8)
    posterior = trainer.build_posterior()
    at = torch.tensor([0.3, 2.95])
    draws = posterior.sample((1000,), x=at, show_progress_bars=False)
    assert (draws[:, 0].mean() - 0.3).abs() < 0.1
    assert ((draws > LOW) & (draws < HIGH)).all()
    log_prob = posterior.log_prob(draws[:50], x=at)
    assert log_prob.shape == (50,)
    assert log_prob.isfinite().all()
    own = estimator.sample((2000,), at.unsqueeze(0))
    assert own.shape == (2000, 1, 2)
    leaking = float(((own > HIGH) | (own < LOW)).any(-1).float().mean())
    assert leaking == 0 if bounded == "bounded" else leaking > 0.01


def test_nle_takes_our_flows() -> None:
    prior, theta, x = simulated(400)
    trainer = inference.NLE(
        prior, density_estimator=builder("maf", flow_options={"layers": 2}), show_progress_bars=False
    )
    estimator = trainer.append_simulations(theta, x).train(max_num_epochs=5)
    value = estimator.log_prob(x[:7].unsqueeze(0), theta[:7])
    assert value.shape == (1, 7)
    assert value.isfinite().all()


def test_embeddings_are_trained_along() -> None:
    prior, theta, x = simulated(400)
    images = x[:, :, None, None] + 0.1 * torch.randn(400, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    trainer = inference.NPE(
        prior, density_estimator=builder("maf", embedding="images", summary=4), show_progress_bars=False
    )
    estimator = trainer.append_simulations(theta, images).train(max_num_epochs=3)
    assert estimator.sample((5,), images[:3]).shape == (5, 3, 2)
