"""Maps of spaces other than the real one."""

from collections.abc import Callable

from unwarp import CIRCLE, POSITIVE, REAL, CorrelationFactor, Interval, Space, Sphere
from unwarp.networks import MLP, MaskedMLP
from unwarp.transforms import (
    Autoregressive,
    Chart,
    Cholesky,
    Conformal,
    Correlation,
    Coupling,
    Increments,
    Parallel,
    Spin,
    Standardize,
    StickBreaking,
    Transform,
    Unconstrain,
)
from unwarp.univariates import Affine, CircularSpline, IntervalSpline, Moebius, Turn, Univariate

__all__ = ["ROWS", "UNIVARIATES"]

UNIVARIATES: dict[str, Callable[[], Univariate]] = {
    "Turn": Turn,
    "CircularSpline": lambda: CircularSpline(bins=4),
    "Moebius": lambda: Moebius(components=2),
    "IntervalSpline": lambda: IntervalSpline(Interval(-1.0, 3.0), bins=4),
}

ROWS: dict[str, Callable[[], Transform]] = {
    "Chart(Sphere, 3 entries)": lambda: Chart(Space((3,), Sphere(3))),
    "Chart(Sphere, 4 entries)": lambda: Chart(Space((4,), Sphere(4))),
    "Chart(CorrelationFactor)": lambda: Chart(Space((3, 3), CorrelationFactor(3))),
    "Coupling(Affine, told by an angle)": lambda: Coupling(
        2, Affine(), MLP(1, 2, hidden=(8,), angles=[0]), space=Space((2,), (CIRCLE, REAL))
    ),
    "Coupling(Moebius, torus)": lambda: Coupling(2, Moebius(2), MLP(1, 7, hidden=(8,), angles=[0])),
    "Autoregressive(Moebius, torus)": lambda: Autoregressive(
        2, Moebius(1), MaskedMLP(2, 3, hidden=(8,), angles=[0, 1]), order=[1, 0]
    ),
    "StickBreaking": lambda: StickBreaking(3),
    "Increments": lambda: Increments(2),
    "Cholesky": lambda: Cholesky(2),
    "Correlation": lambda: Correlation(2),
    "Correlation(3 rows)": lambda: Correlation(3),
    "Conformal": lambda: Conformal(3),
    "Spin": lambda: Spin(3, order=[1, 2, 0]),
    "Parallel": lambda: Parallel([Standardize(2), Unconstrain(Space((1,), POSITIVE))], features=[[2, 0], [1]]),
    "Parallel(Sphere, real)": lambda: Parallel([Chart(Space((3,), Sphere(3))), Standardize(1)]),
}
