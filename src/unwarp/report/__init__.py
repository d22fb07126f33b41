"""Self-contained HTML pages: `examine` and `render` for a fitted model, `render_synthetic` for synthetic rows."""

from unwarp.report._examine import examine, strangest
from unwarp.report._findings import Findings, Strange
from unwarp.report._page import render, write
from unwarp.report._synthetic import render_synthetic, write_synthetic

__all__ = ["Findings", "Strange", "examine", "render", "render_synthetic", "strangest", "write", "write_synthetic"]
