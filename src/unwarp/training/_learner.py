"""What one step changes: weights, optimiser, averaged weights, guard. Copied out and put back as named tensors."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim.swa_utils import get_ema_multi_avg_fn

from unwarp.training._guard import Guard

__all__ = ["Learner", "averaged_weights"]

_EVERY = 4  # steps between two updates of the averaged weights
_BESIDE = "beside:"  # before the names of what is no part of the module
_FUSED = ("cpu", "cuda")  # devices whose fused AdamW takes a gradient's divisor and a word to skip


class Learner:
    """AdamW with a gradient guard and an exponential moving average of the weights.

    The average's horizon is a tenth of the steps so far and at most `1 / (1 - average)` steps, so short runs are not
    held back by their first steps. Only matrices (tensors called `weight`) decay.

    Args:
        module: whose parameters that require a gradient are trained.
        beside: an objective whose own parameters are trained with them, and kept apart from the module's.
        weight_decay: decoupled decay, as in `torch.optim.AdamW`.
        average: decay of the moving average a step.
    """

    def __init__(
        self, module: nn.Module, *, beside: nn.Module | None = None, weight_decay: float = 0.0, average: float = 0.999
    ) -> None:
        self.module, self.beside = module, nn.Module() if beside is None else beside
        named = [*module.named_parameters(), *self.beside.named_parameters(prefix=_BESIDE)]
        self.named = {name: p for name, p in named if p.requires_grad}
        self.params = list(self.named.values())
        device = self.params[0].device if self.params else torch.device("cpu")
        self.guard = Guard(device)
        self._fused = device.type in _FUSED
        self.average = average
        self.means = [p.detach().clone() for p in self.params]
        self.optimizer = self._optimizer(weight_decay)

    def _optimizer(self, weight_decay: float) -> torch.optim.AdamW | None:
        matrices = [p for name, p in self.named.items() if name.endswith("weight") and p.dim() > 1]
        others = [p for name, p in self.named.items() if not (name.endswith("weight") and p.dim() > 1)]
        groups = [
            {"params": group, "weight_decay": decay}
            for group, decay in ((matrices, weight_decay), (others, 0.0))
            if group
        ]
        return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.99), fused=self._fused) if groups else None

    def update(self, loss: Tensor, lr: float, step: int) -> None:
        """One guarded step down the gradients of `loss`; the host doesn't wait for a fused optimiser's device."""
        if self.optimizer is None:
            return
        grads = [p.grad for p in self.params if p.grad is not None]
        divisor, skip = self.guard.judge(get_total_norm(grads), loss, step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        if self._fused:  # as gradient scalers do: the kernel divides by the one, and does nothing where the other is 1
            self.optimizer.grad_scale, self.optimizer.found_inf = divisor, skip  # pyright: ignore[reportAttributeAccessIssue]
            self.optimizer.step()
        elif not bool(skip):
            for grad in grads:
                grad.div_(divisor)
            self.optimizer.step()
        self.optimizer.zero_grad()
        if step % _EVERY == 0:
            share = max(1 - self.average, 10 / (step + 10))
            get_ema_multi_avg_fn((1 - share) ** _EVERY)(self.means, self.params, step)  # pyright: ignore[reportArgumentType]

    def is_finite(self) -> bool:
        """Are all weights, and their average, finite?"""
        return bool(torch.isfinite(get_total_norm([*self.params, *self.means])))

    @contextlib.contextmanager
    def averaged(self) -> Generator[None, None, None]:
        """Within, the module has the averaged weights and is in evaluation mode."""
        live = [p.detach().clone() for p in self.params]
        self._fill(self.means)
        self.module.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self._fill(live)
            self.module.train()

    def _fill(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            for p, value in zip(self.params, values, strict=True):
                p.copy_(value)

    def snapshot(self) -> dict[str, Tensor]:
        """Copies of all that a later step depends on."""
        tensors = {f"flow.{name}": t for name, t in self.module.state_dict().items()}
        tensors |= self.beside.state_dict(prefix=f"{_BESIDE}.")
        tensors |= {f"mean.{name}": t for name, t in zip(self.named, self.means, strict=True)}
        if self.optimizer is not None:
            for name, p in self.named.items():
                tensors |= {f"adam.{key}.{name}": t for key, t in self.optimizer.state.get(p, {}).items()}
        tensors |= {"guard.norms": self.guard.norms, "guard.limits": self.guard.limits}
        return {name: t.detach().clone() for name, t in tensors.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `snapshot` copied."""
        self.module.load_state_dict({n.removeprefix("flow."): t for n, t in tensors.items() if n.startswith("flow.")})
        self.beside.load_state_dict(
            {n.removeprefix(f"{_BESIDE}."): t for n, t in tensors.items() if n.startswith(f"{_BESIDE}.")}
        )
        for mean, name in zip(self.means, self.named, strict=True):
            mean.copy_(tensors[f"mean.{name}"])
        if self.optimizer is not None:
            self.optimizer.state.clear()
            for name, p in self.named.items():
                found = {key: tensors.get(f"adam.{key}.{name}") for key in ("step", "exp_avg", "exp_avg_sq")}
                if found["step"] is not None:
                    self.optimizer.state[p] = {key: t.to(p.device).clone() for key, t in found.items() if t is not None}
        self.guard.norms.copy_(tensors["guard.norms"])
        self.guard.limits = tensors["guard.limits"].to(self.guard.norms.device).clone()


def averaged_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The module's state in a snapshot, with the averaged weights in place of the live ones."""
    state = {name.removeprefix("flow."): t for name, t in tensors.items() if name.startswith("flow.")}
    means = {name.removeprefix("mean."): t for name, t in tensors.items() if name.startswith("mean.")}
    return state | {name: t for name, t in means.items() if name in state}
