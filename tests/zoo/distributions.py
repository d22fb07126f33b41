"""Distributions that are put together by hand."""

from collections.abc import Callable

import torch

from unwarp import CIRCLE, UNIT, Interval, Simplex, Space, Sphere
from unwarp.distributions import (
    Cell,
    ConditionalNormal,
    Distribution,
    Flow,
    From,
    Gaussian,
    GaussianMixture,
    Logistic,
    Mixed,
    Mixture,
    Normal,
    Product,
    Resampled,
    StudentT,
    Uniform,
    UniformOn,
    VonMises,
    VonMisesFisher,
    network_sizes,
)
from unwarp.networks import MLP, SubsetMLP
from unwarp.transforms import Compose, Elementwise
from unwarp.univariates import Affine, Rescale, Sigmoid
from zoo.structures import SPLINE, coupling

__all__ = ["ROWS"]

LINES = [Cell(), Cell(support=("interval", -3.0, 3.0))]

ROWS: dict[str, Callable[[], Distribution]] = {
    "Normal": lambda: Normal(2),
    "Normal(1 x 2 x 1)": lambda: Normal((1, 2, 1)),
    "StudentT": lambda: StudentT(2, freedom=4.0),
    "StudentT(2 x 2)": lambda: StudentT((2, 2), freedom=4.0),
    "Uniform": lambda: Uniform(2, low=-1.0, high=2.0),
    "Uniform(2 x 1)": lambda: Uniform((2, 1), low=-1.0, high=2.0),
    "GaussianMixture": lambda: GaussianMixture(2, 3),
    "Flow(Uniform)": lambda: Flow(
        Compose([coupling(2, SPLINE), Elementwise(2, Sigmoid()), Elementwise(2, Rescale(UNIT, Interval(-1.0, 1.0)))]),
        Uniform(2, low=-1.0, high=1.0),
    ),
    "Flow(Flow)": lambda: Flow(coupling(2, Affine()), Flow(Elementwise(2, Affine()), Gaussian(2))),
    "Gaussian": lambda: Gaussian(2),
    "Gaussian(rank 1)": lambda: Gaussian(2, rank=1),
    "Logistic": lambda: Logistic(2),
    "ConditionalNormal": lambda: ConditionalNormal(2, MLP(0, 4, hidden=(8,), context=2), context=2),
    "From(Laplace)": lambda: From(torch.distributions.Laplace, loc=torch.zeros(2), scale=torch.ones(2)),
    "From(Gamma)": lambda: From(torch.distributions.Gamma, concentration=torch.tensor([2.0]), rate=torch.ones(1)),
    "From(Dirichlet)": lambda: From(torch.distributions.Dirichlet, concentration=torch.tensor([2.0, 1.0, 3.0])),
    "Resampled": lambda: Resampled(2, MLP(2, 1, hidden=(8,)), truncation=4),
    "Mixed": lambda: Mixed(LINES, [SubsetMLP(*network_sizes(LINES, 4), hidden=8, blocks=1)], bins=4, knots=4),
    "Mixture": lambda: Mixture([Gaussian(2), StudentT(2), Flow(coupling(2, Affine()), Normal(2))]),
    "Mixture(context)": lambda: Mixture([Gaussian(1), Logistic(1)], net=MLP(0, 2, hidden=(8,), context=2), context=2),
    "Product": lambda: Product([VonMises(1), Gaussian(1)], features=[[1], [0]]),
    "VonMises": lambda: VonMises(1),
    "VonMisesFisher": lambda: VonMisesFisher(3),
    "UniformOn(Sphere)": lambda: UniformOn(Space((3,), Sphere(3))),
    "UniformOn(Sphere, 4 entries)": lambda: UniformOn(Space((4,), Sphere(4))),
    "UniformOn(Simplex)": lambda: UniformOn(Space((3,), Simplex(3))),
    "UniformOn(circle, simplex)": lambda: UniformOn(Space((3,), (CIRCLE, Simplex(2)))),
}
