"""Maps of spaces other than the real one."""

from collections.abc import Callable

from unwarp import CorrelationFactor, Space, Sphere
from unwarp.transforms import Chart, Transform

__all__ = ["ROWS"]

ROWS: dict[str, Callable[[], Transform]] = {
    "Chart(Sphere, 3 entries)": lambda: Chart(Space((3,), Sphere(3))),
    "Chart(Sphere, 4 entries)": lambda: Chart(Space((4,), Sphere(4))),
    "Chart(CorrelationFactor)": lambda: Chart(Space((3, 3), CorrelationFactor(3))),
}
