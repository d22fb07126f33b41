"""Log densities of Arrow batches: one function that a cluster's workers run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unwarp.errors import ConfigError, DataError
from unwarp.estimators._density import FlowDensity
from unwarp.estimators._load import load_estimator

__all__ = ["BatchScorer", "Precision", "log_probs"]

Precision = Literal["float64", "float32"]


class BatchScorer:
    """A function of Arrow record batches that adds the log density of each row, in nats; it can be pickled.

    When to use it: for tables that live on a cluster. It keeps no state between batches and carries its model with it,
    so it is what Spark's ``mapInArrow``, Ray's ``map_batches`` and Dask's ``map_partitions`` run.

    Args:
        model: A fitted `FlowDensity` or `FlowTable`, or the path of a model file, which is read at once: workers need
            no file.
        keep: Columns that go on beside the log density; all by default.
        name: Of the new column.
        precision: ``"float32"`` for many rows; see `FlowDensity.score_samples`.

    Raises:
        ConfigError: When `precision` is another word.
        BundleError: When there is no model in the file.

    Example:
        >>> import pickle
        >>> x = np.random.default_rng(0).normal(size=(50, 2))
        >>> table = pa.table({"a": x[:, 0], "b": x[:, 1], "id": np.arange(50)})
        >>> scorer = BatchScorer(FlowDensity("nice", max_steps=2).fit(table.select(["a", "b"])), keep=["id"])
        >>> batches = list(pickle.loads(pickle.dumps(scorer))(table.to_batches(max_chunksize=20)))
        >>> [batch.num_rows for batch in batches], batches[0].schema.names
        ([20, 20, 10], ['id', 'log_prob'])
    """

    def __init__(
        self,
        model: Any,
        *,
        keep: Sequence[str] | None = None,
        name: str = "log_prob",
        precision: Precision = "float64",
    ) -> None:
        if precision not in ("float64", "float32"):
            raise ConfigError(f'BatchScorer: expected "float64" or "float32"; got {precision!r}. Choose one.')
        self.model: Any = load_estimator(model) if isinstance(model, (str, os.PathLike)) else model
        self.keep = None if keep is None else tuple(keep)
        self.name = name
        self.precision: Precision = precision

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """A batch for each batch, of the same rows in the same order.

        Raises:
            DataError: When a column of the model is missing, or a value cannot be used.
        """
        for batch in batches:
            yield from self.table(pa.Table.from_batches([batch])).to_batches() or [
                pa.RecordBatch.from_pylist([], self._schema(batch.schema))
            ]

    def table(self, table: pa.Table) -> pa.Table:
        """The same for a whole table.

        Raises:
            DataError: As for batches.
        """
        scores = log_probs(self.model, table, self.precision) if len(table) else np.empty(0)
        kept = table if self.keep is None else table.select(list(self.keep))
        return pa.table([*kept.columns, pa.array(scores)], schema=self._schema(table.schema)).combine_chunks()

    def _schema(self, schema: pa.Schema) -> pa.Schema:
        """The columns that go on, and the new one."""
        if self.name in (schema.names if self.keep is None else self.keep):
            raise DataError(
                f"BatchScorer: expected no column {self.name!r} yet; got one. Choose another name, or keep others."
            )
        fields = list(schema) if self.keep is None else [schema.field(name) for name in self.keep]
        return pa.schema([*fields, pa.field(self.name, pa.float64())])


def log_probs(model: Any, table: pa.Table, precision: Precision) -> NDArray[np.float64]:
    """The log density of each row under an estimator with a schema; columns are found by name."""
    if not isinstance(model, FlowDensity):
        if precision != "float64":
            raise ConfigError(
                "score: expected float64 for a mixed table; got float32. Leave out --float32, or precision."
            )
        return model.score_samples(table)
    names = model.schema_.names
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise DataError(
            f"score: expected the columns of the model; got a table without {missing[0]!r}. Add or rename it."
        )
    rows: Any = table.select(names)
    if "feature_names_in_" not in vars(model):  # fitted to an array
        rows = np.column_stack([column.to_numpy() for column in rows.columns])
    return model.score_samples(rows) if precision == "float64" else model.score_samples(rows, precision=precision)
