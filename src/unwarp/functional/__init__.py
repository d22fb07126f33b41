"""Pure tensor functions: scalar maps with their ladj, mixtures. No modules, no state, the papers' symbols."""

from unwarp.functional._affine import affine, affine_inverse, bounded_affine, bounded_affine_inverse, soft_clip
from unwarp.functional._bessel import log_bessel
from unwarp.functional._cdf import (
    gumbel,
    gumbel_inverse,
    kumaraswamy,
    kumaraswamy_inverse,
    normal_cdf,
    normal_cdf_inverse,
    weibull,
    weibull_inverse,
)
from unwarp.functional._circle import circular_spline, circular_spline_inverse, moebius, moebius_inverse, wrap
from unwarp.functional._convolution import (
    bound_kernel,
    causal_convolution,
    causal_convolution_inverse,
    full_convolution,
)
from unwarp.functional._coupled import CouplingStep, couple
from unwarp.functional._coupled_images import Filter, ImageStep, couple_images, filtered
from unwarp.functional._descent import Trained, descend
from unwarp.functional._divergence import directional, jacobian
from unwarp.functional._folded import LinearStep, fold
from unwarp.functional._guards import spread, straight_beyond, straight_beyond_inverse, tilted
from unwarp.functional._histogram import histogram, histogram_inverse
from unwarp.functional._linalg import (
    bound_norm,
    cayley,
    dct_matrix,
    householder,
    householder_inverse,
    rotation,
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
from unwarp.functional._neural import deep_sigmoid, logistic_mixture
from unwarp.functional._newton import solve_monotone, solve_nearby
from unwarp.functional._noise import noise_normal, noise_sign, noise_uniform
from unwarp.functional._ode import TABLEAUS, Stage, Tableau, integrate_adaptively, runge_kutta
from unwarp.functional._perceptron import Affinity, perceptron, squash
from unwarp.functional._piecewise import (
    cubic,
    cubic_inverse,
    linear_rational,
    piecewise_linear,
    quadratic,
    quadratic_inverse,
)
from unwarp.functional._polynomial import bernstein, integrated_network, sum_of_squares
from unwarp.functional._power import (
    dual_power,
    dual_power_inverse,
    power,
    sinh_arcsinh,
    sinh_arcsinh_inverse,
    yeo_johnson,
    yeo_johnson_inverse,
)
from unwarp.functional._quantile import log_normal_cdf, normal_mixture, normal_quantile
from unwarp.functional._quantiles import through_knots, through_knots_inverse
from unwarp.functional._roots import invert_increasing, solve_increasing
from unwarp.functional._rows import sum_of_rows
from unwarp.functional._sequence import ScalarMap, Unrolled, undo_in_order
from unwarp.functional._spline import (
    periodic_rational_quadratic,
    periodic_rational_quadratic_inverse,
    rational_quadratic,
    rational_quadratic_inverse,
)
from unwarp.functional._support import exp, log, logit, rescale, sigmoid, softplus, softplus_inverse
from unwarp.functional._tails import (
    heavy_tail,
    heavy_tail_inverse,
    lighten,
    lighten_inverse,
    log_tail,
    log_tail_inverse,
)
from unwarp.functional._trace import directional_matrix, log_det, log_det_series

__all__ = [
    "TABLEAUS",
    "Affinity",
    "CouplingStep",
    "Filter",
    "GaussianMixtureFit",
    "ImageStep",
    "LinearStep",
    "ScalarMap",
    "Stage",
    "Tableau",
    "Trained",
    "Unrolled",
    "affine",
    "affine_inverse",
    "bernstein",
    "bound_kernel",
    "bound_norm",
    "bounded_affine",
    "bounded_affine_inverse",
    "causal_convolution",
    "causal_convolution_inverse",
    "cayley",
    "circular_spline",
    "circular_spline_inverse",
    "couple",
    "couple_images",
    "cubic",
    "cubic_inverse",
    "dct_matrix",
    "deep_sigmoid",
    "descend",
    "directional",
    "directional_matrix",
    "dual_power",
    "dual_power_inverse",
    "exp",
    "filtered",
    "fit_gaussian_mixture",
    "fold",
    "full_convolution",
    "gaussian_mixture_from_normal",
    "gaussian_mixture_log_prob",
    "gaussian_mixture_to_normal",
    "gumbel",
    "gumbel_inverse",
    "heavy_tail",
    "heavy_tail_inverse",
    "histogram",
    "histogram_inverse",
    "householder",
    "householder_inverse",
    "integrate_adaptively",
    "integrated_network",
    "invert_increasing",
    "jacobian",
    "kumaraswamy",
    "kumaraswamy_inverse",
    "lighten",
    "lighten_inverse",
    "linear_rational",
    "log",
    "log_bessel",
    "log_det",
    "log_det_series",
    "log_normal_cdf",
    "log_tail",
    "log_tail_inverse",
    "logistic_mixture",
    "logit",
    "moebius",
    "moebius_inverse",
    "noise_normal",
    "noise_sign",
    "noise_uniform",
    "normal_cdf",
    "normal_cdf_inverse",
    "normal_mixture",
    "normal_quantile",
    "perceptron",
    "periodic_rational_quadratic",
    "periodic_rational_quadratic_inverse",
    "piecewise_linear",
    "power",
    "quadratic",
    "quadratic_inverse",
    "rational_quadratic",
    "rational_quadratic_inverse",
    "rescale",
    "rotation",
    "runge_kutta",
    "sigmoid",
    "sinh_arcsinh",
    "sinh_arcsinh_inverse",
    "skew",
    "soft_clip",
    "softplus",
    "softplus_inverse",
    "solve_increasing",
    "solve_monotone",
    "solve_nearby",
    "spread",
    "squash",
    "straight_beyond",
    "straight_beyond_inverse",
    "sum_of_rows",
    "sum_of_squares",
    "through_knots",
    "through_knots_inverse",
    "tilted",
    "undo_in_order",
    "upper_triangular",
    "weibull",
    "weibull_inverse",
    "wrap",
    "yeo_johnson",
    "yeo_johnson_inverse",
]
