"""Strange rows of a table, how strange they are, and why."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self

import narwhals.stable.v2 as nw
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import ValidationError
from sklearn.base import clone
from sklearn.utils.validation import (
    _check_sample_weight,  # pyright: ignore[reportPrivateUsage]: scikit-learn has no public one
    check_is_fitted,
)

from unwarp import _check
from unwarp.data import Encoding
from unwarp.errors import BundleError, ConfigError
from unwarp.estimators._calibrated import FOUND, Calibrated
from unwarp.estimators._conformal import offset, within
from unwarp.estimators._density import FlowDensity, read, write
from unwarp.estimators._explain import explained
from unwarp.estimators._outlier_file import MEASURES, SEEN, Measure, Saved, SavedViews
from unwarp.estimators._table import names_of, seed_of, values_of
from unwarp.estimators._views import NAMES, Views, latent, together
from unwarp.training import Step

__all__ = ["FlowOutlier"]

_SPLIT = 2_000  # rows from which some are set aside instead of fitting again and again
_ASIDE = 10_000  # rows that are set aside at most
_TOLD = 2_000  # calibration rows that the views of others are held against at most
_FOLDS = 4
_FEW = 20  # rows below which none can be kept from training


class FlowOutlier(Calibrated):
    r"""The strange rows of a table, by the density that a normalizing flow learns of it.

    $p(x) = (1 + \#\{i : s_i \le s(x)\}) / (n + 1)$ is the p-value of a row of score $s(x)$ beside the scores $s_i$ of
    calibration rows that no training saw: of normal rows at most a share of 0.05 get 0.05 or less, whatever the flow
    is worth. So nobody guesses a contamination: `outliers` finds rows such that at most a share `fdr` of what it finds
    is false, on average. When to use it: to find rows that are odd by themselves or as a combination of values, and
    (`explain`) which of their columns makes them so.

    From 2,000 rows a quarter, at most 10,000, is set aside for calibration. Of fewer, each row is scored by a flow
    that was fitted to other rows (four folds) and the flow of all rows scores new ones, for which the guarantee then
    holds nearly rather than exactly. Below 20 rows calibration is by the rows of training and p-values say little.

    The rows of `fit` may hold strange ones themselves. `p_values()` and `outliers()` without rows judge them: as a
    rank among themselves tells nothing, the lower tail of the scores is taken for exponential there. Lest the flow
    learn the strange rows, it is fitted a second time without the share `trim` of them that it liked least; rows found
    strange then leave the calibration too.

    Args:
        flow: As in `FlowDensity`: ``"auto"`` or the name of a recipe for tables.
        flow_options: Options of the recipe.
        columns: What is known about columns, as in `FlowDensity`.
        noise: As in `FlowDensity`: 0.1 finds more where strange rows lie far from all others or columns have few
            values, 0 where only fine detail gives them away.
        measure: What a score is. ``"log_prob"``, the log density of the flow; ``"near"`` and ``"broad"``, that of the
            known rows themselves under Gaussian noise of 0.1 and 1 standard deviations of each column; ``"columns"``,
            how far out each value is by itself; ``"combined"``, Fisher's mean of the logarithms of the p-values of
            these four. ``"background"``, the log density less the broad one; ``"typicality"``, minus the distance of
            the log density from its mean; ``"latent"``, minus half the squared distance of the latent from the origin.
        ensemble: So many flows that differ in their seeds, whose mean density counts.
        level: Share of the normal rows that `predict` may call strange.
        trim: Share of the rows, the strangest after a first fit, that the second leaves out; more than are strange
            costs little, fewer lets the flow learn some of them. 0 fits once and takes all rows for normal.
        max_seconds: Budget of all training in seconds; with one, a repeated fit may differ.
        max_steps: Budget of the training of one flow in steps.
        random_state: Seed of everything random in `fit`: an int for repeatable results, a `RandomState`, or None.

    Attributes:
        density_: The `FlowDensity`, the first of `members_` in an ensemble.
        calibration_: Scores of the calibration rows, sorted.
        offset_: The score below which `predict` says -1.
        scores_: Score of each row of `fit`, those of the split by a flow that did not see the row.
        views_: Rows that others are seen beside, at most 4,000.
        reference_: What calibration rows look like: log density, near, broad, columns, each sorted.
        n_features_in_: Number of columns.
        feature_names_in_: Their names, when the data had names.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(60, 2))
        >>> model = FlowOutlier(random_state=0).fit(x)
        >>> model.predict(np.array([[0.0, 0.0], [9.0, 0.0]])).tolist()
        [1, -1]
        >>> model.explain(np.array([[9.0, 0.0]]), why=1).to_pydict()["column"]
        ['x0']

    Source: Bates, Candes, Lei, Romano, Sesia, "Testing for Outliers with Conformal p-values", 2023, arXiv 2104.08279;
    ours adds the folds, the exponential tail and the trimming.
    """

    _ranked = "depths_"

    def __init__(
        self,
        flow: str = "auto",
        *,
        flow_options: Mapping[str, Any] | None = None,
        columns: Mapping[str, str] | None = None,
        noise: float = 0.0,
        measure: Measure = "combined",
        ensemble: int = 1,
        level: float = 0.05,
        trim: float = 0.05,
        max_seconds: float | None = None,
        max_steps: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.flow = flow
        self.flow_options = flow_options
        self.columns = columns
        self.noise = noise
        self.measure = measure
        self.ensemble = ensemble
        self.level = level
        self.trim = trim
        self.max_seconds = max_seconds
        self.max_steps = max_steps
        self.random_state = random_state

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, progress: Callable[[Step], object] | None = None
    ) -> Self:
        """Learn what is normal from rows of which most are.

        Args:
            X: Rows: numpy, pandas, polars, pyarrow or anything of the kind, ``(rows, columns)``.
            y: Ignored.
            sample_weight: ``(rows,)``, at least 0, for the flow. Rows of weight 0 are judged, but nothing is learned
                from them; calibration counts the others alike.
            progress: Gets each `Step` of the training, such as `training.progress_bar`.

        Raises:
            DataError: When a column holds anything but finite numbers or contradicts its declaration, or none varies.
            ConfigError: When an argument is none of its words or out of range.
        """
        self._check()
        values = values_of(self, "fit", X, reset=True)
        weight = _check_sample_weight(sample_weight, values, dtype=np.float64, ensure_non_negative=True)
        seed = seed_of(self.random_state)
        raw, aside, kept = self._learn(values, weight, seed, progress)
        self.center_ = float(np.mean(raw[aside & np.isfinite(raw)])) if np.isfinite(raw[aside]).any() else 0.0
        self.depths_ = -np.abs(raw - self.center_) if self.measure == "typicality" else raw
        normal = aside & ~within(self.depths_, FOUND)[1] if self.trim else aside
        normal = normal if normal.any() else aside
        self.views_, place = Views.learn(events := self._events(values), kept, seed)
        views = np.column_stack([raw, self.views_.of(events, place)])
        finite = np.flatnonzero(normal & np.isfinite(raw))
        finite = np.random.default_rng([seed, 5]).permutation(finite if len(finite) else np.flatnonzero(normal))
        told = np.isin(np.arange(len(raw)), finite[:_TOLD])
        self.reference_ = np.sort(np.nan_to_num(views[told]), axis=0)
        self.scores_ = self._of(views, told)
        self.calibration_ = np.sort(self.scores_[normal])
        self.offset_ = offset(self.calibration_, self.level)
        return self

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """How normal each row is, ``(rows,)``: higher is more normal, minus infinity is impossible.

        Raises:
            DataError: When a value is missing or infinite.
        """
        check_is_fitted(self)
        return self._of(self._seen(values_of(self, "score_samples", X)))

    def explain(self, X: Any, *, why: int | None = None) -> Any:
        r"""Which columns make rows strange, a line a row and column, the most surprising column of a row first.

        Surprise is $-\log P(p(X_j \mid x_{-j}) \le p(x_j \mid x_{-j}))$ in nats: how rarely a value as unlikely as
        the row's own, or more, comes up given the row's other values. As a probability it compares columns of any
        units, whole numbers too, which a log density does not. The conditional density is exact up to quadrature
        (about 64 densities a value); a recorded value stands for the middle of its box.

        Args:
            X: The rows.
            why: So many columns a row, the most surprising; all by default.

        Returns:
            A data frame of the kind of `X`, a pyarrow table for arrays: ``row`` (from 0), ``column``, ``value``,
            ``surprise`` (nats), ``usual_low`` and ``usual_high`` (between them nine tenths of the mass given the other
            values), ``likely`` (the most likely value).
        """
        check_is_fitted(self)
        values = values_of(self, "explain", X)
        lines = explained(self.density_, values, names_of(self), why)
        native = nw.from_native(X, pass_through=True)
        if isinstance(native, (nw.DataFrame, nw.LazyFrame)):
            return nw.from_dict(lines, backend=native.implementation).to_native()
        return pa.table(lines)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one `.safetensors` file, from which `FlowDensity.load` reads the density too.

        With a measure that looks at known rows, the file holds up to 4,000 of them, rounded.

        Raises:
            ConfigError: For an ensemble, which one file does not hold.
        """
        check_is_fitted(self)
        if len(self.members_) > 1:
            raise ConfigError(
                f"save: expected one flow; got {len(self.members_)}. Save each of members_, or pickle it."
            )
        finite = self.calibration_[np.isfinite(self.calibration_)]
        measure: Any = self.measure
        own = Saved(
            measure=measure,
            level=self.level,
            center=self.center_,
            impossible=len(self.calibration_) - len(finite),
            calibration=finite.tolist(),
            views=SavedViews(**self.views_.to_json()) if self.measure in SEEN else None,
            reference=[column.tolist() for column in self.reference_.T] if self.measure == "combined" else [],
        )
        write(self.density_, path, outlier=own.model_dump())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The fitted estimator in a model file, without the rows that it was fitted to.

        Raises:
            BundleError: When the file is no model file, is damaged, or holds no calibration.
        """
        density = FlowDensity()
        more = read(density, path)
        try:
            own = Saved.model_validate(more.get("outlier"))
            views = None if own.views is None else Views.from_json(**own.views.model_dump())
            reference = np.sort(np.array(own.reference, dtype=np.float64).T, axis=0)
            if views is not None and len(views.center) != len(density.schema_.modelled):
                raise ValueError("views of other columns")
        except (ValidationError, ValueError) as error:
            raise BundleError(
                f"load({os.fspath(path)}): expected a model with calibration scores, as FlowOutlier.save or "
                "`unwarp outliers --save` writes it; got another. Write one, or use FlowDensity.load."
            ) from error
        model: Any = cls(density.flow, flow_options=density.flow_options, measure=own.measure, level=own.level)
        model.members_, model.center_ = [density], own.center
        model.views_, model.reference_ = views, reference
        model.calibration_ = np.sort(np.concatenate([np.full(own.impossible, -np.inf), own.calibration]))
        model.n_features_in_ = density.n_features_in_
        if "feature_names_in_" in vars(density):
            model.feature_names_in_ = density.feature_names_in_
        model.offset_ = offset(model.calibration_, model.level)
        return model

    def _check(self) -> None:
        if self.measure not in MEASURES:
            words = ", ".join(MEASURES)
            raise ConfigError(f"FlowOutlier: expected measure to be one of {words}; got {self.measure!r}. Take one.")
        if not 0 <= self.trim < 0.5:
            raise ConfigError(f"FlowOutlier: expected trim in [0, 0.5); got {self.trim}. Use 0 to leave no row out.")
        _check.at_least("FlowOutlier", "ensemble", self.ensemble, 1)
        if not 0 < self.level < 1:
            raise ConfigError(f"FlowOutlier: expected level above 0 and below 1; got {self.level}. Use 0.05.")

    def _learn(
        self, values: np.ndarray, weight: np.ndarray, seed: int, progress: Callable[[Step], object] | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fit; unscaled scores of all rows, which of them are for calibration, and which the flow may see."""
        order = np.random.default_rng([seed, 2]).permutation(len(values))
        split, trims = len(values) >= _SPLIT, self.trim > 0 and len(values) >= _FEW
        folds = 0 if split or len(values) < _FEW else _FOLDS
        seconds = None if self.max_seconds is None else self.max_seconds / self.ensemble / (1 + trims + folds)
        known: dict[str, Any] = {"columns": self.columns, "noise": self.noise, "max_seconds": seconds}
        whole = FlowDensity(self.flow, flow_options=self.flow_options, max_steps=self.max_steps, **known)
        aside = np.full(len(values), fill_value=not split)
        aside[order[: min(len(values) // 4, _ASIDE)]] = True
        kept = (~aside if split else aside) & (weight > 0)
        aside &= weight > 0

        def fitted(model: FlowDensity, rows: np.ndarray) -> list[FlowDensity]:
            own = None if (weight == 1).all() else weight[rows]
            return self._fitted(model, values[rows], own, seed, progress)

        self.members_ = fitted(whole, kept)
        raw = self._raw(self.members_, values, precision="float32" if trims and split else "float64")
        if trims:
            kept &= raw > np.quantile(raw[kept], self.trim, method="lower")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the first fit has told what there is to tell
                self.members_ = fitted(whole, kept)
            raw = self._raw(self.members_, values)
        spec: Any = self.density_.flow_.spec
        options = {name: value for name, value in spec["options"].items() if name != "support"}
        again = FlowDensity(spec["recipe"], flow_options=options, max_steps=self.density_.n_iter_, **known)
        for held in (order[fold::_FOLDS] for fold in range(folds)):
            rest = kept.copy()
            rest[held] = False
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                raw[held] = self._raw(fitted(again, rest), values[held])
        return raw, aside, kept

    def _fitted(
        self,
        model: FlowDensity,
        values: np.ndarray,
        weight: np.ndarray | None,
        seed: int,
        progress: Callable[[Step], object] | None,
    ) -> list[FlowDensity]:
        """As many fits of the model as the ensemble has members, each with a seed of its own."""
        rows = pa.table(list(values.T), names=names_of(self)) if "feature_names_in_" in vars(self) else values
        copy: Any = clone
        members = [copy(model).set_params(random_state=seed + member) for member in range(self.ensemble)]
        for member in members:
            member._compared = False  # pyright: ignore[reportPrivateUsage]: nobody looks at these accounts
            member.fit(rows, sample_weight=weight, progress=progress)
            if member.history_.interrupted:
                raise KeyboardInterrupt
        return members

    def _raw(
        self, members: list[FlowDensity], values: np.ndarray, precision: Literal["float64", "float32"] = "float64"
    ) -> np.ndarray:
        """Log densities, those of an ensemble's mean density, or distances of latents."""
        if self.measure == "latent":
            return np.mean([latent(density, values) for density in members], axis=0)
        named = "feature_names_in_" in vars(members[0])
        rows = pa.table(list(values.T), names=names_of(self)) if named else values
        found = [density.score_samples(rows, precision=precision) for density in members]
        return np.logaddexp.reduce(found, axis=0) - np.log(len(found))

    def _of(self, views: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        """Scores by the measure, of what is known of each row: the flow's word first, then the other views."""
        if self.measure == "combined":
            return together(views, self.reference_, own)
        if self.measure == "background":
            return views[:, 0] - views[:, 1 + NAMES.index("broad")]
        if self.measure in NAMES:
            return np.where(np.isneginf(views[:, 0]), -np.inf, views[:, 1 + NAMES.index(self.measure)])
        return -np.abs(views[:, 0] - self.center_) if self.measure == "typicality" else views[:, 0]

    def _seen(self, values: np.ndarray) -> np.ndarray:
        """What the measure needs to know of new rows, for `_of`."""
        raw = self._raw(self.members_, values)
        if self.measure not in SEEN:
            return raw[:, None]
        return np.column_stack([raw, self.views_.of(self._events(values))])

    @property
    def density_(self) -> FlowDensity:
        """The density; of an ensemble the first."""
        return self.members_[0]

    def _events(self, values: np.ndarray) -> np.ndarray:
        return Encoding(self.density_.schema_).events(values)
