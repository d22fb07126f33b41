"""Row by row: can this log density be relied on?"""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from unwarp import _check
from unwarp.distributions import Flow
from unwarp.errors import ConfigError

__all__ = ["FAULTS", "Audit", "audit"]

FAULTS = ("", "not finite", "latent moves on the way back", "data move on the way back", "ladj disagree", "digits lost")

_MOVE = 1e-3  # allowed round-trip error, of 1 + |value|
_NATS = 1e-2  # allowed error of a log density, of 1 + |value| / 100


@dataclass(frozen=True, slots=True)
class Audit:
    r"""What `audit` found for each of n rows; `str(audit)` sums it up.

    Attributes:
        log_prob: log density in nats, float64 `(n)`; of a recomputed row, the repaired one.
        latent: round-trip error of $z = f(x)$: the largest $|f(f^{-1}(z)) - z| / (1 + |z|)$ of the event, `(n)`.
        data: round-trip error of x, the largest $|f^{-1}(z) - x| / (1 + |x|)$, `(n)`.
        ladj: $|$ladj of forward + ladj of inverse$|$ in nats, `(n)`.
        precision: what float32 cost: $|$log_prob before - after recomputing$|$, nats; NaN where not recomputed, `(n)`.
        recomputed: was the row computed again in float64? bool `(n)`.
        fault: an index into `FAULTS` that tells why the row can't be trusted, 0 where it can, `(n)`.
    """

    log_prob: Tensor
    latent: Tensor
    data: Tensor
    ladj: Tensor
    precision: Tensor
    recomputed: Tensor
    fault: Tensor

    @property
    def trusted(self) -> Tensor:
        """Can the row's log density be relied on? bool `(n)`."""
        return self.fault == 0

    def reason(self, row: int) -> str:
        """Why the row can't be trusted; empty where it can."""
        return FAULTS[int(self.fault[row])]

    def __str__(self) -> str:
        n, again = len(self.fault), int(self.recomputed.sum())
        lines = [f"{int(self.trusted.sum())} of {n} rows can be trusted; {again} recomputed in float64"]
        lines += [
            f"  {int((self.fault == code).sum()):>9}  {name}"
            for code, name in enumerate(FAULTS)
            if code and bool((self.fault == code).any())
        ]
        for name, unit in (("latent", "of 1 + |z|"), ("data", "of 1 + |x|"), ("ladj", "nats"), ("precision", "nats")):
            figure: Tensor = getattr(self, name)
            known = figure[~figure.isnan()]
            if len(known):
                lines.append(f"  {name:10} median {known.median():8.1e}   largest {known.max():8.1e} {unit}")
        return "\n".join(lines)


def audit(
    flow: Flow,
    x: Tensor,
    context: Tensor | None = None,
    *,
    recompute: Literal["untrusted", "all", "none"] = "untrusted",
    batch: int = 4096,
) -> Audit:
    """Hold each row's log density to the flow's own inverse, and recompute in float64 the rows that fail.

    A row goes to the latent, back, and to the latent again. Where it does not return to a part in a thousand, or where
    the two directions disagree about their ladj, its digits are gone and so may be those of its density. A trusted
    log density is good to about 0.01 nats, a large one to 0.01 %. Use it on rows far from the training data, and
    before you act on the strangest ones.

    Args:
        flow: a flow with an exact density.
        x: rows, `(n, *event)`; give float64 where you have it, for the recomputing.
        context: of each row, `(n, *context_shape)`, or one for all.
        recompute: which rows to compute again in float64: those that can't be trusted, all or none.
        batch: how many rows to hold in memory at a time.

    Raises:
        ConfigError: when the flow's density is not exact, or `recompute` is another word.
        ShapeError: when x does not fit the flow.
        ContextError: when the context does not.

    Example:
        >>> from unwarp.flows import nsf
        >>> rows = torch.tensor([[0.0, 1.0], [3.0, -1e6]])
        >>> found = audit(nsf(2), rows)
        >>> found.trusted.tolist()
        [True, True]
    """
    flow = getattr(flow, "flow_", flow)
    if flow.kind != "exact":
        raise ConfigError(f'audit: expected an exact density; got kind "{flow.kind}". Compare samples instead.')
    if flow.transform.loses != "nothing":
        raise ConfigError("audit: expected a bijection; got a map that loses something. Compare samples instead.")
    if recompute not in ("untrusted", "all", "none"):
        raise ConfigError(f'audit: expected recompute "untrusted", "all" or "none"; got {recompute!r}. Change it.')
    x = _check.broadcast_event("audit", x, flow.space.shape, context, flow.context_shape)
    x = x.reshape(-1, *flow.space.shape)
    if context is not None:
        context = context.expand(len(x), *(flow.context_shape or ()))
    state = next((t for t in flow.state_dict().values() if t.is_floating_point()), x)
    exact = copy.deepcopy(flow).double() if recompute != "none" and state.dtype != torch.float64 else None
    parts: list[Audit] = []
    with torch.no_grad():
        for start in range(0, max(1, len(x)), batch):
            rows, given = x[start : start + batch], None if context is None else context[start : start + batch]
            first = _examine(flow, rows.to(state), None if given is None else given.to(state))
            parts.append(first if exact is None else _repaired(first, exact, rows, given, recompute))
    return Audit(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Audit)))


def _examine(flow: Flow, x: Tensor, context: Tensor | None) -> Audit:
    """One batch, in the flow's own dtype."""
    given = context if flow.transform.context_shape is not None else None
    z, ladj = flow.transform.forward(x, given)
    base = flow.base.log_prob(z, context if flow.base.context_shape is not None else None)
    back, ladj_back = flow.transform.inverse(z, given)
    again = flow.transform.forward(back, given)[0]
    latent, data = _moved(again, z), _moved(back, x)
    gap, log_prob = (ladj + ladj_back).abs(), base + ladj
    lost = 8 * torch.finfo(log_prob.dtype).eps * (base.abs() + ladj.abs())
    allowed = _NATS * (1 + log_prob.abs() / 100)
    holds = (log_prob.isfinite(), latent <= _MOVE, data <= _MOVE, gap <= allowed, lost <= allowed)
    fault = torch.zeros(len(x), dtype=torch.int8, device=x.device)
    for code, held in reversed(list(enumerate(holds, 1))):
        fault = torch.where(held, fault, code)
    nothing = torch.full_like(fault, torch.nan, dtype=torch.float64)
    figures = (log_prob.double(), latent.double(), data.double(), gap.double(), nothing)
    return Audit(*figures, torch.zeros_like(fault, dtype=torch.bool), fault)


def _moved(there: Tensor, here: Tensor) -> Tensor:
    """The largest relative move of an event; NaN and infinity stay."""
    return ((there - here).abs() / (1 + here.abs())).flatten(1).amax(-1)


def _repaired(first: Audit, exact: Flow, x: Tensor, context: Tensor | None, recompute: str) -> Audit:
    """`first` with the rows that need it computed again by `exact`, the flow in float64."""
    again = torch.ones_like(first.recomputed) if recompute == "all" else ~first.trusted
    if not bool(again.any()):
        return first
    second = _examine(exact, x[again].double(), None if context is None else context[again].double())
    figures = {field.name: getattr(first, field.name).clone() for field in fields(Audit)}
    for field in fields(Audit):
        figures[field.name][again] = getattr(second, field.name)
    figures["precision"][again] = (first.log_prob[again] - second.log_prob).abs()
    figures["recomputed"] = again
    return Audit(**figures)
