"""Training: `fit` a distribution to data, or watch it being fitted with `steps`."""

from unwarp.training._annealing import annealed
from unwarp.training._bootstrap import Bootstrap
from unwarp.training._free_form import FreeForm
from unwarp.training._history import History, Step
from unwarp.training._loop import fit, steps
from unwarp.training._matching import matching, regularised_likelihood
from unwarp.training._metrics import Rivals, bits_per_dimension
from unwarp.training._objectives import Objective, any_subset, likelihood, noisy_likelihood
from unwarp.training._progress import json_lines, progress_bar
from unwarp.training._variational import AlphaDivergence, ImportanceWeighted, ReverseKL

__all__ = [
    "AlphaDivergence",
    "Bootstrap",
    "FreeForm",
    "History",
    "ImportanceWeighted",
    "Objective",
    "ReverseKL",
    "Rivals",
    "Step",
    "annealed",
    "any_subset",
    "bits_per_dimension",
    "fit",
    "json_lines",
    "likelihood",
    "matching",
    "noisy_likelihood",
    "progress_bar",
    "regularised_likelihood",
    "steps",
]
