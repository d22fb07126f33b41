"""The joint law of a table with columns of any kind, as a scikit-learn estimator."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, Literal, Self

import narwhals.stable.v2 as nw
import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted  # pyright: ignore[reportPrivateUsage]

from unwarp import flows
from unwarp._random import Randomness
from unwarp.data import Codes, Schema, arrow_table, infer_table
from unwarp.distributions import Mixed
from unwarp.errors import BundleError, ConfigError, DataError
from unwarp.estimators._given import Given, evidence, seen_levels
from unwarp.estimators._surprise import surprises
from unwarp.estimators._table import filled, generator_of, seed_of
from unwarp.training import History, Step, any_subset
from unwarp.training import fit as train

__all__ = ["FlowTable"]

_BLOCK = 1024  # rows that share a random generator while sampling
_CHUNK = 8192  # rows that are scored at once
_MANY = 10_000  # rows from which a deeper network pays
_TINY = 100  # rows up to which nothing is held out


class FlowTable(DensityMixin, BaseEstimator):
    r"""The joint law of a table's columns, whatever they hold: numbers, categories, truth values, dates, gaps.

    $\log p(x) = \sum_i \log p(x_{\sigma_i} \mid x_{\sigma_1}, \dots, x_{\sigma_{i-1}})$ over the cells that a row has,
    in nats: probabilities of categories and whole numbers, densities of other numbers in the units of their columns. A
    row with gaps scores by what is observed. When to use it: for tables with categories or gaps, to draw rows like the
    table's, to fill gaps, and to ask for any columns given any others (`given`). For numbers without gaps `FlowDensity`
    is faster and often sharper.

    One network, trained over random subsets of the columns, gives each cell's law given any other cells, so every such
    conditional is exact and needs no search. Scores multiply them in one order of the columns (several orders with
    several `members`); `disagreement` says how much the order matters.

    Args:
        columns: What is known about columns, by name; see `data.infer_table`. The rest is inferred.
        schema: The columns themselves, in place of what would be inferred; see `data.Schema`.
        members: Networks, each trained from another start and with another order of the columns; the density is the
            mean of theirs, and `interval` says how far they differ.
        hidden: Width of the network; by default what suits the number of rows.
        blocks: Residual blocks of the network; by default what suits the number of rows.
        validation_fraction: Share of the rows held out, to stop early and for `history_`; of up to 100 rows none are.
        max_seconds: Budget of the training in seconds; with one, a repeated fit may differ.
        max_steps: Budget of the training of one member in steps.
        random_state: Seed of everything random in `fit`: an int for repeatable results, a `RandomState`, or None.

    Attributes:
        model_: The `distributions.Mixed`, in float64.
        schema_: `data.Schema`: what each column is, and why.
        history_: `training.History` of the last member, with the held-out log-likelihood of that member.
        n_features_in_: Number of columns.
        feature_names_in_: Their names.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> kind = rng.choice(["cat", "dog"], 300)
        >>> weight = np.where(kind == "cat", 4.0, 20.0) + rng.normal(size=300)
        >>> pets = pa.table({"kind": kind, "weight": weight})
        >>> model = FlowTable(max_steps=150, random_state=0).fit(pets)
        >>> model.score_samples(pets).shape
        (300,)
        >>> dogs = model.given({"kind": "dog"}).sample(100, random_state=1)
        >>> bool(np.mean(dogs["weight"].to_numpy()) > 15)
        True
    """

    def __init__(
        self,
        *,
        columns: Mapping[str, str] | None = None,
        schema: Schema | None = None,
        members: int = 1,
        hidden: int | None = None,
        blocks: int | None = None,
        validation_fraction: float = 0.1,
        max_seconds: float | None = None,
        max_steps: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.columns = columns
        self.schema = schema
        self.members = members
        self.hidden = hidden
        self.blocks = blocks
        self.validation_fraction = validation_fraction
        self.max_seconds = max_seconds
        self.max_steps = max_steps
        self.random_state = random_state

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        progress: Callable[[Step], object] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Learn the joint law of the columns.

        Args:
            X: The table: pandas, polars, pyarrow or anything of the kind, or an array ``(rows, columns)``.
            y: Ignored.
            sample_weight: ``(rows,)``, at least 0. Weight 0 leaves a row out, weight 2 counts it twice.
            progress: Gets each `Step` of the training, such as `training.progress_bar`.
            checkpoint: A file to which the run is saved now and then, and from which it goes on.

        Raises:
            DataError: When the table has no rows, no column varies, or a cell contradicts its column's declaration.
            ConfigError: When an argument is out of range.
        """
        if not 0 <= self.validation_fraction < 1:
            got = self.validation_fraction
            raise ConfigError(f"fit: expected validation_fraction in [0, 1); got {got}. Use 0 to hold out nothing.")
        table = arrow_table("fit", X)
        weight = None
        if sample_weight is not None:
            weight = _check_sample_weight(sample_weight, table, dtype=np.float64, ensure_non_negative=True)
            table, weight = table.filter(pa.array(weight > 0)), weight[weight > 0]
        if not table.num_rows:
            raise DataError("fit: expected a row, of weight above 0; got none. Give rows.")
        self.schema_ = infer_table(table, columns=self.columns) if self.schema is None else self.schema
        codes = torch.from_numpy(Codes(self.schema_).codes(table, where="fit"))
        self.feature_names_in_ = np.array(self.schema_.names, dtype=object)
        self.n_features_in_ = len(self.schema_.columns)
        self._kind = _kind_of(X)
        seed = seed_of(self.random_state)
        self.model_ = self._make(len(codes), seed)
        self.model_.adapt(codes, weight=None if weight is None else torch.from_numpy(weight))
        self._train(codes, weight, seed, progress, checkpoint)
        self.model_.double().eval().requires_grad_(requires_grad=False)
        self.n_iter_ = self.history_.steps
        return self

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Log probability of the cells that each row has, ``(rows,)`` nats; minus infinity for rows that can't be.

        Raises:
            DataError: When a column is missing, or a cell is of another kind than its column.
        """
        table = self._table("score_samples", X)
        codes = Codes(self.schema_)
        x = torch.from_numpy(codes.codes(table, where="score_samples"))
        with torch.no_grad():
            scores = [self.model_.log_prob(part).numpy() for part in x.split(_CHUNK)]
        return np.where(codes.possible(table), np.concatenate([np.empty(0), *scores]), -np.inf)

    def score(self, X: Any, y: Any = None) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Mean log probability of the rows, nats."""
        return float(np.mean(self.score_samples(X)))

    def interval(self, X: Any, *, level: float = 0.9) -> NDArray[np.float64]:
        """Between which log probabilities the members lie, ``(rows, 2)`` nats: a Student interval of their mean's log.

        It tells what chance in training changes, not what all members get wrong.

        Args:
            X: The rows.
            level: Share of such intervals that hold the mean of many members.

        Raises:
            ConfigError: With fewer than two members.
        """
        from scipy.stats import t

        each = self._by_member("interval", X)
        half = t.ppf(0.5 + level / 2, len(each) - 1) * each.std(axis=0, ddof=1) / np.sqrt(len(each))
        return np.stack([each.mean(axis=0) - half, each.mean(axis=0) + half], -1)

    def disagreement(self, X: Any, *, orders: int = 4, random_state: Any = 0) -> NDArray[np.float64]:
        """Standard deviation of each row's log probability over random orders of the columns, ``(rows,)`` nats.

        An exact joint law would have none; what there is says how far the conditionals contradict each other.
        """
        x = torch.from_numpy(Codes(self.schema_).codes(self._table("disagreement", X), where="disagreement"))
        rng = np.random.default_rng(seed_of(random_state))
        with torch.no_grad():
            encoded, _ = self.model_.encode(x)
            each = [self.model_.in_order(encoded, rng.permutation(x.shape[1]).tolist()).numpy() for _ in range(orders)]
        return np.std(each, axis=0, ddof=1)

    def given(self, known: Mapping[str, Any] | None = None) -> Given:
        """The law given what is known of some columns; given nothing, the joint law itself.

        Args:
            known: By column, a value; ``(low, high)`` for numbers and dates from one to the other; or a list of levels.
        """
        check_is_fitted(self)
        return Given(self.model_, self.schema_, *evidence(self.schema_, known or {}), self._restored)

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Any:
        """Draw whole rows: a table of the kind that was fitted, with its columns, types, levels and grids.

        Row i depends on the seed and on i alone.
        """
        return self.given().sample(n_samples, random_state=random_state)

    def complete(self, X: Any, *, how: Literal["draw", "expected"] = "draw", random_state: Any = None) -> Any:
        """The rows with their gaps filled given what each row has.

        Args:
            X: Rows; cells that are there stay as they are, and so do columns that the model does not have.
            how: ``"draw"`` draws the gaps of a row together: call it several times for multiple imputation.
                ``"expected"`` takes the mean of numbers and dates, on their grid, and the likeliest level, each gap by
                itself: the best single guess, which varies less than the column does.
            random_state: Of the draws: an int for repeatable ones, a `RandomState`, or None.

        Raises:
            ConfigError: When `how` is another word.
        """
        if how not in ("draw", "expected"):
            raise ConfigError(f'complete: expected how to be "draw" or "expected"; got {how!r}. Choose one.')
        table = self._table("complete", X)
        x = torch.from_numpy(Codes(self.schema_).codes(table, where="complete"))
        seed = seed_of(random_state)
        parts = enumerate(x.split(_BLOCK))
        if how == "draw":
            made = [self.model_.complete(part, generator=generator_of(seed, i)) for i, part in parts]
        else:
            made = [self.model_.expected(part) for _, part in parts]
        whole = seen_levels(self.model_, self.schema_, torch.cat([x[:0], *made]), seed)
        drawn = Codes(self.schema_).table(whole.numpy(), seed=seed)
        own = {name: table[name] for name in table.column_names}
        columns = own | {
            name: filled(own[name], drawn[name]) if name in own else drawn[name] for name in drawn.column_names
        }
        return self._restored(pa.table(columns), like=X)

    def explain(self, X: Any, *, why: int | None = None) -> Any:
        r"""Which cells of rows are surprising given the rest of their row, the most surprising of a row first.

        Surprise is $-\log P(p(X_j \mid x_{-j}) \le p(x_j \mid x_{-j}))$ in nats: how rarely a value as unlikely as the
        row's own, or more, comes up given the row's other cells. Cells that are missing are left out.

        Args:
            X: The rows.
            why: So many cells a row, the most surprising; all by default.

        Returns:
            A table with a line a row and column: ``row`` (from 0), ``column``, ``value``, ``surprise`` (nats),
            ``usual`` (what nine tenths of the mass given the other cells are) and ``likely`` (the most likely value);
            all but row and surprise are text.
        """
        table = self._table("explain", X)
        x = torch.from_numpy(Codes(self.schema_).codes(table, where="explain"))
        return self._restored(surprises(self.model_, self.schema_, x, why), like=X)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one `.safetensors` file, whole or not at all; see `unwarp.flows.save`."""
        self._write(path)

    def _write(self, path: str | os.PathLike[str], **more: Any) -> None:
        """Save with `more` JSON-able data beside it."""
        check_is_fitted(self)
        training = {"history": self.history_.to_json(), "estimator": "table"} | more
        flows.save(self.model_, path, columns=self.schema_.to_json(), training=training)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The fitted estimator in a model file.

        Raises:
            BundleError: When the file is no model file, is damaged, or holds another model.
        """
        model, config = flows.load_with_config(path)
        training, where = config["training"] or {}, f"load({os.fspath(path)})"
        try:
            schema = Schema.from_json(config["columns"] or ())
            history = _HISTORY.validate_python(
                {k: v for k, v in training.get("history", {}).items() if k in _FIELDS}, strict=False
            )
        except (DataError, ValidationError, AttributeError) as error:
            raise BundleError(f"{where}: expected a model of a table; got another. Use unwarp.flows.load.") from error
        if not isinstance(model, Mixed) or len(model.columns) != len(schema.modelled):
            raise BundleError(f"{where}: expected a model that FlowTable wrote; got another. Use FlowDensity.load.")
        options = config["spec"]["options"]
        self = cls(members=options["members"], hidden=options["hidden"], blocks=options["blocks"])
        self.model_, self.schema_, self.history_ = model.double().requires_grad_(requires_grad=False), schema, history
        self.feature_names_in_ = np.array(schema.names, dtype=object)
        self.n_features_in_, self.n_iter_, self._kind = len(schema.columns), history.steps, None
        return self

    def _make(self, rows: int, seed: int) -> Mixed:
        hidden = min(256, max(32, 2 ** round(np.log2(max(2, rows)) - 4))) if self.hidden is None else self.hidden
        blocks = (2 if rows < _MANY else 4) if self.blocks is None else self.blocks
        cells = [
            head | ({"origin": column.origin} if column.width is not None and column.width == column.step else {})
            for head, column in zip(self.schema_.heads, self.schema_.modelled, strict=True)
        ]
        with Randomness(seed):
            model = flows.mixed(len(cells), cells=cells, hidden=hidden, blocks=blocks, members=self.members)  # pyright: ignore[reportArgumentType]
        return model.double()

    def _train(
        self,
        codes: torch.Tensor,
        weight: np.ndarray | None,
        seed: int,
        progress: Callable[[Step], object] | None,
        checkpoint: str | os.PathLike[str] | None,
    ) -> None:
        """Train the members one after another, all on the same rows."""
        encoded = self.model_.encode(codes)[0].float()
        extra = self.model_.encode(codes)[1].sum(-1)
        w = None if weight is None else torch.from_numpy(weight)
        share = 0 if len(codes) <= _TINY else self.validation_fraction
        count = max(1, round(share * len(codes))) if share else 0
        order = torch.from_numpy(np.random.default_rng([seed, 1]).permutation(len(codes)))
        held, kept = order[:count], order[count:]
        validation: Any = (encoded[held], None, None if w is None else w[held]) if count else 0
        budget: dict[str, Any] = {"max_steps": self.max_steps or (None if self.max_seconds else _steps(len(kept)))}
        if self.max_seconds is not None:
            budget["max_seconds"] = self.max_seconds / self.members
        self.model_.nets.float()
        for member in range(self.members):
            own = None if checkpoint is None else f"{os.fspath(checkpoint)}.{member}" if member else checkpoint
            self.history_ = train(
                self.model_.learner(member), encoded[kept], any_subset, weight=None if w is None else w[kept],
                validation=validation, batch=min(512, max(32, len(kept) // 8)), seed=seed + member, progress=progress,
                checkpoint=own, baselines=(), **budget,
            )  # fmt: skip
            if self.history_.interrupted:
                break
        if self.history_.held_out is not None:  # in the units of the columns
            self.history_ = replace(self.history_, held_out=self.history_.held_out + float(extra[held].mean()))

    def _table(self, where: str, X: Any) -> pa.Table:
        check_is_fitted(self)
        return arrow_table(where, X)

    def _by_member(self, where: str, X: Any) -> np.ndarray:
        if self.model_.members < 2:
            raise ConfigError(f"{where}: expected at least two members; got one. Fit FlowTable(members=5).")
        x = torch.from_numpy(Codes(self.schema_).codes(self._table(where, X), where=where))
        with torch.no_grad():
            encoded, extra = self.model_.encode(x)
            return (self.model_.by_member(encoded) + extra.sum(-1, keepdim=True)).T.numpy()

    def _restored(self, table: pa.Table, like: Any = None) -> Any:
        """A table of the kind that was fitted, or of the kind of `like`."""
        kind: Any = self._kind if like is None else _kind_of(like)
        if kind is None:
            return table
        return nw.from_arrow(table, backend=kind).to_native()

    def __getstate__(self) -> dict[str, Any]:
        own: Any = super().__getstate__()
        state: dict[str, Any] = dict(own)
        if "model_" in state:
            state["model_"] = flows.to_bytes(state["model_"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        if "model_" in state:
            state["model_"] = flows.from_bytes(state["model_"]).requires_grad_(requires_grad=False)
        super().__setstate__(state)


_HISTORY = TypeAdapter(History)
_FIELDS = {field.name for field in fields(History)}


def _steps(rows: int) -> int:
    """Steps that suit a number of rows: some forty passes, and neither few nor endless."""
    return int(np.clip(40 * rows / 512, 1000, 8000))


def _kind_of(X: Any) -> str | None:
    """The library of a data frame; None for Arrow tables and arrays."""
    native = nw.from_native(X, pass_through=True)
    if not isinstance(native, (nw.DataFrame, nw.LazyFrame)):
        return None
    name = str(native.implementation.value)
    return None if name == "pyarrow" else name
