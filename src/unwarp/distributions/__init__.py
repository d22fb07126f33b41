"""Probability distributions: bases, mixtures and flows."""

from unwarp.distributions._base import Distribution
from unwarp.distributions._cell import Cell
from unwarp.distributions._combine import Mixture, Product
from unwarp.distributions._denoise import denoise
from unwarp.distributions._estimate import Estimate, estimate
from unwarp.distributions._flow import Flow
from unwarp.distributions._from import From
from unwarp.distributions._gaussian import ConditionalNormal, Gaussian, Logistic
from unwarp.distributions._law import Law
from unwarp.distributions._limit import Limit, log_chance
from unwarp.distributions._mixed import Mixed, network_sizes
from unwarp.distributions._mixture import GaussianMixture
from unwarp.distributions._precision import in_float32
from unwarp.distributions._resampled import Resampled
from unwarp.distributions._simple import Normal, StudentT, Uniform
from unwarp.distributions._spaces import UniformOn, VonMises
from unwarp.distributions._trace import trace
from unwarp.distributions._von_mises_fisher import VonMisesFisher

__all__ = [
    "Cell",
    "ConditionalNormal",
    "Distribution",
    "Estimate",
    "Flow",
    "From",
    "Gaussian",
    "GaussianMixture",
    "Law",
    "Limit",
    "Logistic",
    "Mixed",
    "Mixture",
    "Normal",
    "Product",
    "Resampled",
    "StudentT",
    "Uniform",
    "UniformOn",
    "VonMises",
    "VonMisesFisher",
    "denoise",
    "estimate",
    "in_float32",
    "log_chance",
    "network_sizes",
    "trace",
]
