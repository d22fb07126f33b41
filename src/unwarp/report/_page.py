"""From `Findings` to one HTML page that needs nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from unwarp import plots
from unwarp._files import write_atomically
from unwarp.report._findings import Array, Findings, Strange, ks_distance, ks_normal
from unwarp.report._html import breakable, document, head, section, table
from unwarp.report._svg import embed

_PAIRED = 6  # columns in the pair plots
_SHOWN = 24  # columns or latents that get a picture of their own
_ACROSS = 12  # columns in the table of strange rows


def render(findings: Findings, *, title: str = "A fitted density") -> str:
    """The page as text: style and pictures are inside, nothing is fetched, all names are escaped.

    When to use it: to look at a fit before trusting it, and to hand that look on. It follows the reader's light or dark
    theme. Pictures need matplotlib: ``pip install "unwarp[plot]"``.

    Args:
        findings: what `examine` found.
        title: the heading.

    Returns:
        An HTML document.

    Raises:
        ModuleNotFoundError: without matplotlib.
    """
    sections = (
        marginals(findings),
        pairs(findings),
        calibration(findings),
        _latent(findings),
        training(findings),
        _strange(findings),
        _columns(findings),
        card_section(findings.card),
    )
    footer = "Log densities are natural logarithms (nats) in the columns' units. Made by unwarp."
    return document(title, (_head(findings, title), *sections), footer=footer)


def write(findings: Findings, path: str | os.PathLike[str], *, title: str = "A fitted density") -> None:
    """`render` to a file, which holds the old page or the whole new one at every moment.

    Raises:
        OSError: when it cannot be written.
        ModuleNotFoundError: without matplotlib.
    """
    write_atomically(path, [render(findings, title=title).encode()])


def _head(found: Findings, title: str) -> str:
    n, width = found.data.shape
    tiles = [(f"{n:,} × {width}", "rows × columns")]
    if found.held_out is not None:
        tiles.append((signed(found.held_out), "held-out log-likelihood, nats a row"))
        tiles += [
            (f"{found.held_out - nats:+.2f}", f"nats a row over the {name}") for name, nats in found.baselines.items()
        ]
    else:
        tiles.append((signed(found.mean_log_prob), "log-likelihood of these rows, nats a row"))
    tiles.append((f"{100 * found.coverage[0.9]:.1f} %", "of the rows in the 90 % region"))
    return head(f"unwarp report of {found.source}", title, found.verdict, tiles)


def marginals(found: Findings) -> str:
    """Histograms of each column, data and samples."""
    chosen = list(range(len(found.columns)))
    if len(chosen) > _SHOWN:  # those that are met worst
        distances = list(found.divergences.values())
        chosen = sorted(np.argsort(distances)[::-1][:_SHOWN].tolist())
    names = [found.columns[j] for j in chosen]
    axes = plots.marginals(found.data[:, chosen], found.samples[:, chosen], columns=names)
    says = "Histograms of each column, data and samples"
    left = "" if len(chosen) == len(found.columns) else f" Shown: the {_SHOWN} columns that are met worst."
    return section(
        "Each column",
        f"{_KEY} Where the line follows the filled shape, the model has the column right; the scale of a long-tailed "
        f"column is logarithmic outside the middle.{left}",
        embed(axes, name="marginals", says=says),
    )


def pairs(found: Findings) -> str:
    """Pairs of columns, data below the diagonal and samples above it."""
    if len(found.columns) == 1:
        return ""
    chosen = most_dependent(found.data, _PAIRED)
    axes = plots.pairs(found.data[:, chosen], found.samples[:, chosen], columns=[found.columns[j] for j in chosen])
    left = "" if len(chosen) == len(found.columns) else f" Shown: the {_PAIRED} columns that depend on each other most."
    return section(
        "Pairs of columns",
        f"{_KEY} Data below the diagonal, samples above it: the two triangles should be mirror images.{left}",
        embed(axes, name="pairs", says="Scatter plots of pairs of columns, data and samples"),
    )


def calibration(found: Findings) -> str:
    """Ranks of the rows' log densities among those of samples, and each column's."""
    n = len(found.data)
    rows = [
        (f"{100 * level:.0f} %", f"{100 * share:.2f} %", f"± {257.6 * np.sqrt(level * (1 - level) / n):.2f} %")
        for level, share in found.coverage.items()
    ]
    shares = table(("region of mass", "rows inside", "chance (99 %)"), rows)
    pictures = embed(plots.calibration(found.ranks), name="ranks", says="Ranks of log densities and coverage")
    lines = embed(plots.deviations(found.pit, columns=found.columns), name="pit", says="PIT of each column less u")
    return section(
        "Calibration",
        "Each row's log density is ranked among those of samples. If the model is right, the ranks are even, "
        "and the region that holds 90 % of the model's mass holds 90 % of the rows. Grey: what chance allows.",
        f'{pictures}<div class="two" style="margin-top:20px"><div>{shares}</div>'
        f"<div><p>Each column against its samples, quantile by quantile (PIT):</p>{lines}</div></div>",
    )


def _latent(found: Findings) -> str:
    if found.latent is None:
        return ""
    distances = [ks_normal(z) for z in found.latent.T]
    chosen = sorted(np.argsort(distances)[::-1][:_SHOWN].tolist())
    names = [f"z{j}, KS {distances[j]:.3f}" for j in chosen]
    left = "" if len(chosen) == len(distances) else f" Shown: the {_SHOWN} furthest from normal."
    return section(
        "Latent space",
        "The flow turns rows into standard normal numbers as far as it has understood them: their quantiles then lie "
        f"on the diagonal. KS is Kolmogorov's distance from the normal, 0 to 1.{left}",
        embed(plots.latent(found.latent[:, chosen], columns=names), name="latent", says="Quantiles of the latents"),
    )


def training(found: Findings) -> str:
    """The held-out log-likelihood as training went on."""
    if found.curve is None:
        return ""
    axes = plots.training(*found.curve, baselines=found.baselines)
    rows = [("the flow", signed(found.held_out))] if found.held_out is not None else []
    rows += [(name, signed(nats)) for name, nats in found.baselines.items()]
    return section(
        "Training",
        "Log-likelihood of rows that were kept from training, higher is better. Dashed: what the flow has to beat.",
        f'<div class="two"><div>{embed(axes, name="training", says="Held-out log-likelihood by step")}</div>'
        f"<div>{table(('model', 'held-out nats a row'), rows)}</div></div>",
    )


def _strange(found: Findings) -> str:
    if not found.strange:
        return ""
    total = np.sum([row.gain for row in found.strange], axis=0)
    shown = sorted(np.argsort(-total, kind="stable")[:_ACROSS].tolist())
    names = ["row", "log p", "rarity", *found.labels, *(found.columns[j] for j in shown), "why"]
    body = "".join(f"<tr>{_strange_row(found, row, shown)}</tr>" for row in found.strange)
    titles = "".join(f"<th{' class=text' if name == 'why' else ''}>{breakable(name)}</th>" for name in names)
    return section(
        "Strangest rows",
        "The least likely rows; they count from 1. The darker a value, the likelier the row with another in its "
        "place (why: which one, and the gain). Rarity is the share of the model's samples that are less likely still.",
        f'<table class="strange"><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>',
    )


def _strange_row(found: Findings, row: Strange, shown: Sequence[int]) -> str:
    rarity = f"{100 * row.rarity:.2f} %" if row.rarity else f"< {100 / len(found.samples):.2g} %"
    cells = [f"<td>{row.row + 1:,}</td><td>{signed(row.log_prob)}</td><td>{rarity}</td>"]
    cells += [f"<td>{escape(str(values[row.row])[:40])}</td>" for values in found.labels.values()]
    for j in shown:
        glow = 0.75 * row.gain[j] / max(float(row.gain.max()), 5.0)
        cells.append(f'<td style="background:rgba(var(--glow),{glow:.2f})">{row.values[j]:.4g}</td>')
    culprits = [j for j in np.argsort(-row.gain)[:1] if row.gain[j] > 1]
    why = "; ".join(
        f"{escape(found.columns[j])} {row.values[j]:.3g} → {row.instead[j]:.3g}: {row.gain[j]:+.1f} nats"
        for j in culprits
    )
    return "".join((*cells, f'<td class="text why">{why or "the combination"}</td>'))


def _columns(found: Findings) -> str:
    rows = []
    for j, name in enumerate(found.columns):
        data, samples = (np.quantile(rows[:, j], [0.01, 0.5, 0.99]) for rows in (found.data, found.samples))
        texts = [f"{middle:.4g} ({low:.4g} to {high:.4g})" for low, middle, high in (data, samples)]
        distance = ks_distance(found.data[:, j], found.samples[:, j])
        rows.append((name, found.kinds.get(name, ""), *texts, f"{distance:.3f}"))
    names = ("column", "kind", "data: median (1–99 %)", "samples: median (1–99 %)", "Kolmogorov distance")
    return section("Columns in numbers", "", table(names, rows, texts=2))


def card_section(card: Mapping[str, str]) -> str:
    """What is known of the model, heading and text."""
    if not card:
        return ""
    items = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in card.items())
    return section("Model card", "", f"<dl>{items}</dl>")


def most_dependent(data: Array, count: int) -> list[int]:
    """The `count` columns that depend on the others most (mutual information of octiles), in their order."""
    n, width = data.shape
    if width <= count:
        return list(range(width))
    rows = data if n <= 5_000 else data[np.random.default_rng(0).choice(n, 5_000, replace=False)]
    if width > 60:  # a cheaper look decides which columns get the close one
        ranks = np.argsort(np.argsort(rows, axis=0), axis=0)
        strength = np.nan_to_num(np.abs(np.corrcoef(ranks, rowvar=False))).sum(axis=0)
        first = sorted(np.argsort(-strength, kind="stable")[:60].tolist())
        return [first[j] for j in most_dependent(rows[:, first], count)]
    cells = np.argsort(np.argsort(rows, axis=0, kind="stable"), axis=0) * 8 // len(rows)
    onehot = (cells[:, :, None] == np.arange(8)).astype(np.float64).reshape(len(rows), -1)
    joint = (onehot.T @ onehot / len(rows)).reshape(width, 8, width, 8)
    information = (joint * np.log(np.maximum(joint, 1e-12) * 64)).sum(axis=(1, 3))
    np.fill_diagonal(information, 0.0)
    return sorted(np.argsort(-information.max(axis=0) - information.mean(axis=0), kind="stable")[:count].tolist())


def signed(nats: float) -> str:
    """A number of nats with the sign's own letter."""
    return f"{nats:.2f}".replace("-", "−").replace("inf", "∞")  # a minus, not a hyphen


_KEY = (
    '<span class="key" style="background:var(--data);margin-left:0"></span>data '
    '<span class="key" style="background:var(--samples)"></span>samples.'
)
