"""The example of a variational autoencoder with flows inside, and what it asks of layers that a context moves."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from unwarp import Flow
from unwarp.distributions import ConditionalNormal, Normal
from unwarp.transforms import Compose, Elementwise, Inverse, Planar, Radial, Sylvester
from unwarp.univariates import Affine

SCRIPT = Path(__file__).resolve().parent.parent / "examples" / "vae.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_vae", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for the module's names
    spec.loader.exec_module(module)
    return module


example: Any = load()
POSTERIORS = get_args(example.Posterior)


def small(posterior: str = "iaf", prior: str = "gaussian") -> Any:
    return example.Options(64, latent=4, posterior=posterior, prior=prior, hidden=32, told=8)


def made(options: Any, seed: int = 0) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return example.VAE(options)


def test_training_improves_the_bound_and_repeats() -> None:
    train, test = example.images("digits")
    options = small("iaf", "realnvp")
    before = example.bounds(made(options), test, draws=8)
    models = [example.trained(options, train, steps=40, seed=0, lr=1e-2) for _ in range(2)]
    lower, weighted = example.bounds(models[0], test, draws=8)
    assert float(lower.mean()) > float(before[0].mean()) + 5
    assert bool((weighted >= lower - 1e-4).all())  # Jensen, image by image
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(a, b)
    again = example.bounds(models[1], test, draws=8)
    assert torch.equal(again[0], lower) and torch.equal(again[1], weighted)


@pytest.mark.parametrize("name", POSTERIORS)
def test_posterior_starts_as_the_mean_field_one_and_draws_with_gradients(name: str) -> None:
    q = example.posterior(small(name))
    told = torch.randn(5, *q.context_shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    z, log_q = q.sample_and_log_prob((3,), told, generator=torch.Generator().manual_seed(1))
    place, log_scale = (torch.stack(each.chunk(4, -1)) for each in (told[:, :8:2], told[:, 1:8:2]))
    assert z.shape == (3, 5, 4) and log_q.shape == (3, 5)
    plain = torch.distributions.Normal(place.squeeze(-1).T, (5 * (log_scale.squeeze(-1).T / 5).tanh()).exp())
    assert torch.allclose(plain.log_prob(z).sum(-1), log_q, atol=1e-4)
    (gradient,) = torch.autograd.grad((z.square().sum(-1) - log_q).sum(), told)
    assert bool((gradient[:, :8] != 0).all())


@pytest.mark.parametrize("name", POSTERIORS)
def test_draws_have_the_density_that_is_told(name: str) -> None:
    """Also once every layer bends: at points that the posterior drew itself, found again by the slow direction."""
    q = example.posterior(small(name)).double()
    generator = torch.Generator().manual_seed(0)
    for value in q.parameters():
        value.data.add_(torch.randn(value.shape, generator=generator, dtype=value.dtype), alpha=0.1)
    told = torch.randn(5, *q.context_shape, generator=generator, dtype=torch.float64)
    z, log_q = q.sample_and_log_prob((3,), told, generator=generator)
    assert torch.allclose(q.log_prob(z, told), log_q, atol=1e-6)


def test_models_of_a_seed_start_alike() -> None:
    """So that what comes of them differs by their flows: the same weights, and flows that are the identity."""
    found = []
    for posterior, prior in (("mean-field", "gaussian"), ("planar", "maf"), ("iaf", "realnvp"), ("spline", "spline")):
        generator = torch.Generator().manual_seed(1)
        found.append(made(small(posterior, prior)).log_weights(torch.ones(3, 64), 2, generator=generator))
    assert all(torch.allclose(each, found[0], atol=1e-4) for each in found)


@pytest.mark.parametrize("prior", get_args(example.Prior))
def test_draws_of_every_prior_are_images(prior: str) -> None:
    vae = made(small("mean-field", prior))
    assert vae.kind == "bound"
    x, bound = vae.sample_and_log_prob((2, 3), generator=torch.Generator().manual_seed(0))
    assert x.shape == (2, 3, 64) and bound.shape == (2, 3)
    assert bool(((x == 0) | (x == 1)).all()) and bool(bound.isfinite().all())
    assert vae.sample((2,)).shape == (2, 64)


def test_the_weighted_bound_is_the_evidence_where_that_is_known() -> None:
    """A decoder that does not look at its code: every draw of the prior's own law has the weight p(x)."""
    vae = made(small("mean-field"))
    for network in (vae.encoder, vae.decoder):
        nn.init.zeros_(network[-1].weight)
        nn.init.zeros_(network[-1].bias)
    lower, weighted = example.bounds(vae, torch.zeros(3, 64), draws=5)
    assert torch.allclose(lower, torch.full((3,), -64 * math.log(2)), atol=1e-3)
    assert torch.allclose(weighted, lower, atol=1e-4)


def test_a_model_file_gives_the_model_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--latent", "4", "--hidden", "32", "--steps", "20", "--draws", "8", "--test-rows", "60"]
    example.main([*options, "--posterior", "planar", "--prior", "gaussian", "--out", str(tmp_path / "one")])
    told = capsys.readouterr().out.splitlines()
    example.main([*options, "--model", str(tmp_path / "one" / "vae.safetensors"), "--out", str(tmp_path / "two")])
    again = capsys.readouterr().out.splitlines()
    assert told[:2] == again[:2] and "importance-weighted, K = 8: -" in told[1]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
        "reconstructions.png", "samples.png", "vae.safetensors"
    ]  # fmt: skip
    for name in ("samples.png", "vae.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_missing_file_is_said_in_a_line() -> None:
    with pytest.raises(SystemExit, match="expected a file; got none at nowhere"):
        example.images("nowhere.npz")


class Counted(nn.Module):
    """A network that counts the rows that it is asked for."""

    def __init__(self, context: int, out: int) -> None:
        super().__init__()
        self.line = nn.Linear(context, out)
        self.rows: list[int] = []

    def forward(self, nothing: Tensor, context: Tensor) -> Tensor:
        self.rows.append(context[..., 0].numel() * max(1, nothing[..., :1].numel()))
        out: Tensor = self.line(context)
        return out.expand(*torch.broadcast_shapes(nothing.shape[:-1], out.shape[:-1]), -1)


@pytest.mark.parametrize(
    "made",
    [
        lambda net: Planar(3, net=net(7), context=2),
        lambda net: Radial(3, net=net(5), context=2),
        lambda net: Sylvester(3, net=net(Sylvester.n_params(3)), context=2),
        lambda net: Elementwise(3, Affine(), net=net(6), context=2),
    ],
    ids=["Planar", "Radial", "Sylvester", "Elementwise"],
)
def test_many_draws_ask_the_network_once_a_context(made: Any) -> None:
    nets: list[Counted] = []
    layer = made(lambda out: nets.append(Counted(2, out)) or nets[-1])
    q = Flow(Compose([Inverse(layer)]), Normal(3))
    nets[0].rows.clear()
    z, log_q = q.sample_and_log_prob((100,), torch.randn(4, 2))
    assert z.shape == (100, 4, 3) and log_q.shape == (100, 4)
    assert nets[0].rows == [4]
    one = q.log_prob(z[7, 2], torch.zeros(1, 2)).shape  # and a context broadcasts as ever
    assert one == (1,)


def test_many_draws_of_a_conditional_normal_ask_its_network_once() -> None:
    net = Counted(2, 6)
    base = ConditionalNormal(3, net, context=2)
    net.rows.clear()
    context = torch.randn(4, 2)
    x, log_prob = base.sample_and_log_prob((100,), context)
    assert net.rows == [4]
    assert torch.allclose(base.log_prob(x, context), log_prob, atol=1e-5)
    assert net.rows == [4, 4]


@pytest.mark.slow
def test_flows_follow_a_curved_posterior_that_mean_field_cannot() -> None:
    r"""z is standard normal and $x = z_2 - z_1^2 + 0.3\,\epsilon$: given x, codes lie along a parabola."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(512, 2, generator=generator)
    x = z[:, 1] - z[:, 0].square() + 0.3 * torch.randn(512, generator=generator)
    grid = torch.cartesian_prod(torch.linspace(-5, 5, 401), torch.linspace(-5, 5, 401))
    cell = (10 / 400) ** 2

    def log_joint(z: Tensor, x: Tensor) -> Tensor:
        like = torch.distributions.Normal(z[..., 1] - z[..., 0].square(), 0.3).log_prob(x)
        return like + torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)

    evidence = torch.stack([log_joint(grid, one).logsumexp(0) + math.log(cell) for one in x[:100]])
    gap = {}
    for name in POSTERIORS:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            q = example.posterior(example.Options(1, latent=2, posterior=name, told=8))
            encoder = example.network(1, 64, *q.context_shape)
            optimiser = torch.optim.Adam([*q.parameters(), *encoder.parameters()], lr=3e-3)
            for step in range(1_500):
                optimiser.param_groups[0]["lr"] = 3e-3 * (1 - step / 1_500)
                drawn, log_q = q.sample_and_log_prob((), encoder(x.unsqueeze(-1)))
                loss = (log_q - log_joint(drawn, x)).mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            with torch.no_grad():
                drawn, log_q = q.sample_and_log_prob((200,), encoder(x[:100].unsqueeze(-1)))
                gap[name] = float((evidence - (log_joint(drawn, x[:100]) - log_q).mean(0)).mean())
    assert 0.2 < gap["mean-field"] < 2, gap
    assert all(0 <= gap[name] < 0.6 * gap["mean-field"] for name in POSTERIORS[1:]), gap
