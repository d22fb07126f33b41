"""FlowDensity keeps scikit-learn's contracts, and scores are what they say they are."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from unwarp.estimators import FlowDensity


@parametrize_with_checks([FlowDensity()])
def test_scikit_learn_agrees(estimator, check):
    check(estimator)
