"""Flows as scikit-learn estimators, and their scores of tables of any size."""

from unwarp.estimators._batches import BatchScorer
from unwarp.estimators._density import FlowDensity
from unwarp.estimators._given import Given
from unwarp.estimators._load import load_estimator
from unwarp.estimators._marginal import Marginal
from unwarp.estimators._mixed import FlowTable
from unwarp.estimators._outlier import FlowOutlier
from unwarp.estimators._parts import Verified, verify_scores
from unwarp.estimators._pyod import pyod_detector
from unwarp.estimators._scores import ScoredParts, score_parts, score_table
from unwarp.estimators._table_outlier import TableOutlier
from unwarp.estimators._tally import Tally

__all__ = [
    "BatchScorer",
    "FlowDensity",
    "FlowOutlier",
    "FlowTable",
    "Given",
    "Marginal",
    "ScoredParts",
    "TableOutlier",
    "Tally",
    "Verified",
    "load_estimator",
    "pyod_detector",
    "score_parts",
    "score_table",
    "verify_scores",
]
