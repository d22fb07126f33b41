"""Synthetic rows beside real ones: are they alike, useful, and nobody's copies?

Given: tables as `_columns` that can be compared. Measured: `_scores` of columns and pairs, `_closest` rows and
`_utility`; the figures are `_measures`. Judged: `_judge` gathers them in a `_judgement`, told in `_words`.
"""

from unwarp.applications._synthesis._judge import judge
from unwarp.applications._synthesis._judgement import Judgement
from unwarp.applications._synthesis._measures import Closest, ColumnScore, Duplicates, Likelihood, PairScore, Utility

__all__ = ["Closest", "ColumnScore", "Duplicates", "Judgement", "Likelihood", "PairScore", "Utility", "judge"]
