"""Which flows suit a table of given size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Candidate", "suited"]

_FEW = 100  # rows from which one Gaussian can be learned at most, or each column's scale
_WIDE = 64  # features above which autoregressive sampling and full covariances cost more than they give
_FLOOR = 1e-3  # tables are scored in float64, which carries slopes as small as this
_CELLS = 80_000  # entries that a mixture's matrices may have in all
_SHORT = 25.0  # seconds of a budget up to which smaller contenders get further


@dataclass(frozen=True, slots=True)
class Candidate:
    """A flow to try: a recipe with its options, what `training.fit` is told, and the share of the budget it gets.

    Attributes:
        recipe: name of the recipe.
        options: the recipe's options.
        settings: keyword arguments of `training.fit`.
        share: of the whole budget, 0 to 1.

    Example:
        >>> Candidate("maf", {"layers": 2}).share
        1.0
    """

    recipe: str
    options: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    share: float = 1.0


def suited(rows: int, features: int, seconds: float | None = None) -> tuple[Candidate, ...]:
    """The flows to try on a table of `rows` by `features`, in turn; the one with the best held-out likelihood is kept.

    Up to 100 rows there is one: scales, or a Gaussian. Above, a fitted mixture of Gaussians with a small flow before
    it, which cannot end below the mixture, races a larger flow that starts from the normal distribution: the first
    wins on clusters and small tables, the second on curved ones. In few seconds, both are smaller, the flow mixes
    features by learned maps, and gets a larger share.

    Args:
        rows: of the table.
        features: its columns.
        seconds: the budget, where there is one.

    Example:
        >>> [candidate.options["base"] for candidate in suited(20_000, 6)]
        ['mixture', 'normal']
        >>> suited(20_000, 6, seconds=10.0)[-1].options["hidden"]
        (64, 64)
    """
    if rows <= max(_FEW, 2 * features):
        base = {"base": "mixture", "components": 1} if rows >= 10 * features else {"base": "normal"}
        steps = 20 if rows > 2 * features else 0
        return (Candidate("maf", base | {"layers": 2, "hidden": (16,)}, {"max_steps": steps}),)
    short = seconds is not None and seconds <= _SHORT
    mixture, flow = _mixture(rows, features, short=short), _flow(rows, features, short=short)
    return (mixture, flow) if features <= _WIDE and rows >= 10 * features else (flow,)


def _mixture(rows: int, features: int, *, short: bool) -> Candidate:
    size = 32 if rows < 5_000 else 64
    options = {"structure": "autoregressive", "tails": "heavy", "layers": 2, "hidden": (size, size), "base": "mixture"}
    options |= {"components": max(2, min(16 if short else 64, _CELLS // features**2)), "floor": _FLOOR}
    settings = {"lr": 5e-4, "max_steps": 500 if rows < 2_000 else 1_000}
    return Candidate("nsf", options, settings, share=0.1 if short else 0.2)


def _flow(rows: int, features: int, *, short: bool) -> Candidate:
    size = 32 if rows < 5_000 else 64 if rows < 10_000 or short else 128
    narrow = features <= _WIDE
    options = {
        "structure": "autoregressive" if narrow else "coupling",
        "layers": (4 if rows >= 10_000 else 3) if narrow else 5,
    }
    options |= {"tails": "heavy", "hidden": (size, size), "base": "normal", "floor": _FLOOR}
    options |= {"mixing": "lu" if short else "whiten"} if rows >= 10 * features else {}
    steps = min(5_000, 120_000 // (16 + features)) if rows >= 2_000 else 1_000
    return Candidate("nsf", options, {"lr": 1.6e-2, "max_steps": steps}, share=0.9 if short else 0.8)
