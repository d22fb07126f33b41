"""What a fitted model says about a table, as numbers and arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[Any]

LEVELS = (0.5, 0.9, 0.99)


@dataclass(frozen=True, slots=True)
class Strange:
    """One of the least likely rows, and which of its values make it so.

    Attributes:
        row: its place in the table, from 0.
        log_prob: its log density, in nats.
        rarity: the share of the model's samples that are less likely still.
        values: the row itself, (columns,).
        gain: how many nats likelier the row would be with the best other value in that column, (columns,).
        instead: that value, (columns,).
    """

    row: int
    log_prob: float
    rarity: float
    values: Array
    gain: Array
    instead: Array


@dataclass(frozen=True, slots=True)
class Findings:
    """A model beside a table.

    Attributes:
        columns: names of the columns.
        data: the table's rows, (n, columns).
        samples: rows that the model drew, (m, columns).
        log_prob: log density of the table's rows, (n,), in nats.
        log_prob_samples: log density of the samples, (m,).
        latent: the latents of the table's rows, (n, features), or None.
        strange: the least likely rows, the strangest first.
        source: what the table is, in words.
        held_out: log-likelihood of rows that were kept from training, in nats a row, or None.
        baselines: the same of the models that the flow must beat, by name.
        worth_it: whether the flow beats them by more than chance; None: judge by 0.01 nats.
        curve: at which steps the held-out rows were scored and what they gave, (k,) and (k,), or None.
        card: what is known of the model: heading and text.
        kinds: of each column its kind, bounds and why, in words.
        labels: columns that the model left out, shown beside the strangest rows.
    """

    columns: tuple[str, ...]
    data: Array
    samples: Array
    log_prob: Array
    log_prob_samples: Array
    latent: Array | None = None
    strange: tuple[Strange, ...] = ()
    source: str = "the table"
    held_out: float | None = None
    baselines: Mapping[str, float] = field(default_factory=dict)
    worth_it: bool | None = None
    curve: tuple[Array, Array] | None = None
    card: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def ranks(self) -> Array:
        """Of each row the share of samples that are less likely; uniform when the model is right, (n,)."""
        return midranks(self.log_prob, self.log_prob_samples)

    @property
    def pit(self) -> Array:
        """Of each value its rank among the samples of its column; uniform when the model is right, (n, columns)."""
        return np.stack([midranks(x, y) for x, y in zip(self.data.T, self.samples.T, strict=True)], axis=1)

    @property
    def coverage(self) -> dict[float, float]:
        """The share of rows inside the model's region of highest density that holds 50, 90 and 99 % of its mass."""
        ranks = self.ranks
        return {level: float(np.mean(ranks >= 1 - level)) for level in LEVELS}

    @property
    def divergences(self) -> dict[str, float]:
        """Kolmogorov's distance between data and samples, by column: 0 the same, 1 apart."""
        return {n: ks_distance(x, y) for n, x, y in zip(self.columns, self.data.T, self.samples.T, strict=True)}

    @property
    def impossible(self) -> int:
        """How many rows have density 0: outside declared bounds, or unlike a constant or copied column."""
        return int(np.sum(np.isneginf(self.log_prob)))

    @property
    def mean_log_prob(self) -> float:
        """Mean log density of the rows that are possible, in nats."""
        known = self.log_prob[np.isfinite(self.log_prob)]
        return float(known.mean()) if len(known) else float("nan")

    @property
    def verdict(self) -> str:
        """The findings in two or three sentences."""
        impossible = f"{self.impossible:,} rows are impossible under the model." if self.impossible else ""
        parts = (self._against_baselines(), self._about_coverage(), self._about_columns(), impossible)
        return " ".join(part for part in parts if part)

    def summary(self, *, strange: int = 5) -> str:
        """The verdict, the coverage and the strangest rows as lines of text."""
        shares = ", ".join(f"{100 * level:.0f} %: {100 * share:.1f} %" for level, share in self.coverage.items())
        lines = [self.verdict, f"Rows inside the model's regions of highest density, {shares}."]
        if self.strange and strange:
            lines.append("Strangest rows (from 1), and the value whose change would help most:")
        for row in self.strange[:strange]:
            j = int(row.gain.argmax())
            why = f"{self.columns[j]} {row.values[j]:.4g} -> {row.instead[j]:.4g}: {row.gain[j]:+.1f} nats"
            lines.append(
                f"  row {row.row + 1:>8}  log p {row.log_prob:10.2f}  {why if row.gain[j] > 1 else 'the combination'}"
            )
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON-able data: no arrays of rows, but the strangest ones."""
        strange = [
            {
                "row": row.row + 1,
                "log_prob": row.log_prob if np.isfinite(row.log_prob) else None,
                "rarity": row.rarity,
                "values": dict(zip(self.columns, row.values.tolist(), strict=True)),
                "gain": dict(zip(self.columns, row.gain.tolist(), strict=True)),
            }
            for row in self.strange
        ]
        return {
            "verdict": self.verdict,
            "rows": len(self.data),
            "impossible": self.impossible,
            "mean_log_prob": self.mean_log_prob if np.isfinite(self.mean_log_prob) else None,
            "coverage": {str(level): share for level, share in self.coverage.items()},
            "kolmogorov": self.divergences,
            "strange": strange,
        }

    def _against_baselines(self) -> str:
        if self.held_out is None or not self.baselines:
            return ""
        name, best = max(self.baselines.items(), key=lambda item: item[1])
        gain = self.held_out - best
        if gain > 0.01 if self.worth_it is None else self.worth_it:
            return f"On rows kept from training the flow beats the {name} by {gain:.2f} nats a row."
        return (
            f"The flow is not worth it here: on rows kept from training the {name} is as good ({gain:+.2f} nats a row)."
        )

    def _about_coverage(self) -> str:
        level, share = 0.9, self.coverage[0.9]
        slack = 2.576 * np.sqrt(level * (1 - level) / len(self.data))
        gap = abs(share - level)
        words = "as it should" if gap <= max(slack, 0.01) else "close to it" if gap <= 0.03 else "off"
        return f"Its 90 % region holds {100 * share:.1f} % of the rows: {words}."

    def _about_columns(self) -> str:
        name, worst = max(self.divergences.items(), key=lambda item: item[1])
        if worst <= max(0.03, 1.628 / np.sqrt(len(self.data)) + 1.628 / np.sqrt(len(self.samples))):
            return "Every column's distribution is met."
        return f"The column furthest from its samples is {name} (Kolmogorov distance {worst:.3f})."


def midranks(values: Array, among: Array) -> Array:
    """Share of `among` below each value, ties counted half."""
    ordered = np.sort(among)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / (2 * len(ordered))


def ks_distance(x: Array, y: Array) -> float:
    """Kolmogorov's distance of two sets of numbers: the most that their shares below any value differ."""
    x, y = np.sort(x), np.sort(y)
    at = np.concatenate([x, y])
    return float(np.abs(np.searchsorted(x, at, "right") / len(x) - np.searchsorted(y, at, "right") / len(y)).max())


def ks_normal(z: Array) -> float:
    """Kolmogorov's distance of numbers from the standard normal: 0 the same, 1 apart."""
    z = np.sort(z)
    below = torch.special.ndtr(torch.as_tensor(z)).numpy()
    place = np.arange(len(z))
    return float(np.maximum(below - place / len(z), (place + 1) / len(z) - below).max())
