"""Dates, times and durations as numbers: so many days, seconds, ... since an epoch near the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from unwarp.data._arrow import encoded, is_text, parses, trimmed
from unwarp.data._column import Unit

NANOSECONDS: dict[Unit, int] = {
    "day": 86_400_000_000_000,
    "hour": 3_600_000_000_000,
    "minute": 60_000_000_000,
    "second": 1_000_000_000,
    "millisecond": 1_000_000,
    "microsecond": 1_000,
    "nanosecond": 1,
}
ISO = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?)?$"
_TICKS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_FIRST, _LAST = -62_135_596_800, 253_402_300_799  # seconds from 1970 to the years 1 and 9999, which everyone can print


@dataclass(frozen=True, slots=True)
class Clock:
    """How a date is counted: codes are `unit` since `epoch` (seconds since 1970; 0 for times of day and durations)."""

    unit: Unit
    epoch: int

    @property
    def text(self) -> str:
        """The epoch in ISO form."""
        text = str(np.datetime64(self.epoch, "s"))
        return text.removesuffix("T00:00:00")

    @classmethod
    def of(cls, unit: Unit, epoch: str | None) -> Clock:
        """The clock of a column."""
        return cls(unit, 0 if epoch is None else int(np.datetime64(epoch, "s").astype(np.int64)))


def is_date(kind: pa.DataType) -> bool:
    """Whether values of this type are dates, times or durations."""
    return pa.types.is_date(kind) or pa.types.is_time(kind) or pa.types.is_timestamp(kind) or pa.types.is_duration(kind)


def looks_dated(column: pa.Array) -> bool:
    """Whether all texts are ISO dates or times."""
    if len(column) == column.null_count or not parses(column, ISO).all():
        return False
    try:
        _parsed(column)
    except pa.ArrowInvalid:
        return False
    return True


def anchored(kind: pa.DataType) -> bool:
    """Whether values of this type are points in time, which need an epoch."""
    return is_text(kind) or pa.types.is_date(kind) or pa.types.is_timestamp(kind)


def clock_of(column: pa.Array) -> Clock:
    """The coarsest unit that counts all values, and an epoch at or before the first."""
    ticks, missing, size = _ticks(column)
    held = ticks[~missing]
    units: list[Unit] = [unit for unit, length in NANOSECONDS.items() if length % size == 0]
    unit: Unit = next(unit for unit in units if np.all(held % (NANOSECONDS[unit] // size) == 0))
    if not anchored(column.type) or not held.size:
        return Clock(unit, 0)
    second = int(held.min()) * size // NANOSECONDS["second"]
    grain = max(NANOSECONDS[unit] // NANOSECONDS["second"], 1)
    return Clock(unit, second // grain * grain)


def codes_of(column: pa.Array, clock: Clock) -> np.ndarray:
    """Units since the epoch as float64, NaN where missing. Texts must be ISO dates."""
    ticks, missing, size = _ticks(column)
    start, length = clock.epoch * NANOSECONDS["second"], NANOSECONDS[clock.unit]
    if start % size == 0 and abs(start // size) < 2**62:
        since = (ticks - start // size).astype(np.float64)
    else:
        since = ticks.astype(np.float64) - start / size
    codes = since / (length // size) if length >= size else since * (size // length)
    codes[missing] = np.nan
    return codes


def dates_of(codes: np.ndarray, clock: Clock, kind: pa.DataType) -> pa.Array:
    """Codes back to the type that the table had; values beyond the years 1 to 9999 become the last that it knows."""
    missing = np.isnan(codes)
    if pa.types.is_dictionary(kind):
        dates = dates_of(codes, clock, kind.value_type)
        return encoded(dates, kind, dates.drop_null().unique())
    if is_text(kind):
        whole = clock.unit == "day"
        precise = {"millisecond": "ms", "microsecond": "us", "nanosecond": "us"}.get(clock.unit, "s")
        dates = dates_of(codes, clock, pa.date32() if whole else pa.timestamp(precise))
        return dates.cast(kind)
    size, low, high = _span(kind)
    length, start = NANOSECONDS[clock.unit], clock.epoch * NANOSECONDS["second"] // size
    filled = np.where(missing, 0.0, codes)
    since = filled * (length // size) if length >= size else filled / (size // length)
    since = np.clip(np.round(since), float(low - start), float(high - start))
    ticks = np.clip(since.astype(np.int64) + start, low, high)
    if pa.types.is_date64(kind):
        ticks = ticks // 86_400_000 * 86_400_000
    narrow = pa.int32() if pa.types.is_date32(kind) or pa.types.is_time32(kind) else pa.int64()
    return pa.array(ticks, mask=missing).cast(narrow).cast(kind)


def _span(kind: pa.DataType) -> tuple[int, int, int]:
    """Nanoseconds a tick, and the first and last tick that a value of this type may be."""
    if pa.types.is_date32(kind):
        return NANOSECONDS["day"], _FIRST // 86_400, _LAST // 86_400
    if pa.types.is_date64(kind):
        return 10**6, _FIRST * 1000, _LAST * 1000
    size = _TICKS[kind.unit]
    if pa.types.is_time(kind):
        return size, 0, NANOSECONDS["day"] // size - 1
    if pa.types.is_duration(kind) or size == 1:
        return size, -(2**62), 2**62
    return size, _FIRST * (10**9 // size), _LAST * (10**9 // size)


def _ticks(column: pa.Array) -> tuple[np.ndarray, np.ndarray, int]:
    """Whole ticks, which are missing, and nanoseconds a tick."""
    column = _parsed(column) if is_text(column.type) else column
    size = _span(column.type)[0]
    narrow = pa.int32() if pa.types.is_date32(column.type) or pa.types.is_time32(column.type) else pa.int64()
    ticks = column.cast(narrow).cast(pa.int64()).fill_null(0)
    return np.asarray(ticks), np.asarray(column.is_null()), size


def _parsed(column: pa.Array) -> pa.Array:
    """ISO texts as timestamps."""
    return trimmed(column).cast(pa.timestamp("us"))
