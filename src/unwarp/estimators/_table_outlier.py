"""Strange rows of a table with columns of any kind, and which cells make them so."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sklearn.utils.validation import check_is_fitted

from unwarp.data import Schema, arrow_table, infer_table
from unwarp.errors import BundleError, ConfigError, DataError
from unwarp.estimators._calibrated import FOUND, Calibrated
from unwarp.estimators._conformal import offset, within
from unwarp.estimators._mixed import FlowTable
from unwarp.estimators._table import seed_of
from unwarp.flows import read_config
from unwarp.training import Step

__all__ = ["TableOutlier"]

_SPLIT = 2_000  # rows from which some are set aside instead of fitting again and again
_ASIDE = 10_000  # rows that are set aside at most
_FOLDS = 4
_FEW = 20  # rows below which none can be kept from training


class TableOutlier(Calibrated):
    r"""The strange rows of a table with columns of any kind, by the joint law that `FlowTable` learns of them.

    When to use it: as `FlowOutlier`, whose p-values, rates and calibration these are, where columns hold categories,
    truth values, dates or gaps. A row's score is the log probability of the cells that it has, so that a row with many
    gaps has less that can be strange about it.

    Args:
        columns: What is known about columns, by name; see `data.infer_table`.
        schema: The columns themselves, in place of what would be inferred; see `data.Schema`.
        level: Share of the normal rows that `predict` may call strange.
        trim: Share of the rows, the strangest after a first fit, that the second leaves out; 0 fits once and takes all
            rows for normal.
        max_seconds: Budget of all training in seconds; with one, a repeated fit may differ.
        max_steps: Budget of the training of one model in steps.
        random_state: Seed of everything random in `fit`: an int for repeatable results, a `RandomState`, or None.

    Attributes:
        table_: The `FlowTable`.
        calibration_: Scores of the calibration rows, sorted.
        offset_: The score below which `predict` says -1.
        scores_: Score of each row of `fit`, those of calibration rows by a model that did not see the row.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> kind = rng.choice(["cat", "dog"], 60)
        >>> pets = pa.table({"kind": kind, "weight": np.where(kind == "cat", 4.0, 20.0) + rng.normal(size=60)})
        >>> model = TableOutlier(max_steps=20, random_state=0).fit(pets)
        >>> model.p_values(pets).shape, model.explain(pets.slice(0, 1), why=1).num_rows
        ((60,), 1)
    """

    _ranked = "scores_"

    def __init__(
        self,
        *,
        columns: Mapping[str, str] | None = None,
        schema: Schema | None = None,
        level: float = 0.05,
        trim: float = 0.05,
        max_seconds: float | None = None,
        max_steps: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.columns = columns
        self.schema = schema
        self.level = level
        self.trim = trim
        self.max_seconds = max_seconds
        self.max_steps = max_steps
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, progress: Callable[[Step], object] | None = None) -> Self:
        """Learn what is normal from rows of which most are.

        Args:
            X: The table: pandas, polars, pyarrow or anything of the kind, or an array ``(rows, columns)``.
            y: Ignored.
            progress: Gets each `Step` of the training, such as `training.progress_bar`.

        Raises:
            DataError: When the table has no rows, no column varies, or a cell contradicts its column's declaration.
            ConfigError: When an argument is out of range.
        """
        if not (0 < self.level < 1 and 0 <= self.trim < 0.5):
            raise ConfigError(
                f"TableOutlier: expected level in (0, 1) and trim in [0, 0.5); got {self.level} and {self.trim}. "
                "Use 0.05."
            )
        table = arrow_table("fit", X)
        if not table.num_rows:
            raise DataError("fit: expected a row; got none. Give rows.")
        self.scores_, aside = self._learn(table, seed_of(self.random_state), progress)
        normal = aside & ~within(self.scores_, FOUND)[1] if self.trim else aside
        self.calibration_ = np.sort(self.scores_[normal if normal.any() else aside])
        self.offset_ = offset(self.calibration_, self.level)
        return self

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Log probability of the cells that each row has, ``(rows,)`` nats: higher is more normal.

        Raises:
            DataError: When a column is missing, or a cell is of another kind than its column.
        """
        check_is_fitted(self)
        return self.table_.score_samples(X)

    def explain(self, X: Any, *, why: int | None = None) -> Any:
        """Which cells make rows strange, a line a row and cell, the most surprising first; see `FlowTable.explain`."""
        check_is_fitted(self)
        return self.table_.explain(X, why=why)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one `.safetensors` file, from which `FlowTable.load` reads the joint law too."""
        check_is_fitted(self)
        finite = self.calibration_[np.isfinite(self.calibration_)]
        impossible = len(self.calibration_) - len(finite)
        own = _Saved(level=self.level, impossible=impossible, calibration=finite.tolist())
        self.table_._write(path, outlier=own.model_dump())  # pyright: ignore[reportPrivateUsage]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The fitted estimator in a model file, without the rows that it was fitted to.

        Raises:
            BundleError: When the file is no model file, is damaged, or holds no calibration.
        """
        table = FlowTable.load(path)
        try:
            own = _Saved.model_validate((read_config(path)["training"] or {}).get("outlier"))
        except ValidationError as error:
            raise BundleError(
                f"load({os.fspath(path)}): expected a model with calibration scores, as TableOutlier.save or "
                "`unwarp outliers --save` writes it; got another. Write one, or use FlowTable.load."
            ) from error
        model = cls(level=own.level)
        model.table_ = table
        model.calibration_ = np.sort(np.concatenate([np.full(own.impossible, -np.inf), own.calibration]))
        model.offset_ = offset(model.calibration_, model.level)
        return model

    def _learn(
        self, table: pa.Table, seed: int, progress: Callable[[Step], object] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fit; scores of all rows, and which of them are for calibration."""
        schema = infer_table(table, columns=self.columns) if self.schema is None else self.schema
        rows = table.num_rows
        order, split = np.random.default_rng([seed, 2]).permutation(rows), rows >= _SPLIT
        folds = [] if split or rows < _FEW else [order[fold::_FOLDS] for fold in range(_FOLDS)]
        trims = self.trim > 0 and rows >= _FEW
        seconds = None if self.max_seconds is None else self.max_seconds / (1 + trims + len(folds))

        def fitted(kept: np.ndarray, steps: int | None) -> FlowTable:
            model = FlowTable(schema=schema, max_seconds=seconds, max_steps=steps, random_state=seed)
            model.fit(table.filter(pa.array(kept)), progress=progress)
            if model.history_.interrupted:
                raise KeyboardInterrupt
            return model

        aside = np.full(rows, fill_value=not split)
        if split:
            aside[order[: min(rows // 4, _ASIDE)]] = True
        kept = ~aside if split else aside.copy()
        self.table_ = fitted(kept, self.max_steps)
        scores = self.table_.score_samples(table)
        if trims:
            kept &= scores > np.quantile(scores[kept], self.trim, method="lower")
            self.table_ = fitted(kept, self.max_steps)
            scores = self.table_.score_samples(table)
        for held in folds:
            rest = kept.copy()
            rest[held] = False
            scores[held] = fitted(rest, self.table_.n_iter_).score_samples(table.take(held))
        return scores, aside


class _Saved(BaseModel):
    """What a model file holds besides the joint law."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    level: Annotated[float, Field(gt=0, lt=1)]
    impossible: Annotated[int, Field(ge=0, le=100_000)]
    calibration: Annotated[list[float], Field(max_length=100_000)]
