"""What every page is made of: the document, its head, sections and tables; all text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from unwarp.report._style import CSS

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # nothing is fetched, no script runs


def document(title: str, parts: Iterable[str], *, footer: str) -> str:
    """The page: `parts` are HTML, the rest is text."""
    return "".join(
        (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            f"<title>{escape(title)} · unwarp</title><style>{CSS}</style></head><body><main>",
            *parts,
            f"<footer>{escape(footer, quote=False)}</footer>",
            "</main></body></html>\n",
        )
    )


def head(above: str, title: str, verdict: str, tiles: Iterable[tuple[str, str]]) -> str:
    """The heading, what was found in words, and the main figures with what they are."""
    boxes = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(label)}</span></div>' for value, label in tiles
    )
    return (
        f"<header><p>{escape(above)}</p><h1>{escape(title)}</h1>"
        f'<p class="verdict">{escape(verdict)}</p></header><div class="tiles">{boxes}</div>'
    )


def section(title: str, says: str, content: str) -> str:
    """A part of the page; `says` and `content` are HTML."""
    lead = f"<p>{says}</p>" if says else ""
    return f"<section><h2>{escape(title)}</h2>{lead}{content}</section>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 1) -> str:
    """A table whose first `texts` columns are words."""
    titles = "".join(f"<th{' class=text' if k < texts else ''}>{breakable(name)}</th>" for k, name in enumerate(head))
    body = "".join(
        "<tr>"
        + "".join(f"<td{' class=text' if k < texts else ''}>{escape(c)}</td>" for k, c in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"


def breakable(name: str) -> str:
    """A name that may be broken at its underscores."""
    return escape(name).replace("_", "_<wbr>")
