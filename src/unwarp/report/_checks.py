"""From the checks of a simulator's posterior to one HTML page that needs nothing else."""

from __future__ import annotations

import os
from html import escape
from typing import Any

import numpy as np

from unwarp import plots
from unwarp._files import write_atomically
from unwarp.report._html import document, head, section, table
from unwarp.report._svg import embed

_SHARES = (0.5, 0.8, 0.9, 0.95, 0.99)


def render_checks(checks: Any, *, title: str = "Posterior of a simulator", source: str = "") -> str:
    """The page about the checks as text, in the manner of `render`.

    When to use it: to hand on what `applications.NPE.check` found, with pictures of ranks and coverage.

    Args:
        checks: what `check` returned.
        title: the heading.
        source: which model and simulator these are, in words.

    Returns:
        An HTML document.

    Raises:
        ModuleNotFoundError: without matplotlib.
    """
    parts = (
        head(
            " ".join(("unwarp report of", source or "a simulator's posterior")), title, checks.verdict, _tiles(checks)
        ),
        _coverage(checks),
        _ranks(checks),
        _distances(checks),
        _tests(checks),
    )
    return document(title, parts, footer="Tests are of fresh simulations. Made by unwarp.")


def write_checks(
    checks: Any, path: str | os.PathLike[str], *, title: str = "Posterior of a simulator", source: str = ""
) -> None:
    """`render_checks` to a file, which holds the old page or the whole new one at every moment.

    Raises:
        OSError: when it cannot be written.
        ModuleNotFoundError: without matplotlib.
    """
    write_atomically(path, [render_checks(checks, title=title, source=source).encode()])


def _tiles(checks: Any) -> list[tuple[str, str]]:
    lean = checks.conservatism
    tiles = [
        ("yes" if checks.trust else "no", "to be trusted"),
        (f"{checks.pairs:,} × {checks.draws:,}", "fresh simulations × draws of the posterior"),
        (f"{100 * checks.coverage(0.9):.0f} %", "of truths in regions that claim 90 %"),
        (f"{100 * lean:+.1f} %".replace("-", "−"), "more truths inside than claimed, mean over levels"),
        (f"{min(checks.p.values()):.2g}", f"smallest p-value of {len(checks.p)} tests"),
    ]
    if checks.local is not None:
        tiles.append((f"{100 * checks.local.beyond:.1f} %", "of simulations are as far out as the observation"))
    return tiles


def _coverage(checks: Any) -> str:
    picture = embed(plots.calibration(1 - checks.levels), name="coverage", says="Coverage of highest-density regions")
    rows = [(f"{100 * share:.0f} %", f"{100 * checks.coverage(share):.1f} %") for share in _SHARES]
    return section(
        "Coverage",
        "How often the region of highest density that claims a share of the mass holds the true parameters. Below the "
        "diagonal the posterior is overconfident, above it wider than it need be; the band is chance at 99 %.",
        f'<div class="two"><div>{picture}</div><div>{table(("region claims", "holds"), rows)}</div></div>',
    )


def _ranks(checks: Any) -> str:
    shown = list(checks.names)[:12]
    picture = embed(
        plots.deviations(checks.ranks[:, : len(shown)], columns=shown), name="ranks", says="Ranks of each parameter"
    )
    left = "" if len(shown) == len(checks.names) else f" Shown: the first {len(shown)} of {len(checks.names)}."
    return section(
        "Ranks of each parameter",
        "Simulation-based calibration: where the true parameter stands among the posterior's draws is uniform if all "
        "is well. A line above the band on the left and below it on the right tells of a posterior that is too "
        f"narrow, one on one side only of a shift.{escape(left)}",
        picture,
    )


def _distances(checks: Any) -> str:
    picture = embed(
        plots.deviations(np.asarray(checks.distances)[:, None], columns=["all parameters"]),
        name="distances",
        says="Levels by distance from random points",
    )
    return section(
        "All parameters together",
        "TARP: the share of draws that are nearer to a random point than the truth is. It also sees what ranks of one "
        "parameter at a time can't.",
        picture,
    )


def _tests(checks: Any) -> str:
    rows = [(name, f"{p:.3g}") for name, p in checks.p.items()]
    if checks.local is not None:
        rows.append(("classifier at the observation", f"{checks.local.p:.3g}"))
    return section(
        "Tests",
        f"p-values of uniformity, the smaller of Kolmogorov's and the chi-square test, doubled. With {len(checks.p)} "
        f"tests, one below {0.01 / len(checks.p):.2g} speaks against the posterior.",
        table(("test", "p"), rows),
    )
