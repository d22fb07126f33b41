"""The training loop: `steps` yields what happens, `fit` lets it happen and gives the account."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Sequence

from torch import Tensor

from unwarp.distributions import Distribution
from unwarp.training._history import History, Step
from unwarp.training._metrics import Baseline, Rivals
from unwarp.training._objectives import Objective, likelihood
from unwarp.training._rows import Validation
from unwarp.training._run import Run
from unwarp.training._settings import Conditioners, Execution, Settings, Start
from unwarp.transforms._base import Memory

__all__ = ["fit", "steps"]


def steps(
    flow: Distribution,
    x: Tensor,
    objective: Objective = likelihood,
    *,
    context: Tensor | None = None,
    weight: Tensor | None = None,
    validation: Validation = 0.1,
    batch: int | None = None,
    lr: float | None = None,
    max_steps: int | None = None,
    max_seconds: float | None = None,
    seed: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = 10.0,
    patience: float = 0.4,
    weight_decay: float = 0.01,
    average: float = 0.999,
    start: Start = "adapt",
    memory: Memory = "stored",
    execution: Execution = "eager",
    conditioners: Conditioners = "full",
) -> Generator[Step, None, None]:
    """Train `flow` on `x`, yielding an event every few steps; `fit` is the same in one call.

    Use it to watch a run, or to end it by a rule of your own: close the generator at any event, and the flow has the
    best weights so far. Arguments as in `fit`; they are checked at once, the rest happens as events are asked for.

    Example:
        >>> import torch
        >>> from unwarp import flow
        >>> events = list(steps(flow("nice", 2), torch.randn(200, 2), max_steps=20, seed=0))
        >>> events[-1].event, events[-1].step
        ('done', 20)
    """
    settings = Settings(
        objective=objective, batch=batch, lr=flow.lr if lr is None else lr, max_steps=max_steps,
        max_seconds=max_seconds, seed=seed, checkpoint=checkpoint, checkpoint_seconds=checkpoint_seconds,
        patience=patience, weight_decay=weight_decay, average=average, start=start, memory=memory, execution=execution,
        conditioners=conditioners,
    )  # fmt: skip
    return Run(flow, x, context, weight, validation, settings).events()


def fit(
    flow: Distribution,
    x: Tensor,
    objective: Objective = likelihood,
    *,
    context: Tensor | None = None,
    weight: Tensor | None = None,
    validation: Validation = 0.1,
    batch: int | None = None,
    lr: float | None = None,
    max_steps: int | None = None,
    max_seconds: float | None = None,
    seed: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = 10.0,
    patience: float = 0.4,
    weight_decay: float = 0.01,
    average: float = 0.999,
    start: Start = "adapt",
    memory: Memory = "stored",
    execution: Execution = "eager",
    conditioners: Conditioners = "full",
    baselines: Sequence[Baseline] | Rivals = ("gaussian", "linear", "mixture"),
    progress: Callable[[Step], object] | None = None,
) -> History:
    r"""Fit `flow` to the rows of `x` and give an account; the flow ends with its best weights, in evaluation mode.

    AdamW with warm-up and half a cosine to zero over the budget; gradients are guarded by the running median of their
    norms; the moving average of the weights is what is validated and kept. The best weights on held-out rows win, those
    before the first step included: a good start is never lost. Weights that go bad are put back with half the learning
    rate. Rows of zero weight are as good as absent.

    Under a budget of steps, the same arguments give the same weights bit by bit on one machine, killed and resumed or
    not. Torch's global random streams stay as they are. Ctrl-C ends the run in order: the best weights so far are kept
    and the account says `interrupted`.

    Args:
        flow: what to train; parameters that require no gradient stay as they are. Data go to its device.
        x: data, `(n, *event)`. May be float64 for a float32 flow: leading maps without trainable parameters then work
            in float64.
        objective: what to minimise.
        context: `(n, *context_event)`.
        weight: of each row, `(n,)`, finite and >= 0; only ratios matter.
        validation: share of the rows to hold out, or held-out tensors `x` or `(x, context)` or `(x, context, weight)`.
            With 0, all rows train and the last averaged weights are kept.
        batch: rows a step; by default 128 to 512, or all of up to 256 rows.
        lr: peak learning rate; by default the one that suits the flow, `flow.lr`.
        max_steps: budget in steps.
        max_seconds: budget in seconds, along which the learning rate falls; final scoring and baselines come on top.
            Without any budget: a hundred passes over the data, 2,000 to 12,000 steps.
        seed: of the split, the shuffling and layers that draw; by default a fresh one, told in the account.
        checkpoint: a file to which the run is saved, and from which it goes on if the file is there.
        checkpoint_seconds: between two saves.
        patience: end when the held-out value has not improved over this share of the budget.
        weight_decay: of matrices alone.
        average: decay a step of the moving average of the weights.
        start: "adapt" lets the flow first set its standardisation and the like from the training rows; "keep" goes on
            from the flow as it is.
        memory: "reversible" finds activations again by each layer's inverse instead of storing them, so that memory
            stops growing with depth; for deep flows on images, see `transforms.reversible`.
        execution: "compiled" joins a step's loss and gradients to one program by `torch.compile`: making it takes a
            minute or so, and small steps take half the time or less after that. Where it cannot be made, training
            goes on without, and a warning says so.
        conditioners: "bfloat16" lets networks of couplings and autoregressive layers multiply 16-bit numbers in
            training steps, see `transforms.conditioners_in`; held-out rows are scored in full precision.
        baselines: plain models to compare with; () for none. `Rivals` are fitted once for several runs on the same
            rows.
        progress: gets each `Step`, such as a `progress_bar`.

    Raises:
        DataError: when rows are missing, not finite, or outside the flow's space.
        ShapeError: when shapes do not fit.
        ConfigError: when a setting has no meaning.
        BundleError: when the checkpoint is damaged, or belongs to another run.

    Example:
        >>> import torch
        >>> from unwarp import flow
        >>> x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0)).exp()
        >>> history = fit(flow("maf", 2), x, max_steps=60, seed=0)
        >>> history.steps, history.held_rows, history.converged
        (60, 50, True)
    """
    settings = Settings(
        objective=objective, batch=batch, lr=flow.lr if lr is None else lr, max_steps=max_steps,
        max_seconds=max_seconds, seed=seed, checkpoint=checkpoint, checkpoint_seconds=checkpoint_seconds,
        patience=patience, weight_decay=weight_decay, average=average, start=start, memory=memory, execution=execution,
        conditioners=conditioners,
    )  # fmt: skip
    run = Run(flow, x, context, weight, validation, settings)
    interrupted = False
    try:
        with contextlib.closing(run.events()) as events:
            for step in events:
                if progress is not None:
                    progress(step)
    except KeyboardInterrupt:
        interrupted = True
    return run.history(baselines if isinstance(baselines, Rivals) else Rivals(baselines), interrupted=interrupted)
