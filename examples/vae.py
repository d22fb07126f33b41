"""A variational autoencoder with flows as its prior and its posterior, on scikit-learn's digits or on MNIST.

    python examples/vae.py --posterior iaf --prior realnvp --out vae                # digits, a minute or so
    python examples/vae.py --data mnist.npz --steps 20000 --out vae                 # arrays x_train and x_test
    python examples/vae.py --data mnist.npz --model vae/vae.safetensors --out vae   # measure and draw it again

With `UNWARP_DATA` set, `--data mnist` reads `image_mnist/mnist.npz` of that folder. Pixels are 0 or 1, of which grey is
the chance: in training they are drawn anew whenever an image is seen, for testing once, by a seed of their own.
"""

import argparse
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Generator, Tensor, nn

from unwarp import Distribution, Flow, Space, fit, flow
from unwarp.distributions import Normal
from unwarp.training import progress_bar
from unwarp.transforms import Compose, Elementwise, Inverse, Transform
from unwarp.univariates import Affine

Posterior = Literal["mean-field", "planar", "iaf", "spline"]
Prior = Literal["gaussian", "realnvp", "maf", "spline"]


@dataclass(frozen=True)
class Options:
    """What a model is made of; with the weights it is all that a model file holds.

    Attributes:
        pixels: of an image.
        latent: numbers that an image is encoded as.
        posterior: the flow from noise to the code of one image.
        prior: the flow of the codes of all images.
        hidden: width of the two hidden layers of encoder and decoder.
        told: numbers that the encoder tells the posterior's flow, besides place and scale.
    """

    pixels: int
    latent: int = 16
    posterior: Posterior = "iaf"
    prior: Prior = "realnvp"
    hidden: int = 256
    told: int = 32

    @property
    def context(self) -> int:
        """All that the encoder tells."""
        return 2 * self.latent + self.told


class First(nn.Module):
    """The first numbers of the context as they are, for a layer that asks a network `net(nothing, context)`."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.numbers = numbers

    def forward(self, nothing: Tensor, context: Tensor) -> Tensor:
        """The first numbers of `(*batch, context)`."""
        return context[..., : self.numbers]


def posterior(options: Options) -> Flow:
    """q(z | x): normal noise through a flow, then to the place and scale of the image; its draws cost one pass.

    All layers see what the encoder tells: its first numbers are place and scale themselves. The flow starts as the
    identity, so that each of these posteriors starts as the mean-field one.
    """
    size, context = options.latent, options.context
    parts: list[Transform] = [Inverse(Elementwise(size, Affine(5.0), net=First(2 * size), context=context))]
    if options.posterior == "planar":
        parts.append(flow("planar", size, context=context, layers=10, hidden=(32,), explicit="sampling").transform)
    if options.posterior == "iaf":
        parts.append(flow("iaf", size, context=context, layers=3, hidden=(128,)).transform)
    if options.posterior == "spline":
        parts.append(flow("nsf", size, context=context, layers=4, hidden=(128,), tails="light").transform)
    return Flow(Compose(parts), Normal(size))


def prior(options: Options) -> Distribution:
    """p(z)."""
    if options.prior == "gaussian":
        return Normal(options.latent)
    if options.prior == "spline":
        return flow("nsf", options.latent, layers=6, hidden=(128,), tails="light")
    return flow(options.prior, options.latent, layers=6, hidden=(128,))


def network(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two hidden layers: any network of your own will do."""
    wide = nn.Linear(hidden, hidden)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), wide, nn.ReLU(), nn.Linear(hidden, outputs))


class VAE(Distribution):
    r"""$p(x) = \int p(z)\,p(x \mid z)\,dz$, of which $\log p(x, z) - \log q(z \mid x)$ with z from q is a lower bound.

    As a `Distribution` it is trained by `unwarp.fit`; `log_prob` is the evidence's lower bound (ELBO) from one draw.
    """

    def __init__(self, options: Options) -> None:
        super().__init__(Space((options.pixels,)))
        self.options = options
        self.encoder = network(options.pixels, options.hidden, options.context)  # first: a seed has one start for all
        self.decoder = network(options.latent, options.hidden, options.pixels)
        self.posterior = posterior(options)
        self.prior = prior(options)

    @property
    def kind(self) -> Literal["bound"]:
        """What `log_prob` is."""
        return "bound"

    def log_weights(self, x: Tensor, draws: int, *, share: float = 1.0, generator: Generator | None = None) -> Tensor:
        """log p(x, z) - log q(z | x) of so many z from q for each image; `(n, pixels) -> (draws, n)`, nats.

        `share` is how much log p(z) - log q(z | x) counts.
        """
        z, log_q = self.posterior.sample_and_log_prob((draws,), self.encoder(x), generator=generator)
        log_likelihood = -F.binary_cross_entropy_with_logits(
            self.decoder(z), x.expand(draws, *x.shape), reduction="none"
        ).sum(-1)
        return log_likelihood + share * (self.prior.log_prob(z) - log_q)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The lower bound."""
        return self.log_weights(x, 1)[0]

    def sample_and_log_prob(
        self, shape: Sequence[int] = (), context: Tensor | None = None, *, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Images, and the lower bound of their log probability."""
        x = torch.bernoulli(self.means(shape, generator=generator), generator=generator)
        return x, self.log_weights(x.reshape(-1, x.shape[-1]), 1, generator=generator)[0].reshape(x.shape[:-1])

    def means(self, shape: Sequence[int] = (), *, generator: Generator | None = None) -> Tensor:
        """Images from the prior, each pixel the chance of a one."""
        return self.decoder(self.prior.sample(shape, generator=generator)).sigmoid()

    def reconstructions(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Images through one draw of their codes and back."""
        return self.decoder(self.posterior.sample((), self.encoder(x), generator=generator)).sigmoid()


class WarmingUp:
    """The objective of `fit`: minus the lower bound of images whose pixels are drawn anew.

    In the first training steps log p(z) - log q(z | x) counts for less, so that codes tell of images before they are
    pressed to be like the prior's; held-out images are always scored by the bound itself.

    Source: Rezende and Mohamed, 2015, arXiv:1505.05770, eq. 20.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.taken = 0

    def __call__(self, vae: Distribution, x: Tensor, context: Tensor | None, weight: Tensor | None) -> Tensor:
        """Minus the mean over the batch."""
        share = 1.0
        if torch.is_grad_enabled():
            self.taken += 1
            share = min(1.0, 0.01 + self.taken / max(1, self.steps))
        return -cast("VAE", vae).log_weights(torch.bernoulli(x), 1, share=share).mean()


@torch.no_grad()
def bounds(vae: VAE, x: Tensor, *, draws: int = 500, seed: int = 0, rows: int = 2_000) -> tuple[Tensor, Tensor]:
    r"""Of each image the lower bound and the importance-weighted one, $\log \frac1K \sum_k w_k$; nats, `(n,)` each.

    Both are from the same K draws; `rows` images and draws are decoded at a time.
    """
    generator = torch.Generator().manual_seed(seed)
    parts = [vae.log_weights(part, draws, generator=generator) for part in x.split(max(1, rows // draws))]
    log_weights = torch.cat(parts, 1)
    return log_weights.mean(0), log_weights.logsumexp(0) - math.log(draws)


def save(vae: VAE, path: Path) -> None:
    """Weights and options in one file without code."""
    state = {name: tensor.contiguous() for name, tensor in vae.state_dict().items()}
    save_file(state, path, metadata={"options": json.dumps(asdict(vae.options))})


def load(path: Path) -> VAE:
    """What `save` wrote."""
    with safe_open(path, "pt") as file:
        vae = VAE(Options(**json.loads(file.metadata()["options"])))
        vae.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - no mapping
    return vae.eval()


def images(data: str, *, binarised: int = 0) -> tuple[Tensor, Tensor]:
    """Grey training images and binary test images, `(n, pixels)`, from 0 to 1.

    Args:
        data: "digits", "mnist", or the path of an .npz file with arrays x_train and x_test of bytes.
        binarised: seed by which the pixels of test images are drawn.
    """
    if data == "digits":
        from sklearn.datasets import load_digits

        x = load_digits().images[np.random.default_rng(0).permutation(1_797)] / 16
        parts = (x[:1_500], x[1_500:])
    else:
        path = Path(os.environ.get("UNWARP_DATA", "."), "image_mnist", "mnist.npz") if data == "mnist" else Path(data)
        if not path.is_file():
            raise SystemExit(f"--data: expected a file; got none at {path}. Set UNWARP_DATA, or give its path.")
        stored = np.load(path)
        parts = (stored["x_train"] / 255, stored["x_test"] / 255)
    train, test = (torch.tensor(part, dtype=torch.float32).flatten(1) for part in parts)
    return train, torch.bernoulli(test, generator=torch.Generator().manual_seed(binarised))


def tiled(x: Tensor, across: int) -> np.ndarray:
    """Square images `(n, pixels)` side by side, so many across, with a line between."""
    size = math.isqrt(x.shape[-1])
    rows = F.pad(x.detach().reshape(-1, across, size, size), (1, 1, 1, 1), value=0.5)
    return rows.transpose(1, 2).reshape(-1, across * (size + 2)).numpy()


def draw(picture: np.ndarray, path: Path, *, zoom: int = 1) -> None:
    """A PNG, ink on paper."""
    from matplotlib.image import imsave

    imsave(path, np.kron(picture, np.ones((zoom, zoom))), cmap="gray_r", vmin=0, vmax=1)


def trained(options: Options, x: Tensor, *, steps: int, seed: int, batch: int = 128, lr: float = 2e-3) -> VAE:
    """A model of the grey images x; repeatable bit by bit."""
    with torch.random.fork_rng(devices=[]), progress_bar() as progress:
        torch.manual_seed(seed)
        vae = VAE(options)
        objective = WarmingUp(steps // 3)
        fit(vae, x, objective, max_steps=steps, batch=batch, lr=lr, seed=seed, baselines=(), progress=progress)
    return vae


def main(arguments: Sequence[str] | None = None) -> None:
    """Train or load, measure, save and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help='"digits", "mnist" or the path of an .npz file')
    parser.add_argument("--posterior", choices=get_args(Posterior), default="iaf")
    parser.add_argument("--prior", choices=get_args(Prior), default="realnvp")
    parser.add_argument("--latent", type=int, default=16)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--steps", type=int, default=3_000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draws", type=int, default=500, help="K of the importance-weighted bound")
    parser.add_argument("--test-rows", type=int, default=1_000)
    parser.add_argument("--model", type=Path, help="a file to load instead of training")
    parser.add_argument("--out", type=Path, default=Path("vae"), help="folder for the model and its pictures")
    asked = parser.parse_args(arguments)
    train, test = images(asked.data)
    if asked.model is None:
        options = Options(train.shape[1], asked.latent, asked.posterior, asked.prior, asked.hidden)
        vae = trained(options, train, steps=asked.steps, seed=asked.seed, batch=asked.batch, lr=asked.lr)
    else:
        vae = load(asked.model)
    asked.out.mkdir(parents=True, exist_ok=True)
    save(vae, asked.out / "vae.safetensors")
    lower, weighted = bounds(vae, test[: asked.test_rows], draws=asked.draws, seed=asked.seed)
    for name, each in (("ELBO", lower), (f"importance-weighted, K = {asked.draws}", weighted)):
        error = float(each.std() / math.sqrt(len(each)))
        print(f"{name}: {float(each.mean()):.3f} +- {error:.3f} nats an image, {len(each)} test images")  # noqa: T201
    generator = torch.Generator().manual_seed(asked.seed)
    with torch.no_grad():
        drawn = vae.means((100,), generator=generator)
        back = vae.reconstructions(test[:50], generator=generator)
    pairs = torch.stack([test[:50].reshape(5, 10, -1), back.reshape(5, 10, -1)], 1).flatten(0, 2)
    draw(tiled(drawn, 10), asked.out / "samples.png", zoom=2)
    draw(tiled(pairs, 10), asked.out / "reconstructions.png", zoom=2)
    print(asked.out)  # noqa: T201


if __name__ == "__main__":
    main()
