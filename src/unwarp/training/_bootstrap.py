"""Learning from what the flow itself finds when it is annealed towards the density."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call

from unwarp import _check
from unwarp.distributions import Distribution
from unwarp.training._annealing import Moves

__all__ = ["Bootstrap"]

_MOST = 10.0  # by which one row's share may be corrected


class Bootstrap:
    r"""The $\alpha = 2$ divergence $\int p^2/q$ by annealed importance sampling: what q gets too little of counts most.

    $$ -\frac{1}{n} \sum_i \log q(x_i), \qquad x_i \sim p^2 / q $$

    with draws that come from q by Hamiltonian moves along a bridge to $p^2/q$, weighted and kept in a buffer. Rows are
    drawn from it by their weights, which follow q as it learns.

    Use it as the objective of `fit` for densities with several modes: the moves find what q has lost, where
    `ReverseKL` never looks. The rows that `fit` is given only say how many draws a step takes.

    Args:
        log_density: $\log p$ up to a constant, `(n, *event) -> (n,)`, differentiable.
        stages: between q and $p^2/q$.
        every: steps between two passes along the bridge.
        batches: of draws that the buffer holds.

    Raises:
        ConfigError: when a number is below 1.

    Source: Midgley, Stimper, Simm, Schölkopf and Hernández-Lobato, *Flow Annealed Importance Sampling Bootstrap*, 2023,
    arXiv:2208.01893, algorithm 1.

    Example:
        >>> from unwarp.distributions import Gaussian, Normal
        >>> objective = Bootstrap(Normal(2).log_prob, stages=2)
        >>> bool(objective(Gaussian(2), torch.zeros(64, 2), None, None).isfinite())
        True
    """

    def __init__(
        self, log_density: Callable[[Tensor], Tensor], *, stages: int = 4, every: int = 8, batches: int = 32
    ) -> None:
        self.log_density = log_density
        self.stages = _check.at_least("Bootstrap", "stages", stages, 1)
        self.every = _check.at_least("Bootstrap", "every", every, 1)
        self.batches = _check.at_least("Bootstrap", "batches", batches, 1)
        self._calls = 0
        self._moves: list[Moves] = []
        self._held: list[tuple[Tensor, Tensor, Tensor]] = []  # rows, log weight, log q when they were made

    def __call__(self, flow: Distribution, x: Tensor, context: Tensor | None, weight: Tensor | None) -> Tensor:
        count = x.shape[0]
        if self._calls % self.every == 0:
            for _ in range(1 if self._held else 4):
                self._held.append(self._annealed(flow, 2 * count))
            self._held = self._held[-self.batches :]
        self._calls += 1
        rows, log_weight, log_then = (torch.cat(parts) for parts in zip(*self._held, strict=True))
        index = torch.multinomial(log_weight.softmax(0), count, replacement=True)
        log_q = flow(rows[index])
        change = log_then[index] - log_q.detach()
        self._follow(index, change)
        return -(change.exp().clamp(max=_MOST) * log_q).mean()

    def _follow(self, index: Tensor, change: Tensor) -> None:
        """Weights in the buffer as q is now."""
        sizes = [len(rows) for rows, _, _ in self._held]
        starts = torch.tensor([0, *sizes]).cumsum(0)
        for i, (_, log_weight, log_then) in enumerate(self._held):
            here = (index >= starts[i]) & (index < starts[i + 1])
            at = index[here] - starts[i]
            log_weight[at] = log_weight[at] + change[here]
            log_then[at] = log_then[at] - change[here]

    @torch.no_grad()
    def _annealed(self, flow: Distribution, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draws of q on their way to p^2/q, with their log weights and log densities under q."""
        frozen = {name: tensor.detach() for name, tensor in flow.named_parameters()}

        def log_q(at: Tensor) -> Tensor:
            return functional_call(flow, frozen, (at,))

        x, here = flow.sample_and_log_prob((count,))
        if not self._moves:
            self._moves = [Moves(x.std(0)) for _ in range(self.stages)]
        log_weight = torch.zeros_like(here)
        gain = self._gain(x, here)
        for i, moves in enumerate(self._moves):
            moves.scale = x.std(0).clamp(min=1e-12)
            beta = (i + 1) / self.stages
            log_weight = log_weight + gain / self.stages
            if i + 1 < self.stages:
                x = moves.move(x, lambda at, b=beta: (1 - 2 * b) * log_q(at) + 2 * b * self.log_density(at))
                here = log_q(x)
                gain = self._gain(x, here)
        fine = log_weight.isfinite() & here.isfinite()
        return x[fine], log_weight[fine], here[fine]

    def _gain(self, x: Tensor, log_q: Tensor) -> Tensor:
        """Log of p^2/q over q."""
        return 2 * (self.log_density(x) - log_q)
