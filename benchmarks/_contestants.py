"""The peers: zuko's and nflows' neural spline flows with their recommended settings, one careful loop, and mixtures."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from _record import Clock
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from _tables import Split
    from numpy.typing import NDArray


# zuko: its NSF's own defaults (3 autoregressive transforms, hidden 64, 64), and a larger one (5 transforms, 128, 128).
# nflows: the neural spline flow paper's coupling flow for large tables (POWER's settings) and for small ones
# (MINIBOONE's settings), and the size that the sbi toolbox trains through nflows by default (5 transforms, hidden 50).
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "zuko": {
        "3x64": {"transforms": 3, "hidden": (64, 64)},
        "5x128": {"transforms": 5, "hidden": (128, 128)},
    },
    "nflows": {
        "paper": {"transforms": 10, "hidden": 256, "bins": 8, "dropout": 0.0},
        "paper-small": {"transforms": 10, "hidden": 32, "bins": 4, "dropout": 0.2},
        "sbi": {"transforms": 5, "hidden": 50, "bins": 10, "dropout": 0.0},
    },
}
RATES = (1e-3, 3e-3, 5e-4)  # every size tries the first; the best then the second, and the third if that lost


def sizes(library: str, rows: int) -> list[str]:
    """The sizes to try for a table of that many training rows: large ones where there is most to gain from them."""
    large, small = rows > 1_000_000, rows < 10_000
    if library == "zuko":
        return ["3x64", "5x128"] if large else ["3x64"]
    return ["sbi", "paper"] if large else ["sbi", "paper-small"] if small else ["sbi"]


def build(library: str, features: int, **options: Any) -> nn.Module:
    """A peer's flow as a module whose call gives the log-density of a batch of rows."""
    return {"zuko": _Zuko, "nflows": _NFlows}[library](features, **options)


class _Zuko(nn.Module):
    def __init__(self, features: int, *, transforms: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        from zuko.flows import NSF

        self.flow = NSF(features, transforms=transforms, hidden_features=hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.flow().log_prob(x)


class _NFlows(nn.Module):
    def __init__(self, features: int, *, transforms: int, hidden: int, bins: int, dropout: float) -> None:
        super().__init__()
        from nflows.distributions.normal import StandardNormal
        from nflows.flows.base import Flow
        from nflows.nn.nets import ResidualNet
        from nflows.transforms import CompositeTransform, LULinear, RandomPermutation
        from nflows.transforms.coupling import PiecewiseRationalQuadraticCouplingTransform
        from nflows.utils.torchutils import create_alternating_binary_mask

        def linear() -> list[nn.Module]:
            return [RandomPermutation(features), LULinear(features, identity_init=True)]

        def net(inputs: int, outputs: int) -> nn.Module:
            return ResidualNet(inputs, outputs, hidden, num_blocks=2, dropout_probability=dropout)

        layers: list[nn.Module] = []
        for i in range(transforms):
            coupling = PiecewiseRationalQuadraticCouplingTransform(
                create_alternating_binary_mask(features, even=i % 2 == 0),
                net,
                num_bins=bins,
                tails="linear",
                tail_bound=3.0,
                apply_unconditional_transform=True,
            )
            layers += [*linear(), coupling]
        self.flow = Flow(CompositeTransform([*layers, *linear()]), StandardNormal([features]))

    def forward(self, x: Tensor) -> Tensor:
        return self.flow.log_prob(x)


def train(
    flow: nn.Module,
    data: Split,
    *,
    lr: float,
    batch: int,
    budget: float,
    clock: str,
    seed: int,
    kept: Callable[[dict[str, Tensor]], object] | None = None,
) -> dict[str, Any]:
    """Maximum likelihood within ``budget`` seconds; leaves the weights that were best on the validation rows.

    ``kept`` is told each time when better weights are found.

    Adam with 2 % warm-up and cosine to zero over the budget, gradient norm clipped at 5, validation 30 times on at most
    5,000 rows, best weights kept. Rows stay one tensor in memory; a step that fails or is not finite is skipped.
    """
    generator = torch.Generator().manual_seed(seed)
    x, held = torch.from_numpy(data.train), torch.from_numpy(data.validation[:5000])
    optimiser = torch.optim.Adam(flow.parameters(), lr=lr)
    best, best_state, best_at, skipped, step, checks = -math.inf, None, 0.0, 0, 0, 0
    order, position = torch.randperm(len(x), generator=generator), 0
    seconds = Clock(clock)
    while True:
        done = min(seconds() / budget, 1.0)
        if done * 30 >= checks:
            checks += 1
            score = float(np.mean(log_prob(flow, held)))
            if score > best:
                best, best_at = score, done
                best_state = {key: value.clone() for key, value in flow.state_dict().items()}
                if kept is not None:
                    kept(best_state)
        if done >= 1.0:
            break
        if position + batch > len(x):
            order, position = torch.randperm(len(x), generator=generator), 0
        rows = x[order[position : position + batch]]
        position += batch
        for group in optimiser.param_groups:
            group["lr"] = lr * min(1.0, done / 0.02 + 0.01) * 0.5 * (1 + math.cos(math.pi * done))
        step += 1
        skipped += not _step(flow, optimiser, rows)
    if best_state is not None:
        flow.load_state_dict(best_state)
    return {"steps": step, "skipped": skipped, "best_at": best_at}


def _step(flow: nn.Module, optimiser: torch.optim.Optimizer, rows: Tensor) -> bool:
    flow.train()
    optimiser.zero_grad()
    try:
        loss = -flow(rows).mean()
    except (AssertionError, RuntimeError, ValueError):
        return False  # nflows asserts on values inside its splines
    loss.backward()
    norm = nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
    if not bool(torch.isfinite(norm)):
        return False
    optimiser.step()
    return True


def log_prob(flow: Callable[[Tensor], Tensor], x: Tensor) -> NDArray[np.float64]:
    """Log-densities of rows in nats, in batches of 2,048, without gradients."""
    if isinstance(flow, nn.Module):
        flow.eval()
    with torch.no_grad():
        return torch.cat([flow(rows).double() for rows in x.split(2048)]).numpy()


def mixture(data: Split, *, seed: int, components: int = 20, rows: int = 100_000) -> tuple[Any, dict[str, Any]]:
    """The full-covariance Gaussian mixture, 1 to ``components`` components, that is best on the validation rows.

    Fitted to at most ``rows`` training rows; the winner is fitted again to a tighter tolerance, and the better kept.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    train = data.train[np.random.default_rng(seed).permutation(len(data.train))[:rows]].astype(np.float64)
    held = data.validation[:20_000].astype(np.float64)
    models = [GaussianMixture(k, random_state=seed, max_iter=200).fit(train) for k in range(1, components + 1)]
    chosen = max(models, key=lambda model: model.score(held))
    tight = GaussianMixture(chosen.n_components, random_state=seed, max_iter=300, tol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        chosen = max(chosen, tight.fit(train), key=lambda model: model.score(held))
    features = train.shape[1]
    count = chosen.n_components * (1 + features + features * (features + 1) // 2) - 1
    return chosen, {"components": chosen.n_components, "rows": len(train), "parameters": count}
