"""What to cite: the papers behind a flow's recipe and parts."""

from __future__ import annotations

from unwarp.distributions import Flow
from unwarp.flows._papers import PAPERS
from unwarp.flows._references import SOURCES
from unwarp.transforms import Autoregressive, Coupling, Elementwise

__all__ = ["citation"]


def citation(flow: Flow) -> str:
    """BibTeX of the papers behind exactly this flow: its recipe, its layers, their scalar maps, and its base.

    Args:
        flow: any flow, made by a recipe or by hand.

    Returns:
        Entries sorted by key, ready for a `.bib` file; the text is empty where nothing needs a citation.

    Example:
        >>> from unwarp.flows import nsf
        >>> [line for line in citation(nsf(2)).splitlines() if line.startswith("@")]
        ['@misc{dinh2015nice,', '@misc{durkan2019neural,']
    """
    used = {type(part).__name__ for part in flow.modules()}
    for part in flow.modules():
        if isinstance(part, (Autoregressive, Coupling, Elementwise)):
            used.add(type(part.univariate).__name__)
    if flow.spec is not None:
        used.add(flow.spec["recipe"])
    keys = {key for name in used for key in SOURCES.get(name, ())}
    return "\n\n".join(_bibtex(key) for key in sorted(keys))


def _bibtex(key: str) -> str:
    authors, title, year, where = PAPERS[key]
    place = f"eprint = {{{where[6:]}}},\n  archivePrefix = {{arXiv}}" if where.startswith("arXiv:") else ""
    kind = "misc" if place else "article"
    place = place or f"journal = {{{where}}}"
    return f"@{kind}{{{key},\n  author = {{{authors}}},\n  title = {{{title}}},\n  year = {{{year}}},\n  {place}\n}}"
