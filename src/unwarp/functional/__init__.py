"""Pure tensor functions: scalar maps with their ladj, mixtures. No modules, no state, the papers' symbols."""

from unwarp.functional._affine import affine, affine_inverse, soft_clip
from unwarp.functional._circle import moebius, moebius_inverse, wrap
from unwarp.functional._convolution import bound_kernel, causal_convolution, causal_convolution_inverse
from unwarp.functional._divergence import directional, jacobian
from unwarp.functional._linalg import (
    bound_norm,
    cayley,
    dct_matrix,
    householder,
    householder_inverse,
    skew,
    upper_triangular,
)
from unwarp.functional._mixture import (
    GaussianMixtureFit,
    fit_gaussian_mixture,
    gaussian_mixture_from_normal,
    gaussian_mixture_log_prob,
    gaussian_mixture_to_normal,
)
from unwarp.functional._newton import solve_monotone, solve_nearby
from unwarp.functional._noise import noise_normal, noise_sign, noise_uniform
from unwarp.functional._ode import TABLEAUS, Stage, Tableau, integrate_adaptively, runge_kutta
from unwarp.functional._piecewise import (
    cubic,
    cubic_inverse,
    linear_rational,
    piecewise_linear,
    quadratic,
    quadratic_inverse,
)
from unwarp.functional._roots import invert_increasing, solve_increasing
from unwarp.functional._spline import rational_quadratic, rational_quadratic_inverse
from unwarp.functional._support import exp, log, logit, rescale, sigmoid, softplus, softplus_inverse
from unwarp.functional._tails import lighten, lighten_inverse
from unwarp.functional._trace import directional_matrix, log_det, log_det_series

__all__ = [
    "TABLEAUS",
    "GaussianMixtureFit",
    "Stage",
    "Tableau",
    "affine",
    "affine_inverse",
    "bound_kernel",
    "bound_norm",
    "causal_convolution",
    "causal_convolution_inverse",
    "cayley",
    "cubic",
    "cubic_inverse",
    "dct_matrix",
    "directional",
    "directional_matrix",
    "exp",
    "fit_gaussian_mixture",
    "gaussian_mixture_from_normal",
    "gaussian_mixture_log_prob",
    "gaussian_mixture_to_normal",
    "householder",
    "householder_inverse",
    "integrate_adaptively",
    "invert_increasing",
    "jacobian",
    "lighten",
    "lighten_inverse",
    "linear_rational",
    "log",
    "log_det",
    "log_det_series",
    "logit",
    "moebius",
    "moebius_inverse",
    "noise_normal",
    "noise_sign",
    "noise_uniform",
    "piecewise_linear",
    "quadratic",
    "quadratic_inverse",
    "rational_quadratic",
    "rational_quadratic_inverse",
    "rescale",
    "runge_kutta",
    "sigmoid",
    "skew",
    "soft_clip",
    "softplus",
    "softplus_inverse",
    "solve_increasing",
    "solve_monotone",
    "solve_nearby",
    "upper_triangular",
    "wrap",
]
