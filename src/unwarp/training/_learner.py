"""What one step changes: weights, optimiser, averaged weights, guard. Copied out and put back as named tensors."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from unwarp import functional
from unwarp.training._flat import Flat
from unwarp.training._guard import Guard

__all__ = ["Learner", "averaged_weights"]

_EVERY = 4  # steps between two updates of the averaged weights
_BESIDE = "beside:"  # before the names of what is no part of the module
_BETAS, _FLOOR = (0.9, 0.99), 1e-8
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
        device = next((p.device for p in self.named.values()), torch.device("cpu"))
        self.guard = Guard(device)
        self._fused = device.type in _FUSED
        self.average = average
        kinds: dict[tuple[bool, torch.dtype], list[str]] = {}
        for name, p in self.named.items():
            kinds.setdefault((name.endswith("weight") and p.dim() > 1, p.dtype), []).append(name)
        self._names = list(kinds.values())
        self._flats = [Flat([self.named[name] for name in names]) for names in self._names]
        self._weights = [flat.whole for flat in self._flats]
        self._means = [whole.detach().clone() for whole in self._weights]
        self._decays = [weight_decay if is_matrix else 0.0 for is_matrix, _ in kinds]
        groups = [{"params": [w], "weight_decay": d} for w, d in zip(self._weights, self._decays, strict=True)]
        nothing = [torch.zeros(0)]  # which AdamW wants of a module without parameters
        self._optimizer = torch.optim.AdamW(groups or nothing, lr=0.0, betas=_BETAS, eps=_FLOOR, fused=self._fused)
        for whole in self._weights:
            count = torch.zeros((), device=device if self._fused else "cpu")
            self._optimizer.state[whole] = {
                "step": count, "exp_avg": torch.zeros_like(whole), "exp_avg_sq": torch.zeros_like(whole)
            }  # fmt: skip

    def update(self, loss: Tensor, lr: float, step: int) -> None:
        """One guarded step down the gradients of `loss`; the host doesn't wait for a fused optimiser's device."""
        due = step % _EVERY == 0
        share = 1 - (1 - max(1 - self.average, 10 / (step + 10))) ** _EVERY if due else 0.0
        grads = [flat.take() for flat in self._flats]
        state = self._optimizer.state
        groups = [
            functional.Trained(flat.sizes, found, flat.whole, mean, state[flat.whole], decay)
            for flat, found, mean, decay in zip(self._flats, grads, self._means, self._decays, strict=True)
        ]
        if groups and not functional.descend(groups, self.guard, loss, step, rates=(lr, *_BETAS, _FLOOR), share=share):
            self._descend(groups, loss, lr, step)
            for mean, whole in zip(self._means, self._weights, strict=True) if share else ():
                mean.lerp_(whole.detach(), share)

    def _descend(self, groups: Sequence[functional.Trained], loss: Tensor, lr: float, step: int) -> None:
        """The same by torch's AdamW."""
        for flat, group in zip(self._flats, groups, strict=True):
            flat.whole.grad = flat.join(group.grads)
        grads = [w.grad for w in self._weights if w.grad is not None]
        divisor, skip = self.guard.judge(get_total_norm(grads), loss, step)
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        if self._fused:  # as gradient scalers do: the kernel divides by the one, and does nothing where the other is 1
            self._optimizer.grad_scale, self._optimizer.found_inf = divisor, skip  # pyright: ignore[reportAttributeAccessIssue]
            self._optimizer.step()
        elif not bool(skip):
            for grad in grads:
                grad.div_(divisor)
            self._optimizer.step()
        self._optimizer.zero_grad()

    def release(self) -> None:
        """Leave the parameters as they were found: each with memory of its own."""
        for flat in self._flats:
            flat.release()

    def is_finite(self) -> bool:
        """Are all weights, and their average, finite?"""
        return bool(torch.isfinite(get_total_norm([*self._weights, *self._means])))

    @contextlib.contextmanager
    def averaged(self) -> Generator[None, None, None]:
        """Within, the module has the averaged weights and is in evaluation mode."""
        live = [whole.detach().clone() for whole in self._weights]
        self._put(self._means)
        self.module.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self._put(live)
            self.module.train()

    def _put(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            for whole, value in zip(self._weights, values, strict=True):
                whole.copy_(value)

    def snapshot(self) -> dict[str, Tensor]:
        """Copies of all that a later step depends on."""
        tensors = {f"flow.{name}": t for name, t in self.module.state_dict().items()}
        tensors |= self.beside.state_dict(prefix=f"{_BESIDE}.")
        tensors |= {"guard.norms": self.guard.norms, "guard.limits": self.guard.limits}
        tensors = {name: t.detach().clone() for name, t in tensors.items()}
        for names, flat, mean in zip(self._names, self._flats, self._means, strict=True):
            kept = {"mean": mean} | {f"adam.{key}": t for key, t in self._optimizer.state[flat.whole].items()}
            for kind, whole in kept.items():
                pieces = flat.pieces(whole.clone()) if whole.dim() else [whole.clone()] * len(names)
                tensors |= {f"{kind}.{name}": piece for name, piece in zip(names, pieces, strict=True)}
        return tensors

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `snapshot` copied."""
        self.module.load_state_dict({n.removeprefix("flow."): t for n, t in tensors.items() if n.startswith("flow.")})
        self.beside.load_state_dict(
            {n.removeprefix(f"{_BESIDE}."): t for n, t in tensors.items() if n.startswith(f"{_BESIDE}.")}
        )
        for names, flat, mean in zip(self._names, self._flats, self._means, strict=True):
            mean.copy_(flat.join([tensors[f"mean.{name}"] for name in names]))
            for key, t in self._optimizer.state[flat.whole].items():
                found = [tensors.get(f"adam.{key}.{name}") for name in names]
                t.copy_(flat.join(found) if t.dim() else next((n for n in found if n is not None), torch.zeros(())))
        self.guard.norms.copy_(tensors["guard.norms"])
        self.guard.limits.copy_(tensors["guard.limits"])


def averaged_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The module's state in a snapshot, with the averaged weights in place of the live ones."""
    state = {name.removeprefix("flow."): t for name, t in tensors.items() if name.startswith("flow.")}
    means = {name.removeprefix("mean."): t for name, t in tensors.items() if name.startswith("mean.")}
    return state | {name: t for name, t in means.items() if name in state}
