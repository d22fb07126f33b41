"""Posterior draws in whatever container they come, as one matrix with names and shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from unwarp.errors import DataError

__all__ = ["Draws"]


@dataclass(frozen=True)
class Draws:
    """Draws of named parameters.

    Args:
        values: `(chains, draws, k)`.
        sizes: shapes by name, in the order of the k columns.
        coords: for containers that have them, the dimensions' names and coordinates by parameter.
    """

    values: NDArray[np.float64]
    sizes: dict[str, tuple[int, ...]]

    @property
    def rows(self) -> NDArray[np.float64]:
        """All chains one after the other, `(n, k)`."""
        return self.values.reshape(-1, self.values.shape[-1])

    @property
    def effective(self) -> float:
        """How many independent draws they are worth: the least of the parameters' effective sample sizes."""
        return min(_effective(self.values[..., j]) for j in range(self.values.shape[-1]))

    @classmethod
    def of(cls, given: Any) -> Draws:
        """From ArviZ (any version), xarray, a dict of arrays `(chains, draws, ...)`, a data frame or an array.

        Arrays are `(draws, k)` or `(chains, draws, k)`.

        Raises:
            DataError: when there are fewer than 50 draws, one that is not finite, or a parameter that never varies.
        """
        group = getattr(given, "posterior", None)
        found = given if group is None else group
        found = getattr(found, "dataset", found)
        if getattr(found, "data_vars", None) is not None:
            parts = {str(n): np.asarray(v.transpose("chain", "draw", ...)) for n, v in found.data_vars.items()}
        elif isinstance(found, Mapping):
            parts = {str(name): np.asarray(value, dtype=np.float64) for name, value in found.items()}
            parts = {name: value if value.ndim > 1 else value[None] for name, value in parts.items()}
        else:
            parts = _table(found)
        if not parts:
            raise DataError("draws: expected at least one parameter; got none. Give the posterior group.")
        lead = {value.shape[:2] for value in parts.values()}
        if len(lead) > 1:
            raise DataError(
                f"draws: expected arrays of equal chains and draws; got {sorted(lead)}. Give (chains, draws, ...) each."
            )
        sizes = {name: tuple(value.shape[2:]) for name, value in parts.items()}
        flat = [value.reshape(*value.shape[:2], -1) for value in parts.values()]
        return cls(_sound(np.concatenate(flat, -1).astype(np.float64), sizes), sizes)


def _table(given: Any) -> dict[str, np.ndarray]:
    frame = nw.from_native(given, pass_through=True)
    if isinstance(frame, nw.DataFrame):
        return {str(c.name): np.asarray(c.to_numpy(), dtype=np.float64)[None] for c in frame.iter_columns()}
    values = np.asarray(given, dtype=np.float64)
    if values.ndim not in (2, 3):
        raise DataError(f"draws: expected (draws, k) or (chains, draws, k); got shape {values.shape}. Reshape them.")
    values = values if values.ndim == 3 else values[None]
    return {f"x{j}": values[..., j] for j in range(values.shape[-1])}


def _sound(values: np.ndarray, sizes: Mapping[str, tuple[int, ...]]) -> np.ndarray:
    count = values.shape[0] * values.shape[1]
    if count < 50:
        raise DataError(f"draws: expected at least 50; got {count}. Draw more.")
    names = [name for name, shape in sizes.items() for _ in range(math.prod(shape))]
    rows = values.reshape(count, -1)
    for j, name in enumerate(names):
        if not np.isfinite(rows[:, j]).all():
            bad = int(np.argmin(np.isfinite(rows[:, j])))
            raise DataError(f"draws: expected finite numbers of {name!r}; got {rows[bad, j]} in draw {bad}. Mend them.")
        if (rows[:, j] == rows[0, j]).all():
            raise DataError(f"draws: expected a parameter {name!r} that varies; got one value. Leave it out.")
    return values


def _effective(chains: np.ndarray) -> float:
    """Draws over the integrated autocorrelation time, by Geyer's initial monotone sequence over all chains."""
    count = chains.shape[1]
    centered = chains - chains.mean()
    size = 2 ** math.ceil(math.log2(2 * count))
    spectrum = np.fft.rfft(centered, size, axis=1)
    covariance = np.fft.irfft(spectrum * spectrum.conj(), size, axis=1)[:, :count].mean(0) / count
    rho = covariance / covariance[0]
    pairs = rho[: count // 2 * 2].reshape(-1, 2).sum(1)
    stop = int(np.argmax(pairs < 0)) if (pairs < 0).any() else len(pairs)
    time = -1 + 2 * np.minimum.accumulate(pairs[: max(1, stop)]).sum()
    return chains.size / max(1.0, float(time))
