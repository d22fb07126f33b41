"""One row for everything that is held to the laws: a readable name and how to make it, small."""

from collections.abc import Callable

from unwarp.distributions import Distribution
from unwarp.transforms import Transform
from unwarp.univariates import Univariate
from zoo import distributions, images, linear, recipes, residual, structures, univariates
from zoo import distributions, images, linear, recipes, spaces, structures, univariates

__all__ = ["DISTRIBUTIONS", "SLOW", "UNIVARIATES", "ZOO"]

UNIVARIATES: dict[str, Callable[[], Univariate]] = univariates.ROWS
TRANSFORMS: dict[str, Callable[[], Transform]] = structures.ROWS | linear.ROWS | images.ROWS | residual.ROWS
TRANSFORMS: dict[str, Callable[[], Transform]] = structures.ROWS | linear.ROWS | spaces.ROWS | images.ROWS
DISTRIBUTIONS: dict[str, Callable[[], Distribution]] = {**distributions.ROWS, **recipes.ROWS}

ZOO: dict[str, Callable[[], Univariate | Transform | Distribution]] = {**UNIVARIATES, **TRANSFORMS, **DISTRIBUTIONS}

SLOW: set[str] = {  # rows whose laws take more than some five seconds together; the slow suite has them
    "BlockNeural(deep)",
    "Sylvester(householder, context)",
    "bnaf",
    "sylvester(context)",
}
