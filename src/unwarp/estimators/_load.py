"""The estimator in a model file, whichever it is."""

from __future__ import annotations

import os

from unwarp.estimators._density import FlowDensity
from unwarp.estimators._mixed import FlowTable
from unwarp.flows import read_config

__all__ = ["load_estimator"]


def load_estimator(path: str | os.PathLike[str]) -> FlowDensity | FlowTable:
    """The fitted `FlowDensity` or `FlowTable` in a model file, by what the file says.

    Args:
        path: The file.

    Raises:
        BundleError: When the file is no model file, is damaged, or holds a model without columns.

    Example:
        >>> import pathlib, tempfile
        >>> import numpy as np
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> FlowDensity("nice", max_steps=2).fit(np.random.default_rng(0).normal(size=(50, 2))).save(path)
        >>> type(load_estimator(path)).__name__
        'FlowDensity'
    """
    training = read_config(path)["training"] or {}
    return FlowTable.load(path) if training.get("estimator") == "table" else FlowDensity.load(path)
