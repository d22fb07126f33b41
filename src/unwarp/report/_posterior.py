"""A posterior's flow beside the draws that it was learned from: what to think of it, and one HTML page."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from unwarp._files import write_atomically
from unwarp.report._findings import Array, Findings
from unwarp.report._html import document, head, section, table
from unwarp.report._page import calibration, card_section, marginals, pairs, signed, training

__all__ = ["PosteriorFindings", "examine_posterior", "render_posterior", "write_posterior"]

_FEWEST = 100  # independent draws
_SHARE = 0.9  # of the mass in the region that is looked at
_FURTHEST = 0.05  # Kolmogorov's distance that matters, beyond chance


@dataclass(frozen=True, slots=True)
class PosteriorFindings:
    """A flow beside the draws that it was learned from.

    Attributes:
        fit: the comparison, with the draws as data and the flow's as samples.
        draws: summary of each number by the draws: mean, sd, quantiles, R-hat, effective size.
        flow: the same by the flow, without the last two.
        chains: how many chains there are.
        reasons: why the flow should not stand for the posterior, in words; empty if it may.
    """

    fit: Findings
    draws: Mapping[str, Mapping[str, float]]
    flow: Mapping[str, Mapping[str, float]]
    chains: int
    reasons: tuple[str, ...]

    @property
    def trust(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons

    @property
    def verdict(self) -> str:
        """What to think of it, in a few sentences."""
        found = self.fit
        share = f"its {100 * _SHARE:.0f} % region holds {100 * found.coverage[_SHARE]:.1f} % of the draws"
        worst = max(found.divergences.items(), key=lambda item: item[1])
        meets = f"{share}, and no parameter is further off than {worst[0]} (Kolmogorov distance {worst[1]:.3f})"
        first = (
            f"The flow can stand for these draws: {meets}."
            if self.trust
            else f"The flow should not stand for the posterior as it is: {'; '.join(self.reasons)}."
        )
        return f"{first} {self._beside_gaussian()}".rstrip()

    def summary(self) -> str:
        """A table of all parameters, and the verdict."""
        wide = max(len(name) for name in self.draws)
        lines = [f"{'':<{wide}}           mean         sd         5 %       50 %       95 %   R-hat   worth"]
        for name, row in self.draws.items():
            tail = f"{row['r_hat']:8.3f}{row['effective']:8.0f}" if "r_hat" in row else ""
            lines.append(f"{name:<{wide}}  draws{_figures(row)}{tail}")
            lines.append(f"{'':<{wide}}  flow {_figures(self.flow[name])}")
        if self.fit.held_out is not None:
            rivals = "".join(f", {name} {nats:.3f}" for name, nats in self.fit.baselines.items())
            lines.append(f"Held-out log density in nats a draw: flow {self.fit.held_out:.3f}{rivals}.")
        return "\n".join([*lines, self.verdict])

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON-able data."""
        return {
            "verdict": self.verdict,
            "trust": self.trust,
            "reasons": list(self.reasons),
            "chains": self.chains,
            "count": len(self.fit.data),
            "draws": {name: dict(row) for name, row in self.draws.items()},
            "flow": {name: dict(row) for name, row in self.flow.items()},
            "coverage": {str(level): share for level, share in self.fit.coverage.items()},
            "kolmogorov": self.fit.divergences,
            "held_out": self.fit.held_out,
            "baselines": dict(self.fit.baselines),
        }

    def _beside_gaussian(self) -> str:
        best = self.fit.baselines.get("gaussian")
        if self.fit.held_out is None or best is None:
            return ""
        gain = self.fit.held_out - best
        if gain > 0.01:
            return f"It gains {gain:.2f} nats a draw over a Gaussian of the unconstrained numbers."
        return "A Gaussian of the unconstrained numbers is as good here."


def examine_posterior(posterior: Any, *, source: str = "draws", seed: int = 0) -> PosteriorFindings:
    """Compare a posterior with the draws that it was learned from.

    Args:
        posterior: what `unwarp.applications.fit_posterior` made of draws.
        source: what the draws are, in words.
        seed: of the flow's draws.

    Returns:
        The findings; `render_posterior` makes a page of them.
    """
    given, history = posterior.draws, posterior.history
    count = max(4_000, min(20_000, len(given.rows)))
    made = posterior.sample(count, random_state=seed)
    parts = [np.reshape(made[name], (count, -1)) for name in given.sizes]
    samples = np.concatenate(parts, axis=1)
    steps = np.array(history.validation).reshape(-1, 2)
    fit = Findings(
        columns=given.names,
        data=given.rows,
        samples=samples,
        log_prob=posterior.log_prob({n: v.reshape(-1, *given.sizes[n]) for n, v in given.named().items()}),
        log_prob_samples=posterior.log_prob(made),
        source=source,
        held_out=history.held_out,
        baselines=history.baselines,
        worth_it=history.worth_it,
        curve=(steps[:, 0], -steps[:, 1]) if len(steps) else None,
    )
    chains = len(given.values)
    effective, apart = given.effective_sizes, given.r_hat
    draws = _numbers(given.names, given.rows)
    if chains > 1:
        draws = {
            name: row | {"r_hat": float(apart[j]), "effective": float(effective[j])}
            for j, (name, row) in enumerate(draws.items())
        }
    reasons = _reasons(fit, chains, effective, given.disagreement)
    return PosteriorFindings(fit, draws, _numbers(given.names, samples), chains, reasons)


def _reasons(fit: Findings, chains: int, effective: Array, disagreement: str | None) -> tuple[str, ...]:
    found: list[str] = []
    if chains == 1:
        found.append("there is one chain, so that nobody can tell whether it has converged")
    elif disagreement is not None:
        found.append(f"the chains disagree ({disagreement})")
    worth = float(effective.min())
    if worth < _FEWEST:
        name = fit.columns[int(effective.argmin())]
        found.append(f"the draws of {name} are worth {worth:.0f} independent ones, below {_FEWEST}")
    share, chance = fit.coverage[_SHARE], 2.576 * np.sqrt(_SHARE * (1 - _SHARE) / worth)
    if abs(share - _SHARE) > max(0.03, chance):
        found.append(f"the {100 * _SHARE:.0f} % region of the flow holds {100 * share:.1f} % of the draws")
    for j, (name, distance) in enumerate(fit.divergences.items()):
        if distance > max(_FURTHEST, 1.63 / np.sqrt(effective[j])):
            found.append(f"{name} is off (Kolmogorov distance {distance:.3f})")
    return tuple(found)


def _numbers(names: tuple[str, ...], rows: Array) -> dict[str, dict[str, float]]:
    levels = (0.05, 0.5, 0.95)
    figures = np.stack([rows.mean(0), rows.std(0, ddof=1), *np.quantile(rows, levels, axis=0)])
    heads = ("mean", "sd", "q5", "q50", "q95")
    return {name: dict(zip(heads, figures[:, j].tolist(), strict=True)) for j, name in enumerate(names)}


def _figures(row: Mapping[str, float]) -> str:
    return "".join(f"{row[head]:11.4g}" for head in ("mean", "sd", "q5", "q50", "q95"))


def render_posterior(
    findings: PosteriorFindings, *, title: str = "A posterior", card: Mapping[str, str] | None = None
) -> str:
    """The page as text, in the manner of `render`: overlays of draws and flow, calibration, training, the numbers.

    Args:
        findings: what `examine_posterior` found.
        title: the heading.
        card: what else to say, heading and text.

    Raises:
        ModuleNotFoundError: without matplotlib.
    """
    fit = findings.fit
    parts = (
        head(f"unwarp report of {fit.source}", title, findings.verdict, _tiles(findings)),
        _checks(findings),
        pairs(fit),
        marginals(fit),
        calibration(fit),
        training(fit),
        _table(findings),
        card_section(dict(card or {})),
    )
    footer = "Log densities are natural logarithms (nats) in the parameters' units. Made by unwarp."
    return document(title, parts, footer=footer)


def write_posterior(
    findings: PosteriorFindings,
    path: str | os.PathLike[str],
    *,
    title: str = "A posterior",
    card: Mapping[str, str] | None = None,
) -> None:
    """`render_posterior` to a file, which holds the old page or the whole new one at every moment.

    Raises:
        OSError: when it cannot be written.
        ModuleNotFoundError: without matplotlib.
    """
    write_atomically(path, [render_posterior(findings, title=title, card=card).encode()])


def _tiles(found: PosteriorFindings) -> list[tuple[str, str]]:
    fit = found.fit
    tiles = [(f"{len(fit.data):,} × {len(fit.columns)}", "draws × numbers"), (f"{found.chains}", "chains")]
    if found.chains > 1:
        tiles.append((f"{max(row['r_hat'] for row in found.draws.values()):.3f}", "largest R-hat (1: chains agree)"))
        tiles.append((f"{min(row['effective'] for row in found.draws.values()):,.0f}", "independent draws, at least"))
    if fit.held_out is not None:
        tiles.append((signed(fit.held_out), "held-out log density, nats a draw"))
        tiles += [(f"{fit.held_out - nats:+.2f}", f"nats a draw over a {name}") for name, nats in fit.baselines.items()]
    return tiles


def _checks(found: PosteriorFindings) -> str:
    """What was looked at, and what speaks against the flow."""
    said = "".join(f"<li>{escape(reason)}</li>" for reason in found.reasons)
    words = f"<ul>{said}</ul>" if said else "<p>Nothing speaks against it.</p>"
    about = (
        "Chains agree, draws are worth enough independent ones, the region of highest density holds the share of draws "
        "that it should, and each number's distribution is met. The evidence needs a log density, which draws alone "
        "lack: in Python, <code>fit_posterior(draws, target).log_evidence()</code>."
    )
    return section("Checks", about, words)


def _table(found: PosteriorFindings) -> str:
    rows = []
    for name, row in found.draws.items():
        flow = found.flow[name]
        texts = [f"{row[key]:.4g}" for key in ("mean", "sd", "q5", "q50", "q95")]
        rows.append((name, "draws", *texts, *(f"{row[key]:.4g}" for key in ("r_hat", "effective") if key in row)))
        rows.append(("", "flow", *(f"{flow[key]:.4g}" for key in ("mean", "sd", "q5", "q50", "q95"))))
    heads = ["parameter", "by", "mean", "sd", "5 %", "50 %", "95 %"]
    heads += ["R-hat", "worth"] if found.chains > 1 else []
    return section("Parameters in numbers", "", table(heads, rows, texts=2))
