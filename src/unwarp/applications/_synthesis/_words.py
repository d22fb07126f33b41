"""What a judgement means, in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unwarp.applications._synthesis._columns import NUMBERS

if TYPE_CHECKING:
    from unwarp.applications._synthesis._judgement import Judgement


def findings(found: Judgement) -> tuple[str, ...]:
    """A sentence or two about each of quality, possibility, copies, usefulness and likelihood."""
    said = (_of_quality, _of_diagnostic, _of_closest, _of_duplicates, _of_utility, _of_likelihood)
    return tuple(text for text in (say(found) for say in said) if text)


def _of_quality(found: Judgement) -> str:
    text = f"Quality {percent(found.quality)}: the columns' distributions are met to {percent(found.shapes)}"
    related = sum(pair.related for pair in found.pairs)
    if related:
        those = "the one related pair" if related == 1 else f"the {related} related pairs"
        text += f", {those} of columns to {percent(found.trends)}"
    if found.missing < 0.99:
        column = max(found.columns, key=lambda column: abs(column.missing[0] - column.missing[1]))
        text += (
            f". Cells are missing at other rates than in the real table, most of all in {column.name} "
            f"({percent(column.missing[1])} instead of {percent(column.missing[0])})"
        )
    if found.ceiling is not None:
        text += f". As many held-out rows would reach {percent(found.ceiling)}"
    return text + "."


def _of_diagnostic(found: Judgement) -> str:
    told = []
    if found.lacking:
        told.append(f"the synthetic table lacks {_named(found.lacking)}")
    if found.extra:
        told.append(f"it has {_named(found.extra)} beyond the real columns")
    changed = [column.name for column in found.columns if not column.same_type]
    if changed:
        told.append(f"another type in {_named(changed)}")
    outside = [column for column in found.columns if column.adherence < 1]
    for column in sorted(outside, key=lambda column: column.adherence)[:3]:
        what = "outside the real range" if column.kind in NUMBERS else "no category of the real table"
        told.append(f"{percent(1 - column.adherence)} of {column.name} {what}")
    if not found.same_order:
        told.append("the columns come in another order")
    if not told:
        return "Types, ranges and categories are kept everywhere."
    lost = f"Not all types, ranges and categories are kept (diagnostic {percent(found.diagnostic)})"
    return f"{lost}: {'; '.join(told)}."


def _of_closest(found: Judgement) -> str:
    share = found.closest.share
    if share is None:
        return "Whether training rows were copied cannot be said without a holdout."
    text = f"{percent(share)} of synthetic rows are closer to training rows than to held-out ones (ideal: 50 %)"
    if share > 0.5 + max(0.02, 3 * found.closest.error):
        return f"{text}: they follow single training rows more than they should."
    return f"{text}: no sign that single training rows were copied."


def _of_duplicates(found: Judgement) -> str:
    share, base = found.duplicates.share, found.duplicates.base
    fresh = "held-out rows do" if found.rows[2] else "training rows repeat another one"
    text = f"{percent(share)} of the synthetic rows repeat a training row; {percent(base)} of the {fresh}"
    slack = 3 * math.sqrt(max(base * (1 - base), 1 / found.rows[1]) / found.rows[1])
    return text + (": more than chance would give." if share > base + max(slack, 0.001) else ".")


def _of_utility(found: Judgement) -> str:
    if found.utility is None:
        return ""
    name, (synthetic, real) = next(iter(found.utility.scores.items()))
    return (
        f"A model of {found.utility.target} that learned from synthetic rows reaches {name} {synthetic:.3f} on real "
        f"rows; from as many real ones, {real:.3f}."
    )


def _of_likelihood(found: Judgement) -> str:
    likelihood = found.likelihood
    if likelihood is None:
        return ""
    text = f"The model gives held-out rows {likelihood.mean:.3f} ± {likelihood.error:.3f} nats a row"
    return text + (
        f", but holds {likelihood.impossible:,} of {likelihood.rows:,} impossible." if likelihood.impossible else "."
    )


def percent(share: float) -> str:
    """A share in per cent, rounded down: 100 % is all."""
    if math.isnan(share):
        return "-"
    return "under 0.1 %" if 0 < share < 0.001 else f"{math.floor(1000 * share + 1e-9) / 10:.1f} %"


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more"
