"""Flows as scikit-learn estimators."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, DensityMixin, TransformerMixin
from sklearn.utils.validation import (
    _check_sample_weight,  # pyright: ignore[reportPrivateUsage]: scikit-learn has no public one
    check_array,
    check_is_fitted,
)

from unwarp import _check, flows
from unwarp._random import Randomness
from unwarp.data import Encoding, Schema, dependent, infer
from unwarp.distributions import Flow, GaussianMixture, in_float32
from unwarp.errors import BundleError, ConfigError, DataError, RecipeError
from unwarp.estimators._table import names_of, seed_of, values_of
from unwarp.flows import Candidate, suited
from unwarp.training import History, Rivals, Step
from unwarp.training import fit as train

__all__ = ["FlowDensity"]

_BLOCK = 1024  # rows that share a random generator while sampling
_LOOK = 256  # rows that show how many points an average over boxes needs
_TINY = 100  # rows up to which nothing is held out and arithmetic is in float64
_SPREAD, _NOISY = 20_000, 4_000  # rows up to which a row of boxed values, or one with noise, is drawn more than once


class FlowDensity(ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, BaseEstimator):
    r"""The density of a table's rows, learned by a normalizing flow.

    $\log p(x) = \log p_z(f(x)) + \log|\det \partial f/\partial x|$, in nats and in the units of the table. When to use
    it: to score rows by how likely they are, to draw new ones, or (as a transformer) to turn columns into independent
    standard normal ones.

    `fit` looks at the columns first (`schema_` says what it found). Constant columns and copies of other columns are
    left out, and put back into samples; a row that contradicts them scores minus infinity, and so does one outside the
    bounds of a positive or bounded column. A column on a grid (whole numbers, two decimals) has ties, on which a
    density could grow without limit; so the flow is trained on uniform draws from the box of each value (several draws
    a row where rows are few), and scores are averages over the box: ``log P(x) / step``, for whole numbers log
    probabilities. Averages are taken over at most 64 fixed points, as few as come within 0.003 nats of that.

    Args:
        flow: ``"auto"`` tries what suits the numbers of rows and columns (a small flow on a fitted mixture, and a
            larger flow) and keeps what the held-out rows like best; or a name of `unwarp.flows.names("tables")`.
        flow_options: Options of the recipe, in place of the automatic ones.
        columns: What is known about columns, by name (``x0, x1, ...`` for arrays): ``"real"``, ``"positive"``,
            ``"bounded:LOW:HIGH"``, ``"integer"`` or ``"integer:STEP"``. The rest is inferred.
        noise: Deviation of Gaussian noise on training rows in those of each unbounded column; scores take box middles.
        validation_fraction: Share of the rows held out, to stop early and for `history_`; of up to 100 rows none are.
        max_seconds: Budget of the training in seconds; with one, a repeated fit may differ.
        max_steps: Budget of the training in steps.
        random_state: Seed of everything random in `fit`: an int for repeatable results, a `RandomState`, or None.

    Attributes:
        flow_: The `unwarp.Flow`, in float64.
        history_: `unwarp.training.History`: how training went, with held-out log-likelihoods of the flow and of plain
            models.
        schema_: `unwarp.data.Schema`: what each column is, and why.
        n_iter_: Steps of training.
        n_features_in_: Number of columns.
        feature_names_in_: Their names, when the data had names.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(80, 2)) * [1.0, 100.0]
        >>> model = FlowDensity(random_state=0).fit(x)
        >>> model.score_samples(x).shape, model.sample(3, random_state=1).shape
        ((80,), (3, 2))
        >>> bool(model.score(x) > model.score(x * 3))
        True
    """

    _compared = True  # with plain models, in `history_`

    def __init__(
        self,
        flow: str = "auto",
        *,
        flow_options: Mapping[str, Any] | None = None,
        columns: Mapping[str, str] | None = None,
        noise: float = 0.0,
        validation_fraction: float = 0.1,
        max_seconds: float | None = None,
        max_steps: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.flow = flow
        self.flow_options = flow_options
        self.columns = columns
        self.noise = noise
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
        """Learn the density of the rows.

        Args:
            X: Rows: numpy, pandas, polars, pyarrow or anything of the kind, ``(rows, columns)``.
            y: Ignored.
            sample_weight: ``(rows,)``, at least 0. Weight 0 leaves a row out, weight 2 counts it twice.
            progress: Gets each `Step` of the training, such as `training.progress_bar`.
            checkpoint: A file to which the run is saved now and then, and from which it goes on.

        Raises:
            DataError: When a column holds anything but finite numbers or contradicts its declaration, or none varies.
            RecipeError: When there is no such recipe or option.
        """
        values = values_of(self, "fit", X, reset=True)
        names = names_of(self)
        weight = None
        if sample_weight is not None:
            weight = _check_sample_weight(sample_weight, values, dtype=np.float64, ensure_non_negative=True)
            values, weight = values[weight > 0], weight[weight > 0]
            if not len(values):
                raise DataError("fit: expected a row of weight above 0; got none. Correct sample_weight.")
        self.schema_ = infer(values, names, columns=self.columns, weight=weight)
        _tell(self.schema_, values)
        seed = seed_of(self.random_state)
        rows = int(weight.sum()) if weight is not None and np.all(weight == np.round(weight)) else len(values)
        x, w, held = self._split(values, weight, rows, seed)
        runs: list[tuple[Flow, History]] = []
        rivals = Rivals() if self._compared else Rivals(())
        for number, candidate in enumerate(self._candidates(rows)):
            flow = self._make(candidate, seed).double() if rows <= _TINY else self._make(candidate, seed)
            _sharpen(flow)
            own = checkpoint if checkpoint is None or not number else f"{os.fspath(checkpoint)}.{number}"
            history = train(
                flow, x, weight=w, validation=held, seed=seed, progress=progress, checkpoint=own, baselines=rivals,
                **candidate.settings,
            )  # fmt: skip
            runs.append((flow, history))
            if history.interrupted:
                break
        flow, self.history_ = max(runs, key=lambda run: -np.inf if run[1].held_out is None else run[1].held_out)
        if runs[-1][1].interrupted:  # whichever run was better: the user ended the fit
            self.history_ = replace(self.history_, stopped="interrupted")
        self.flow_ = flow.double().eval().requires_grad_(requires_grad=False)
        some = values[:0] if self.noise else values[:: -(-len(values) // _LOOK)]
        self.schema_ = Encoding(self.schema_).settled(some, self._log_prob)
        self.n_iter_ = self.history_.steps
        return self

    def score_samples(self, X: Any, *, precision: Literal["float64", "float32"] = "float64") -> NDArray[np.float64]:
        """Log density of each row in nats, in the units of the table, ``(rows,)`` float64.

        Args:
            X: Rows, as in `fit`.
            precision: ``"float32"`` is for many rows: the trained layers compute in it. The attribute `float32_error_`
                then is the largest difference in nats from float64 that up to 256 of the rows show.

        Raises:
            DataError: When a value is missing or infinite.
            ConfigError: When `precision` is another word.
        """
        check_is_fitted(self)
        values, encoding = values_of(self, "score_samples", X), Encoding(self.schema_)
        if precision == "float64":
            return encoding.mean_log_prob(values, self._log_prob)
        if precision != "float32":
            raise ConfigError(f'score_samples: expected "float64" or "float32"; got {precision!r}. Choose one.')
        quick, some = in_float32(self.flow_), slice(None, None, -(-len(values) // _LOOK))
        scores = encoding.mean_log_prob(values, lambda events: quick(torch.from_numpy(events)).numpy())
        exact = encoding.mean_log_prob(values[some], self._log_prob)
        finite = np.isfinite(exact)
        self.float32_error_ = float(np.abs(scores[some][finite] - exact[finite]).max(initial=0.0))
        return scores

    def score(self, X: Any, y: Any = None) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Mean log density of the rows, in nats."""
        return float(np.mean(self.score_samples(X)))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> NDArray[np.float64]:
        """Draw rows, ``(n_samples, columns)``: columns in their order, values on their grids.

        Row i depends on the seed and on i alone, not on how many rows are drawn.

        Args:
            n_samples: How many.
            random_state: An int for repeatable rows, a `RandomState`, or None.
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise DataError(f"sample: expected n_samples of at least 1; got {n_samples}. Ask for more.")
        seed, events = seed_of(random_state), []
        for block in range(-(-n_samples // _BLOCK)):
            state = np.random.SeedSequence([seed, block]).generate_state(1, np.uint64)[0]
            generator = torch.Generator().manual_seed(int(state >> np.uint64(1)))
            with torch.no_grad():
                events.append(self.flow_.sample((_BLOCK,), generator=generator).numpy())
        return Encoding(self.schema_).values(np.concatenate(events)[:n_samples])

    def transform(self, X: Any) -> Any:
        """The latent of each row, ``(rows, features)``: independent standard normal columns if the model is right.

        A recorded value stands for the middle of its box here. Constant and copied columns have no latent.

        Raises:
            DataError: When a row lies outside the bounds of a positive or bounded column.
        """
        check_is_fitted(self)
        values = values_of(self, "transform", X)
        x = torch.from_numpy(Encoding(self.schema_).events(values))
        inside = self.flow_.space.contains(x)
        if not bool(inside.all()):
            row = int(inside.int().argmin())
            raise DataError(f"transform: expected rows inside the bounds; got another in row {row + 1}. Leave it out.")
        with torch.no_grad():
            z = self.flow_.transform.encode(x)
            base = self.flow_.base
            return (base.to_normal(z) if isinstance(base, GaussianMixture) else z).numpy()

    def inverse_transform(self, X: Any) -> NDArray[np.float64]:
        """Rows of the table from their latents, ``(rows, features) -> (rows, columns)``."""
        check_is_fitted(self)
        z = torch.from_numpy(check_array(X, dtype="float64", copy=True))
        if z.shape[1] != self._n_features_out:
            raise DataError(
                f"inverse_transform: expected {self._n_features_out} columns; got {z.shape[1]}. "
                "Give what transform returned."
            )
        with torch.no_grad():
            base = self.flow_.base
            z = base.from_normal(z) if isinstance(base, GaussianMixture) else z
            return Encoding(self.schema_).values(self.flow_.transform.decode(z).numpy())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one `.safetensors` file, whole or not at all; see `unwarp.flows.save`."""
        write(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The fitted estimator in a model file; its parameters are the recipe and options that it was made with.

        Raises:
            BundleError: When the file is no model file, is damaged, or holds a flow without columns.
        """
        model = cls()
        read(model, path)
        return model

    def _take_up(self, path: str | os.PathLike[str], flow: Flow, config: dict[str, Any]) -> Self:
        """Fitted attributes from what a model file holds."""
        where = f"load({os.fspath(path)})"
        training, spec = config["training"] or {}, config["spec"]
        try:
            self.schema_ = Schema.from_json(config["columns"] or ())
            self.history_ = _HISTORY.validate_python(
                {k: v for k, v in training.get("history", {}).items() if k in _FIELDS}, strict=False
            )
        except (DataError, ValidationError, AttributeError) as error:
            raise BundleError(
                f"{where}: expected a model of a table, as FlowDensity.save writes it; got another. "
                "Use unwarp.flows.load."
            ) from error
        if flow.space.shape != (len(self.schema_.modelled),) or flow.context_shape is not None:
            raise BundleError(f"{where}: expected a flow that fits its columns; got another. Write the model anew.")
        self.flow_ = flow.double().requires_grad_(requires_grad=False)
        self.flow, self.flow_options = spec["recipe"], {k: v for k, v in spec["options"].items() if k != "support"}
        self.n_iter_, self.n_features_in_ = self.history_.steps, len(self.schema_.columns)
        if training.get("named") is True:
            self.feature_names_in_ = np.array(self.schema_.names, dtype=object)
        return self

    @property
    def _n_features_out(self) -> int:
        return len(self.schema_.modelled)

    def _candidates(self, rows: int) -> list[Candidate]:
        """What to train, with what the user asked for in place of the automatic."""
        found = suited(rows, len(self.schema_.modelled), self.max_seconds)
        if self.flow != "auto":
            if self.flow in set(flows.names()) - set(flows.names("tables")):
                raise RecipeError(
                    f'FlowDensity: expected flow to be "auto" or a recipe for tables; got {self.flow!r}, which is for '
                    f"other data. Take one of {', '.join(flows.names('tables'))}."
                )
            settings = {key: value for key, value in found[-1].settings.items() if key != "lr"}
            found = (Candidate(self.flow, {}, settings),)
        total = sum(candidate.share for candidate in found)
        return [self._with_wishes(candidate, candidate.share / total, rows) for candidate in found]

    def _with_wishes(self, candidate: Candidate, share: float, rows: int) -> Candidate:
        settings = dict(candidate.settings)
        if self.max_seconds is not None or self.max_steps is not None:
            if self.max_steps is not None or rows > _TINY:  # where nothing is held out, only steps can end it in time
                settings["max_steps"] = None if self.max_steps is None else round(share * self.max_steps)
            settings["max_seconds"] = None if self.max_seconds is None else share * self.max_seconds
        return Candidate(candidate.recipe, candidate.options | dict(self.flow_options or {}), settings, share)

    def _make(self, candidate: Candidate, seed: int) -> Flow:
        with Randomness(seed):
            features, support = len(self.schema_.modelled), self.schema_.support
            return flows.flow(candidate.recipe, features, support=support, **candidate.options)

    def _split(
        self, values: np.ndarray, weight: np.ndarray | None, rows: int, seed: int
    ) -> tuple[torch.Tensor, torch.Tensor | None, Any]:
        """Training events and weights, and what is held out; draws of one row stay on one side."""
        encoding = Encoding(self.schema_)
        noise = encoding.noise(values, _check.positive("fit", "noise", self.noise) if self.noise else 0.0)
        copies = min(8, max(1, (_NOISY if noise.any() else _SPREAD if encoding.boxed else 0) // len(values)))
        if not 0 <= self.validation_fraction < 1:
            got = self.validation_fraction
            raise ConfigError(f"fit: expected validation_fraction in [0, 1); got {got}. Use 0 to hold out nothing.")
        if rows <= _TINY or self.validation_fraction == 0:
            return (*_tensors(encoding, values, weight, copies, seed, noise), 0)
        count = max(1, round(self.validation_fraction * len(values)))
        held, kept = np.split(np.random.default_rng([seed, 1]).permutation(len(values)), [count])
        some, rest = (None, None) if weight is None else (weight[kept], weight[held])
        x, w = _tensors(encoding, values[kept], some, copies, seed, noise)
        held_x, held_w = _tensors(encoding, values[held], rest, copies, seed + 1, noise)
        return x, w, (held_x, None, held_w)

    def _log_prob(self, events: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self.flow_.log_prob(torch.from_numpy(events)).numpy()

    def __getstate__(self) -> dict[str, Any]:
        own: Any = super().__getstate__()
        state: dict[str, Any] = dict(own)
        if "flow_" in state:
            state["flow_"] = flows.to_bytes(state["flow_"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        if "flow_" in state:
            state["flow_"] = flows.from_bytes(state["flow_"]).requires_grad_(requires_grad=False)
        super().__setstate__(state)


def write(model: FlowDensity, path: str | os.PathLike[str], **more: Any) -> None:
    """Save a model, and `more` JSON-able data beside it."""
    check_is_fitted(model)
    training = {"history": model.history_.to_json(), "named": "feature_names_in_" in vars(model)} | more
    flows.save(model.flow_, path, columns=model.schema_.to_json(), training=training)


def read(model: FlowDensity, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Load a file into a new `model`; all that was saved beside it."""
    flow, config = flows.load_with_config(path)
    model._take_up(path, flow, config)  # pyright: ignore[reportPrivateUsage]: its own module
    return config["training"] or {}


_HISTORY = TypeAdapter(History)
_FIELDS = {field.name for field in fields(History)}


def _tensors(
    encoding: Encoding, values: np.ndarray, weight: np.ndarray | None, copies: int, seed: int, noise: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor | None]:
    drawn = encoding.draws(values, copies, seed)
    x = torch.from_numpy(drawn + noise * np.random.default_rng([seed, 4]).standard_normal(drawn.shape))
    return x, None if weight is None else torch.from_numpy(np.tile(weight, copies))


def _sharpen(flow: Flow) -> None:
    """Put the leading maps that training leaves alone into float64: a column around 1e9 keeps its last digits."""
    for part in flow.transform.parts:
        if any(parameter.requires_grad for parameter in part.parameters()):
            return
        part.double()
    flow.base.double()  # nothing before it is trained


def _tell(schema: Schema, values: np.ndarray) -> None:
    """Warn about columns that the flow does not see, and about those that had better be left out."""
    for column in schema.columns:
        if column.role != "modelled":
            warnings.warn(
                f"fit: column {column.name!r} is a {column.summary}; it is left out of the flow.", stacklevel=3
            )
    for name in dependent(schema, values):
        warnings.warn(
            f"fit: column {name!r} is a linear function of those before it, so the density of the rows has no finite "
            "value, and scores mean little. Leave it out.",
            stacklevel=3,
        )
