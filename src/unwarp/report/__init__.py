"""One self-contained HTML page about a fitted model: `examine` compares it with a table, `render` makes the page."""

from unwarp.report._examine import examine, strangest
from unwarp.report._findings import Findings, Strange
from unwarp.report._page import render, write

__all__ = ["Findings", "Strange", "examine", "render", "strangest", "write"]
