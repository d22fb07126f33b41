"""The laws of the library, run on an object of yours."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import Any

from torch import Tensor

from unwarp.distributions import Distribution
from unwarp.doctor import _autodiff, _calls, _densities, _maps, _tables
from unwarp.doctor._report import Figure, Report, Row
from unwarp.doctor._subject import Module, Subject, subject_of
from unwarp.transforms import Transform
from unwarp.univariates import Univariate

__all__ = ["DENSITY_LAWS", "LAWS", "MAP_LAWS", "Law", "check"]

Law = Callable[[Subject], Figure]

MAP_LAWS: tuple[Law, ...] = (
    _maps.round_trip,
    _maps.jacobian,
    _maps.ladj_both_ways,
    _maps.ladj_by_integration,
    _maps.identity_at_start,
    _maps.estimate_is_unbiased,
    _autodiff.score_carried,
)
LAWS: tuple[Law, ...] = (
    _calls.any_batch,
    _calls.dtype_and_device,
    _calls.context_counts,
    _autodiff.gradients,
    _autodiff.compiles,
    _autodiff.vmap_and_jacrev,
    _autodiff.saved_and_loaded,
    _calls.finite_everywhere,
    _calls.ends_meet,
    _calls.nothing_else_touched,
    _calls.short_repr,
)
DENSITY_LAWS: tuple[Law, ...] = (
    _densities.mass_is_one,
    _densities.sample_and_density_agree,
    _densities.samples_follow_density,
    _densities.is_a_bound,
)
TABLE_LAWS: tuple[Law, ...] = (
    _tables.cells_have_mass_one,
    _tables.gaps_are_left_out,
    _densities.sample_and_density_agree,
    _calls.dtype_and_device,
    _autodiff.saved_and_loaded,
    _calls.nothing_else_touched,
)


def check(
    obj: Transform | Univariate | Distribution | Any,
    *,
    fresh: Callable[[], Module] | None = None,
    truth: Callable[[Tensor], Tensor] | None = None,
    rows: int = 16,
    seed: int = 0,
) -> Report:
    """Hold an object to the laws that this library's own tests hold every transform and distribution to.

    A transform must come back from its latent, its ladj must be the log-determinant of its Jacobian, and so on; a
    distribution must integrate to one and its samples follow it. Use it on a layer that you wrote, or on a flow that
    you trained before you rely on it. The object is not touched: a copy in float64 on the CPU is examined.

    Args:
        obj: a transform, a univariate, a distribution, a flow, or a fitted `FlowDensity` or `FlowTable`.
        fresh: builds the object anew, which the laws about the untrained object need.
        truth: the exact log density in nats, `(n, *event)` -> `(n)`, for a flow whose own is a bound.
        rows: how many inputs to draw.
        seed: of the draws.

    Returns:
        A report with one figure for each law; `print(report)` shows the table and `report.passed` sums it up.

    Raises:
        ConfigError: when `obj` is nothing that has laws.

    Example:
        >>> from unwarp.transforms import Permute
        >>> report = check(Permute([1, 0]))
        >>> report.passed
        True
    """
    started = time.perf_counter()
    subject = subject_of(obj, fresh=fresh, rows=rows, seed=seed, truth=truth)
    rows_of_report = tuple(_row(law, subject) for law in laws_of(subject))
    return Report(subject.name, rows_of_report, time.perf_counter() - started)


def laws_of(subject: Subject) -> tuple[Law, ...]:
    """The laws that concern the subject."""
    if _tables.is_table(subject.module):
        return TABLE_LAWS
    return MAP_LAWS * subject.has_map + LAWS + DENSITY_LAWS * subject.has_density


def _row(law: Law, subject: Subject) -> Row:
    """Run one law; whatever it raises is a broken law, not the end of the report."""
    try:
        figure = law(subject)
    except Exception as error:  # noqa: BLE001 - a stranger's object may raise anything
        where = traceback.extract_tb(error.__traceback__)[-1]
        figure = Figure.count([f"{type(error).__name__}: {_first_line(error)} ({where.name})"])
    says = (law.__doc__ or "").strip().splitlines()[0]
    return Row(law.__name__.replace("_", " "), says, figure)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "")[:160]
