"""What estimators of tables share: the rows as numbers, the names of the columns, a seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from unwarp.data import finite_values, numeric_frame


def values_of(estimator: Any, where: str, X: Any, *, reset: bool = False) -> NDArray[np.float64]:
    """The rows as finite float64 numbers; with `reset`, the estimator learns number and names of the columns."""
    data = numeric_frame(where, X)
    values: Any = validate_data(estimator, data, dtype=np.float64, reset=reset, ensure_all_finite=False)
    return finite_values(where, values, names_of(estimator))


def names_of(estimator: Any) -> list[str]:
    """Names of the columns, ``x0, x1, ...`` for arrays."""
    given = vars(estimator).get("feature_names_in_")
    return [f"x{i}" for i in range(estimator.n_features_in_)] if given is None else [str(name) for name in given]


def seed_of(random_state: Any) -> int:
    """The seed itself when it is one, otherwise one that is drawn."""
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool) and random_state >= 0:
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def generator_of(seed: int, block: int) -> torch.Generator:
    """The random generator of a block of rows, so that row i depends on the seed and on i alone."""
    state = np.random.SeedSequence([seed, block % 2**32]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def filled(own: pa.ChunkedArray, drawn: pa.ChunkedArray) -> Any:
    """A column with its gaps filled, of its own type if that can hold what is drawn."""
    missing = own.is_null(nan_is_null=True)
    if not pc.call_function("any", [missing]).as_py() or drawn.null_count == len(drawn):
        return own
    if drawn.type != own.type:
        try:
            drawn = drawn.cast(own.type) if not pa.types.is_null(own.type) else drawn
        except pa.ArrowInvalid:  # tenths between whole numbers
            own = own.cast(drawn.type)
    return drawn if pa.types.is_null(own.type) else pc.call_function("if_else", [missing, drawn, own])
