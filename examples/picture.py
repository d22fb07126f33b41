"""Draw pulsar candidates beside rows that a flow drew: ``python examples/picture.py DATA SAMPLES PICTURE``."""

import sys

import numpy as np

from unwarp import plots
from unwarp.data import read_table

COLUMNS = ["profile_mean", "profile_kurtosis", "profile_skewness", "dm_mean", "dm_std", "dm_kurtosis", "dm_skewness"]
PAIRS = [(0, 1), (1, 2), (3, 4), (5, 6)]

if __name__ == "__main__":
    data, samples, picture = sys.argv[1:]
    rows = [np.column_stack(read_table(path, columns=COLUMNS).columns) for path in (data, samples)]
    axes = plots.beside(*rows, across=PAIRS, columns=COLUMNS)
    axes[0, 0].figure.savefig(picture, dpi=100)
