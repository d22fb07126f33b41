"""Probability distributions: bases, mixtures and flows."""

from unwarp.distributions._base import Distribution
from unwarp.distributions._estimate import Estimate, estimate
from unwarp.distributions._flow import Flow
from unwarp.distributions._mixture import GaussianMixture
from unwarp.distributions._simple import Normal, StudentT, Uniform
from unwarp.distributions._trace import trace

__all__ = [
    "Distribution",
    "Estimate",
    "Flow",
    "GaussianMixture",
    "Normal",
    "StudentT",
    "Uniform",
    "estimate",
    "trace",
]
