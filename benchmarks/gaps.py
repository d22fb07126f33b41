"""Tables with cells removed at random: what fills the gaps best, and how likely what is left is.

    UNWARP_DATA=... python benchmarks/gaps.py --tables adult diamonds california --shares 0.1 0.3 0.5

Cells of every column are removed from the rows of training and from the held-out rows alike. Filled cells are compared
with what was removed from held-out rows: the root of the mean square in standard deviations for numbers, the share of
wrong levels for categories, each the mean over columns. Log-likelihoods are of the cells that are left in a held-out
row: probabilities of levels, and of the recorded value of every number, whose decimals are made whole first. Rows that
a model holds to be impossible, such as a 0 in a column that had none, are counted and left out of its mean.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _record
import _synthesizers as synthesizers
import _tables
import numpy as np
import pandas as pd
import synthetic
import torch
from sklearn.impute import KNNImputer

DECIMALS = {"longitude": 2, "latitude": 2, "median_income": 4}
TABLES = ("adult", "diamonds", "california", "demo")
CONTESTANTS = ("means", "iterative", "neighbours", "independent", "network", "flow")


def load(name: str, seed: int, rows: int, held: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Some rows of training and some held-out rows, of whole numbers and categories."""
    if name != "california":
        train, test = synthetic.load(name, seed)
    else:
        table = pd.read_csv(_tables.root() / "tabular_california_housing" / "housing.csv.gz")
        for column, places in DECIMALS.items():
            table[column] = (table[column] * 10**places).round()
        order = np.random.default_rng(seed).permutation(len(table))
        train, test = table.iloc[order[len(table) // 5 :]], table.iloc[order[: len(table) // 5]]
    return train.sample(min(rows, len(train)), random_state=seed), test.sample(min(held, len(test)), random_state=seed)


def gappy(table: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """The table without a share of its cells."""
    gone = np.random.default_rng([seed, len(table)]).random(table.shape) < share
    whole = {column: "float64" for column in table if synthesizers.is_number(table[column])}
    return table.astype(whole).mask(gone)


def errors(filled: pd.DataFrame, truth: pd.DataFrame, left: pd.DataFrame, scale: pd.DataFrame) -> dict[str, float]:
    """How far the filled cells are from those that were removed: numbers and levels, means over the columns."""
    numbers, levels = [], []
    for column in truth:
        gone = (left[column].isna() & truth[column].notna()).to_numpy()
        made, true = filled[column].to_numpy()[gone], truth[column].to_numpy()[gone]
        if synthesizers.is_number(truth[column]):
            off = (made.astype(float) - true.astype(float)) / scale[column].std()
            numbers.append(np.sqrt(np.mean(off**2)))
        else:
            levels.append(np.mean(made.astype(object) != true.astype(object)))
    return {"numbers": float(np.mean(numbers)), "levels": float(np.mean(levels))}


class Imputed:
    """An imputer of numbers beside an indicator of every level but the most frequent; the largest is taken.

    Without the one left out, indicators of a gap would tell each other what they are.
    """

    def __init__(self, imputer: Any) -> None:
        self.imputer = imputer

    def fit(self, table: pd.DataFrame) -> Imputed:
        """Learn from a table with gaps."""
        self.numbers = [column for column in table if synthesizers.is_number(table[column])]
        others = [column for column in table if column not in self.numbers]
        self.levels = {column: table[column].value_counts().index.to_numpy(dtype=object) for column in others}
        self.mean, self.std = table[self.numbers].mean(), table[self.numbers].std()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the iterations have not settled
            self.imputer.fit(self._matrix(table))
        return self

    def fill(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table with its gaps filled."""
        made, filled = self.imputer.transform(self._matrix(table)), {}
        for i, column in enumerate(self.numbers):
            filled[column] = made[:, i] * self.std[column] + self.mean[column]
        at = len(self.numbers)
        for column, levels in self.levels.items():
            own = made[:, at : at + len(levels) - 1]
            filled[column] = levels[np.concatenate([1 - own.sum(1, keepdims=True), own], 1).argmax(1)]
            at += len(levels) - 1
        return pd.DataFrame(filled, index=table.index)

    def _matrix(self, table: pd.DataFrame) -> np.ndarray:
        parts = [((table[self.numbers] - self.mean) / self.std).to_numpy()]
        for column, levels in self.levels.items():
            cells = table[column].to_numpy()[:, None] == levels[1:]
            parts.append(np.where(table[column].isna().to_numpy()[:, None], np.nan, cells.astype(float)))
        return np.concatenate(parts, 1)


def _imputer(name: str) -> Callable[[int], Any]:
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # pyright: ignore[reportUnusedImport]
    from sklearn.impute import IterativeImputer, SimpleImputer

    return {
        "means": lambda _: SimpleImputer(keep_empty_features=True),
        "iterative": lambda seed: IterativeImputer(random_state=seed, keep_empty_features=True),
        "neighbours": lambda _: KNNImputer(n_neighbors=20, keep_empty_features=True),
    }[name]


def measure(name: str, contestant: str, share: float, args: argparse.Namespace) -> dict[str, Any]:
    """What one contestant makes of one table with gaps."""
    truth, test = load(name, args.seed, args.rows, args.held)
    train, left = gappy(truth, share, args.seed), gappy(test, share, args.seed)
    clock, found = time.process_time(), {}
    if contestant == "flow":
        from unwarp import FlowTable

        model = FlowTable(max_steps=args.steps, random_state=args.seed).fit(train)
        filled, scores = model.complete(left, how="expected", random_state=0), model.score_samples(left)
        found |= errors(filled, test, left, truth) | {"steps": model.n_iter_}
    elif contestant in ("independent", "network"):
        made = synthesizers.Bootstrap() if contestant == "independent" else synthesizers.Network()
        scores = made.fit(train.reset_index(drop=True), args.seed).score_samples(left.reset_index(drop=True))
    else:
        found |= errors(Imputed(_imputer(contestant)(args.seed)).fit(train).fill(left), test, left, truth)
        scores = None
    if scores is not None:
        some = scores[np.isfinite(scores)]
        found |= {"likelihood": np.mean(some), "error": np.std(some) / np.sqrt(len(some))}
        found |= {"impossible": len(scores) - len(some)}
    return found | {"seconds": time.process_time() - clock}


def summary(cells: dict[str, dict[str, Any]]) -> str:
    """A line a table, share and contestant."""
    rows = []
    for key, cell in cells.items():
        name, share, contestant = key.split("/")
        errors = [f"{cell[part]:.3f}" if part in cell else "-" for part in ("numbers", "levels")]
        likely = f"{cell['likelihood']:.3f} +- {cell['error']:.3f}" if "likelihood" in cell else "-"
        never = str(cell.get("impossible", "-"))
        rows.append([name, f"{100 * float(share):.0f}", contestant, *errors, likely, never, f"{cell['seconds']:.0f}"])
    rows.sort(key=lambda row: (row[0], float(row[1]), CONTESTANTS.index(row[2])))
    header = [
        "table",
        "% removed",
        "filled by",
        "numbers, sd",
        "levels, wrong",
        "log-likelihood of the rest",
        "impossible",
        "cpu s",
    ]
    return _record.table(rows, header)


def main() -> None:
    """Measure what is missing, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables", nargs="+", default=list(TABLES[:-1]), choices=TABLES)
    parser.add_argument("--shares", nargs="+", type=float, default=[0.1, 0.3, 0.5])
    parser.add_argument("--contestants", nargs="+", default=list(CONTESTANTS), choices=CONTESTANTS)
    parser.add_argument("--rows", type=int, default=2_500, help="rows of training")
    parser.add_argument("--held", type=int, default=1_500, help="held-out rows")
    parser.add_argument("--steps", type=int, default=None, help="of the flow's training; by default its own choice")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rerun", action="store_true", help="measure stored cells again")
    parser.add_argument("--quick", action="store_true", help="seconds on a made-up table; tests use it")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    if args.quick:
        args.tables, args.shares, args.steps, args.rows = ["demo"], [0.3], 60, 800
        args.out = args.out or _record.SCRATCH / "gaps-quick.json"
    torch.set_num_threads(args.threads)
    record = _record.Record("gaps", threads=args.threads, path=args.out)
    for share in args.shares:
        for table in args.tables:
            for contestant in args.contestants:
                where = f"{table}/{share:g}/{contestant}"
                settings = {"seed": args.seed, "rows": args.rows, "held": args.held}
                settings |= {"steps": args.steps} if contestant == "flow" else {}
                if args.rerun or not record.has(where, settings):
                    started = _record.now()
                    record.put(where, measure(table, contestant, share, args), settings=settings, started=started)
                    print(where, {k: v for k, v in record.cells()[where].items() if isinstance(v, float)}, flush=True)
    print(summary(record.cells()))


if __name__ == "__main__":
    main()
