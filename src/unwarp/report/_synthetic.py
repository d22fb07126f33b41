"""From a judgement of synthetic rows to one HTML page that needs nothing else."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from unwarp import plots
from unwarp._files import write_atomically
from unwarp.report._findings import Array
from unwarp.report._html import document, head, section, table
from unwarp.report._svg import embed

_SHOWN = 24  # columns that get a picture of their own
_WORST = 10  # columns and pairs in the tables of the worst


def render_synthetic(
    judgement: Any, *, title: str = "Synthetic rows", source: str = "", card: Mapping[str, str] | None = None
) -> str:
    """The page about synthetic rows as text, in the manner of `render`.

    When to use it: to hand on what `unwarp.applications.judge` found, with a picture of each column.

    Args:
        judgement: what `judge` returned.
        title: the heading.
        source: which tables these are, in words.
        card: what else to say, heading and text.

    Returns:
        An HTML document.

    Raises:
        ModuleNotFoundError: without matplotlib.
    """
    first, *others = judgement.findings
    parts = (
        head(" ".join(("unwarp report of", source or "synthetic rows")), title, first, _tiles(judgement)),
        section("What was found", "", "".join(f"<p>{escape(text)}</p>" for text in others)),
        _scores(judgement),
        _columns(judgement),
        _worst(judgement),
        _closest(judgement),
        _numbers(judgement),
        _card(judgement, card or {}),
    )
    return document(title, parts, footer="Scores are shares: 100 % is alike in all. Made by unwarp.")


def write_synthetic(
    judgement: Any,
    path: str | os.PathLike[str],
    *,
    title: str = "Synthetic rows",
    source: str = "",
    card: Mapping[str, str] | None = None,
) -> None:
    """`render_synthetic` to a file, which holds the old page or the whole new one at every moment.

    Raises:
        OSError: when it cannot be written.
        ModuleNotFoundError: without matplotlib.
    """
    write_atomically(path, [render_synthetic(judgement, title=title, source=source, card=card).encode()])


def _tiles(found: Any) -> list[tuple[str, str]]:
    tiles = [
        (f"{found.rows[1]:,} × {len(found.columns)}", "synthetic rows × columns"),
        (
            _percent(found.quality),
            "quality" + ("" if found.ceiling is None else f" (fresh rows: {_percent(found.ceiling)})"),
        ),
        (_percent(found.diagnostic), "diagnostic: types, ranges, categories"),
        (
            _percent(found.duplicates.share),
            f"of rows repeat a training row (base rate {_percent(found.duplicates.base)})",
        ),
    ]
    if found.closest.share is not None:
        tiles.append((_percent(found.closest.share), "closer to training than to the holdout (ideal: 50 %)"))
    if found.utility is not None:
        name, (synthetic, real) = next(iter(found.utility.scores.items()))
        tiles.append(
            (f"{synthetic:.3f}", f"{name} of {found.utility.target} from synthetic rows; from real: {real:.3f}")
        )
    if found.likelihood is not None:
        tiles.append((_nats(found.likelihood.mean), "held-out log-likelihood, nats a row"))
    return tiles


def _scores(found: Any) -> str:
    related = sum(pair.related for pair in found.pairs)
    rows = [
        ("quality", _percent(found.quality), "mean of the next two, as SDMetrics defines it"),
        ("column shapes", _percent(found.shapes), "1 − Kolmogorov's distance, 1 − total variation for categories"),
        ("pair trends", _percent(found.trends), f"{related} pairs that are related: correlations, joint counts"),
        ("pair trends, all", _percent(found.trends_all), f"{len(found.pairs)} pairs; unrelated ones are easily met"),
        ("diagnostic", _percent(found.diagnostic), "mean of the next two; below 100 % is a fault"),
        ("validity", _percent(found.validity), "cells inside the real range, or of a known category"),
        ("structure", _percent(found.structure), "columns present with their type"),
        ("missing cells", _percent(found.missing), "1 − the difference of their shares"),
    ]
    if found.utility is not None:
        for name, (synthetic, real) in found.utility.scores.items():
            says = f"{found.utility.task} of {found.utility.target}; after as many real rows {real:.4f}"
            rows.append((f"{name} on real rows", f"{synthetic:.4f}", says))
    if found.likelihood is not None:
        says = f"± {found.likelihood.error:.3f} nats a row, {found.likelihood.impossible:,} rows impossible"
        rows.append(("held-out log-likelihood", _nats(found.likelihood.mean), says))
    body = "".join(
        f'<tr><td class="text">{escape(a)}</td><td>{escape(b)}</td><td class="text">{escape(c)}</td></tr>'
        for a, b, c in rows
    )
    return section("Scores", "", f"<table><tbody>{body}</tbody></table>")


def _columns(found: Any) -> str:
    chosen = list(found.columns)
    if len(chosen) > _SHOWN:
        worst = {column.name for column in found.worst_columns(_SHOWN)}
        chosen = [column for column in chosen if column.name in worst]
    axes = plots.columns(
        {column.name: _values(column, column.real) for column in chosen},
        {column.name: _values(column, column.synthetic) for column in chosen},
        levels={column.name: column.levels for column in chosen if column.levels},
    )
    left = "" if len(chosen) == len(found.columns) else f" Shown: the {_SHOWN} columns that are met worst."
    return section(
        "Each column",
        '<span class="key" style="background:var(--data);margin-left:0"></span>real '
        '<span class="key" style="background:var(--samples)"></span>synthetic. Where the line follows the filled '
        f"shape, the column is right; the scale of a long-tailed column is logarithmic outside the middle.{left}",
        embed(axes, name="columns", says="Histograms of each column, real and synthetic"),
    )


def _values(column: Any, values: Array) -> Array:
    if not column.calendar:
        return values
    return np.where(np.isnan(values), np.datetime64("NaT"), np.nan_to_num(values).astype("datetime64[us]"))


def _worst(found: Any) -> str:
    columns = [(column.name, column.kind, _percent(column.shape)) for column in found.worst_columns(_WORST)]
    pairs = [
        (f"{pair.first} × {pair.second}", pair.measure, _percent(pair.score), f"{pair.strength:.2f}")
        for pair in found.worst_pairs(_WORST)
    ]
    left = table(("column", "kind", "alike"), columns, texts=2)
    right = table(("pair", "measure", "alike", "strength"), pairs, texts=2) if pairs else ""
    return section(
        "Furthest off",
        "Strength says how related the real columns are: Pearson's correlation without its sign, or Cramér's V.",
        f'<div class="two"><div>{left}</div><div>{right}</div></div>',
    )


def _closest(found: Any) -> str:
    closest = found.closest
    fresh = "rows of the holdout" if closest.held is not None else "other rows of training"
    rows = [
        ("synthetic rows", f"{np.quantile(closest.synthetic, 0.05):.4f}", f"{np.median(closest.synthetic):.4f}"),
        (fresh, f"{np.quantile(closest.fresh, 0.05):.4f}", f"{np.median(closest.fresh):.4f}"),
    ]
    picture = embed(plots.closest(closest.synthetic, closest.fresh), name="closest", says="Distances to closest rows")
    return section(
        "Closest rows",
        f"Distance to the closest of {closest.among:,} rows of training: the mean over columns of the gap as a share "
        f"of the range, 1 for another category. Filled: {fresh}. Copies show as a line that stands above it near 0.",
        f'<div class="two"><div>{picture}</div><div>{table(("distance", "5 %", "median"), rows)}</div></div>',
    )


def _numbers(found: Any) -> str:
    rows = [
        (
            column.name,
            column.kind,
            _percent(column.shape),
            _percent(column.adherence),
            "kept" if column.same_type else "another",
            _percent(column.missing[0]),
            _percent(column.missing[1]),
        )
        for column in found.columns
    ]
    names = ("column", "kind", "alike", "in range", "type", "missing, real", "missing, synthetic")
    return section("Columns in numbers", "", table(names, rows, texts=2))


def _card(found: Any, card: Mapping[str, str]) -> str:
    rows = ", ".join(
        f"{count:,} {name}" for count, name in zip(found.rows, ("real", "synthetic", "held out"), strict=True) if count
    )
    most = f"at most {found.sampled:,} rows of each table for pairs and for the target, drawn with seed {found.seed}"
    told = {"Rows": rows, "Looked at": most, **card}
    items = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in told.items())
    return section("How this was measured", "", f"<dl>{items}</dl>")


def _percent(share: float) -> str:
    if math.isnan(share):
        return "-"
    return "< 0.1 %" if 0 < share < 0.001 else f"{math.floor(1000 * share + 1e-9) / 10:.1f} %"


def _nats(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")
