"""``unwarp report --synthetic``: a page about synthetic rows beside the real ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from unwarp import report as pages
from unwarp.applications import Judgement, judge
from unwarp.cli._out import writing
from unwarp.data import read_table
from unwarp.estimators import BatchScorer


@dataclass(frozen=True, slots=True)
class _Scorer:
    """A model that picks its own columns out of a table."""

    model: Any

    def score_samples(self, X: pa.Table) -> Any:
        """Log density of each row, in nats."""
        return self.model.score_samples(X.select(list(self.model.schema_.names)))


def write_judgement(
    real: Path,
    synthetic: Path,
    output: Path,
    *,
    holdout: Path | None = None,
    target: str | None = None,
    model: Path | None = None,
    seed: int = 0,
) -> Judgement:
    """Judge the rows of `synthetic` beside those of `real`, and write the page."""
    found = judge(
        read_table(real, kinds="any"),
        read_table(synthetic, kinds="any"),
        holdout=None if holdout is None else read_table(holdout, kinds="any"),
        target=target,
        model=None if model is None else _Scorer(BatchScorer(model).model),
        seed=seed,
    )
    files = {"Real": real, "Synthetic": synthetic, "Holdout": holdout, "Model": model}
    with writing(output):
        pages.write_synthetic(
            found,
            output,
            title=synthetic.name,
            source=f"synthetic rows beside {real.name}",
            card={name: path.name for name, path in files.items() if path is not None},
        )
    return found
