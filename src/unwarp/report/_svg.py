"""Figures as inline SVG whose colours follow the page's light or dark theme."""

from __future__ import annotations

import html
import io
import re
import warnings
from typing import Any

import numpy as np

from unwarp import plots

_THEME = {
    plots.INK: "var(--ink)",
    plots.MUTED: "var(--muted)",
    plots.GRID: "var(--line)",
    plots.DATA: "var(--data)",
    plots.SAMPLES: "var(--samples)",
}
_NAMED = re.compile(r'\bid="([^"]+)"')


def embed(axes: Any, *, name: str, says: str) -> str:
    """The figure of `axes` as an SVG element; `name` keeps its ids apart from other figures', `says` is read aloud."""
    file = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # letters that the font lacks are drawn as boxes
        np.asarray(axes, dtype=object).flat[0].figure.savefig(file, format="svg", transparent=True, dpi=150)
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", file.getvalue(), flags=re.DOTALL)
    text = text[text.index("<svg") :]
    ids = {old: f"{name}-{place}" for place, old in enumerate(dict.fromkeys(_NAMED.findall(text)))}
    text = re.sub(r'(\bid="|href="#|url\(#)([^")]+)', lambda found: found[1] + ids.get(found[2], found[2]), text)
    for colour, variable in _THEME.items():
        text = text.replace(colour, variable)
    width = float(text.split('width="', 1)[1].split("pt", 1)[0]) * 4 / 3
    return re.sub(
        r'<svg [^>]*?(viewBox="[^"]+")[^>]*>',
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" \\1 role="img" '
        f'aria-label="{html.escape(says)}" style="max-width:{width:.0f}px">',
        text,
        count=1,
    )
