"""Maps that add something small, or the gradient of something convex."""

from collections.abc import Callable

from unwarp.networks import MLP, ConvexNet, LipschitzConvNet, LipschitzNet
from unwarp.transforms import ConvexPotential, Planar, Radial, Residual, Sylvester, Transform

__all__ = ["ROWS"]

ROWS: dict[str, Callable[[], Transform]] = {
    "ConvexPotential": lambda: ConvexPotential(2, ConvexNet(2, hidden=(8, 4))),
    "ConvexPotential(1 feature, context)": lambda: ConvexPotential(1, ConvexNet(1, hidden=(8,), context=2)),
    "Planar": lambda: Planar(2),
    "Planar(1 feature)": lambda: Planar(1),
    "Planar(context)": lambda: Planar(2, net=MLP(0, 5, hidden=(8,), context=2), context=2),
    "Radial": lambda: Radial(2),
    "Radial(1 feature)": lambda: Radial(1),
    "Radial(context)": lambda: Radial(2, net=MLP(0, 4, hidden=(8,), context=2), context=2),
    "Sylvester": lambda: Sylvester(3, rank=2),
    "Sylvester(householder, context)": lambda: Sylvester(
        2,
        basis="householder",
        reflections=2,
        net=MLP(0, Sylvester.n_params(2, basis="householder", reflections=2), hidden=(8,), context=2),
        context=2,
    ),
    "Sylvester(triangular)": lambda: Sylvester(2, basis="triangular"),
    "Residual": lambda: Residual(2, LipschitzNet(2, hidden=(8, 4))),
    "Residual(1 feature, context)": lambda: Residual(1, LipschitzNet(1, hidden=(8,), context=2)),
    "Residual(roulette)": lambda: Residual(2, LipschitzNet(2, hidden=(4,), lipschitz=0.3), ladj="roulette", terms=2),
    "Residual(image, context)": lambda: Residual((1, 1, 2), LipschitzConvNet(1, 1, 2, hidden=(2,), context=1)),
    "Residual(image, roulette)": lambda: Residual(
        (2, 1, 2), LipschitzConvNet(2, 1, 2, hidden=(2, 2), lipschitz=0.3), ladj="roulette", terms=2
    ),
}
