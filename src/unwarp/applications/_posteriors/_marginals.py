"""Each parameter by itself: mean, spread, quantiles, and what its chains are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unwarp.applications._posteriors._draws import Draws

__all__ = ["Marginals"]

Floats = NDArray[np.float64]
_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class Marginals:
    """The marginals of k numbers.

    Attributes:
        names: of the numbers.
        mean: `(k,)`.
        sd: `(k,)`.
        levels: of the quantiles.
        quantiles: `(k, levels)`.
        r_hat: whether the chains agree, `(k,)`; None of draws without chains.
        effective: how many independent draws they are worth, `(k,)`; None likewise.
    """

    names: tuple[str, ...]
    mean: Floats
    sd: Floats
    levels: tuple[float, ...]
    quantiles: Floats
    r_hat: Floats | None = None
    effective: Floats | None = None

    @classmethod
    def of(cls, draws: Draws, *, names: Sequence[str] = (), levels: Sequence[float] = _LEVELS) -> Marginals:
        """Of draws, all of them or those of the parameters `names`.

        Raises:
            ConfigError: when a name is unknown.

        Example:
            >>> rng = np.random.default_rng(0)
            >>> found = Marginals.of(Draws.of({"a": rng.normal(3.0, 2.0, (4, 1000))}))
            >>> bool(abs(found.mean[0] - 3.0) < 0.2), found.quantiles.shape
            (True, (1, 5))
        """
        wanted = draws.only(names) if names else draws
        several = len(wanted.values) > 1
        return cls(
            wanted.names,
            wanted.rows.mean(0),
            wanted.rows.std(0, ddof=1),
            tuple(levels),
            np.quantile(wanted.rows, levels, axis=0).T,
            wanted.r_hat if several else None,
            wanted.effective_sizes if several else None,
        )

    def to_json(self) -> dict[str, dict[str, float]]:
        """Plain data by name."""
        found: dict[str, dict[str, float]] = {}
        for j, name in enumerate(self.names):
            row = {"mean": self.mean[j], "sd": self.sd[j]}
            row |= {f"q{100 * level:g}": self.quantiles[j, i] for i, level in enumerate(self.levels)}
            row |= {} if self.r_hat is None else {"r_hat": self.r_hat[j]}
            row |= {} if self.effective is None else {"effective": self.effective[j]}
            found[name] = {key: float(value) for key, value in row.items()}
        return found

    def __str__(self) -> str:
        rows = self.to_json()
        heads = list(next(iter(rows.values())))
        wide = max(len(name) for name in self.names)
        lines = [" " * wide + "".join(f"{head:>11}" for head in heads)]
        lines += [f"{name:<{wide}}" + "".join(f"{row[head]:>11.4g}" for head in heads) for name, row in rows.items()]
        return "\n".join(lines)
