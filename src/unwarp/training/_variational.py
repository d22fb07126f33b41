"""Learning from a log density instead of data: a flow is brought near to what can be evaluated but not sampled."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.func import functional_call

from unwarp import _check
from unwarp.distributions import Distribution, Flow
from unwarp.errors import ConfigError
from unwarp.transforms import Coupling

__all__ = ["AlphaDivergence", "ImportanceWeighted", "ReverseKL"]

LogDensity = Callable[[Tensor], Tensor]


class ReverseKL:
    r"""The reverse Kullback-Leibler divergence from a density that is known up to a constant.

    $$ \mathrm{KL}(q \,\|\, p) = \mathbb E_{x \sim q}[\log q(x) - \log p(x)] $$

    With an unnormalised p it is minus the evidence's lower bound (ELBO).

    Use it as the objective of `fit` where a density can be evaluated but not sampled: variational inference. The rows
    that `fit` is given only say how many draws a step takes. It covers the mode that it is near and may miss others.

    With `gradient="path"` the derivative goes through the draws alone and not through the parameters of $\log q$, whose
    part has mean zero; the gradient's noise then falls to nothing as q comes to p. With couplings in the flow, what
    that takes is carried along with the draws; other flows are passed once more.

    Args:
        log_density: $\log p$ up to a constant, `(n, *event) -> (n,)`, differentiable.
        gradient: "path" or "total".
        temperature: the target is $p^{1/T}$; above 1 it is flatter, and modes are easier to find.

    Raises:
        ConfigError: when `gradient` is another word or `temperature` is not positive.

    Source: Rezende and Mohamed, *Variational Inference with Normalizing Flows*, 2015, arXiv:1505.05770; Roeder, Wu and
    Duvenaud, *Sticking the Landing*, 2017, arXiv:1703.09194, for the path; Vaitl, Winkler, Richter and Kessel, *Fast
    and Unified Path Gradient Estimators for Normalizing Flows*, 2024, arXiv:2403.15881, for one pass.

    Example:
        >>> from unwarp import flow
        >>> from unwarp.distributions import Gaussian
        >>> from unwarp.training import fit
        >>> wanted = torch.distributions.Normal(torch.tensor([3.0, -1.0]), torch.tensor([0.5, 2.0]))
        >>> q = flow("realnvp", 2, layers=2, hidden=(8,))
        >>> objective = ReverseKL(lambda x: wanted.log_prob(x).sum(-1))
        >>> _ = fit(q, torch.zeros(256, 2), objective, start="keep", validation=0, max_steps=300, lr=3e-2, seed=0)
        >>> bool((q.sample((4000,)).mean(0) - wanted.mean).abs().max() < 0.3)
        True
    """

    def __init__(
        self, log_density: LogDensity, *, gradient: Literal["path", "total"] = "path", temperature: float = 1.0
    ) -> None:
        if gradient not in ("path", "total"):
            raise ConfigError(f'ReverseKL: expected gradient "path" or "total"; got {gradient!r}. Choose one.')
        self.log_density = log_density
        self.gradient = gradient
        self.temperature = _check.positive("ReverseKL", "temperature", temperature)

    def __call__(self, flow: Distribution, x: Tensor, context: Tensor | None, weight: Tensor | None) -> Tensor:
        drawn, log_q = _drawn(flow, x.shape[0], path=self.gradient == "path")
        return (log_q - self.log_density(drawn) / self.temperature).mean()


class ImportanceWeighted:
    r"""The importance-weighted bound $-\mathbb E \log \frac1K \sum_k \frac{p(x_k)}{q(x_k)}$ of K draws from q.

    Use it in place of `ReverseKL` where q should also cover the tails of p, so that importance weights are even. Its
    gradients go through the draws alone (doubly reparametrised).

    Args:
        log_density: $\log p$ up to a constant, `(n, *event) -> (n,)`, differentiable.
        draws: K, at least 2; a step takes as many draws as rows are given, in groups of K.

    Raises:
        ConfigError: if `draws < 2`.

    Source: Burda, Grosse and Salakhutdinov, *Importance Weighted Autoencoders*, 2016, arXiv:1509.00519; Tucker et al.,
    *Doubly Reparameterized Gradient Estimators*, 2019, arXiv:1810.04152, eq. 8.

    Example:
        >>> from unwarp.distributions import Gaussian, Normal
        >>> objective = ImportanceWeighted(Normal(2).log_prob, draws=8)
        >>> bool(objective(Gaussian(2), torch.zeros(64, 2), None, None).abs() < 1e-5)
        True
    """

    def __init__(self, log_density: LogDensity, *, draws: int = 16) -> None:
        self.log_density = log_density
        self.draws = _check.at_least("ImportanceWeighted", "draws", draws, 2)

    def __call__(self, flow: Distribution, x: Tensor, context: Tensor | None, weight: Tensor | None) -> Tensor:
        groups = max(1, x.shape[0] // self.draws)
        drawn, log_q = _drawn(flow, groups * self.draws, path=True)
        log_w = (self.log_density(drawn) - log_q).reshape(groups, self.draws)
        bound = log_w.logsumexp(-1) - torch.tensor(float(self.draws)).log()
        share = log_w.detach().softmax(-1)
        through = (share.square() * log_w).sum(-1)  # its gradient is the bound's
        return -(bound.detach() + through - through.detach()).mean()


class AlphaDivergence:
    r"""Renyi's divergence of order $\alpha$, by its bound $-\frac{1}{1-\alpha} \log \mathbb E_q (p/q)^{1-\alpha}$.

    Between `ReverseKL` ($\alpha \to 1$), which may miss tails and modes, and the log of the evidence ($\alpha = 0$),
    which is noisy. Use it where importance weights should be more even than `ReverseKL` leaves them. Gradients go
    through the draws alone; the bound's expectation over many draws of a step is biased a little downwards.

    Args:
        log_density: $\log p$ up to a constant, `(n, *event) -> (n,)`, differentiable.
        alpha: the order, in [0, 1).

    Raises:
        ConfigError: when `alpha` is outside.

    Source: Li and Turner, *Renyi Divergence Variational Inference*, 2016, arXiv:1602.02311, eq. 9; the gradient is that
    of Tucker et al., *Doubly Reparameterized Gradient Estimators*, 2019, arXiv:1810.04152, for any order.

    Example:
        >>> from unwarp.distributions import Gaussian, Normal
        >>> bool(AlphaDivergence(Normal(2).log_prob)(Gaussian(2), torch.zeros(64, 2), None, None).abs() < 1e-5)
        True
    """

    def __init__(self, log_density: LogDensity, *, alpha: float = 0.5) -> None:
        if not 0 <= alpha < 1:
            raise ConfigError(f"AlphaDivergence: expected alpha in [0, 1); got {alpha}. Take ReverseKL for 1.")
        self.log_density = log_density
        self.alpha = float(alpha)

    def __call__(self, flow: Distribution, x: Tensor, context: Tensor | None, weight: Tensor | None) -> Tensor:
        drawn, log_q = _drawn(flow, x.shape[0], path=True)
        log_w, power = self.log_density(drawn) - log_q, 1 - self.alpha
        bound = ((power * log_w).logsumexp(0) - math.log(len(log_w))) / power
        share = (power * log_w.detach()).softmax(0)
        through = ((self.alpha * share + power * share.square()) * log_w).sum()  # its gradient is the bound's
        return -(bound.detach() + through - through.detach())


def _drawn(flow: Distribution, count: int, *, path: bool) -> tuple[Tensor, Tensor]:
    """Draws with their gradients, and their log density; with `path` the density's own parameters have none."""
    if not path or not torch.is_grad_enabled():
        return flow.sample_and_log_prob((count,))
    if isinstance(flow, Flow) and _carries(flow):
        return _drawn_in_one_pass(flow, count)
    x = flow.sample((count,))
    frozen = {name: tensor.detach() for name, tensor in flow.named_parameters()}
    return x, functional_call(flow, frozen, (x,))


def _carries(flow: Flow) -> bool:
    """Is anything gained where the density's gradient comes along with the draws? By couplings alone."""
    coupled = any(isinstance(part, Coupling) for part in flow.transform.parts)
    return coupled and flow.kind == "exact" and not torch.compiler.is_compiling()


def _drawn_in_one_pass(flow: Flow, count: int) -> tuple[Tensor, Tensor]:
    r"""The same without a second pass: $\partial_x \log q$ is carried along while drawing."""
    z = flow.base.sample((count,))
    at = z.detach().requires_grad_()
    log_q = flow.base.log_prob(at)
    score = torch.autograd.grad(log_q.sum(), at)[0] if log_q.requires_grad else torch.zeros_like(at)
    x, ladj, score = flow.transform.carry(z, score)
    along = ((x - x.detach()) * score).flatten(1).sum(-1)  # zero; its gradient is that of log q along the path
    return x, (log_q - ladj).detach() + along
