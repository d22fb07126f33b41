"""One row for everything that is held to the laws: a readable name and how to make it, small."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from unwarp.distributions import Distribution
from unwarp.transforms import Transform
from unwarp.univariates import Univariate
from zoo import continuous, distributions, images, linear, recipes, residual, spaces, structures, univariates

__all__ = ["DISTRIBUTIONS", "FREE", "SLOW", "TRUTHS", "UNIVARIATES", "ZOO"]

UNIVARIATES: dict[str, Callable[[], Univariate]] = {
    **spaces.UNIVARIATES,
    **univariates.ROWS,
}
TRANSFORMS: dict[str, Callable[[], Transform]] = {
    **continuous.ROWS,
    **images.ROWS,
    **linear.ROWS,
    **residual.ROWS,
    **spaces.ROWS,
    **structures.ROWS,
}
DISTRIBUTIONS: dict[str, Callable[[], Distribution]] = {
    **distributions.ROWS,
    **images.FLOWS,
    **recipes.ROWS,
}
ZOO: dict[str, Callable[[], Univariate | Transform | Distribution]] = {**UNIVARIATES, **TRANSFORMS, **DISTRIBUTIONS}

# the exact log density, or probability, of flows whose own is a bound
TRUTHS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    **images.TRUTHS,
}

SLOW: set[str] = {  # rows whose laws take more than some five seconds together; the slow suite has them
    "Mixed",
    "Autoregressive(Moebius, torus)",
    "BlockNeural(deep)",
    "Cubic",
    "DeepSigmoid(2 layers)",
    "Integral",
    "MixtureQuantile",
    "MixtureQuantile(logistic)",
    "Residual(image, roulette)",
    "SumOfSquares",
    "Sylvester(householder, context)",
    "bnaf",
    "bpf",
    "bpf(1 feature, context)",
    "circular(mixed, context)",
    "flowpp",
    "freeform",
    "freeform(1 feature, context)",
    "gf",
    "gf(context)",
    "glow(emerging)",
    "naf",
    "naf(1 feature, depth, context)",
    "cpflow(1 feature, context)",
    "residual_image",
    "residual_image(roulette, context)",
    "resflow(1 feature, context)",
    "resflow(roulette)",
    "sospf",
    "sospf(1 feature, context)",
    "sphere(4 entries, context)",
    "sylvester(context)",
    "unaf",
    "unaf(1 feature, context)",
}

FREE = {"cnf", "ffjord", "otflow"}  # recipes whose networks nothing bounds: one to one while their slopes are moderate
