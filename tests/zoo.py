"""One row for everything that is held to the laws: a readable name and how to make it, small."""

from collections.abc import Callable

from unwarp import flows
from unwarp._space import POSITIVE, REAL, UNIT, Interval, Space
from unwarp.distributions import Distribution, Flow, GaussianMixture, Normal, StudentT, Uniform
from unwarp.networks import MLP, MaskedMLP
from unwarp.transforms import (
    LU,
    ActNorm,
    Autoregressive,
    Compose,
    Coupling,
    Elementwise,
    Inverse,
    Permute,
    Standardize,
    Transform,
    Unconstrain,
    Whiten,
)
from unwarp.univariates import Affine, Exp, HeavyTail, RationalQuadratic, Rescale, Shift, Sigmoid, Softplus, Univariate

SPLINE = RationalQuadratic(bins=4)


def _coupling(features: int, univariate: Univariate, context: int = 0) -> Coupling:
    kept = features // 2
    net = MLP(kept, (features - kept) * univariate.n_params, hidden=(8,), context=context)
    return Coupling(features, univariate, net, context=context)


def _autoregressive(
    features: int, univariate: Univariate, context: int = 0, order: list[int] | None = None
) -> Autoregressive:
    net = MaskedMLP(features, univariate.n_params, hidden=(8, 8), context=context)
    return Autoregressive(features, univariate, net, order=order, context=context)


UNIVARIATES: dict[str, Callable[[], Univariate]] = {
    "Affine": Affine,
    "Shift": Shift,
    "RationalQuadratic": lambda: SPLINE,
    "HeavyTail": HeavyTail,
    "Exp": Exp,
    "Softplus": Softplus,
    "Sigmoid": Sigmoid,
    "Sigmoid(-2, 3)": lambda: Sigmoid(Interval(-2.0, 3.0)),
    "Rescale": lambda: Rescale(UNIT, Interval(-1.0, 3.0)),
}

TRANSFORMS: dict[str, Callable[[], Transform]] = {
    "Coupling(Affine)": lambda: _coupling(3, Affine()),
    "Coupling(Shift)": lambda: _coupling(2, Shift()),
    "Coupling(RationalQuadratic)": lambda: _coupling(3, SPLINE),
    "Coupling(RationalQuadratic, context)": lambda: _coupling(2, SPLINE, context=2),
    "Coupling(Affine, 1 feature, context)": lambda: _coupling(1, Affine(), context=1),
    "Coupling(RationalQuadratic, 1 feature)": lambda: _coupling(1, SPLINE),
    "Autoregressive(Affine)": lambda: _autoregressive(3, Affine()),
    "Autoregressive(RationalQuadratic)": lambda: _autoregressive(3, SPLINE),
    "Autoregressive(RationalQuadratic, context)": lambda: _autoregressive(2, SPLINE, context=2),
    "Autoregressive(Affine, order)": lambda: _autoregressive(4, Affine(), order=[2, 0, 3, 1]),
    "Autoregressive(RationalQuadratic, 1 feature)": lambda: _autoregressive(1, SPLINE),
    "Elementwise(RationalQuadratic)": lambda: Elementwise(2, SPLINE),
    "Elementwise(HeavyTail)": lambda: Elementwise(2, HeavyTail()),
    "Elementwise(Exp)": lambda: Elementwise(2, Exp()),
    "Unconstrain": lambda: Unconstrain(Space((3,), (POSITIVE, REAL, Interval(-1.0, 2.0)))),
    "LU": lambda: LU(3),
    "Permute": lambda: Permute([2, 0, 1]),
    "ActNorm": lambda: ActNorm(2),
    "Standardize": lambda: Standardize(2),
    "Whiten": lambda: Whiten(2),
    "Inverse(Autoregressive)": lambda: Inverse(_autoregressive(3, Affine(), context=1)),
    "Compose": lambda: Compose([LU(3), _coupling(3, SPLINE), Permute([1, 2, 0]), _autoregressive(3, Affine())]),
}

DISTRIBUTIONS: dict[str, Callable[[], Distribution]] = {
    "Normal": lambda: Normal(2),
    "StudentT": lambda: StudentT(2, freedom=4.0),
    "Uniform": lambda: Uniform(2, low=-1.0, high=2.0),
    "GaussianMixture": lambda: GaussianMixture(2, 3),
    "Flow(Uniform)": lambda: Flow(
        Compose([_coupling(2, SPLINE), Elementwise(2, Sigmoid()), Elementwise(2, Rescale(UNIT, Interval(-1.0, 1.0)))]),
        Uniform(2, low=-1.0, high=1.0),
    ),
    "nice": lambda: flows.nice(2, layers=2, hidden=(8,)),
    "nice(1 feature)": lambda: flows.nice(1, layers=2, hidden=(8,)),
    "realnvp": lambda: flows.realnvp(2, layers=2, hidden=(8,)),
    "realnvp(context)": lambda: flows.realnvp(2, layers=2, hidden=(8,), context=2),
    "maf": lambda: flows.maf(2, layers=2, hidden=(8,)),
    "maf(student)": lambda: flows.maf(2, layers=2, hidden=(8,), base="student"),
    "iaf(context)": lambda: flows.iaf(2, layers=2, hidden=(8,), context=2),
    "nsf": lambda: flows.nsf(2, layers=2, bins=4, hidden=(8,)),
    "nsf(1 feature)": lambda: flows.nsf(1, layers=1, bins=4, hidden=(8,)),
    "nsf(1 feature, context)": lambda: flows.nsf(1, layers=1, bins=4, hidden=(8,), context=1),
    "nsf(autoregressive)": lambda: flows.nsf(2, layers=2, bins=4, hidden=(8,), structure="autoregressive"),
    "nsf(everything)": lambda: flows.nsf(
        2,
        layers=2,
        bins=4,
        hidden=(8,),
        support=["positive", ("interval", -1.0, 2.0)],
        tails="heavy",
        marginals=4,
        mixing="whiten",
        base="mixture",
        components=2,
    ),
}

ZOO: dict[str, Callable[[], Univariate | Transform | Distribution]] = {**UNIVARIATES, **TRANSFORMS, **DISTRIBUTIONS}
