"""``unwarp report --synthetic``: a page about synthetic rows beside the real ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from unwarp import report as pages
from unwarp.applications import Judgement, judge
from unwarp.cli._out import Failure, writing
from unwarp.cli._rows import columns_of, read_rows
from unwarp.data import read_table
from unwarp.estimators import FlowDensity, FlowTable, load_estimator

_MOST = 50_000  # rows that are drawn to be judged


@dataclass(frozen=True, slots=True)
class _Scorer:
    """A model that picks its own columns out of a table."""

    model: FlowDensity | FlowTable

    def score_samples(self, X: pa.Table) -> Any:
        """Log density of each row, in nats."""
        return self.model.score_samples(X.select(columns_of(self.model)))


def write_judgement(
    real: Path,
    synthetic: Path | None,
    output: Path,
    *,
    holdout: Path | None = None,
    target: str | None = None,
    model: Path | None = None,
    seed: int = 0,
) -> Judgement:
    """Judge the rows of `synthetic`, or as many drawn from `model`, beside those of `real`, and write the page."""
    estimator = None if model is None else load_estimator(model)
    rows = read_table(real, kinds="any")
    if synthetic is not None:
        made = read_table(synthetic, kinds="any")
    elif isinstance(estimator, FlowTable):
        rows = read_rows(estimator, real)
        made = estimator.sample(min(len(rows), _MOST), random_state=seed).select(rows.column_names)
    else:
        raise Failure("report: expected synthetic rows or a model of mixed columns; got neither. Give --synthetic.")
    found = judge(
        rows,
        made,
        holdout=None if holdout is None else read_table(holdout, kinds="any"),
        target=target,
        model=None if estimator is None or (holdout is None and synthetic is None) else _Scorer(estimator),
        seed=seed,
    )
    files = {"Real": real, "Synthetic": synthetic, "Holdout": holdout, "Model": model}
    with writing(output):
        pages.write_synthetic(
            found,
            output,
            title=real.name if synthetic is None else synthetic.name,
            source=f"{'rows drawn from the model' if synthetic is None else 'synthetic rows'} beside {real.name}",
            card={name: path.name for name, path in files.items() if path is not None},
        )
    return found
