"""A step of training in one operation, where compiled code computes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from unwarp.kernels import Judge, descent, is_ordinary

__all__ = ["Trained", "descend"]


class Trained(NamedTuple):
    """Parameters that decay alike, end to end.

    Attributes:
        sizes: of the parameters.
        grads: of each; None counts as zeros.
        weights: all of them, `(n,)`.
        mean: their moving average, `(n,)`.
        moments: as `torch.optim.AdamW` keeps them: "step", "exp_avg" and "exp_avg_sq".
        decay: decoupled decay.
    """

    sizes: Sequence[int]
    grads: Sequence[Tensor | None]
    weights: Tensor
    mean: Tensor
    moments: Mapping[str, Tensor]
    decay: float


def descend(
    groups: Sequence[Trained],
    guard: Judge,
    loss: Tensor,
    step: int,
    *,
    rates: tuple[float, float, float, float],
    share: float,
) -> bool:
    r"""Judge the gradients, take a step of AdamW and average the weights, all in place; False where that cannot be.

    $$ w \leftarrow (1 - \eta\lambda)\,w - \eta\,\hat m / (\sqrt{\hat v} + \epsilon) $$

    Args:
        groups: all that is trained.
        guard: `training.Guard`, whose counts and limits change too.
        loss: a scalar.
        step: from 0.
        rates: learning rate, the two betas of AdamW and its epsilon.
        share: of the weights in the new average; 0 leaves the average alone.

    Source: Loshchilov and Hutter, *Decoupled Weight Decay Regularization*, 2019, arXiv:1711.05101.
    """
    if descent is None or torch.compiler.is_compiling():
        return False
    given = [grad for group in groups for grad in group.grads if grad is not None]
    if not is_ordinary(*(group.weights for group in groups), *given):
        return False
    descent(groups, guard, loss, step, rates=rates, share=share)
    return True
