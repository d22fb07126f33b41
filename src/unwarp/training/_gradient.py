"""The gradient of a step: by autograd, or as one compiled program for the loss and all gradients."""

from __future__ import annotations

import logging
import types
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value

from unwarp.distributions import Distribution
from unwarp.training._objectives import Objective, likelihood

__all__ = ["Gradient", "program_options"]

Arguments = tuple[Tensor, Tensor | None, Tensor | None]


class Gradient:
    """Called with a batch, it leaves gradients in the parameters and returns the loss.

    Compiled, loss and gradients are one graph without autograd's bookkeeping between them, on CUDA recorded once and
    played back; what cannot be compiled is done as ever, and one warning says so. Played back, gradients lie where
    those of the step before lay, so that they are good until the next call.

    Args:
        flow: what the objective is given.
        objective: what to minimise.
        compiled: whether to compile, on the first call.
    """

    def __init__(self, flow: Distribution, objective: Objective, *, compiled: bool) -> None:
        self._flow, self._objective = flow, objective
        self._whole = _Whole(flow, objective) if compiled else None
        named = [] if self._whole is None else self._whole.named_parameters()
        self._params = {name: p for name, p in named if p.requires_grad}
        self._values = {name: p.detach() for name, p in self._params.items()}  # optimisers write in place
        self._program: Callable[..., Any] | None = None

    def __call__(self, *batch: *Arguments) -> Tensor:
        if self._whole is None:
            loss = self._objective(self._flow, *batch)
            loss.backward()
            return loss.detach()
        found = self._run(self._whole, batch)
        if found is None:
            self._whole = None
            return self(*batch)
        for name, p in self._params.items():
            p.grad = found[0][name]
        return found[1]

    def _run(self, whole: _Whole, batch: Arguments) -> Any:
        """What the program finds, made by the first call; None where it cannot be, or be no longer."""
        try:
            if self._program is None:
                options = program_options(batch[0].device, pure=self._objective is likelihood)
                self._program = _compiled(whole, options)
            if batch[0].is_cuda:
                torch.compiler.cudagraph_mark_step_begin()
            with torch.no_grad():
                return self._program(self._values, *batch)
        except Exception as error:
            logging.getLogger(__name__).info("not compiled", exc_info=True)
            why = " ".join(str(error).split())[:200]
            warnings.warn(
                f"fit: expected a training step that can be compiled; got {type(error).__name__}: {why}. It trains "
                'without; leave execution="compiled" out.',
                UserWarning,
                stacklevel=2,
            )
            return None


class _Whole(nn.Module):
    """Flow and objective as one module, so that the parameters of both are within reach."""

    def __init__(self, flow: Distribution, objective: Objective) -> None:
        super().__init__()
        self.flow, self.objective = flow, objective

    def forward(self, *batch: *Arguments) -> Tensor:
        return self.objective(self.flow, *batch)


def program_options(device: torch.device, *, pure: bool) -> dict[str, Any]:
    """How to compile for a device.

    Where the objective is known to depend on nothing but its arguments (`pure`), torch need not look for changes before
    each call, which takes longer than the arithmetic of a small step.
    """
    options: dict[str, Any] = {"fallback_random": True}
    if device.type == "cuda":  # hundreds of small kernels, started by one call
        options["triton.cudagraphs"] = True
    if pure and "skip_all_guards_unsafe" in dir(torch.compiler):
        options["guard_filter_fn"] = torch.compiler.skip_all_guards_unsafe
    return options


def _compiled(whole: _Whole, options: dict[str, Any]) -> Callable[..., Any]:
    """Parameters and a batch to (gradients, loss), for batches of one size."""

    def both(values: dict[str, Tensor], *batch: *Arguments) -> Any:
        return grad_and_value(lambda v: functional_call(whole, v, batch))(values)

    # torch keeps what it compiles by code object and gives up after some: each run has a code object of its own
    own = types.FunctionType(both.__code__.replace(), globals(), closure=both.__closure__)
    return torch.compile(own, fullgraph=True, dynamic=False, options=options)
