"""Flows as scikit-learn estimators."""

from unwarp.estimators._density import FlowDensity
from unwarp.estimators._outlier import FlowOutlier

__all__ = ["FlowDensity", "FlowOutlier"]
