"""Self-contained HTML pages: `examine` and `render` for a fitted model; the like for posteriors and synthetic rows."""

from unwarp.report._checks import render_checks, write_checks
from unwarp.report._examine import examine, strangest
from unwarp.report._findings import Findings, Strange
from unwarp.report._page import render, write
from unwarp.report._posterior import PosteriorFindings, examine_posterior, render_posterior, write_posterior
from unwarp.report._synthetic import render_synthetic, write_synthetic

__all__ = [
    "Findings",
    "PosteriorFindings",
    "Strange",
    "examine",
    "examine_posterior",
    "render",
    "render_checks",
    "render_posterior",
    "render_synthetic",
    "strangest",
    "write",
    "write_checks",
    "write_posterior",
    "write_synthetic",
]
