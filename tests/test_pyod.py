"""The detector for PyOD keeps PyOD's conventions, by PyOD itself where it is installed."""

from __future__ import annotations

import importlib.util
import pickle
import sys
import types
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone

from unwarp.estimators import FlowOutlier, pyod_detector
from unwarp.estimators._pyod import _detector

SETTINGS: dict[str, Any] = {"max_steps": 10, "random_state": 0, "trim": 0.0}
SETTINGS |= {"flow": "maf", "flow_options": {"layers": 1, "hidden": (8,), "base": "mixture", "components": 1}}


class Stub(BaseEstimator):
    """What PyOD documents of `BaseDetector`, where PyOD is absent."""

    def __init__(self, contamination: float = 0.1) -> None:
        self.contamination = contamination

    def _set_n_classes(self, y: Any) -> None:
        self._classes = 2

    def _process_decision_scores(self) -> None:
        self.threshold_ = np.percentile(self.decision_scores_, 100 * (1 - self.contamination))
        self.labels_ = (self.decision_scores_ > self.threshold_).astype(int)

    def predict(self, X: Any) -> np.ndarray:
        return (self.decision_function(X) > self.threshold_).astype(int)


@pytest.fixture
def pyod(monkeypatch):
    """PyOD or the stub; the class is made anew."""
    _detector.cache_clear()
    if importlib.util.find_spec("pyod") is None:
        base: Any = types.ModuleType("pyod.models.base")
        base.BaseDetector = Stub
        for name, module in (("pyod", types.ModuleType("pyod")), ("pyod.models", types.ModuleType("pyod.models"))):
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setitem(sys.modules, "pyod.models.base", base)
    yield
    _detector.cache_clear()


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    x[:10] = rng.uniform(6, 12, (10, 3)) * rng.choice([-1, 1], (10, 3))
    return x


@pytest.mark.usefixtures("pyod")
def test_scores_labels_and_threshold_are_as_pyod_has_them(rows):
    detector = pyod_detector(0.05, outlier=FlowOutlier(**SETTINGS)).fit(rows)
    assert detector.labels_.tolist() == [1] * 10 + [0] * 190
    assert detector.decision_scores_.shape == (200,)
    assert detector.decision_scores_[:10].min() > detector.threshold_ >= detector.decision_scores_[10:].max()
    assert detector.predict(np.array([[0.0, 0.0, 0.0], [30.0, 0.0, 0.0]])).tolist() == [0, 1]
    np.testing.assert_array_equal(detector.decision_function(rows), -detector.outlier_.score_samples(rows))


@pytest.mark.usefixtures("pyod")
def test_impossible_rows_have_finite_scores(rows):
    with pytest.warns(UserWarning, match="left out"):
        detector = pyod_detector(outlier=FlowOutlier(**SETTINGS)).fit(np.column_stack([rows, np.ones(200)]))
    assert np.isfinite(detector.decision_function(np.array([[0.0, 0.0, 0.0, 2.0]]))).all()


@pytest.mark.usefixtures("pyod")
def test_a_detector_is_cloned_and_pickled(rows):
    detector = pyod_detector(0.05, outlier=FlowOutlier(**SETTINGS)).fit(rows)
    again = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(again.decision_function(rows), detector.decision_function(rows))
    assert again.threshold_ == detector.threshold_
    assert clone(detector).get_params()["contamination"] == 0.05


def test_without_pyod_the_error_says_what_to_install(monkeypatch):
    _detector.cache_clear()
    monkeypatch.setitem(sys.modules, "pyod.models.base", None)
    monkeypatch.setitem(sys.modules, "pyod", None)
    with pytest.raises(ModuleNotFoundError, match="pip install pyod"):
        pyod_detector()
