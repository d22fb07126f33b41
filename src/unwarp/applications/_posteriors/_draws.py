"""Posterior draws in whatever container they come, as one array with names, shapes, dimensions and coordinates."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from unwarp.applications._posteriors._chains import independent_draws, r_hat
from unwarp.applications._posteriors._outside import need
from unwarp.errors import ConfigError, DataError

__all__ = ["Draws"]

_FEWEST = 50
_LEAD = ("chain", "draw")
_need = partial(need, where="draws", mend="Install unwarp[bayes].")


@dataclass(frozen=True)
class Draws:
    """Draws of named parameters.

    Args:
        values: `(chains, draws, k)`.
        sizes: shapes by name, in the order of the k columns.
        dims: names of a parameter's dimensions, for those that have them.
        coords: labels along a dimension, for those that have them.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> found = Draws.of({"mu": rng.normal(size=(4, 100)), "w": rng.normal(size=(4, 100, 2))})
        >>> found.names, found.rows.shape
        (('mu', 'w[0]', 'w[1]'), (400, 3))
        >>> bool(found.effective > 200), bool(found.r_hat.max() < 1.05)
        (True, True)
    """

    values: NDArray[np.float64]
    sizes: dict[str, tuple[int, ...]]
    dims: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    coords: dict[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])

    @classmethod
    def of(cls, given: Any, *, names: Sequence[str] | None = None) -> Draws:
        """From ArviZ (any version), xarray, a dict of arrays `(chains, draws, ...)`, a data frame or an array.

        Arrays are `(draws, k)` or `(chains, draws, k)`; the column `chain` of a data frame tells chains of equal length
        apart.

        Args:
            given: the draws.
            names: of the parameters to keep, in this order; all by default.

        Raises:
            DataError: when there are fewer than 50 draws, one that is not finite, a parameter that never varies or
                that holds whole numbers, or a name is missing.
        """
        if isinstance(given, Draws):
            return given
        parts, dims, coords = _parts(given)
        if names is not None:
            absent = [name for name in names if name not in parts]
            if absent:
                raise DataError(
                    f"draws: expected the parameters {list(names)}; got {sorted(parts)}. Give the target these names."
                )
            parts = {name: parts[name] for name in names}
        if not parts:
            raise DataError("draws: expected at least one parameter; got none. Give the posterior group.")
        lead = {value.shape[:2] for value in parts.values()}
        if len(lead) > 1:
            raise DataError(
                f"draws: expected arrays of equal chains and draws; got {sorted(lead)}. Give (chains, draws, ...) each."
            )
        sizes = {name: tuple(value.shape[2:]) for name, value in parts.items()}
        flat = [value.reshape(*value.shape[:2], -1) for value in parts.values()]
        used = {dim for name in parts for dim in dims.get(name, ())}
        found = cls(
            np.concatenate(flat, -1).astype(np.float64),
            sizes,
            {name: dims[name] for name in parts if dims.get(name)},
            {name: labels for name, labels in coords.items() if name in used},
        )
        found._check()
        return found

    @property
    def rows(self) -> NDArray[np.float64]:
        """All chains one after the other, `(n, k)`."""
        return self.values.reshape(-1, self.values.shape[-1])

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each of the k columns: of a parameter with a shape, with its labels or places in brackets."""
        return columns_of(self.sizes, self.dims, self.coords)

    @property
    def effective_sizes(self) -> NDArray[np.float64]:
        """How many independent draws they are worth, by column, `(k,)`."""
        return np.array([independent_draws(self.values[..., j]) for j in range(self.values.shape[-1])])

    @property
    def effective(self) -> float:
        """How many independent draws they are worth: the least of the parameters' effective sample sizes."""
        return float(self.effective_sizes.min())

    @property
    def r_hat(self) -> NDArray[np.float64]:
        """Whether the chains agree, by column, `(k,)`: above 1.01 they don't. Of one chain, its halves are compared."""
        return np.array([r_hat(self.values[..., j]) for j in range(self.values.shape[-1])])

    @property
    def disagreement(self) -> str | None:
        """In words, for which column the chains disagree most, if R-hat is above 1.05 by more than chance."""
        apart = self.r_hat
        worst = int(apart.argmax())
        far = apart[worst] > 1.05 + 2 / self.values.shape[1]
        return f"R-hat {apart[worst]:.2f} of {self.names[worst]!r}" if far else None

    def only(self, names: Sequence[str]) -> Draws:
        """Those of the parameters `names`, in this order.

        Raises:
            ConfigError: when a name is unknown.
        """
        absent = [name for name in names if name not in self.sizes]
        if absent:
            raise ConfigError(f"draws: expected names among {list(self.sizes)}; got {absent}. Choose from these.")
        parts = self.named()
        values = np.concatenate([parts[name].reshape(*self.values.shape[:2], -1) for name in names], -1)
        sizes = {name: self.sizes[name] for name in names}
        return Draws(values, sizes, {n: self.dims[n] for n in names if n in self.dims}, self.coords)

    def named(self) -> dict[str, NDArray[np.float64]]:
        """By name, each `(chains, draws, *shape)`."""
        return named(self.values, self.sizes)

    def to_xarray(self) -> Any:
        """As an `xarray.Dataset` with dimensions chain and draw, then the parameters' own.

        Raises:
            ConfigError: when xarray is not installed.
        """
        xarray = _need("xarray")
        own = {n: self.dims.get(n) or tuple(f"{n}_dim_{i}" for i in range(len(s))) for n, s in self.sizes.items()}
        counts = dict(zip(_LEAD, map(np.arange, self.values.shape[:2]), strict=True))
        return xarray.Dataset(
            {name: ((*_LEAD, *own[name]), value) for name, value in self.named().items()}, counts | self.coords
        )

    def to_arviz(self) -> Any:
        """As ArviZ's own container, with a group `posterior`: `InferenceData` up to 0.23, a `DataTree` from 1.0.

        Raises:
            ConfigError: when neither ArviZ nor an xarray with trees is installed.
        """
        found = self.to_xarray()
        try:
            old = getattr(_need("arviz"), "InferenceData", None)
        except ConfigError:
            old = None
        return _need("xarray").DataTree.from_dict({"posterior": found}) if old is None else old(posterior=found)

    def _check(self) -> None:
        """Refuse what can't be learned from, and warn of what can't be judged."""
        count = self.values.shape[0] * self.values.shape[1]
        if count < _FEWEST:
            raise DataError(f"draws: expected at least {_FEWEST} draws; got {count}. Draw more.")
        for name, column in zip(self.names, self.rows.T, strict=True):
            if not np.isfinite(column).all():
                bad = int(np.argmin(np.isfinite(column)))
                raise DataError(
                    f"draws: expected finite numbers of {name!r}; got {column[bad]} in draw {bad}. Mend it."
                )
            if (column == column[0]).all():
                raise DataError(f"draws: expected a parameter {name!r} that varies; got one value. Leave it out.")
        if len(self.values) == 1:
            warnings.warn(
                "draws: expected two chains or more; got one, so that whether it has converged can't be judged. "
                "Give (chains, draws, ...).",
                stacklevel=4,
            )
            return
        if self.disagreement is not None:
            warnings.warn(f"draws: expected chains that agree; got {self.disagreement}. Run them longer.", stacklevel=4)


def named(values: NDArray[np.float64], sizes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float64]]:
    """The k last columns of `values` by name, each of its own shape."""
    widths = [math.prod(shape) for shape in sizes.values()]
    parts = np.split(values, np.cumsum(widths)[:-1], axis=-1)
    return {n: p.reshape(*values.shape[:-1], *s) for (n, s), p in zip(sizes.items(), parts, strict=True)}


def columns_of(
    sizes: Mapping[str, tuple[int, ...]], dims: Mapping[str, Sequence[str]], coords: Mapping[str, NDArray[Any]]
) -> tuple[str, ...]:
    """A name for each number of parameters of these shapes."""
    found: list[str] = []
    for name, shape in sizes.items():
        labels = [coords.get(dim, range(size)) for dim, size in zip(dims.get(name, ("",) * len(shape)), shape)]  # noqa: B905
        found += [f"{name}[{', '.join(map(str, at))}]" if at else name for at in itertools.product(*labels)]
    return tuple(found)


_Parts = tuple[dict[str, np.ndarray], dict[str, tuple[str, ...]], dict[str, np.ndarray]]


def _parts(given: Any) -> _Parts:
    """Arrays `(chains, draws, ...)`, dimensions and coordinates by name."""
    frame = nw.from_native(given, pass_through=True)
    if isinstance(frame, nw.DataFrame):
        return _frame(frame), {}, {}
    found = _dataset(given)
    if found is not None:
        return _variables(found)
    if isinstance(given, Mapping):
        parts = {str(name): _real(str(name), np.asarray(value)) for name, value in given.items()}
        return {name: value if value.ndim > 1 else value[None] for name, value in parts.items()}, {}, {}
    values = np.asarray(given, dtype=np.float64)
    if values.ndim not in (2, 3):
        raise DataError(f"draws: expected (draws, k) or (chains, draws, k); got shape {values.shape}. Reshape them.")
    values = values if values.ndim == 3 else values[None]
    return {f"x{j}": values[..., j] for j in range(values.shape[-1])}, {}, {}


def _dataset(given: Any) -> Any:
    """The data set of an ArviZ or xarray container; None of anything else."""
    if len(getattr(given, "data_vars", None) or ()) == 0 and getattr(given, "posterior", None) is not None:
        given = given.posterior
    if getattr(given, "data_vars", None) is not None:
        return getattr(given, "dataset", given) if getattr(given, "children", None) is not None else given
    if getattr(given, "to_dataset", None) is not None and getattr(given, "dims", None) is not None:
        return given.to_dataset(name=given.name or "x")  # an array with dimensions
    return None


def _variables(found: Any) -> _Parts:
    parts, dims = {}, {}
    for key, variable in found.data_vars.items():
        name = str(key)
        if "draw" not in variable.dims:
            raise DataError(
                f"draws: expected dimensions chain and draw of {name!r}; got {tuple(variable.dims)}. "
                "Give the posterior group as the sampler wrote it."
            )
        with_chain = variable if "chain" in variable.dims else variable.expand_dims("chain")
        ordered = with_chain.transpose(*_LEAD, ...)
        parts[name] = _real(name, np.asarray(ordered.values))
        dims[name] = tuple(str(dim) for dim in ordered.dims[2:])
    coords = {str(name): np.asarray(v.values) for name, v in found.coords.items() if v.dims == (name,)}
    return parts, dims, coords


def _frame(frame: nw.DataFrame[Any]) -> dict[str, np.ndarray]:
    """Of a data frame, one chain or those that its column `chain` tells apart."""
    parts = {str(c.name): c.to_numpy() for c in frame.iter_columns()}
    chain = parts.pop("chain", None)
    if chain is None:
        return {name: _real(name, value)[None] for name, value in parts.items()}
    labels, counts = np.unique(chain, return_counts=True)
    if len(set(counts.tolist())) > 1:
        raise DataError(f"draws: expected chains of equal length; got lengths {counts.tolist()}. Cut the longer ones.")
    order = np.argsort(chain, kind="stable")
    return {name: _real(name, value)[order].reshape(len(labels), -1) for name, value in parts.items()}


def _real(name: str, value: np.ndarray) -> np.ndarray:
    if value.dtype.kind in "biu":
        raise DataError(
            f"draws: expected real numbers of {name!r}; got whole ones. Leave it out: flows have densities."
        )
    try:
        return value.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"draws: expected numbers of {name!r}; got {value.dtype}. Leave it out.") from error
