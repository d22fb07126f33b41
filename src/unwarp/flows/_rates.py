"""Learning rates that suit the recipes, where it is not the usual 1e-2: chosen by what `benchmarks/rates.py` measures.

Scalar maps with many parameters, and layers that move all features a little, learn slowly at 1e-2.
"""

from __future__ import annotations

__all__ = ["RATES"]

RATES: dict[str, float] = {
    "bnaf": 5e-2,
    "bpf": 3e-2,
    "cnf": 5e-2,
    "cpflow": 5e-2,
    "ffjord": 5e-2,
    "freeform": 3e-2,
    "naf": 3e-2,
    "otflow": 3e-2,
    "planar": 5e-2,
    "radial": 5e-2,
    "resflow": 5e-2,
    "residual_image": 3e-2,  # digits, 15 seconds: 3.03 bits a pixel, at 1e-2 3.17
    "sospf": 3e-2,
    "sylvester": 5e-2,
    "triangular": 5e-2,
    "unaf": 3e-2,
}
