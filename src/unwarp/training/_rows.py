"""The data of a run: checked, weighted, split, and taken through what never changes."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from unwarp._random import mixed
from unwarp.distributions import Distribution, Flow
from unwarp.errors import ConfigError, DataError, ShapeError
from unwarp.transforms import Compose

__all__ = ["Rows", "Validation", "batches", "encoded", "frozen_prefix", "split"]

Validation = float | Tensor | tuple[Tensor, ...]
_CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Rows:
    """Events, their contexts and their weights of mean one; `ladj` is what a frozen prefix has already added, in nats.

    Shapes: x `(n, *event)`, context `(n, *context_event)`, weight `(n,)`, ladj `(n,)`.
    """

    x: Tensor
    context: Tensor | None = None
    weight: Tensor | None = None
    ladj: Tensor | None = None

    def __len__(self) -> int:
        return self.x.shape[0]

    def take(self, index: Tensor | slice) -> Rows:
        """Some of the rows, by number or by slice; their weights stay as they are."""

        def pick(t: Tensor | None) -> Tensor | None:
            return None if t is None else t[index] if isinstance(index, slice) else t.index_select(0, index)

        return Rows(pick(self.x), pick(self.context), pick(self.weight), pick(self.ladj))  # pyright: ignore[reportArgumentType]

    def balanced(self) -> Rows:
        """The same rows with weights of mean one; equal weights are none at all."""
        if self.weight is None or bool((self.weight == self.weight[0]).all()):
            return replace(self, weight=None)
        weight = self.weight.double()
        return replace(self, weight=(weight / weight.mean()).to(torch.promote_types(self.weight.dtype, torch.float32)))

    def chunks(self, size: int) -> Iterator[Rows]:
        """The rows in order, `size` at a time."""
        return (self.take(slice(i, i + size)) for i in range(0, len(self), size))

    def mean(self, values: Tensor) -> float:
        """The weighted mean of a value for each row."""
        return float((values if self.weight is None else values * self.weight.to(values)).mean())

    def offset(self) -> float:
        """The constant by which the prefix raises the mean log-likelihood, in nats."""
        return 0.0 if self.ladj is None else self.mean(self.ladj)

    def digest(self) -> str:
        """A fingerprint of the content."""
        total = hashlib.blake2b(digest_size=16)
        for tensor in (self.x, self.context, self.weight):
            total.update(b"none" if tensor is None else f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            if tensor is not None:
                total.update(tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy().data)
        return total.hexdigest()


def split(
    flow: Distribution, x: Tensor, context: Tensor | None, weight: Tensor | None, validation: Validation, seed: int
) -> tuple[Rows, Rows | None]:
    """Rows to train on, and those held out: a share drawn by `seed`, or the ones given; None for a share of 0.

    Raises:
        DataError: when there are no rows, rows that are not finite or lie outside the flow's space, or bad weights.
        ShapeError: when numbers of rows differ.
        ConfigError: when the share is not in [0, 1).
    """
    rows = _checked(flow, "x", x, context, weight)
    if isinstance(validation, Tensor | tuple):
        held = (validation,) if isinstance(validation, Tensor) else validation
        if not 1 <= len(held) <= 3:
            raise ConfigError(f"fit: expected validation=(x, context, weight); got {len(held)} items. Drop the others.")
        given = _checked(flow, "validation", held[0], *held[1:])
        return rows.balanced(), given.balanced()
    if not 0 <= validation < 1:
        raise ConfigError(
            f"fit: expected validation to be a share in [0, 1) or tensors; got {validation}. Try validation=0.1."
        )
    if validation == 0 or len(rows) < 2:
        return rows.balanced(), None
    order = torch.randperm(len(rows), generator=Generator().manual_seed(mixed(seed, 0))).to(x.device)
    count = min(len(rows) - 1, max(1, round(validation * len(rows))))
    return rows.take(order[count:]).balanced(), rows.take(order[:count]).balanced()


def _checked(
    flow: Distribution, name: str, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None
) -> Rows:
    """The rows of weight above zero, once they are known to be usable."""
    event = flow.space.shape
    if tuple(x.shape[1:]) != event or x.dim() == 0:
        wanted = "".join(f", {size}" for size in event)
        raise ShapeError(f"fit: expected {name} of shape (rows{wanted}); got {tuple(x.shape)}. Reshape it.")
    if x.shape[0] == 0:
        raise DataError(f"fit: expected at least one row in {name}; got none. Give some data.")
    for other, tensor in (("context", context), ("weight", weight)):
        if tensor is not None and (tensor.dim() == 0 or tensor.shape[0] != x.shape[0]):
            raise ShapeError(
                f"fit: expected {other} with {x.shape[0]} rows; got shape {tuple(tensor.shape)}. "
                f"Give one row for each of {name}."
            )
    kept = torch.ones(x.shape[0], dtype=torch.bool, device=x.device)
    if weight is not None:
        if weight.dim() != 1 or not bool((torch.isfinite(weight) & (weight >= 0)).all()) or not bool(weight.any()):
            raise DataError("fit: expected finite weights >= 0, one a row, not all 0; got others. Correct the weights.")
        kept = (weight > 0).to(x.device)
    _refuse(f"every row of {name} inside the model's space", ~flow.space.contains(x) & kept)
    if context is not None:
        _refuse("every context finite", ~torch.isfinite(context.to(x.device)).flatten(1).all(-1) & kept)
    rows = Rows(x, *(None if t is None else t.to(x.device) for t in (context, weight)))
    return rows if bool(kept.all()) else rows.take(kept.nonzero().squeeze(-1))


def _refuse(what: str, bad: Tensor) -> None:
    count = int(bad.sum())
    if count:
        raise DataError(
            f"fit: expected {what}; got {count} other{'s' if count > 1 else ''}, "
            f"the first in row {int(bad.int().argmax())}. Remove or correct the data."
        )


def frozen_prefix(flow: Flow) -> tuple[Compose | None, Flow]:
    r"""A copy of the leading maps that training leaves alone, and a flow of the rest that shares its modules.

    $\log p(x) = \log p_{rest}(f_{prefix}(x)) + \mathrm{ladj}$, with a ladj that stays constant: computed once, it is
    done with.
    """
    parts = list(flow.transform.parts)
    count = 0
    while count < len(parts) - 1 and _is_frozen(parts[count]):
        count += 1
    if count == 0:
        return None, flow
    prefix = copy.deepcopy(Compose(parts[:count])).eval()
    return prefix, Flow(Compose(parts[count:]), flow.base)


def _is_frozen(part: torch.nn.Module) -> bool:
    return part.kind == "exact" and not any(p.requires_grad for p in part.parameters())  # pyright: ignore[reportAttributeAccessIssue]


def encoded(rows: Rows, prefix: Compose | None, device: torch.device, dtype: torch.dtype, *, context: bool) -> Rows:
    """The rows after `prefix`, on the device in the parameters' dtype; the prefix works in the data's own precision.

    Args:
        rows: as split.
        prefix: what to apply; None for nothing.
        device: where training happens.
        dtype: the dtype of the parameters.
        context: whether what follows still wants the context.
    """
    weight = None if rows.weight is None else rows.weight.to(device, dtype)
    cond = None if rows.context is None else rows.context.to(device, dtype)
    x, ladj = rows.x.to(device), None
    if prefix is not None:
        working = torch.promote_types(x.dtype, dtype)
        prefix = prefix.to(working)
        own = None if cond is None or prefix.context_shape is None else cond.to(working)
        pairs: list[tuple[Tensor, Tensor]] = []
        with torch.no_grad():
            for i in range(0, len(rows), _CHUNK):
                piece = slice(i, i + _CHUNK)
                pairs.append(prefix.forward(x[piece].to(working), None if own is None else own[piece]))
        x, ladj = (torch.cat(tensors) for tensors in zip(*pairs, strict=True))
    return Rows(x.to(dtype), cond if context else None, weight, ladj)


def batches(rows: int, batch: int, step: int, seed: int, device: torch.device) -> Iterator[Tensor | None]:
    """Row numbers of step `step`, `step + 1`, ... without end: shuffled passes that depend on seed and pass alone.

    The last, smaller batch of a pass is left out. None stands for all rows, when one batch holds them.
    """
    while rows <= batch:
        yield None
    each = rows // batch
    epoch, first = divmod(step, each)
    while True:
        order = torch.randperm(rows, generator=Generator().manual_seed(mixed(seed, epoch + 1))).to(device)
        for i in range(first, each):
            yield order[i * batch : (i + 1) * batch]
        epoch, first = epoch + 1, 0
