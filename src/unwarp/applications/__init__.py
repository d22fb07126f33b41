"""What flows are used for: so far, judging synthetic rows beside the real ones."""

from unwarp.applications._judgement import Judgement
from unwarp.applications._measures import Closest, ColumnScore, Duplicates, Likelihood, PairScore, Utility
from unwarp.applications._synthesis import judge

__all__ = ["Closest", "ColumnScore", "Duplicates", "Judgement", "Likelihood", "PairScore", "Utility", "judge"]
